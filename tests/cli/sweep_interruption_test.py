"""A sweep that is stopped, killed or cannot write: nothing that was finished is lost, and --resume ends with the same
tables as if nothing had happened."""

import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest
from pathlib import Path

from alchemist_cli import run
from samples import EXPERIMENT, write_profile
from sweep_samples import SWEEP, SweepTestCase

# Enough runs, each long enough, for a kill to come in their midst.
LONG = SWEEP.replace("[4, 2, 9]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
REQUESTS = 400
RUNS = 60


def stop(pid):
    """Stops the process, a child or a child's; true if it was still at work."""
    try:
        os.kill(pid, signal.SIGSTOP)
        while (state := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) not in "TZX":
            time.sleep(0.002)
    except (ProcessLookupError, FileNotFoundError):  # a child's child, of which nothing is left
        return False
    return state == "T"


def last_rank(mpirun):
    """Of three; none if they have ended."""
    ranks = Path(f"/proc/{mpirun.pid}/task/{mpirun.pid}/children").read_text().split()
    return int(ranks[2]) if len(ranks) == 3 else None


class Interruption(SweepTestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "experiment.yaml").write_text(EXPERIMENT.replace("requests: 50", f"requests: {REQUESTS}"))
        self.sweep_file.write_text(LONG)
        self.out = self.folder / "out"

    def start(self, *arguments, launcher=(), **options):
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        return subprocess.Popen([*launcher, os.environ["ALCHEMIST"], "sweep", str(self.sweep_file), "--out",
                                 str(self.out), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=environment, **options)

    def finished(self):
        """How many runs are in the database, which may not be there yet."""
        if not (self.out / "results.sqlite").exists():
            return 0
        database = sqlite3.connect(f"file:{self.out}/results.sqlite?mode=ro", uri=True)
        try:
            return database.execute("SELECT count(*) FROM runs").fetchone()[0]
        except sqlite3.OperationalError:  # no table yet
            return 0
        finally:
            database.close()

    def catch(self, runs, *arguments, pid_of=lambda process: process.pid, **options):
        """A sweep that has finished that many runs or more and is held in the midst of the others: the process, and which
        one of its own is stopped. Where this program gets no turn until all is over, it is begun once more."""
        while True:
            process = self.start(*arguments, **options)
            while process.poll() is None and self.finished() < runs:
                time.sleep(0.002)
            held = pid_of(process) if process.poll() is None else None
            if held and stop(held):
                if self.finished() < RUNS - 2:  # the one in progress may end in spite of a signal
                    return process, held
                os.kill(held, signal.SIGCONT)
            self.finish(process)
            self.assertEqual(0, process.returncode)
            shutil.rmtree(self.out)

    def finish(self, process):
        """Its stderr."""
        return process.communicate(timeout=120)[1]

    def test_killed_at_twenty_moments(self):
        expected = self.tables(self.sweep("reference"))
        moments = random.Random(20)
        kills = 0
        while kills < 20:
            process = self.start("--resume", "--jobs", "2")
            time.sleep(moments.uniform(0, 0.15))
            running = process.poll() is None
            process.send_signal(signal.SIGKILL)
            self.finish(process)
            kills += running
            if not running:  # it was done before its moment came: once more from the beginning
                self.assertEqual(expected, self.tables(self.out))
                shutil.rmtree(self.out)
        self.sweep("out", "--resume")
        self.assertEqual(expected, self.tables(self.out))

    def test_stopped_on_request(self):
        process, _ = self.catch(2, "--jobs", "1")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        message = self.finish(process)
        self.assertEqual(1, process.returncode)
        self.assertRegex(message, r"stopped by SIGINT; \d+ of 60 runs are done and kept, --resume goes on from there")
        kept = int(re.search(r"(\d+) of 60", message).group(1))
        self.assertEqual(kept, self.finished())
        self.assertFalse((self.out / "results.csv").exists())
        self.sweep("out", "--resume")
        self.assertEqual(self.tables(self.sweep("reference")), self.tables(self.out))

    def test_results_are_not_overwritten(self):
        self.sweep("out")
        before = self.tables(self.out)
        result = run("sweep", self.sweep_file, "--out", self.out)
        self.assert_one_line_error(result, str(self.out), "--resume")
        self.assertEqual(before, self.tables(self.out))
        self.sweep("out", "--resume")  # nothing is left to do
        self.assertEqual(before, self.tables(self.out))

    def test_another_sweep_is_not_mixed_in(self):
        self.sweep("out")
        before = self.tables(self.out)
        self.sweep_file.write_text(LONG.replace("[10, 20]", "[10, 30]"))
        result = run("sweep", self.sweep_file, "--out", self.out, "--resume")
        self.assert_user_error(result, str(self.out), "grid.workload.rate: [10, 20] there, [10, 30] here")
        self.sweep_file.write_text(LONG)
        experiment = self.folder / "experiment.yaml"
        experiment.write_text(experiment.read_text().replace("sigma: 0.6}, output", "sigma: 0.7}, output"))
        result = run("sweep", self.sweep_file, "--out", self.out, "--resume")
        self.assert_user_error(result, "base.workload.lengths.lognormal.prompt.sigma: 0.6 there, 0.7 here")
        self.assertEqual(before, self.tables(self.out))

    def test_changed_model_is_not_mixed_in(self):
        model = self.folder / "small.yaml.model.yaml"
        model.write_text(run("show", "model", "tiny").stdout.split("\n\n")[0] + "\n")
        self.sweep_file.write_text("base: ./experiment.yaml\ngrid: {model: [tiny, ./%s]}\n" % model.name)
        self.sweep("out")
        before = self.tables(self.out)
        model.write_text(model.read_text().replace("layers: ", "layers: 1"))
        result = run("sweep", self.sweep_file, "--out", self.out, "--resume")
        self.assert_user_error(result, "point 1 with seed 7 was run with a configuration that has changed", "model.layers")
        self.assertEqual(before, self.tables(self.out))

    def test_a_search_goes_on_where_a_failed_run_no_longer_fails(self):
        """It has more points then than before, and those behind the failed one get other numbers."""
        for name in "ab":
            write_profile(self.folder / name)
        self.sweep_file.write_text("base: ./experiment.yaml\ngrid: {profile: [./b, ./a]}\nseeds: [1]\n"
                                   "maximise: workload.rate\nsubject_to: {p99_ttft_ms: \"<= 1000\"}\n"
                                   "search: {workload.rate: {low: 5, high: 405, tolerance: 30}}\n")
        dense = self.folder / "b/dense.csv"
        dense.rename(self.folder / "aside.csv")
        failed = run("sweep", self.sweep_file, "--out", self.out)
        self.assertEqual(1, failed.returncode)
        self.assertIn("1 of 3 runs failed", failed.stderr)
        (self.folder / "aside.csv").rename(dense)
        self.sweep("out", "--resume")
        reference = self.sweep("reference")
        self.assertEqual(self.tables(reference), self.tables(self.out))
        self.assertEqual((reference / "search.csv").read_bytes(), (self.out / "search.csv").read_bytes())

    def test_another_version_is_not_mixed_in(self):
        self.sweep("out")
        database = sqlite3.connect(self.out / "results.sqlite")
        with database:
            database.execute("UPDATE sweep SET value = '0.0.9 abc' WHERE key = 'engine'")
        database.close()
        result = run("sweep", self.sweep_file, "--out", self.out, "--resume")
        self.assert_one_line_error(result, "made by version 0.0.9 abc")

    def test_two_sweeps_on_one_directory(self):
        process, _ = self.catch(1, "--jobs", "1")
        try:
            result = run("sweep", self.sweep_file, "--out", self.out, "--resume")
        finally:
            process.send_signal(signal.SIGCONT)
        self.assert_one_line_error(result, str(self.out), "another sweep is writing here")
        self.finish(process)
        self.assertEqual(0, process.returncode)
        self.assertEqual(self.tables(self.sweep("reference")), self.tables(self.out))

    def test_full_disk(self):
        # A file may not grow beyond this: what a full disk does to a database, without one.
        limit = 96 * 1024
        process = self.start("--jobs", "2", preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
        message = self.finish(process)
        self.assertEqual(1, process.returncode)
        self.assertEqual(1, len(message.splitlines()), message)
        self.assertIn(f"cannot write or read {self.out}/results.sqlite", message)
        kept = int(re.search(r"(\d+) of 60 runs are done and kept", message).group(1))
        self.assertEqual(kept, self.finished())
        self.assertGreater(kept, 0)
        self.assertFalse((self.out / "results.csv").exists())
        self.sweep("out", "--resume")
        self.assertEqual(self.tables(self.sweep("reference")), self.tables(self.out))

    def test_directories_that_cannot_be_written(self):
        file = self.folder / "file"
        file.write_text("mine")
        for out in (file, file / "below", "/proc/none"):
            with self.subTest(out=out):
                self.assert_one_line_error(run("sweep", self.sweep_file, "--out", out), str(out))
        self.assertEqual("mine", file.read_text())
        self.out.mkdir()
        (self.out / "results.sqlite").write_text("This is no database, but a text that somebody has put here. " * 20)
        self.assert_one_line_error(run("sweep", self.sweep_file, "--out", self.out), "results.sqlite", "not a database")

    def test_files_of_runs_that_cannot_be_written(self):
        self.sweep_file.write_text(LONG + "keep_files: true\n")
        self.out.mkdir()
        (self.out / "points").write_text("in the way")
        result = run("sweep", self.sweep_file, "--out", self.out)
        self.assert_one_line_error(result, str(self.out / "points"), "0 of 60 runs are done and kept")
        (self.out / "points").unlink()
        self.sweep("out", "--resume")

    @unittest.skipUnless(shutil.which("mpirun"), "mpirun (openmpi-bin) is missing")
    def test_lost_rank(self):
        process, rank = self.catch(3, pid_of=last_rank, launcher=("mpirun", "--oversubscribe", "-n", "3"))
        os.kill(rank, signal.SIGKILL)
        message = self.finish(process)
        self.assertNotEqual(0, process.returncode)
        self.assertIn("exited on signal 9", message)
        self.assertGreaterEqual(self.finished(), 3)
        self.sweep("out", "--resume")
        self.assertEqual(self.tables(self.sweep("reference")), self.tables(self.out))


if __name__ == "__main__":
    unittest.main()
