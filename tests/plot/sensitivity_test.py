import unittest

import support  # noqa: F401

from plot import sensitivity, style
from plot.study import Difference, Interval, Point, Study

SLOW, FAST = ("{base: gpu, name: %s link, link_bandwidth: %s}" % each for each in (("slow", "1 GB/s"), ("fast", "9 GB/s")))
HOST, LATE = "{base: gpu, name: slow host, step_overhead: 4 ms}", "{base: gpu, name: late, link_latency: 1 ms}"
# Percent over `temporal`, which trains 50 tokens/s, by hardware and policy.
AHEAD = {"gpu": {"alchemist": 20, "separate": 10}, SLOW: {"alchemist": 16, "separate": 10},
         FAST: {"alchemist": 24, "separate": 10}, HOST: {"alchemist": 21, "separate": 70},
         LATE: {"alchemist": 19, "separate": 10}}
KEY = "train_tokens_per_s"


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


def study(ahead=None, itls=("20 ms",)):
    points, differences = [], []
    for itl in itls:
        for hardware, policies in (ahead or AHEAD).items():
            for policy, percent in {"serve_only": -100, "temporal": 0, **policies}.items():
                axes = {"policy": policy, "hardware": hardware, "training.max_itl": itl}
                points.append(Point(axes, {KEY: Interval(50 * (1 + percent / 100))}, [("1", "ok", "")]))
                if policy != "temporal":
                    half = percent / 2
                    differences.append(Difference((hardware, itl), policy, "temporal", KEY,
                                                  Interval(half, half - 1, half + 1, 3)))
    return Study("s", ["policy", "hardware", "training.max_itl"], points, [], differences)


def rows(figure):
    return [label.get_text() for label in figure.drawing.axes[0].get_yticklabels()]


def marks(figure, study_, policy):
    """(percent, row) of a policy, from top to bottom; its places lie within half a row of whole numbers."""
    colour, _, marker, _ = study_.style(policy)
    found = [line for line in figure.drawing.axes[0].lines if line.get_marker() == marker and line.get_color() == colour]
    return [(float(line.get_xdata()[0]), round(float(line.get_ydata()[0]))) for line in found]


class Sensitivity(unittest.TestCase):
    def test_what_moves_most_stands_above_and_changes_of_one_key_together(self):
        made = study()
        figure, = sensitivity.figures(made)
        self.assertEqual("sensitivity", figure.name)
        # The host moves separate by 60 percent, the link alchemist by 4 to either side, its latency by 1.
        self.assertEqual(["gpu", "slow\N{NO-BREAK SPACE}host", "slow\N{NO-BREAK SPACE}link", "fast\N{NO-BREAK SPACE}link",
                          "late"], rows(figure))
        self.assertEqual([(20, 0), (21, 1), (16, 2), (24, 3), (19, 4)], marks(figure, made, "alchemist"))
        self.assertEqual([(10, 0), (70, 1), (10, 2), (10, 3), (10, 4)], marks(figure, made, "separate"))

    def test_what_takes_from_an_advantage_moves_it_as_much_as_what_adds_to_it(self):
        ahead = {**AHEAD, HOST: {"alchemist": 20, "separate": 7}, SLOW: {"alchemist": 16, "separate": 10}}
        ahead[FAST] = ahead["gpu"]  # the link by 4, the host by 3, the latency by 1, all of them down
        self.assertEqual(["gpu", "slow\N{NO-BREAK SPACE}link", "fast\N{NO-BREAK SPACE}link",
                          "slow\N{NO-BREAK SPACE}host", "late"], rows(next(sensitivity.figures(study(ahead)))))

    def test_intervals_are_in_percent_of_the_baseline_too(self):
        made = study()
        figure, = sensitivity.figures(made)
        # Half a unit of 50 tokens/s to either side of the mean is one percent: 1 token/s is 2.
        ends = [segment[:, 0].tolist() for lines in figure.drawing.axes[0].collections
                if hasattr(lines, "get_segments") for segment in lines.get_segments()]
        self.assertIn([18, 22], ends)

    def test_one_who_serves_only_is_not_drawn(self):
        self.assertEqual([], marks(*[next(sensitivity.figures(s := study())), s], "serve_only"))

    def test_a_figure_for_each_value_of_the_others(self):
        figures = list(sensitivity.figures(study(itls=("10 ms", "20 ms"))))
        self.assertEqual(["sensitivity", "sensitivity_2"], [figure.name for figure in figures])
        self.assertIn("= 10 ms", figures[0].title)
        self.assertIn("= 20 ms", figures[1].drawing.texts[0].get_text())

    def test_figures_of_two_axes_have_names_of_their_own(self):
        made = study()
        sizes = ["8b", *("{base: 8b, name: %s, layers: %s}" % each for each in (("a", 30), ("b", 28), ("c", 26)))]
        points = [Point({**p.axes, "model": size}, p.values, p.rows) for p in made.points for size in sizes]
        differences = [Difference((*d.axes, size), d.policy, d.baseline, d.metric, d.interval)
                       for d in made.differences for size in sizes]
        both = Study("s", [*made.axes, "model"], points, [], differences)
        names = [figure.name for figure in sensitivity.figures(both)]
        self.assertEqual(len(sizes) + len(AHEAD), len(names))
        self.assertEqual(len(names), len(set(names)))

    def test_who_is_far_ahead_is_told_and_not_drawn(self):
        made = study({hardware: {**policies, "separate": 2000} for hardware, policies in AHEAD.items()})
        figure, = sensitivity.figures(made)
        self.assertEqual([], marks(figure, made, "separate"))
        self.assertIn("Left out where they train more than 3 times as much: separate.", figure.caption)
        self.assertLess(figure.drawing.axes[0].get_xlim()[1], 100)

    def test_a_change_of_which_every_run_failed_has_an_empty_row(self):
        made = study()
        made.points = [p for p in made.points if p.axes["hardware"] != LATE or p.policy != "temporal"]
        figure, = sensitivity.figures(made)
        self.assertEqual("late", rows(figure)[-1])
        self.assertEqual(4, len(marks(figure, made, "alchemist")))


class Changes(unittest.TestCase):
    def test_keys_that_differ_from_the_base(self):
        base, changed = sensitivity.changes(list(AHEAD))
        self.assertEqual("gpu", base)
        self.assertEqual({SLOW: ("link_bandwidth",), FAST: ("link_bandwidth",), HOST: ("step_overhead",),
                          LATE: ("link_latency",)}, changed)

    def test_the_base_is_what_most_change(self):
        for other in ("{base: host, step_overhead: 2 ms}", "host"):
            self.assertEqual("gpu", sensitivity.changes([other, *AHEAD])[0])

    def test_the_lowest_first(self):
        values = ["{base: gpu, name: %s, link_latency: %s}" % each for each in
                  (("a", "10 us"), ("b", "2.2 us"), ("c", "1 ms"), ("d", "900 ns"))]
        for given in (values, values[::-1]):
            self.assertEqual([values[3], values[1], values[0], values[2]], list(sensitivity.changes(["gpu", *given])[1]))

    def test_others_are_no_changes(self):
        self.assertIsNone(sensitivity.changes(["h100", "h200", "a100"]))
        self.assertIsNone(sensitivity.changes([SLOW, FAST, HOST, LATE]))  # of what is not there
        self.assertIsNone(sensitivity.changes(["gpu", SLOW, FAST]))       # two bars are no figure
        self.assertIsNone(sensitivity.changes(["gpu", "h100", "h200", "a100", SLOW, FAST, HOST, "l40s"]))
        self.assertIsNone(sensitivity.changes(["gpu", "{base: gpu", "{[}", "{base}"]))


if __name__ == "__main__":
    unittest.main()
