import unittest
from pathlib import Path

import support  # noqa: F401

from plot import study, style
from plot.inputs import Run


def run(name, policy="temporal", rate=4, seed=1, model="m", **summary):
    config = {"model": {"name": model, "layers": len(model)}, "hardware": {"name": "h"},
              "workload": {"arrivals": {"poisson": {"rate": rate}}}, "policy": policy, "seed": seed}
    return Run(Path(name), {"policy": policy, "model": model, "hardware": "h", "seed": seed, "p99_ttft_ms": 1.0, **summary},
               config, "")


class Policies(unittest.TestCase):
    def test_order_is_that_of_every_table_and_others_follow(self):
        names = ["zebra", "planned", "mine", "serve_only", "alchemist"]
        self.assertEqual(["serve_only", "alchemist", "planned", "mine", "zebra"], sorted(names, key=style.policy_key))

    def test_built_in_ones_differ(self):
        self.assertEqual(12, len(style.POLICIES))
        looks = {(colour, line) for colour, line, _, _ in style.POLICIES.values()}
        self.assertEqual(12, len(looks))
        self.assertEqual(12, len({marker for _, _, marker, _ in style.POLICIES.values()}))


class Runs(unittest.TestCase):
    def test_axes_are_what_configurations_differ_in(self):
        one = study.of_runs([run("a"), run("b", policy="alchemist"), run("c", rate=8)])
        self.assertEqual(["policy", "workload.arrivals.poisson.rate"], one.axes)
        self.assertEqual([("4",), ("8",)], one.loads())
        self.assertEqual("request rate = 4/s", one.title(("4",)))
        self.assertEqual(["temporal", "alchemist"], [p.policy for p in one.at(("4",))])

    def test_models_are_told_apart_by_their_names(self):
        self.assertEqual(["policy", "model"], study.of_runs([run("a"), run("b", model="longer")]).axes)

    def test_equal_runs_are_told_apart_by_their_directories(self):
        self.assertEqual([("a",), ("b",)], study.of_runs([run("x/a"), run("x/b")]).loads())

    def test_null_and_false_are_no_numbers(self):
        point = study.of_runs([run("a", train_step_ms=None, saturated=True, train_steps=0)]).points[0]
        self.assertEqual({"p99_ttft_ms", "train_steps", "seed"}, set(point.values))
        self.assertEqual(1, point.saturated)

    def test_policies_in_files_go_by_the_name_of_the_file(self):
        self.assertEqual(["mine"], study.of_runs([run("a", policy="/some/where/mine.yaml")]).policies)


class Helpers(unittest.TestCase):
    def test_spread_keeps_the_ends(self):
        self.assertEqual([0, 1, 2], study.spread([0, 1, 2], 4))
        self.assertEqual([0, 3, 6, 9], study.spread(list(range(10)), 4))

    def test_scaled(self):
        self.assertEqual(study.Interval(2, 1, 4, 3), study.Interval(4, 2, 8, 3).scaled(0.5))
        self.assertEqual(study.Interval(2), study.Interval(4).scaled(0.5))

    def test_axes_in_words(self):
        self.assertEqual("request rate (1/s)", study.axis_label("workload.rate", ""))
        self.assertEqual("link, host to device (GB/s)", study.axis_label("hardware.link_h2d_bandwidth", "GB/s"))
        self.assertEqual("some.key", study.axis_label("some.key", ""))


if __name__ == "__main__":
    unittest.main()
