import itertools
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import style, validation
from plot.tables import Row


class Rows:
    """A table without a file."""

    def __init__(self, columns, lines):
        self.header = columns
        at = {name: place for place, name in enumerate(columns)}
        self.rows = [Row("table.csv", i + 2, at, line) for i, line in enumerate(lines)]

    def __contains__(self, column):
        return column in self.header


def figure_of(*tables, **options):
    [figure] = validation.Validation(Path("v"), *tables, **options).figures()
    figure.drawing.draw_without_rendering()
    return figure.drawing


def setUpModule():
    style.use()


class AgainstAMeasuredRun(unittest.TestCase):
    def test_numbers_of_bars_do_not_touch(self):
        """All bars as high as each other: their numbers stand side by side."""
        metrics = ("ttft", "tpot", "e2el")
        distribution = Rows(["metric", "run", "value_ms", "fraction"],
                            [[metric, run, "10", "1"] for metric in metrics for run in ("measured", "simulated")])
        comparison = Rows(["metric", "statistic", "measured_ms", "simulated_ms", "error"],
                          [[metric, statistic, "1000", "877", "-0.123"] for metric in metrics
                           for statistic in ("mean", "p50", "p90", "p95", "p99")])
        figure = figure_of(comparison, distribution=distribution)
        panel = figure.axes[3]
        boxes = [text.get_window_extent() for text in panel.texts]
        self.assertEqual(15, len(boxes))
        for one, other in itertools.combinations(boxes, 2):
            self.assertFalse(one.overlaps(other))
        for box in boxes:
            self.assertGreater(box.y0, panel.get_window_extent().y0)
        style.plt.close(figure)


    def test_curves_are_those_of_their_run_and_errors_in_percent(self):
        distribution = Rows(["metric", "run", "value_ms", "fraction"],
                            [["ttft", "measured", "100", "0.5"], ["ttft", "measured", "3000", "1"],
                             ["ttft", "simulated", "200", "1"], ["tpot", "measured", "7", "1"],
                             ["tpot", "simulated", "8", "1"]])
        comparison = Rows(["metric", "statistic", "measured_ms", "simulated_ms", "error"],
                          [["ttft", "mean", "1550", "200", "-0.125"], ["tpot", "mean", "0", "8", ""]])
        figure = figure_of(comparison, distribution=distribution)
        lines = [{line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.lines}
                 for panel in figure.axes[:2]]
        self.assertEqual({"measured": ([0.1, 0.1, 3], [0, 0.5, 1]), "simulated": ([0.2, 0.2], [0, 1])}, lines[0])
        self.assertEqual({"measured": ([7, 7], [0, 1]), "simulated": ([8, 8], [0, 1])}, lines[1])
        self.assertEqual(["TTFT (s)", "TPOT (ms)"], [panel.get_xlabel() for panel in figure.axes[:2]])
        self.assertEqual([-12.5], [bar.get_height() for bar in figure.axes[3].patches])
        style.plt.close(figure)


class AgainstARealRun(unittest.TestCase):
    OPERATIONS = Rows(["operation", "count", "real_s", "priced_s", "error"],
                      [["decode", "12", "2", "1", "-0.5"], ["head", "0", "0", "0", ""]])

    @staticmethod
    def marks(panel):
        """By simulation, its errors in per cent, from the top row down."""
        return {line.get_label(): dict(zip(line.get_ydata(), line.get_xdata()))
                for line in panel.lines if not line.get_label().startswith("_")}

    def test_each_simulation_has_its_marks_beside_the_metric(self):
        comparison = Rows(["metric", "real", "simulated", "error", "repriced", "repriced_error", "at_speed",
                           "at_speed_error"],
                          [["completed", "20", "20", "0", "20", "0", "20", "0"],
                           ["p99_ttft_ms", "10", "15", "0.5", "11", "0.1", "12", "0.2"],
                           ["mean_tpot_ms", "0", "0", "", "0", "", "0", ""],
                           ["train_step_ms", "10", "8", "-0.2", "10", "0", "9", "-0.1"]])
        figure = figure_of(comparison, operations=self.OPERATIONS)
        metrics, operations = figure.axes
        # In the order of the figure, not of the file; what has no error has no row, and counts have none.
        self.assertEqual(["training step", "P99 TTFT"], [label.get_text().replace("\N{NO-BREAK SPACE}", " ") for label in metrics.get_yticklabels()])
        self.assertEqual({"as calibrated": {0: -20, 1: 50}, "at the machine's speed": {0: -10, 1: 20},
                          "repriced": {0: 0, 1: 10}}, self.marks(metrics))
        self.assertEqual(["decode (12)"], [label.get_text().replace("\N{NO-BREAK SPACE}", " ") for label in operations.get_yticklabels()])
        self.assertEqual([-50], [bar.get_width() for bar in operations.patches])
        style.plt.close(figure)

    def test_a_gpu_has_no_speed_of_its_moment(self):
        comparison = Rows(["metric", "real", "simulated", "error", "repriced", "repriced_error"],
                          [["train_step_ms", "10", "8", "-0.2", "10", "0.01"]])
        figure = figure_of(comparison, operations=self.OPERATIONS)
        self.assertEqual({"as calibrated": {0: -20}, "repriced": {0: 1}}, self.marks(figure.axes[0]))
        style.plt.close(figure)


if __name__ == "__main__":
    unittest.main()
