"""alchemist plot: figures and the report, the same bytes for the same input, and clear errors."""

import re
import shutil
import struct
import unittest

from alchemist_cli import CliTestCase, run
from plot_samples import run_directory, sweep_directory
from samples import EXPERIMENT


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Plot(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()

    def plot(self, *arguments, formats="svg"):
        """Plots into a new folder; all its files."""
        out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        self.assert_done(run("plot", *arguments, "--format", formats, "--out", out))
        return files_of(out)

    def assert_picture(self, content):
        """A PNG of some size in which not every pixel is the same."""
        self.assertEqual(b"\x89PNG\r\n\x1a\n", content[:8])
        width, height = struct.unpack(">II", content[16:24])
        self.assertGreater(width, 600)
        self.assertGreater(height, 200)
        self.assertGreater(len(content), 10000)  # a single colour compresses to less

    def test_sweep_twice(self):
        sweep = sweep_directory(self.folder / "sweep")
        files = self.plot(sweep, formats="png,svg,pdf")
        for name in ("throughput", "step_breakdown", "memory", "latency", "pareto", "differences", "breakeven",
                     "against_workload_rate"):
            self.assert_picture(files[f"figures/{name}.png"])
            self.assertIn(b"<svg", files[f"figures/{name}.svg"])
            self.assertEqual(b"%PDF", files[f"figures/{name}.pdf"][:4])
        page = files["report.html"].decode()
        # temporal at 8/s trains 8000 tokens/s, and the interval is 2.484 % of that.
        self.assertIn("8,000 <span class=\"interval\">± 199</span>", page)
        # alchemist trains as much more, with the same interval on the same seeds.
        self.assertIn("+8,000 <span class=\"interval\">± 199</span>", page)
        self.assertNotRegex(page, r"(src|href)=\"(?!data:|#)")  # nothing from elsewhere
        self.assertLess(len(page), 3 << 20)
        again = self.plot(sweep, formats="png,svg,pdf")
        command = re.compile(rb"--out \S+")  # the only difference
        self.assertEqual({name: command.sub(b"", content) for name, content in files.items()},
                         {name: command.sub(b"", content) for name, content in again.items()})

    def test_axis_with_units_search_and_failed_runs(self):
        sweep = sweep_directory(self.folder / "sweep", "hardware.link_h2d_bandwidth", ["900 MB/s", "25 GB/s"], failed=[3])
        (sweep / "search.csv").write_text(
            "round,rank,point,policy,hardware.link_h2d_bandwidth,seeds,feasible,score,kept\n"
            "1,1,5,alchemist,25 GB/s,3,true,16000,true\n1,2,2,temporal,900 MB/s,3,false,4000,false\n")
        with open(sweep / "sweep.yaml", "a", encoding="utf-8") as file:
            file.write("maximise: train_tokens_per_s\n")
        files = self.plot(sweep)
        self.assertIn("train_tokens_per_s", files["figures/search.svg"].decode())
        self.assertIn("round 1, seeds: 3", files["figures/search.svg"].decode())
        self.assertIn("link, host to device (GB/s)",
                      files["figures/against_hardware_link_h2d_bandwidth.svg"].decode())
        page = files["report.html"].decode()
        self.assertIn("3 runs failed", page)
        self.assertIn("policy temporal, hardware.link_h2d_bandwidth 25 GB/s, seed 2: no &lt;room&gt; left", page)
        self.assertIn("0 of 3", page)
        self.assertNotIn("No candidate keeps the bounds", page)
        search = sweep / "search.csv"
        search.write_text(search.read_text().replace("true,16000", "false,16000"))
        self.assertIn("No candidate keeps the bounds", self.plot(sweep)["report.html"].decode())

    def test_axis_of_words_and_files_that_were_kept(self):
        sweep = sweep_directory(self.folder / "sweep", "workload", ["chat", "code"])
        for point in (2, 4):  # temporal and alchemist with the first workload
            shutil.copytree(run_directory(self.folder), sweep / "points" / f"{point}-1")
        files = self.plot(sweep)
        self.assertEqual([], [name for name in files if "against" in name])
        self.assertIn("workload = code", files["figures/throughput.svg"].decode())
        for name in ("latency_distribution", "timeline_2-1", "timeline_4-1"):
            self.assertIn(f"figures/{name}.svg", files)
        self.assertIn("Time line: alchemist, workload = chat", files["report.html"].decode())

    def test_hardware_changed_one_by_one(self):
        experiment = self.folder / "experiment.yaml"
        experiment.write_text(EXPERIMENT + "training: {feedback: {share: 1, delay: {exponential: 200 ms}}, "
                              "batch_tokens: 512, max_itl: 20 ms}\n")
        sweep = self.folder / "changes.yaml"
        sweep.write_text("base: ./experiment.yaml\ngrid:\n  policy: [temporal, reuse]\n  hardware:\n    - cpu-2core\n" +
                         "".join(f"    - {{base: cpu-2core, name: '{key} {value}', {key}: {value}}}\n" for key, value in
                                 (("step_overhead", "1 ms"), ("step_overhead", "0 ms"), ("recording_slowdown", 9))) +
                         "seeds: [1, 2]\n")
        done = run("sweep", sweep, "--out", self.folder / "sweep")
        self.assert_done(done)
        self.assertIn("\ntemporal  recording_slowdown 9  ", done.stdout)
        plotted = run("plot", self.folder / "sweep", "--format", "svg", "--out", self.folder / "plotted")
        self.assert_done(plotted)
        self.assertNotIn("note:", plotted.stderr)  # each of these is known by the figures that it has
        files = files_of(self.folder / "plotted")
        self.assertIn("recording_slowdown\N{NO-BREAK SPACE}9", files["figures/sensitivity.svg"].decode())
        self.assertIn("figures/breakeven_tiny_recording_slowdown_9.svg", files)

    def test_traced_run_into_its_own_directory(self):
        directory = run_directory(self.folder, "alchemist", "--trace-events")
        before = files_of(directory)
        self.assert_done(run("plot", directory, "--format", "png,svg"))
        after = files_of(directory)
        self.assertEqual(before, {name: content for name, content in after.items() if name in before})
        self.assert_picture(after["figures/timeline.png"])
        self.assertIn("device to host", after["figures/timeline.svg"].decode())

    def test_runs_are_compared_with_each_other(self):
        runs = [run_directory(self.folder, policy) for policy in ("serve_only", "temporal")]
        runs.insert(0, run_directory(self.folder, "planned", "--set", "training.max_version_lag=32"))
        files = self.plot(*runs)
        page = files["report.html"].decode()
        self.assertEqual(["serve_only", "temporal", "planned"], re.findall(r'<th scope="row"[^>]*>(\w+)', page))
        for directory in runs:
            self.assertIn(f"alchemist run {directory}/config.yaml", page)
        self.assertRegex(page, r"one run, seed 7; alchemist \d+\.\d+\.\d+ \(")
        self.assertNotIn("device to host", files["figures/timeline_planned.svg"].decode())
        self.assertIn("A run with --trace-events shows the link too", page)
        self.assertEqual([], [name for name in files if "against" in name])
        for name in ("latency", "memory", "throughput"):  # on one axis
            self.assertNotIn("accepted version lag =", files[f"figures/{name}.svg"].decode())
        self.assertIn("planned, max_version_lag=32", files["figures/memory.svg"].decode())

    def validation(self):
        """As `alchemist validate --device` leaves one, but that its real run is a simulation."""
        folder = self.folder / "validation"
        for world in ("real", "simulated"):
            shutil.copytree(run_directory(self.folder, "temporal"), folder / world)
        (folder / "comparison.csv").write_text("metric,real,simulated,error\nmean_ttft_ms,10,12.5,0.25\n"
                                               "num_preemptions,0,0,\n")
        (folder / "operations.csv").write_text("operation,count,real_s,priced_s,error\ndecode,8,0.5,0.4,-0.2\n")
        return folder

    def test_validation(self):
        folder = self.validation()
        files = self.plot(folder)
        page = files["report.html"].decode()
        svg = files["figures/validation-validation.svg"].decode()
        for text in ("mean\N{NO-BREAK SPACE}TTFT", "as calibrated", "decode\N{NO-BREAK SPACE}(8)", "-20.0"):
            self.assertIn(text, svg)
        self.assertIn("<td data-value=\"0.25\">0.250</td>", page)
        self.assertIn("figures/runs-latency.svg", files)
        self.assertIn(b"temporal, simulated", files["figures/runs-memory.svg"])
        other = shutil.copytree(folder, self.folder / "a/validation")
        both = self.plot(folder, other)
        self.assertIn(b"temporal, a/validation/real", both["figures/runs-memory.svg"])
        self.assertIn("figures/a_validation-validation.svg", both)
        self.assertIn(f"alchemist run {folder}/real/config.yaml --out", page)
        summary = folder / "real/summary.json"
        summary.write_text(summary.read_text().replace("{", '{"device": "CPU, f32",', 1))
        page = self.plot(folder)["report.html"].decode()
        self.assertIn(f"alchemist validate {folder}/real/config.yaml --device DEVICE --out", page)
        self.assertIn(f"alchemist run {folder}/simulated/config.yaml --out", page)
        (folder / "comparison.csv").write_text("metric,real,simulated,error\nmean_ttft_ms,10,12.5,much\n")
        out = self.folder / "nothing"
        self.assert_one_line_error(run("plot", folder, "--out", out), "comparison.csv:2: column error", "\"much\"")
        (folder / "operations.csv").unlink()
        self.assert_one_line_error(run("plot", folder, "--out", out), "operations.csv")
        self.assertFalse(out.exists())

    def test_errors(self):
        sweep = sweep_directory(self.folder / "sweep")
        out = self.folder / "nothing"
        self.assert_one_line_error(run("plot", self.folder, "--out", out), str(self.folder), "summary.json")
        self.assert_one_line_error(run("plot", self.folder / "absent", "--out", out), "absent", "no such directory")
        for text in ("gif", "--"):
            self.assert_one_line_error(run("plot", sweep, "--format", text, "--out", out), f"--format {text}: ", "png")
        failed = sweep_directory(self.folder / "failed", failed=range(6))
        self.assert_one_line_error(run("plot", failed, "--out", out), "no finished run", "no <room> left")
        self.assertFalse(out.exists())

    def test_names_may_be_anything(self):
        sweep = sweep_directory(self.folder / "sweep", "cluster.routing", ["$\\frac$", "\u65e5\u672c"])
        out = self.folder / "out"
        result = run("plot", sweep, "--format", "png", "--out", out)
        self.assert_done(result)
        self.assertEqual(["alchemist: warning: the font of the figures lacks characters of some names, which PNG and PDF show "
                          "as boxes"], result.stderr.splitlines())

    def test_control_characters_of_files_stay_off_the_terminal(self):
        sweep = sweep_directory(self.folder / "sweep")
        text = (sweep / "intervals.csv").read_text(encoding="utf-8")
        (sweep / "intervals.csv").write_text(text.replace(",3,", ",3\x1b[31m\u009b1m,", 1), encoding="utf-8")
        self.assert_one_line_error(run("plot", sweep), "3\\x1b[31m\\x9b1m")

    def test_broken_run(self):
        directory = run_directory(self.folder)
        for name, old, new, expected in (
                ("summary.json", '"policy"', '"polcy"', ("summary.json", "policy: expected a name")),
                ("summary.json", "{", "[", ("summary.json:", "not JSON")),
                ("config.yaml", "model:", "{model:", ("config.yaml:",)),
                ("requests.csv", "ttft_ms", "ttft", ("requests.csv:1: column ttft_ms is missing",))):
            whole = (directory / name).read_text()
            self.assertIn(old, whole)
            (directory / name).write_text(whole.replace(old, new, 1))
            with self.subTest(file=name, new=new):
                self.assert_one_line_error(run("plot", directory), *expected)
                self.assertFalse((directory / "report.html").exists())
            (directory / name).write_text(whole)

    def test_malformed_table(self):
        sweep = sweep_directory(self.folder / "sweep")
        out = self.folder / "nothing"
        intervals = (sweep / "intervals.csv").read_text()
        for old, new, expected in (
                ("0,serve_only,4,request_goodput,3,3.6,", "0,serve_only,4,request_goodput,3,much,",
                 ("intervals.csv:2: ", "column mean", "\"much\"")),
                ("0,serve_only,4,request_goodput,3,3.6,", "0,serve_only,4,request_goodput,3,nan,",
                 ("intervals.csv:2: ", "column mean", "\"nan\"")),
                ("0,serve_only,4,request_goodput,3,3.6,", "0,serve_only,5,request_goodput,3,3.6,",
                 ("intervals.csv:2: ", "no such point")),
                ("0,serve_only,4,request_goodput,3,3.6,", "0,serve_only,4,3.6,",
                 ("intervals.csv:2: ", "expected 8 fields", "got 6")),
                ("ci95_low", "low", ("intervals.csv:1: ", "column ci95_low is missing"))):
            self.assertIn(old, intervals)
            (sweep / "intervals.csv").write_text(intervals.replace(old, new, 1))
            with self.subTest(expected=expected):
                self.assert_one_line_error(run("plot", sweep, "--out", out), *expected)
                self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
