"""alchemist plot: figures and the report, the same bytes for the same input, and clear errors."""

import re
import shutil
import struct
import unittest

from alchemist_cli import CliTestCase, run
from plot_samples import run_directory, sweep_directory


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

    def test_sweep(self):
        files = self.plot(sweep_directory(self.folder / "sweep"), formats="png,svg")
        for name in ("throughput", "step_breakdown", "memory", "latency", "pareto", "differences", "breakeven",
                     "against_workload_rate"):
            self.assert_picture(files[f"figures/{name}.png"])
            self.assertIn(b"<svg", files[f"figures/{name}.svg"])
        page = files["report.html"].decode()
        # temporal at 8/s trains 8000 tokens/s, and the interval is 2.484 % of that.
        self.assertIn("8,000 <span class=\"interval\">± 199</span>", page)
        self.assertNotRegex(page, r"(src|href)=\"(?!data:|#)")  # nothing from elsewhere
        self.assertLess(len(page), 3 << 20)

    def test_numeric_axis_with_units(self):
        files = self.plot(sweep_directory(self.folder / "sweep", "hardware.link_h2d_bandwidth", ["900 MB/s", "25 GB/s"]))
        drawing = files["figures/against_hardware_link_h2d_bandwidth.svg"].decode()
        self.assertIn("link, host to device (GB/s)", drawing)
        self.assertIn("95 % interval", files["report.html"].decode())

    def test_axis_of_words_has_no_lines(self):
        files = self.plot(sweep_directory(self.folder / "sweep", "workload", ["chat", "code"]))
        self.assertEqual([], [name for name in files if "against" in name])
        self.assertIn("workload = code", files["figures/throughput.svg"].decode())

    def test_sweep_that_kept_the_files_of_its_runs(self):
        sweep = sweep_directory(self.folder / "sweep")
        for point in (2, 4):  # temporal and alchemist at 4/s
            shutil.copytree(run_directory(self.folder), sweep / "points" / f"{point}-1")
        files = self.plot(sweep)
        for name in ("latency_distribution", "timeline_2-1", "timeline_4-1"):
            self.assertIn(f"figures/{name}.svg", files)
        self.assertIn("Time line: alchemist, request rate = 4/s", files["report.html"].decode())

    def test_time_line_shows_the_link_of_a_traced_run(self):
        directory = run_directory(self.folder, "alchemist", "--trace-events")
        self.assertIn("device to host", self.plot(directory)["figures/timeline.svg"].decode())
        (directory / "trace.json").unlink()
        files = self.plot(directory)
        self.assertNotIn("device to host", files["figures/timeline.svg"].decode())
        self.assertIn("A run with --trace-events shows the link too", files["report.html"].decode())

    def test_runs_are_compared_with_each_other(self):
        runs = [run_directory(self.folder, policy) for policy in ("planned", "serve_only", "temporal")]
        page = self.plot(*runs)["report.html"].decode()
        self.assertEqual(["serve_only", "temporal", "planned"], re.findall(r'<th scope="row"[^>]*>(\w+)', page))
        for directory in runs:
            self.assertIn(f"alchemist run {directory}/config.yaml", page)
        self.assertRegex(page, r"one run, seed 7; alchemist \d+\.\d+\.\d+ \(")

    def test_several_studies_do_not_mix(self):
        files = self.plot(sweep_directory(self.folder / "a/x"), sweep_directory(self.folder / "b/x"),
                          run_directory(self.folder))
        for name in ("x-memory", "x-2-memory", "alchemist-memory"):
            self.assertIn(f"figures/{name}.svg", files)

    def test_failed_runs_are_told(self):
        page = self.plot(sweep_directory(self.folder / "sweep", failed=[3]))["report.html"].decode()
        self.assertIn("3 runs failed", page)
        self.assertIn("policy temporal, workload.rate 8, seed 2: no &lt;room&gt; left", page)
        self.assertIn("0 of 3", page)

    def test_same_input_same_bytes(self):
        sweep = sweep_directory(self.folder / "sweep")
        first, second = self.plot(sweep, formats="png,svg,pdf"), self.plot(sweep, formats="png,svg,pdf")
        mask = re.compile(rb"--out \S+")  # the command line differs
        self.assertEqual({name: mask.sub(b"", content) for name, content in first.items()},
                         {name: mask.sub(b"", content) for name, content in second.items()})

    def test_run_into_its_own_directory(self):
        directory = run_directory(self.folder)
        before = files_of(directory)
        self.assert_done(run("plot", directory, "--format", "png"))
        after = files_of(directory)
        self.assertEqual(before, {name: content for name, content in after.items() if name in before})
        self.assert_picture(after["figures/throughput.png"])
        self.assertNotIn("figures/throughput.svg", after)
        self.assertIn("report.html", after)

    def test_errors(self):
        sweep = sweep_directory(self.folder / "sweep")
        out = self.folder / "nothing"
        self.assert_one_line_error(run("plot", self.folder, "--out", out), str(self.folder), "summary.json")
        self.assert_one_line_error(run("plot", self.folder / "absent", "--out", out), "absent", "no such directory")
        self.assert_one_line_error(run("plot", sweep, "--format", "gif", "--out", out), "gif", "png")
        self.assertFalse(out.exists())

    def test_nothing_finished(self):
        sweep = sweep_directory(self.folder / "sweep", failed=range(6))
        self.assert_one_line_error(run("plot", sweep), "no finished run", "no <room> left")

    def test_out_that_cannot_be_written(self):
        sweep = sweep_directory(self.folder / "sweep")
        (self.folder / "file").write_text("")
        self.assert_one_line_error(run("plot", sweep, "--format", "png", "--out", self.folder / "file"), "cannot write")
        self.assertEqual("", (self.folder / "file").read_text())

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
