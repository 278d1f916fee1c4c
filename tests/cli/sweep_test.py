"""alchemist sweep: its tables, their agreement with single runs, and that they do not depend on how they were made."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import unittest

from alchemist_cli import run
from samples import EXPERIMENT
from sweep_samples import SWEEP, SweepTestCase, read_table

T_975_2 = 4.302652729911275  # Student's t, 97.5 %, two degrees of freedom


class Sweep(SweepTestCase):
    def test_results_are_those_of_single_runs(self):
        rows = read_table(self.sweep("out") / "results.csv")
        self.assertEqual(18, len(rows))
        self.assertEqual(["point", "workload.rate", "policy", "seed", "status", "message", "completed"],
                         list(rows[0])[:7])
        points = [(rate, policy) for rate in ("10", "20") for policy in ("serve_only", "temporal", "reuse")]
        self.assertEqual([(str(i), *point, seed) for i, point in enumerate(points) for seed in ("4", "2", "9")],
                         [(r["point"], r["workload.rate"], r["policy"], r["seed"]) for r in rows])
        row = rows[3 * 4 + 1]
        single = run("run", self.folder / "experiment.yaml", "--set", "workload.rate=20", "--policy", "temporal",
                     "--seed", "2", "--json")
        self.assert_done(single)
        summary = json.loads(single.stdout)
        keys = list(summary)[list(summary).index("completed"):]
        self.assertEqual(keys, list(row)[6:])
        for key in keys:
            expected = "" if summary[key] is None else json.dumps(summary[key])
            self.assertEqual(json.loads(expected or "null"), json.loads(row[key] or "null"), key)

    def test_intervals_and_paired_differences(self):
        out = self.sweep("out")
        rows = read_table(out / "results.csv")

        def values(point, metric):
            return [float(r[metric]) for r in rows if r["point"] == str(point)]

        def expect(row, sample, mean_column):
            mean = sum(sample) / 3
            half = T_975_2 * math.sqrt(sum((x - mean) ** 2 for x in sample) / 2 / 3)
            self.assertEqual("3", row["n"])
            self.assertAlmostEqual(mean, float(row[mean_column]), places=6)
            self.assertAlmostEqual(mean - half, float(row["ci95_low"]), places=6)
            self.assertAlmostEqual(mean + half, float(row["ci95_high"]), places=6)

        interval = {(r["point"], r["metric"]): r for r in read_table(out / "intervals.csv")}
        expect(interval["4", "p99_ttft_ms"], values(4, "p99_ttft_ms"), "mean")
        mean, low, high = (float(interval["4", "p99_ttft_ms"][column]) for column in ("mean", "ci95_low", "ci95_high"))
        self.assertIn(f" {mean:.2f} +- {(high - low) / 2:.2f} ", run("sweep", self.sweep_file, "--out", out, "--resume").stdout)
        self.assertNotIn(("4", "saturated"), interval)  # no number
        paired = {(r["point"], r["metric"]): r for r in read_table(out / "paired.csv")}
        self.assertEqual({"1", "2", "4", "5"}, {point for point, _ in paired})  # 0 and 3 are the baseline
        row = paired["4", "p99_ttft_ms"]
        self.assertEqual("serve_only", row["baseline"])
        expect(row, [a - b for a, b in zip(values(4, "p99_ttft_ms"), values(3, "p99_ttft_ms"))], "mean_difference")

    def test_what_a_run_warned_of_stands_beside_it(self):
        self.sweep_file.write_text("base: ./experiment.yaml\nseeds: [1]\n"
                                   "grid: {policy: [temporal, {base: temporal, window_layers: 9}]}\n")
        plain, idle = (row["message"] for row in read_table(self.sweep("out") / "results.csv"))
        self.assertNotIn("no use is made", plain)
        self.assertIn("no use is made of window_layers", idle)

    def test_options_change_a_sweep(self):
        """Each gives what the sweep would give with it in its file; a part of the points, the points of the whole."""
        trace = self.folder / "trace.csv"
        trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n" +
                         "".join(f"{i / 10},{20 + i},5\n" for i in range(40)))
        changed = self.sweep("options", "--trace", trace, "--set", "serving.block_size=8", "--set", "slo.ttft=30 ms",
                             "--grid", "policy=[temporal, reuse]", "--grid", "training.batch_tokens=[64, 256]",
                             "--seeds", "9,2")
        self.sweep_file.write_text(
            "base: ./experiment.yaml\nset: {workload: ./trace.csv, serving.block_size: 8, slo.ttft: 30 ms}\n"
            "grid: {workload.rate: [10, 20], policy: [temporal, reuse], training.batch_tokens: [64, 256]}\n"
            "seeds: [9, 2]\n")
        written = self.sweep("written")
        self.assertEqual(self.tables(written), self.tables(changed))
        self.assertEqual((written / "sweep.yaml").read_bytes(), (changed / "sweep.yaml").read_bytes())
        self.assertEqual(16, len(read_table(changed / "results.csv")))

    def test_a_sweep_goes_on_with_the_options_that_it_began_with(self):
        options = ["--grid", "policy=[reuse]", "--seeds", "4"]
        out = self.sweep("out", *options)
        before = self.tables(out)
        self.sweep("out", *options, "--resume")
        self.assertEqual(before, self.tables(out))
        other = run("sweep", self.sweep_file, "--out", out, "--resume", "--seeds", "4")
        self.assert_user_error(other, f"{out}: holds the results of another sweep", "grid.policy: [reuse] there")
        self.assertEqual(before, self.tables(out))

    def test_bad_options_write_nothing(self):
        for options, words in [(["--set", "workload.rate=3"], ["--set workload.rate=3", "--grid"]),
                               (["--set", "policy.recrd=minimal"], ["--set policy.recrd=minimal", "record"]),
                               (["--grid", "policy=[reuze]"], ["--grid policy=[reuze]", "did you mean \"reuse\"?"]),
                               (["--grid", "policy=reuse"], ["--grid policy=reuse", "expected a list"]),
                               (["--seeds", "1,x"], ["--seeds", "x"]), (["--seeds", "1,-2"], ["--seeds", "-2"]),
                               (["--seeds", "2,2"], ["--seeds", "twice"]),
                               (["--trace", self.folder / "no.csv"], ["--trace", "no.csv"])]:
            with self.subTest(options=options):
                result = run("sweep", self.sweep_file, "--out", self.folder / "out", *options)
                self.assert_user_error(result, *words)
                self.assertFalse((self.folder / "out").exists())

    def test_one_seed_has_no_bounds(self):
        self.sweep_file.write_text(SWEEP.replace("[4, 2, 9]", "[4]"))
        row = read_table(self.sweep("out") / "intervals.csv")[0]
        self.assertEqual(("1", "", ""), (row["n"], row["ci95_low"], row["ci95_high"]))

    def test_threads_and_a_second_time_give_the_same_tables(self):
        first = self.tables(self.sweep("one", "--jobs", "1"))
        self.assertEqual(first, self.tables(self.sweep("two", "--jobs", "2")))
        self.assertEqual(first, self.tables(self.sweep("many", "--jobs", "16")))

    def test_written_sweep_runs_again(self):
        first = self.sweep("a")
        self.assert_done(run("sweep", first / "sweep.yaml", "--out", self.folder / "b"))
        self.assertEqual(self.tables(first), self.tables(self.folder / "b"))
        self.assertEqual((first / "sweep.yaml").read_bytes(), (self.folder / "b/sweep.yaml").read_bytes())
        self.assertNotIn(str(self.folder), (first / "sweep.yaml").read_text())

    def test_database(self):
        out = self.sweep("out")
        database = sqlite3.connect(out / "results.sqlite")
        self.addCleanup(database.close)
        runs = database.execute("SELECT axes, status, config, summary FROM runs WHERE point = 4 AND seed = 2").fetchall()
        self.assertEqual(1, len(runs))
        axes, status, config, summary = runs[0]
        self.assertEqual({"workload.rate": "20", "policy": "temporal"}, json.loads(axes))
        self.assertEqual("ok", status)
        (self.folder / "config.yaml").write_text(config)
        again = run("run", self.folder / "config.yaml", "--json")
        self.assertEqual(again.stdout, summary)
        self.assertEqual([(p, s, "ok") for p in range(6) for s in (2, 4, 9)],
                         database.execute("SELECT point, seed, status FROM runs").fetchall())
        self.assertEqual([("engine",), ("schema",), ("sweep",)],
                         database.execute("SELECT key FROM sweep ORDER BY key").fetchall())

    def test_files_of_each_run(self):
        self.sweep_file.write_text(SWEEP + "keep_files: true\n")
        out = self.sweep("out")
        self.assertEqual(18, len(list((out / "points").iterdir())))
        kept = json.loads((out / "points/4-2/summary.json").read_text())
        row = read_table(out / "results.csv")[13]
        self.assertEqual(float(row["p99_ttft_ms"]), kept["p99_ttft_ms"])
        self.assertEqual(51, len((out / "points/4-2/requests.csv").read_text().splitlines()))

    def test_failed_points_do_not_stop_the_others(self):
        self.sweep_file.write_text(SWEEP.replace("temporal", "separate"))  # which needs a GPU to train on
        result = run("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assertEqual(1, result.returncode)
        self.assertIn("6 of 18 runs failed", result.stderr)
        self.assertIn(f"point 1, seed 4 failed: {self.sweep_file}:4: key policy: separate needs at least one",
                      result.stderr.replace("seed 2", "seed 4").replace("seed 9", "seed 4"))
        rows = read_table(self.folder / "out/results.csv")
        self.assertEqual({"serve_only": {"ok"}, "separate": {"failed"}, "reuse": {"ok"}},
                         {p: {r["status"] for r in rows if r["policy"] == p} for p in ("serve_only", "separate", "reuse")})
        failed = next(r for r in rows if r["status"] == "failed")
        self.assertIn("at least one GPU", failed["message"])
        self.assertEqual("", failed["completed"])
        self.assertNotIn("1", {r["point"] for r in read_table(self.folder / "out/intervals.csv")})

    def test_built_in_sweeps_are_listed_and_shown(self):
        listed = run("list", "sweep")
        self.assert_done(listed)
        self.assertIn("The default comparison", listed.stdout)
        shown = run("show", "sweep", "default")
        self.assert_done(shown)
        self.assertIn("# 45 points, 3 seeds each.", shown.stdout)
        self.assert_one_line_error(run("sweep", "defalt"), "did you mean \"default\"?")

    def test_rank_without_mpi(self):
        """A program that is started as a rank, but whose module for MPI is not beside it."""
        program = self.folder / "alchemist"
        shutil.copy(os.environ["ALCHEMIST"], program)
        result = subprocess.run([program, "sweep", self.sweep_file, "--out", self.folder / "out"], capture_output=True,
                                text=True, env=dict(os.environ, PMI_RANK="0"), timeout=120, check=False)
        self.assert_one_line_error(result, "one of several MPI ranks", "libalchemist_mpi.so")
        self.assertFalse((self.folder / "out").exists())

    def test_keys_of_a_policy(self):
        """Policies by name, and a key of each of them; the sweep that is written runs again."""
        self.sweep_file.write_text("base: ./experiment.yaml\ngrid: {policy: [reuse, alchemist], "
                                   "policy.gpu_record_share: [0.01, 0.2]}\nseeds: [1]\n")
        out = self.sweep("a")
        rows = read_table(out / "results.csv")
        self.assertEqual([("reuse", "0.01"), ("reuse", "0.2"), ("alchemist", "0.01"), ("alchemist", "0.2")],
                         [(row["policy"], row["policy.gpu_record_share"]) for row in rows])
        self.assertEqual({"ok"}, {row["status"] for row in rows})
        single = run("run", self.folder / "experiment.yaml", "--policy", "alchemist", "--seed", "1", "--json",
                     "--set", "policy.gpu_record_share=0.2")
        self.assertEqual(json.loads(single.stdout)["peak_total_bytes"], int(rows[3]["peak_total_bytes"]))
        self.assert_done(run("sweep", out / "sweep.yaml", "--out", self.folder / "b"))
        self.assertEqual(self.tables(out), self.tables(self.folder / "b"))

    def test_maps_go_by_their_names_in_the_table(self):
        """As long as these tell them apart; results.csv has them whole."""
        values = ["{base: cpu-2core, name: %s, step_overhead: %s}" % each
                  for each in (("slow host", "1 ms"), ("slow", "2 ms"), ("slow", "3 ms"))]
        self.sweep_file.write_text("base: ./experiment.yaml\nseeds: [1]\n"
                                   f"grid: {{hardware: [cpu-2core, {', '.join(values)}]}}\n")
        result = run("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assert_done(result)
        shown = [line.split("  ")[0] for line in result.stdout.splitlines()[:5]]
        self.assertEqual(["hardware", "cpu-2core", "slow host", *values[1:]], shown)
        self.assertEqual(["cpu-2core", *values],
                         [row["hardware"] for row in read_table(self.folder / "out/results.csv")])

    def test_bad_sweep_writes_nothing(self):
        self.sweep_file.write_text(SWEEP + "sedes: [1]\n")
        result = run("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assert_one_line_error(result, f"{self.sweep_file}:6: ", "sedes", "did you mean \"seeds\"?")
        self.assertFalse((self.folder / "out").exists())

    def test_a_value_that_cannot_be_read_is_found_before_anything_runs(self):
        for sweep, line, words in [(SWEEP.replace("reuse]", "reuze]"), 4, ["reuze", "did you mean \"reuse\"?"]),
                                   (SWEEP.replace("20]", "-20]"), 3, ["workload.rate", "-20"]),
                                   (Search.SEARCH.replace("405", "4050000"), None, ["workload.rate"]),
                                   (Search.SEARCH.replace("[30, 40]", "[30, 0]"), 7, ["workload.requests"])]:
            with self.subTest(words=words):
                self.sweep_file.write_text(sweep)
                result = run("sweep", self.sweep_file, "--out", self.folder / "out")
                self.assert_one_line_error(result, f"{self.sweep_file}:{line}: " if line else "", *words)
                self.assertFalse((self.folder / "out").exists())

    def test_a_sweep_and_a_run_do_not_share_a_folder(self):
        experiment = self.folder / "experiment.yaml"
        self.assert_done(run("run", experiment, "--out", self.folder / "run"))
        before = sorted(path.name for path in (self.folder / "run").iterdir())
        self.assert_one_line_error(run("sweep", self.sweep_file, "--out", self.folder / "run"),
                                   f"{self.folder / 'run'}: has the results of a run")
        self.assertEqual(before, sorted(path.name for path in (self.folder / "run").iterdir()))
        out = self.sweep("out")
        self.assert_one_line_error(run("run", experiment, "--out", out), f"{out}: has the results of a sweep")
        self.assertFalse((out / "summary.json").exists())


class Search(SweepTestCase):
    SEARCH = """\
base: ./experiment.yaml
grid: {policy: [serve_only, temporal, reuse]}
seeds: [1, 2]
maximise: workload.rate
subject_to: {p99_ttft_ms: "<= 9.6"}
search: {workload.rate: {low: 5, high: 405, tolerance: 30}}
halving: {workload.requests: [30, 40]}
"""

    def test_bisection_and_halving(self):
        self.sweep_file.write_text(self.SEARCH)
        out = self.sweep("out", "--jobs", "1")
        search = read_table(out / "search.csv")
        self.assertEqual([("1", "3"), ("2", "2")], [(r, str(sum(row["round"] == r for row in search))) for r in "12"])
        self.assertEqual(["true", "true", "false", "true", "false"], [row["kept"] for row in search])
        self.assertEqual(["1", "1", "1", "2", "2"], [row["seeds"] for row in search])
        results = read_table(out / "results.csv")
        for row in search:
            # The bound holds at the answer, and does not at the next rate that was tried above it.
            self.assertEqual("true", row["feasible"])
            self.assertEqual(float(row["score"]), float(row["workload.rate"]))
            tried = {}
            for r in results:
                if (r["policy"], r["workload.requests"]) == (row["policy"], row["workload.requests"]):
                    tried.setdefault(float(r["workload.rate"]), []).append(float(r["p99_ttft_ms"]))
            good = {rate for rate, p99 in tried.items() if sum(p99) / len(p99) <= 9.6}
            self.assertIn(float(row["score"]), good)
            above = min(rate for rate in tried if rate > float(row["score"]))
            self.assertNotIn(above, good)
            self.assertLessEqual(above - float(row["score"]), 30)
        self.assertEqual(search[3]["score"], str(max(float(r["score"]) for r in search if r["round"] == "2")).rstrip("0")
                         .rstrip("."))
        other = self.sweep("other", "--jobs", "2")
        self.assertEqual((out / "search.csv").read_bytes(), (other / "search.csv").read_bytes())
        self.assertEqual(self.tables(out), self.tables(other))

    def test_best_of_a_grid(self):
        self.sweep_file.write_text(SWEEP + "maximise: train_tokens_per_s\nsubject_to: {p99_ttft_ms: \"<= 1e9\"}\n")
        result = run("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assert_done(result)
        search = read_table(self.folder / "out/search.csv")
        # Six candidates, halved as often as there are seeds: 6, 3, 2; with the first 1, 2, 3 seeds.
        self.assertEqual(["1"] * 6 + ["2"] * 3 + ["3"] * 2, [r["round"] for r in search])
        self.assertEqual(["1"] * 6 + ["2"] * 3 + ["3"] * 2, [r["seeds"] for r in search])
        self.assertEqual(6 + 3 + 2, len(read_table(self.folder / "out/results.csv")))
        self.assertIn("Best: workload.rate=%s policy=%s" % (search[9]["workload.rate"], search[9]["policy"]),
                      result.stdout)

    def test_nothing_within_the_bounds(self):
        self.sweep_file.write_text(self.SEARCH.replace("<= 9.6", "< 0"))
        result = run("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assert_done(result)
        self.assertIn("No candidate of the last round: highest workload.rate with p99_ttft_ms < 0", result.stdout)
        # What each of them has of it, and which of them is nearest.
        lines = result.stdout.splitlines()
        self.assertEqual("p99_ttft_ms", lines[0].split()[-1])
        ttft = {line.split()[0]: float(line.split()[-1]) for line in lines[1:3]}
        self.assertEqual(2, len(ttft))
        nearest = min(ttft, key=ttft.get)
        self.assertRegex(result.stdout, f"\nNearest: policy={nearest} workload.rate=5 workload.requests=40 "
                                        f"\\(p99_ttft_ms {ttft[nearest]:g}\\)\n")
        self.assertEqual({"false"}, {r["feasible"] for r in read_table(self.folder / "out/search.csv")})

    def test_what_misses_a_bound_by_less_stays_longer(self):
        """Whatever it serves: a longer run may keep the bound."""
        self.sweep_file.write_text(SWEEP + "maximise: output_throughput\nsubject_to: {p99_ttft_ms: \"< 0\"}\n")
        out = self.sweep("out")
        first = [row for row in read_table(out / "search.csv") if row["round"] == "1"]
        results = {r["point"]: r for r in read_table(out / "results.csv") if r["seed"] == "4"}
        ttft = [float(results[row["point"]]["p99_ttft_ms"]) for row in first]
        self.assertEqual(sorted(ttft), ttft)
        served = [float(results[row["point"]]["output_throughput"]) for row in first]
        self.assertNotEqual(sorted(served, reverse=True), served)

    def test_the_lowest_value_that_keeps_the_bounds(self):
        self.sweep_file.write_text(self.SEARCH.replace("maximise", "minimise").replace("<= 9.6", "> 9.6"))
        out = self.sweep("out")
        results = read_table(out / "results.csv")
        search = [row for row in read_table(out / "search.csv") if row["round"] == "2"]
        self.assertEqual(sorted(search, key=lambda row: float(row["score"])), search)
        for row in search:
            tried = {}
            for r in results:
                if (r["policy"], r["workload.requests"]) == (row["policy"], row["workload.requests"]):
                    tried.setdefault(float(r["workload.rate"]), []).append(float(r["p99_ttft_ms"]))
            good = {rate for rate, p99 in tried.items() if sum(p99) / len(p99) > 9.6}
            self.assertIn(float(row["score"]), good)
            below = max(rate for rate in tried if rate < float(row["score"]))
            self.assertNotIn(below, good)
            self.assertLessEqual(float(row["score"]) - below, 30)

    def test_a_key_with_a_unit(self):
        """The dial between serving and training."""
        sweep = self.SEARCH.replace("maximise: workload.rate", "maximise: train_tokens_per_s").replace(
            "workload.rate: {low: 5, high: 405, tolerance: 30}",
            "training.max_itl: {low: 1 ms, high: 9 ms, tolerance: 0.5 ms}").replace("p99_ttft_ms: \"<= 9.6", "p99_itl_ms: \"<= 5")
        self.sweep_file.write_text(sweep.replace("[serve_only, temporal, reuse]", "[temporal, reuse]"))
        out = self.sweep("out")
        search = read_table(out / "search.csv")
        self.assertTrue(all(row["training.max_itl"].endswith(" ms") for row in search))
        self.assertEqual({"true"}, {row["feasible"] for row in search})
        self.assertLess(1, len({r["training.max_itl"] for r in read_table(out / "results.csv")}))
        self.assert_done(run("sweep", out / "sweep.yaml", "--out", self.folder / "again"))
        self.assertEqual(self.tables(out), self.tables(self.folder / "again"))


@unittest.skipUnless(shutil.which("mpirun"), "mpirun (openmpi-bin) is missing")
class Ranks(SweepTestCase):
    def mpirun(self, *arguments):
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        return subprocess.run(["mpirun", "--oversubscribe", "-n", "3", os.environ["ALCHEMIST"], *map(str, arguments)],
                              env=environment, capture_output=True, text=True, errors="surrogateescape", timeout=240,
                              check=False)

    def test_three_ranks_give_the_same_tables(self):
        result = self.mpirun("sweep", self.sweep_file, "--out", self.folder / "ranks")
        self.assert_done(result)
        self.assertEqual(1, result.stdout.count("18 runs."))
        self.assertEqual(self.tables(self.sweep("threads")), self.tables(self.folder / "ranks"))

    def test_files_of_runs_in_a_folder_whose_name_is_no_text(self):
        self.sweep_file.write_text(SWEEP.replace("[4, 2, 9]", "[4]") + "keep_files: true\n")
        out = self.folder / os.fsdecode(b"out\xff")
        self.assert_done(self.mpirun("sweep", self.sweep_file, "--out", out))
        self.assertTrue((out / "points" / "0-4" / "requests.csv").exists())
        self.assertEqual([out], [folder for folder in self.folder.iterdir() if folder.is_dir()])

    def test_mistakes_end_all_ranks(self):
        self.sweep_file.write_text(SWEEP + "sedes: [1]\n")
        result = self.mpirun("sweep", self.sweep_file, "--out", self.folder / "out")
        self.assertEqual(1, result.returncode)
        self.assertEqual(1, result.stderr.count("did you mean \"seeds\"?"))
        self.assertFalse((self.folder / "out").exists())


if __name__ == "__main__":
    unittest.main()
