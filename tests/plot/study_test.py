import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import axes, differences, inputs, pareto, report, study, style, throughput
from plot.errors import InputError
from plot.inputs import Run, Sweep, policy_name
from plot.tables import Row


def run(name, policy="temporal", rate=4, seed=1, model="m", **summary):
    config = {"model": {"name": model, "layers": len(model)}, "hardware": {"name": "h"},
              "workload": {"arrivals": {"poisson": {"rate": rate}}}, "policy": policy, "seed": seed}
    numbers = {"policy": policy, "model": model, "hardware": "h", "seed": seed, "p99_ttft_ms": 1.0, **summary}
    return Run(Path(name), numbers, config, "")


class Looks(unittest.TestCase):
    def test_runs_of_relatives_are_told_apart_without_lines(self):
        """Colour and marker are all that a Pareto figure shows, colour and dashes all that a distribution does."""
        looks = [style.variant(look, number) for look in style.POLICIES.values() for number in range(4)]
        self.assertEqual(len(looks), len({(colour, marker) for colour, _, marker, _ in looks}))
        looks = [style.variant(look, number) for look in style.POLICIES.values() for number in range(3)]
        self.assertEqual(len(looks), len({(colour, line) for colour, line, _, _ in looks}))


class Rows:
    """A table of a sweep with one axis and one row."""

    def __init__(self, text):
        fields = text.split(",")
        self.header = (["point", "policy", "seed", "status", "message"] if len(fields) == 5 else
                       ["point", "policy", "metric", "n", "mean", "ci95_low", "ci95_high"])
        self.rows = [Row("table.csv", 2, {name: i for i, name in enumerate(self.header)}, fields)]

    def __contains__(self, column):
        return column in self.header


class Ticks(unittest.TestCase):
    def test_thousands_are_short_where_they_would_be_long(self):
        self.assertEqual(["0.5", "200", "5000", "10k", "12.5k", "200k"],
                         [style.short_number(value) for value in (0.5, 200, 5000, 10000, 12500, 200000)])

    def test_a_wide_span_is_logarithmic_and_labelled_with_them(self):
        style.use()
        _, axes = style.panels(1, 1)
        style.fit_axis(axes[0], "x", [300, 60000])
        axis = axes[0][0].xaxis
        self.assertEqual("log", axes[0][0].get_xscale())
        self.assertEqual([300 / 1.2, 60000 * 1.2], [round(end, 6) for end in axes[0][0].get_xlim()])
        for values, scale in (([10, 60], "log"), ([10, 40], "linear")):
            _, axes = style.panels(1, 1)
            style.fit_axis(axes[0], "x", values)
            self.assertEqual(scale, axes[0][0].get_xscale())
        self.assertEqual("50k", axis.get_major_formatter()(50000, 0))


    def test_large_numbers_stand_whole(self):
        """No "1e6" in the corner of a panel, which is read as part of its label."""
        style.use()
        figure, panels = style.panels(1, 1)
        panels[0][0].barh([0, 1], [3e6, 20])
        figure.draw_without_rendering()
        self.assertEqual("", panels[0][0].xaxis.get_offset_text().get_text())

    def test_numbers_of_an_axis_do_not_touch(self):
        """Five digits in a third of a figure, as in the figure of throughput: 15000 and 17500 must not read as one."""
        style.use()
        figure, axes = style.panels(1, 3, sharex=True)
        axes[0][0].set_xlim(0, 19900)
        style.spread_ticks(figure)
        for panel in axes[0]:
            labels = [tick.label1.get_window_extent() for tick in panel.xaxis.get_major_ticks()
                      if 0 <= tick.get_loc() <= 19900]
            self.assertGreater(len(labels), 3)
            for left, right in zip(labels, labels[1:]):
                self.assertGreater(right.x0 - left.x1, 5)


class Titles(unittest.TestCase):
    def test_those_of_neighbours_do_not_overlap(self):
        """In inches of the whole figure: the widest title is no wider than its panel's share of it."""
        style.use()
        for columns in (1, 2, 4):
            figure, axes = style.panels(1, columns)
            for panel in axes[0]:
                style.title(panel, "longest gap between tokens that training may cause = 20 ms\nrequest rate = 4/s")
            figure.canvas.draw()
            widest = max(panel.title.get_window_extent().width for panel in axes[0]) / figure.dpi
            self.assertLess(widest, figure.get_figwidth() / columns)
            self.assertTrue(axes[0][0].get_title().endswith("\nrequest rate = 4/s"))


    def test_long_ones_are_wrapped_to_panels_that_long_names_make_narrow(self):
        style.use()
        figure, panels = style.panels(1, 2, sharey=True)
        panels[0][0].set_yticks([0], ["a_long_name_of_some_policy_or_other"])
        for panel in panels[0]:
            style.title(panel, "hardware = a_gpu_of_next_year with more memory and a faster link")
        style.spread_ticks(figure)
        for panel in panels[0]:
            title = panel.title.get_window_extent()
            self.assertLess(title.x1, figure.bbox.x1)
            self.assertLess(title.width, 1.1 * panel.get_window_extent().width)


class Hardware(unittest.TestCase):
    def test_one_that_changes_another_goes_by_its_own_name_or_by_that_ones(self):
        for hardware, name in (("h200", "h200"), ({"base": "h200", "memory": "96 GiB"}, "h200"),
                               ({"base": "h200", "name": "small", "memory": "96 GiB"}, "small")):
            self.assertEqual(name, study.Point({"policy": "temporal"}, config={"hardware": hardware}).name_of("hardware"))

    def test_names_may_look_like_dates_that_no_calendar_has(self):
        self.assertEqual("2026-13-01", axes.map_of("{base: h200, name: 2026-13-01}")["name"])
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "config.yaml").write_text("hardware:\n  name: 2026-13-01\n", encoding="utf-8")
        (folder / "summary.json").write_text('{"policy": "temporal", "model": "m", "hardware": "2026-13-01"}',
                                             encoding="utf-8")
        self.assertEqual("2026-13-01", inputs.read_run(folder).config["hardware"]["name"])


class Policies(unittest.TestCase):
    def test_order_is_that_of_every_table_and_others_follow(self):
        names = ["zebra", "planned", "mine", "serve_only", "alchemist"]
        self.assertEqual(["serve_only", "alchemist", "planned", "mine", "zebra"], sorted(names, key=style.policy_key))

    def test_built_in_ones_differ(self):
        self.assertEqual(16, len(style.POLICIES))
        looks = {(colour, line) for colour, line, _, _ in style.POLICIES.values()}
        self.assertEqual(16, len(looks))
        self.assertEqual(16, len({marker for _, _, marker, _ in style.POLICIES.values()}))


    def test_own_ones_differ(self):
        names = [f"mine-{number:02}" for number in range(20)]
        looks = [style.policy_style(name, names) for name in names]
        self.assertEqual(len(names), len(set(looks)))
        self.assertEqual(20, len({look[:2] for look in looks}), "lines of one colour have dashes of their own")


class Runs(unittest.TestCase):
    def test_all_stand_on_one_axis_called_by_what_they_differ_in(self):
        one = study.of_runs([run("a"), run("b", policy="alchemist"), run("c", rate=8)])
        self.assertEqual(["policy", "workload.arrivals.poisson.rate"], one.axes)
        self.assertEqual([()], one.loads())
        self.assertEqual(["temporal, poisson.rate=4", "temporal, poisson.rate=8", "alchemist, poisson.rate=4"],
                         one.names)
        self.assertEqual(one.names, [p.name for p in one.at(())])
        self.assertEqual(["temporal", "alchemist"], one.policies)

    def test_runs_of_one_policy_look_different(self):
        one = study.of_runs([run(str(rate), policy=policy, rate=rate) for rate in range(12)
                             for policy in ("alchemist", "temporal")])
        looks = [one.style(name) for name in one.names]
        self.assertEqual(24, len({(colour, line) for colour, line, _, _ in looks}))
        self.assertEqual(style.POLICIES["temporal"], looks[0])
        self.assertEqual(style.POLICIES["alchemist"], looks[12])

    def test_hardware_is_named(self):
        runs = [run("a", policy="serve_only"), run("b", policy="planned"), run("c", policy="alchemist")]
        runs[2].config["hardware"] = {"name": "h100", "memory": "80 GiB", "bandwidth": "3 TB/s", "processors": 132}
        self.assertEqual(["serve_only, h", "alchemist, h100", "planned, h"], study.of_runs(runs).names)

    def test_training_does_not_matter_to_serve_only(self):
        runs = [run("a", policy="serve_only"), run("b", policy="planned")]
        for each, lag in zip(runs, (1, 64)):
            each.config["training"] = {"max_version_lag": lag}
        one = study.of_runs(runs)
        self.assertEqual(["serve_only", "planned, max_version_lag=64"], one.names)
        self.assertEqual([()], one.loads())
        self.assertEqual([], one.series)

    def test_two_policies_at_different_values_are_no_series(self):
        self.assertEqual([], study.of_runs([run("a"), run("b", policy="alchemist", rate=8)]).series)
        self.assertEqual([], study.of_runs([run("a"), run("b", rate=8), run("c", policy="alchemist")]).series)

    def test_a_series(self):
        rate = ["workload.arrivals.poisson.rate"]
        runs = [run("a"), run("b", rate=8)]
        self.assertEqual(rate, study.of_runs(runs).series)
        others = [run("c", policy="alchemist"), run("d", policy="alchemist", rate=8)]
        self.assertEqual(rate, study.of_runs([*runs, *others]).series)
        self.assertEqual([], study.of_runs([*runs, run("c", rate=8)]).series)       # one of them twice
        self.assertEqual([], study.of_runs([run("a"), run("b", model="n")]).series)  # no number
        self.assertEqual([], study.of_runs([run("a"), run("b", rate=8, seed=2)]).series)
        again = [run("a"), run("b")]
        again[1].config["seed"] = 2
        self.assertEqual([], study.of_runs(again).series)  # a seed is no quantity
        self.assertEqual(["temporal, seed=1", "temporal, seed=2"], study.of_runs(again).names)

    def test_changes_of_one_policy_are_named(self):
        runs = [run("a"), run("b"), run("c")]
        for each, share in zip(runs[1:], (0.1, 0.2)):
            each.config["policy"] = {"base": "temporal", "stretch": share}
        one = study.of_runs(runs)
        self.assertEqual(["policy", "policy.stretch"], one.axes)
        self.assertEqual(["temporal, stretch=0.1", "temporal, stretch=0.2", "temporal"], one.names)
        self.assertEqual(["temporal"], one.policies)
        self.assertEqual([], one.series)

    def test_policies_of_files_are_known_by_their_names(self):
        """All their keys stand in the configuration; they matter where two have the same name."""
        runs = [run("a"), run("b", policy="/x/mine.yaml"), run("c", policy="/x/mine.yaml")]
        for each in runs[1:]:
            each.config["policy"] = {"name": "/x/mine.yaml", "record": "none", "place": "none", "evict": "none",
                                     "train": "headroom", "stretch": 0.1}
        self.assertEqual(["temporal", "mine"], study.of_runs(runs[:2]).names)
        runs[2].config["policy"]["stretch"] = 0.2
        self.assertEqual(["temporal", "mine, stretch=0.1", "mine, stretch=0.2"], study.of_runs(runs).names)

    def test_runs_that_differ_in_much_are_called_by_their_directories(self):
        runs = [run("x/a"), run("x/b")]
        runs[1].config["serving"] = {f"key{i}": i for i in range(4)}
        self.assertEqual(["policy", "run"], study.of_runs(runs).axes)
        self.assertEqual(["temporal, a", "temporal, b"], study.of_runs(runs).names)

    def test_models_are_told_apart_by_their_names(self):
        self.assertEqual(["policy", "model"], study.of_runs([run("a"), run("b", model="longer")]).axes)

    def test_equal_runs_are_told_apart_by_their_directories(self):
        self.assertEqual(["temporal, a", "temporal, b"], study.of_runs([run("x/a"), run("x/b")]).names)
        self.assertEqual(["temporal, x/a", "temporal, y/a"], study.of_runs([run("x/a"), run("y/a")]).names)
        self.assertEqual(["temporal, a", "temporal, a-2"], study.of_runs([run("x/a"), run("x/a")]).names)

    def test_a_single_run_is_called_by_its_policy(self):
        self.assertEqual(["temporal"], study.of_runs([run("a")]).names)

    def test_two_policies_of_one_name(self):
        with self.assertRaisesRegex(InputError, "a/mine.yaml and b/mine.yaml have the same name"):
            study.of_runs([run("a", policy="a/mine.yaml"), run("b", policy="b/mine.yaml")])

    def test_null_and_false_are_no_numbers(self):
        point = study.of_runs([run("a", train_step_ms=None, saturated=True, train_steps=0)]).points[0]
        self.assertEqual({"p99_ttft_ms", "train_steps", "seed"}, set(point.values))
        self.assertEqual(1, point.saturated)

    def test_policies_in_files_go_by_the_name_of_the_file(self):
        self.assertEqual(["mine"], study.of_runs([run("a", policy="/some/where/mine.yaml")]).policies)


def point(policy, *, failed=False, **numbers):
    values = {} if failed else {key: study.Interval(*value) for key, value in numbers.items()}
    return study.Point({"policy": policy, "workload.rate": "4"}, values, [("1", "failed" if failed else "ok", "")])


class Failures(unittest.TestCase):
    def test_a_policy_that_never_ran_has_no_row(self):
        one = study.Study("s", ["policy", "workload.rate"], [point("temporal", p99_ttft_ms=(1.0,)),
                                                             point("separate", failed=True)], [])
        self.assertEqual(["temporal"], one.names)
        self.assertEqual(["separate", "temporal"], one.policies)


class Scales(unittest.TestCase):
    """Intervals of few seeds reach far below 0, where neither a time nor a throughput can be."""

    def study(self):
        wide = (100.0, -900.0, 1100.0, 2)
        keys = ("train_tokens_per_s", "p99_ttft_ms", "train_forward_ms", "train_backward_ms")
        return study.Study("s", ["policy", "workload.rate"],
                           [point("temporal", **dict.fromkeys(keys, wide)), point("reuse", **dict.fromkeys(keys, wide))], [])

    def test_times_of_a_step_begin_at_0(self):
        style.use()
        panel = list(throughput.figures(self.study()))[1].drawing.axes[0]
        self.assertEqual(0, panel.get_xlim()[0])
        self.assertGreater(panel.get_xlim()[1], 1100)

    def test_throughput_against_latency_begins_just_below_0(self):
        style.use()
        low, high = next(pareto.figures(self.study())).drawing.axes[0].get_ylim()
        self.assertAlmostEqual(-0.05 * 1100, low)
        self.assertAlmostEqual(1.08 * 1100, high)


class Differences(unittest.TestCase):
    def test_the_figure_says_from_what(self):
        style.use()
        points = [point("temporal", p99_ttft_ms=(1.0,)), point("reuse", p99_ttft_ms=(3.0,))]
        difference = study.Difference(("4",), "reuse", "temporal", "p99_ttft_ms", study.Interval(2.0, 1.0, 3.0, 2))
        one = study.Study("s", ["policy", "workload.rate"], points, [], [difference])
        heading = next(differences.figures(one)).drawing._suptitle
        self.assertEqual("Differences from temporal on the same arrivals", heading.get_text())

    def test_each_panel_has_those_of_its_load_and_metric(self):
        style.use()
        means = {("4", "p99_ttft_ms"): 1.0, ("4", "p99_itl_ms"): 2.0, ("8", "p99_ttft_ms"): 3.0, ("8", "p99_itl_ms"): 4.0}
        points = [study.Point({"policy": policy, "rate": rate}, {"p99_ttft_ms": study.Interval(9.0)}, [("1", "ok", "")])
                  for policy in ("temporal", "reuse") for rate in "48"]
        found = [study.Difference((rate,), "reuse", "temporal", metric, study.Interval(mean, mean - 0.5, mean + 0.25, 2))
                 for (rate, metric), mean in means.items()]
        panels = next(differences.figures(study.Study("s", ["policy", "rate"], points, [], found))).drawing.axes
        marker = style.POLICIES["reuse"][2]
        marks = [[line.get_xdata()[0] for line in panel.lines if line.get_marker() == marker] for panel in panels]
        self.assertEqual([[], [], [1], [3], [2], [4]], marks)  # no panel of training, as none has it
        ends = [segment[:, 0].tolist() for lines in panels[2].collections for segment in lines.get_segments()]
        self.assertEqual([[0.5, 1.25]], ends)


class Sweeps(unittest.TestCase):
    """From the files of a sweep: which runs failed, which fell behind, and whose differences from what."""

    def read(self, **files):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, text in files.items():
            (folder / f"{name}.csv").write_text(text)
        (folder / "sweep.yaml").write_text("minimise: p99_ttft_ms\nsearch: {workload.rate: {low: 1, high: 2, tolerance: 1}}\n")
        return study.make(*inputs.read([folder])[:2])[0]

    def test_runs_intervals_and_differences(self):
        axes = "policy,workload.rate"
        made = self.read(results=f"point,{axes},seed,status,message,saturated\n0,temporal,4,1,ok,,false\n"
                                 "0,temporal,4,2,ok,,false\n1,reuse,4,1,ok,,true\n1,reuse,4,2,failed,out of luck,\n",
                         intervals=f"point,{axes},metric,n,mean,ci95_low,ci95_high\n0,temporal,4,p99_ttft_ms,2,5,4,7\n"
                                   "1,reuse,4,p99_ttft_ms,1,8,,\n",
                         paired=f"point,{axes},baseline,metric,n,mean_difference,ci95_low,ci95_high\n"
                                "1,reuse,4,temporal,p99_ttft_ms,2,3,1,6\n")
        temporal, reuse = made.points
        self.assertEqual((0, 0, 1, 1), (temporal.saturated, temporal.failed, reuse.saturated, reuse.failed))
        self.assertEqual(study.Interval(5, 4, 7, 2), temporal.values["p99_ttft_ms"])
        self.assertEqual(study.Interval(8), reuse.values["p99_ttft_ms"])
        self.assertEqual([study.Difference(("4",), "reuse", "temporal", "p99_ttft_ms", study.Interval(3, 1, 6, 2))],
                         made.differences)
        self.assertIn("1 runs failed</summary><ul><li>policy reuse, workload.rate 4, seed 2: out of luck</li></ul>",
                      report._failures(made))

    def test_what_is_looked_for(self):
        axes = "policy,workload.rate"
        sweep, = self.read(results=f"point,{axes},seed,status,message\n0,temporal,4,1,ok,\n",
                           intervals=f"point,{axes},metric,n,mean,ci95_low,ci95_high\n0,temporal,4,x,1,8,,\n").sources
        self.assertEqual((True, "p99_ttft_ms", ["workload.rate"]), (sweep.minimised, sweep.goal, sweep.found))


class Studies(unittest.TestCase):
    def test_names_are_unique(self):
        sweeps = [Sweep(Path(folder) / "x", ["policy"], Rows("0,temporal,1,ok,"), Rows("0,temporal,p99_ttft_ms,1,5,,"))
                  for folder in "ab"]
        studies = study.make([run("c/x")], sweeps)
        self.assertEqual(["x", "x-2", "x-3"], [each.name for each in studies])
        self.assertEqual([5, 5, 1], [each.points[0].mean("p99_ttft_ms") for each in studies])


class Helpers(unittest.TestCase):
    def test_spread_keeps_the_ends(self):
        self.assertEqual([0, 1, 2], study.spread([0, 1, 2], 4))
        self.assertEqual([0, 3, 6, 9], study.spread(list(range(10)), 4))

    def test_scaled(self):
        self.assertEqual(study.Interval(2, 1, 4, 3), study.Interval(4, 2, 8, 3).scaled(0.5))
        self.assertEqual(study.Interval(2), study.Interval(4).scaled(0.5))

    def test_axes_in_words(self):
        self.assertEqual("request rate (1/s)", axes.axis_label("workload.rate", ""))
        self.assertEqual("link, host to device (GB/s)", axes.axis_label("hardware.link_h2d_bandwidth", "GB/s"))
        self.assertEqual("link, both directions at once", axes.axis_name("hardware.link_duplex_bandwidth"))
        self.assertEqual("some.key", axes.axis_label("some.key", ""))

    def test_maps_go_by_their_names(self):
        self.assertEqual("hardware = larger",
                         axes.axis_value("hardware", "{base: h200, name: larger, memory: 160 GiB}"))
        self.assertEqual("mine", policy_name("{name: 'mine', base: elastic}"))
        for other in ("h200", "{base: h200, memory: 160 GiB}", "name: x"):
            self.assertEqual(other, axes.value_name(other))


if __name__ == "__main__":
    unittest.main()
