import importlib.machinery
import importlib.util
import itertools
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import style
from plot.tables import Row

_PATH = Path(__file__).resolve().parents[2] / "tools/plot_validation"
_LOADER = importlib.machinery.SourceFileLoader("plot_validation", str(_PATH))
plot_validation = importlib.util.module_from_spec(importlib.util.spec_from_loader("plot_validation", _LOADER))
_LOADER.exec_module(plot_validation)


def rows(columns, lines):
    return [Row("table.csv", i + 2, {name: at for at, name in enumerate(columns)}, line) for i, line in enumerate(lines)]


class Errors(unittest.TestCase):
    def test_numbers_of_bars_do_not_touch(self):
        """All bars as high as each other: their numbers stand side by side."""
        metrics = list(plot_validation.METRICS)
        distribution = rows(["metric", "run", "value_ms", "fraction"],
                            [[metric, run, "10", "1"] for metric in metrics for run in plot_validation.RUNS])
        comparison = rows(["metric", "statistic", "error"],
                          [[metric, statistic, "-0.123"] for metric in metrics
                           for statistic in ("mean", "p50", "p90", "p95", "p99")])
        figure = plot_validation.draw(distribution, comparison, None)
        figure.draw_without_rendering()
        panel = figure.axes[3]
        boxes = [text.get_window_extent() for text in panel.texts]
        self.assertEqual(15, len(boxes))
        for one, other in itertools.combinations(boxes, 2):
            self.assertFalse(one.overlaps(other))
        for box in boxes:
            self.assertGreater(box.y0, panel.get_window_extent().y0)
        style.plt.close(figure)


if __name__ == "__main__":
    unittest.main()
