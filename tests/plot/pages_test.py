import itertools
import unittest

import support  # noqa: F401

from plot import pages, style, throughput
from plot.study import Interval, Point, Study


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


def study(axes, rows):
    """Two policies at each row, a value for each axis."""
    points = [Point({"policy": policy, **dict(zip(axes, row))}, {"train_tokens_per_s": Interval(100.0)}, [("1", "ok", "")])
              for row in rows for policy in ("temporal", "alchemist")]
    return Study("s", ["policy", *axes], points, [])


def grid(**axes):
    return study(list(axes), itertools.product(*axes.values()))


class Pages(unittest.TestCase):
    def test_few_loads_stand_together_whatever_their_axes(self):
        (page,) = pages.of(grid(model=["a", "b"], rate=["1", "2"]))
        self.assertEqual([("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")], page.loads)
        self.assertEqual((["model", "rate"], "", ""), (page.axes, page.heading, page.note))

    def test_loads_at_which_few_policies_ran_are_shown_too(self):
        """A policy that does not feel an axis runs at one of its values alone."""
        one = grid(budget=["10 ms", "20 ms", "hidden"])
        one.points.append(Point({"policy": "separate", "budget": "hidden"}, {"train_tokens_per_s": Interval(1.0)}))
        (page,) = pages.of(one)
        self.assertEqual([("10 ms",), ("20 ms",), ("hidden",)], page.loads)

    def test_one_axis_a_page(self):
        rates = [str(rate) for rate in range(1, 4)]
        found = pages.of(grid(routing=["least", "prefix", "round"], rate=rates))
        self.assertEqual(3, len(found))
        for page, routing in zip(found, ("least", "prefix", "round")):
            self.assertEqual([(routing, rate) for rate in rates], page.loads)
            self.assertEqual((["rate"], f"routing = {routing}"), (page.axes, page.heading))
        self.assertIn("3 figures of this kind", found[0].note)

    def test_of_a_number_with_lines_of_its_own_some_values_are_enough(self):
        rates = [str(rate) for rate in range(1, 12)]
        first, second = pages.of(grid(model=["a", "b"], rate=rates))
        self.assertEqual([("a", rate) for rate in ("1", "4", "8", "11")], first.loads)
        self.assertEqual("model = b", second.heading)
        self.assertIn("8 of 22 loads are shown", first.note)

    def test_of_words_all_are_shown(self):
        found = pages.of(grid(model=list("abcdef")))
        self.assertEqual([list("abc"), list("def")], [[model for (model,) in page.loads] for page in found])
        self.assertNotIn("loads are shown", found[0].note)
        self.assertEqual(["T: model = a, b, c", "T: model = d, e, f"], [p.figure("t", "T", "", None).title for p in found])

    def test_a_star_has_a_page_for_each_ray(self):
        rays = [("1", rate) for rate in "12345"] + [("2", "3"), ("3", "3")]
        found = pages.of(study(["delay", "rate"], rays))
        self.assertEqual([4, 1, 1], [len(page.loads) for page in found])
        self.assertEqual(["delay = 1", "delay = 2", "delay = 3"], [page.heading for page in found])

    def test_axes_that_go_along_are_named_once(self):
        (page,) = pages.of(study(["up", "down"], [("3 GB/s", "4 GB/s"), ("6 GB/s", "8 GB/s")]))
        self.assertEqual(["up"], page.axes)
        self.assertIn("down goes along with up: 4 GB/s, 8 GB/s.", page.note)

    def test_two_axes_that_go_along_with_each_other_leave_one(self):
        self.assertEqual({"a": ["b"]}, pages.leading(study(["a", "b"], [("1", "x"), ("2", "y")])))

    def test_more_pages_than_anybody_reads_are_left_out_and_counted(self):
        found = pages.of(grid(model=[f"m{i}" for i in range(10)], rate=list("1234")))
        self.assertEqual(pages.PAGES, len(found))
        self.assertIn(f"{4 * pages.PAGES} of 40 loads are shown", found[0].note)

    def test_pages_of_few_loads_go_first(self):
        rows = [(model, "1") for model in "abcdefgh"] + [("i", rate) for rate in "1234"]
        found = pages.of(study(["model", "rate"], rows))
        self.assertEqual([4], [len(page.loads) for page in found if page.heading == "model = i"])

    def test_maps_of_one_name_stand_whole(self):
        """Two panels of one title would be told apart by nothing."""
        maps = [f"{{base: h200, name: x, memory: {memory} GiB}}" for memory in (80, 160)]
        (page,) = pages.of(grid(hardware=[*maps, "{base: h200, name: y, memory: 1 GiB}"]))
        titles = {" ".join(panel.get_title().split()) for panel in page.panels(1)[1][0]}
        self.assertEqual({*(f"hardware = {each}" for each in maps), "hardware = y"}, titles)

    def test_runs_have_one_panel_without_a_title(self):
        one = grid(rate=["1", "2"])
        for point in one.points:
            point.label = f"{point.policy}, rate={point.axes['rate']}"
        (page,) = pages.of(one)
        self.assertEqual(([()], [], ""), (page.loads, page.axes, page.note))
        self.assertEqual("", page.panels(1)[1][0][0].get_title())

    def test_no_load_has_no_page(self):
        self.assertEqual([], pages.of(grid(rate=["1"]), []))

    def test_figures_have_names_of_their_own_and_say_in_the_picture_what_they_show(self):
        drawn = [f for f in throughput.figures(grid(routing=["x", "y"], rate=list("123"))) if f.name.startswith("through")]
        self.assertEqual(["throughput", "throughput_2"], [figure.name for figure in drawn])
        for figure, routing in zip(drawn, "xy"):
            self.assertEqual(f"Training throughput: routing = {routing}", figure.title)
            self.assertEqual(f"routing = {routing}", figure.drawing.texts[0].get_text())
            self.assertEqual(["rate = 1", "rate = 2", "rate = 3"], [p.get_title() for p in figure.drawing.axes[:3]])


if __name__ == "__main__":
    unittest.main()
