import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

import numpy

from plot import latency, style
from plot.study import Interval, Point, Study


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


def point(rate, scale, folders=()):
    """Percentiles of 1, 2, 3 and 4 times the scale, P99 with an interval of a quarter of it to either side."""
    values = {f"{statistic}_{metric}_ms": Interval(scale * i, scale * (i - 0.25), scale * (i + 0.25), 3)
              for metric in ("ttft", "itl", "e2el") for i, statistic in enumerate(("median", "p90", "p95", "p99"), 1)}
    return Point({"policy": "planned", "rate": rate}, values, [("1", "ok", "")], directories=list(folders))


def figures(*points):
    return list(latency.figures(Study("s", ["policy", "rate"], points, [])))


def segments(panel):
    return [segment[:, 0].tolist() for lines in panel.collections if hasattr(lines, "get_segments")
            for segment in lines.get_segments()]


class Percentiles(unittest.TestCase):
    def test_each_has_its_mark_and_p99_its_interval(self):
        panel = figures(point("1", 8))[0].drawing.axes[0]
        marks = {line.get_marker(): line.get_xdata()[0] for line in panel.lines
                 if line.get_color() == style.BLUE and line.get_marker() in list("|osD")}
        self.assertEqual({"|": 8, "o": 16, "s": 24, "D": 32}, marks)
        self.assertEqual([[30, 34]], segments(panel))

    def test_the_axis_shows_every_load(self):
        for panel in figures(point("1", 1), point("2", 100))[0].drawing.axes[:2]:
            self.assertEqual("log", panel.get_xscale())
            self.assertLess(panel.get_xlim()[0], 1)
            self.assertGreater(panel.get_xlim()[1], 425)


class Distributions(unittest.TestCase):
    def test_a_step_is_the_share_at_or_below(self):
        values, shares = latency._steps(numpy.array([30.0, 10, 20, 40]))
        self.assertEqual(([10, 20, 30, 40], [0.25, 0.5, 0.75, 1]), (values.tolist(), shares.tolist()))

    def test_of_many_the_slowest_are_all_there_and_none_twice(self):
        values, shares = latency._steps(numpy.arange(1000.0, 0, -1))
        self.assertEqual(list(range(951, 1001)), values[-50:].tolist())
        self.assertEqual(200, len(set(values)))
        self.assertEqual(1, values[0])
        numpy.testing.assert_allclose(values / 1000, shares)

    def test_the_run_of_the_first_seed_is_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            folders = [Path(folder) / name for name in ("0-1", "0-2")]
            for each, value in zip(folders, (5, 7)):
                each.mkdir()
                (each / "requests.csv").write_text(f"ttft_ms,tpot_ms,e2el_ms\n{value},1,20\n{value},1,20\n")
            drawing = figures(point("1", 1, folders))[1].drawing
        self.assertEqual([5, 5], list(drawing.axes[0].lines[0].get_xdata()))
        self.assertEqual([0.5, 1], list(drawing.axes[0].lines[0].get_ydata()))


if __name__ == "__main__":
    unittest.main()
