"""alchemist plot: figures and the report, the same bytes for the same input, and clear errors."""

import re
import struct
import unittest

from alchemist_cli import CliTestCase, run
from plot_samples import run_directory, sweep_directory


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Plot(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()

    def plot(self, *arguments):
        """Plots into a new folder; all its files."""
        out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        self.assert_done(run("plot", *arguments, "--out", out))
        return files_of(out)

    def assert_picture(self, content):
        """A PNG of some size in which not every pixel is the same."""
        self.assertEqual(b"\x89PNG\r\n\x1a\n", content[:8])
        width, height = struct.unpack(">II", content[16:24])
        self.assertGreater(width, 600)
        self.assertGreater(height, 200)
        self.assertGreater(len(content), 10000)  # a single colour compresses to less

    def test_sweep(self):
        files = self.plot(sweep_directory(self.folder / "sweep"))
        for name in ("throughput", "step_breakdown", "memory", "latency", "pareto", "differences", "breakeven",
                     "against_workload_rate"):
            self.assert_picture(files[f"figures/{name}.png"])
            self.assertIn(b"<svg", files[f"figures/{name}.svg"])
        page = files["report.html"].decode()
        # temporal at 8/s trains 8000 tokens/s, and the interval is 2.484 % of that.
        self.assertIn("8,000 <span class=\"interval\">± 199</span>", page)
        self.assertNotRegex(page, r"(src|href)=\"(?!data:|#)")  # nothing from elsewhere
        self.assertLess(len(page), 3 << 20)

    def test_same_input_same_bytes(self):
        sweep = sweep_directory(self.folder / "sweep")
        first, second = self.plot(sweep), self.plot(sweep)
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
