import unittest

import support  # noqa: F401

from plot import load, style
from plot.study import Interval, Point, Study


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


def study(rows):
    """`rows`: (policy, prompt, rate, delay); each point has one number."""
    points = [Point({"policy": policy, "prompt": prompt, "rate": rate, "delay": delay}, {"p99_ttft_ms": Interval(1.0)},
                    [("1", "ok", "")]) for policy, prompt, rate, delay in rows]
    return Study("s", ["policy", "prompt", "rate", "delay"], points, [])


# Prompt and rate are advanced together; the batch (here: rate) may repeat. The delay is crossed with them.
ZIPPED = study([(policy, prompt, rate, delay) for policy in ("temporal", "planned") for delay in ("1 s", "2 s")
                for prompt, rate in (("512", "4"), ("1024", "4"), ("2048", "2"))])


class Axes(unittest.TestCase):
    def test_axes_that_go_along(self):
        self.assertEqual(["rate"], load.along(ZIPPED, "prompt"))
        self.assertEqual([], load.along(ZIPPED, "rate"))  # one rate comes with two prompts
        self.assertEqual([], load.along(ZIPPED, "delay"))

    def test_one_figure_for_axes_that_go_along(self):
        figures = list(load.figures(ZIPPED))
        self.assertEqual(["against_prompt", "against_delay"], [figure.name for figure in figures])
        self.assertIn("rate goes along: 4, 4, 2.", figures[0].caption)
        self.assertIn("At delay = 2 s.", figures[0].caption)
        self.assertIn("At prompt = 1024, rate = 4.", figures[1].caption)

    def test_runs_that_form_no_series_have_no_figure(self):
        one = study([("serve_only", "512", "1", "1 s"), ("planned", "512", "64", "1 s")])
        one.series = []
        self.assertEqual([], list(load.figures(one)))

    def test_lines_are_sorted_and_equal_values_are_no_error(self):
        drawn = list(load.figures(study([("temporal", prompt, "1", "1 s") for prompt in ("2048", "512", "512.0")])))
        line = drawn[0].drawing.axes[0].lines[0]
        self.assertEqual([512, 512, 2048], list(line.get_xdata()))


if __name__ == "__main__":
    unittest.main()
