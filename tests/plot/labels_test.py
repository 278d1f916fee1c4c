import unittest
from pathlib import Path

import support  # noqa: F401

from plot import bars, labels, style


def tearDownModule():
    style.plt.close("all")


class Labels(unittest.TestCase):
    def test_keys_are_short_and_what_says_what_it_is_has_none(self):
        self.assertEqual(["planned, l, h100, max_itl=20 ms, delay.fixed=1 s"],
                         labels.labels([("planned", {"training.max_itl": "20 ms", "training.feedback.delay.fixed": "1 s",
                                                     "hardware": "h100", "model": "l"})]))

    def test_equal_ends_are_told_apart(self):
        self.assertEqual(["a, x.b.c=1", "a, y.b.c=2"], labels.labels([("a", {"x.b.c": "1"}), ("a", {"y.b.c": "2"})]))

    def test_values_are_short(self):
        rows = [("a", {"workload": value}) for value in ("dir/file.yaml", "25 GB/s", "x" * 60)]
        self.assertEqual(["a, workload=file", "a, workload=25 GB/s", "a, workload=" + "x" * 23 + "…"],
                         labels.labels(rows))

    def test_lines_break_between_keys_only(self):
        lines = labels.wrapped("alchemist, h100, max_version_lag=64, max_itl=20 ms").splitlines()
        self.assertEqual(["alchemist, h100,", "max_version_lag=64,", "max_itl=20\N{NO-BREAK SPACE}ms"],
                         sum((line.split(" ") if "max" in line else [line] for line in lines), []))

    def test_unique(self):
        self.assertEqual(["x", "x-2", "y", "x-2-2"], labels.unique(["x", "x", "y", "x-2"]))

    def test_paths_are_called_by_as_much_of_them_as_tells_them_apart(self):
        paths = map(Path, ["/r/a/1/real", "/r/b/1/real", "/r/b/2/real", "/r/b/alone", "/r/b/alone", "/real"])
        self.assertEqual(["a/1/real", "b/1/real", "2/real", "alone", "alone-2", "/real"], labels.path_names(list(paths)))
        self.assertEqual(["a, 1/real"], labels.labels([("a", {"run": "1/real"})]))


class Wrapped(unittest.TestCase):
    def test_a_long_name_is_broken_behind_its_own_marks(self):
        self.assertEqual("my_policy_for_the_night_shift_\nof_europe_in_winter",
                         labels.wrapped("my_policy_for_the_night_shift_of_europe_in_winter"))
        self.assertEqual([31, 9], [len(line) for line in labels.wrapped(40 * "x").splitlines()])

    def test_no_character_is_lost(self):
        for name in ("_" * 70, "a/b-c_" * 20, "x" * 31 + "_" + "y" * 40, "planned, max_itl=20 ms"):
            lines = labels.wrapped(name).splitlines()
            self.assertEqual(name.replace(" ", ""), "".join(lines).replace(" ", "").replace("\N{NO-BREAK SPACE}", ""))
            self.assertLessEqual(max(map(len, lines)), 32)


class Drawn(unittest.TestCase):
    NAMES = [f"alchemist, hardware-{i}, max_version_lag={i}, max_itl={i}0 ms" for i in range(8)]

    def test_labels_of_neighbours_do_not_overlap(self):
        style.use()
        figure, axes = style.panels(1, 1, height=bars.height(self.NAMES))
        bars.names_down(axes[0][0], self.NAMES)
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in axes[0][0].get_yticklabels()]
        for above, below in zip(boxes, boxes[1:]):
            self.assertGreaterEqual(above.y0, below.y1)
        self.assertGreaterEqual(min(box.x0 for box in boxes), 0)

    def test_a_legend_is_no_wider_than_its_figure(self):
        style.use()
        figure, axes = style.panels(1, 1)
        lines = [axes[0][0].plot([0], [0])[0] for _ in self.NAMES]
        style.legend_below(figure, lines, self.NAMES)
        figure.canvas.draw()
        self.assertLessEqual(figure.legends[0].get_window_extent().width, figure.bbox.width)
        self.assertEqual(1, len(figure.legends))


if __name__ == "__main__":
    unittest.main()
