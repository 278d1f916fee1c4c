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
        self.assertIn("At delay = 2 s; not drawn: 1 s.", figures[0].caption)
        self.assertIn("At prompt = 1024; not drawn: 512, 2048. At rate = 4; not drawn: 2.", figures[1].caption)

    def test_what_is_held_stands_in_the_figure(self):
        for figure, expected in zip(load.figures(ZIPPED), ("delay = 2 s; not drawn: 1 s", "rate = 4; not drawn: 2")):
            self.assertIn(expected, figure.drawing.texts[0].get_text())
        only = list(load.figures(study([("temporal", "512", rate, "1 s") for rate in "12"])))
        self.assertEqual("At prompt = 512.\nAt delay = 1 s.", only[0].drawing.texts[0].get_text())

    def test_every_panel_has_the_numbers_of_its_axis_below(self):
        values = {key: Interval(1.0) for key in ("train_tokens_per_s", "bound_fraction", "p99_ttft_ms", "p99_itl_ms")}
        points = [Point({"policy": "temporal", "rate": rate}, values, [("1", "ok", "")]) for rate in "12"]
        drawing = next(load.figures(Study("s", ["policy", "rate"], points, []))).drawing
        drawing.canvas.draw()
        numbered = [any(label.get_visible() and label.get_text() for label in panel.get_xticklabels()) for panel in drawing.axes]
        self.assertEqual([False, True, True, True], numbered[:4])

    def test_where_nothing_trains_there_is_no_panel_of_training(self):
        values = {"train_tokens_per_s": Interval(0.0), "p99_ttft_ms": Interval(1.0)}
        points = [Point({"policy": "serve_only", "rate": rate}, values, [("1", "ok", "")]) for rate in "12"]
        drawing = next(load.figures(Study("s", ["policy", "rate"], points, []))).drawing
        self.assertEqual(["P99 TTFT (ms)"], [panel.get_ylabel() for panel in drawing.axes if panel.get_visible()])

    def test_the_heading_lies_within_the_figure_and_above_the_panels(self):
        drawing = next(load.figures(ZIPPED)).drawing
        drawing.canvas.draw()
        words = drawing.texts[0].get_window_extent()
        self.assertLessEqual(words.y1, drawing.bbox.y1)
        self.assertGreaterEqual(words.y0, max(panel.get_tightbbox().y1 for panel in drawing.axes if panel.get_visible()))

    def test_held_is_the_value_at_which_most_ran_and_who_did_not_run_there_is_named(self):
        rows = [(policy, "512", rate, "1 s") for policy in ("serve_only", "temporal", "planned") for rate in "12"]
        rows += [("planned", "512", rate, delay) for delay in ("2 s", "3 s") for rate in "12"]
        rows += [("separate", "512", rate, "3 s") for rate in "12"]
        heading = next(load.figures(study(rows))).drawing.texts[0].get_text()
        self.assertIn("At delay = 1 s; not drawn: 2 s, 3 s.\nNot run there: separate.", heading)

    def test_runs_that_form_no_series_have_no_figure(self):
        one = study([("serve_only", "512", "1", "1 s"), ("planned", "512", "64", "1 s")])
        one.series = []
        self.assertEqual([], list(load.figures(one)))

    def test_shares_are_in_percent_and_bands_reach_from_bound_to_bound(self):
        points = [Point({"policy": "planned", "rate": rate}, {"bound_fraction": Interval(0.5, 0.375, 0.75, 3)},
                        [("1", "ok", "")]) for rate in "12"]
        panel = next(load.figures(Study("s", ["policy", "rate"], points, []))).drawing.axes[0]
        self.assertEqual([50, 50], list(panel.lines[0].get_ydata()))
        band = panel.collections[0].get_paths()[0].vertices[:, 1]
        self.assertEqual((37.5, 75), (min(band), max(band)))

    def test_only_what_spans_much_stands_on_a_logarithmic_axis(self):
        for rates, scale in ((("1", "30"), "log"), (("100", "130"), "linear"), (("0", "30"), "linear")):
            drawing = next(load.figures(study([("temporal", "512", rate, "1 s") for rate in rates]))).drawing
            self.assertEqual(scale, drawing.axes[0].get_xscale())

    def test_points_off_the_values_that_are_held_are_not_drawn(self):
        drawing = next(load.figures(ZIPPED)).drawing  # against the prompt, at one delay of two
        self.assertEqual([[512, 1024, 2048]] * 2, [list(line.get_xdata()) for line in drawing.axes[0].lines])

    def test_lines_are_sorted_and_equal_values_are_no_error(self):
        drawn = list(load.figures(study([("temporal", prompt, "1", "1 s") for prompt in ("2048", "512", "512.0")])))
        line = drawn[0].drawing.axes[0].lines[0]
        self.assertEqual([512, 512, 2048], list(line.get_xdata()))


class Ticks(unittest.TestCase):
    def test_numbers_of_a_search_do_not_stand_on_one_another(self):
        self.assertEqual([1, 10, 15, 40], load.apart([1, 10, 11, 12, 15, 20, 30, 38, 40]))
        powers = [2**i for i in range(8)]
        self.assertEqual(powers, load.apart(powers))


if __name__ == "__main__":
    unittest.main()
