"""What a command writes: standard output that cannot be written, folders of others, runs that are interrupted."""

import fcntl
import os
import resource
import signal
import subprocess
import time
import unittest

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT


@unittest.skipUnless(os.path.exists("/dev/full"), "/dev/full is missing")
class FullStandardOutput(CliTestCase):
    def test_every_command_says_so(self):
        experiment = self.make_directory() / "experiment.yaml"
        experiment.write_text(EXPERIMENT)
        for arguments in (["run", experiment], ["run", experiment, "--json"], ["list"], ["show", "policy", "alchemist"],
                          ["show", "experiment", "default"], ["workload", "inspect", "chat", "--requests", "50", "--json"],
                          ["--version"], ["--help"]):
            with self.subTest(arguments=arguments), open("/dev/full", "w", encoding="utf-8") as full:
                result = subprocess.run([os.environ["ALCHEMIST"], *map(str, arguments)], stdout=full,
                                        stderr=subprocess.PIPE, text=True, timeout=120, check=False)
                self.assertEqual(1, result.returncode)
                self.assertRegex(result.stderr,  # once the buffer is gone, so is the cause
                                 "^alchemist: cannot write to standard output(: No space left on device)?\n$")


class Folders(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        self.experiment = self.folder / "experiment.yaml"
        self.experiment.write_text(EXPERIMENT)
        self.out = self.folder / "out"
        self.out.mkdir()

    def run_out(self):
        return run("run", self.experiment, "--out", self.out)

    def contents(self):
        return {file.name: file.read_text() for file in self.out.iterdir()}

    def test_of_others(self):
        for files in ({"notes.txt": "mine"}, {"summary.json": "{\"total\": 3}", "config.yaml": "a: 1\n"},
                      {"summary.json": "no JSON", "config.yaml": "a: 1\n"}, {"summary.json": "{}"}):
            with self.subTest(files=files):
                for name, text in files.items():
                    (self.out / name).write_text(text)
                self.assert_one_line_error(self.run_out(), str(self.out), "is not empty", "another --out")
                self.assertEqual(files, self.contents())
                for name in files:
                    (self.out / name).unlink()

    def test_of_earlier_runs(self):
        self.assert_done(self.run_out())
        (self.out / "notes.txt").write_text("mine")
        (self.out / "requests.csv").write_text("old")
        self.assert_done(self.run_out())
        self.assertNotEqual("old", self.contents()["requests.csv"])
        self.assertEqual("mine", self.contents()["notes.txt"])

    def test_of_a_run_that_was_killed(self):
        (self.out / "requests.csv.partial").write_text("half")
        self.assert_done(self.run_out())
        self.assertNotIn("requests.csv.partial", self.contents())

    def test_of_a_run_that_is_under_way(self):
        """Two that write at the same time mixed their lines, and one of them said that all went well."""
        with open(self.out / "requests.csv.partial", "w") as half:
            fcntl.flock(half, fcntl.LOCK_EX)
            half.write("half")
            half.flush()
            self.assert_one_line_error(self.run_out(), "requests.csv.partial: another run is writing it")
            self.assertEqual({"requests.csv.partial": "half"}, self.contents())
        self.assert_done(self.run_out())

    def test_of_a_file_that_may_not_grow(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        result = subprocess.run([os.environ["ALCHEMIST"], "run", str(self.experiment), "--set", "workload.requests=2000",
                                 "--out", str(self.out)], preexec_fn=limit, capture_output=True, text=True, check=False)
        self.assert_one_line_error(result, "cannot write", "File too large")
        self.assertEqual({}, self.contents())

    def test_interrupted(self):
        """The run would take minutes; nothing is left of it, and an earlier run's results stay."""
        for signal_number, earlier in ((signal.SIGINT, False), (signal.SIGTERM, True)):
            with self.subTest(signal=signal_number):
                if earlier:
                    self.assert_done(self.run_out())
                before = self.contents()
                program = subprocess.Popen(
                    [os.environ["ALCHEMIST"], "run", str(self.experiment), "--set", "workload.requests=50000000", "--out",
                     str(self.out), "--record-events", str(self.folder / "run.log")], stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, text=True)
                deadline = time.monotonic() + 60
                while not (self.out / "requests.csv.partial").exists() and time.monotonic() < deadline:
                    time.sleep(0.05)
                program.send_signal(signal_number)
                errors = program.communicate(timeout=60)[1]
                self.assertEqual(1, program.returncode, errors)
                self.assertEqual(f"alchemist: stopped by {signal_number.name}\n", errors)
                self.assertEqual(before, self.contents())
                self.assertEqual({"experiment.yaml", "out"}, {file.name for file in self.folder.iterdir()})


if __name__ == "__main__":
    unittest.main()
