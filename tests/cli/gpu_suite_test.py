#!/usr/bin/env python3
"""tools/gpu_suite: without a GPU it says so and keeps the machine's description; with one (scripts stand in for the
driver's tool and for the programs), failures do not stop it and a second call goes on where the first ended."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(os.environ["ALCHEMIST_SOURCE_DIR"])
SUITE = SOURCE / "tools/gpu_suite"
sys.dont_write_bytecode = True
sys.path.insert(0, str(SUITE.parent))
from gpu.machine import WITHOUT_CUDNN  # noqa: E402
from gpu.stages import LATE, stages  # noqa: E402


class GpuSuiteTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.calls = self.root / "calls"
        for path in ("bin", "build/tests", "out"):
            (self.root / path).mkdir(parents=True)
        # Every program notes that it was called.
        for program in ("build/alchemist", "build/tests/test_gpu", "build/tests/kernels_benchmark"):
            self.script(program, f'[ "$*" = --version ] || echo "$(basename "$0") $*" >> {self.calls}\necho result')

    def tearDown(self):
        self.folder.cleanup()

    def script(self, name, text):
        path = self.root / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def add_gpu(self):
        self.script("bin/nvidia-smi", 'echo "NVIDIA H100 Test, 580.0, 81559 MiB, 0, 1, 1, 1, 1, 1, 1, 1, 30"')
        self.script("bin/python3", 'case "$*" in *pytorch_layer*) exit 3;; *) exit 1;; esac')

    def start(self, *arguments):
        environment = {**os.environ, "PATH": f"{self.root}/bin:/usr/bin:/bin", "ALCHEMIST_BUILD": f"{self.root}/build"}
        return subprocess.Popen(["/usr/bin/python3", SUITE, "--out", self.root / "out", *arguments], env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_suite(self, *arguments):
        with self.start(*arguments) as suite:
            stdout, stderr = suite.communicate(timeout=120)
            return subprocess.CompletedProcess(suite.args, suite.returncode, stdout, stderr)

    def results(self):
        return json.loads((self.root / "out/stages.json").read_text(encoding="utf-8"))

    def states(self):
        return {name: stage["state"] for name, stage in self.results().items()}

    def test_no_gpu(self):
        self.script("bin/nvidia-smi", "echo no devices were found; exit 9")
        done = self.run_suite()
        self.assertEqual(1, done.returncode)
        self.assertIn("no CUDA device", done.stderr)
        machine = json.loads((self.root / "out/machine.json").read_text(encoding="utf-8"))
        self.assertEqual([], machine["gpus"])
        self.assertTrue(machine["cpu"])
        self.assertFalse(self.calls.exists(), "no stage may have been started")

    def test_a_driver_that_hangs_is_asked_once(self):
        self.script("bin/nvidia-smi", f"echo asked >> {self.calls}\nsleep 100")
        done = self.run_suite()
        self.assertEqual("asked\n", self.calls.read_text(encoding="utf-8"))
        self.assertEqual(1, done.returncode)
        self.assertIn("no CUDA device: nvidia-smi says nothing for", done.stderr)

    def test_missing_program(self):
        self.add_gpu()
        (self.root / "build/tests/test_gpu").unlink()
        done = self.run_suite()
        self.assertEqual(1, done.returncode)
        self.assertIn("tests/test_gpu is missing", done.stderr)

    def test_all_stages(self):
        self.add_gpu()
        done = self.run_suite()
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        states = self.states()
        self.assertEqual("skipped", states["pytorch"])
        self.assertEqual("done", states["correctness"])
        self.assertEqual("result\n", (self.root / "out/benchmark/kernels.csv").read_text(encoding="utf-8"))
        calls = self.calls.read_text(encoding="utf-8")
        for expected in ("test_gpu --gtest_filter=", "kernels_benchmark --device cuda ",
                         "kernels_benchmark --device cuda-cudnn", "kernels_benchmark --device cuda-hopper",
                         "calibrate --device cuda-hopper", "validate gpu_8b_2k --device cuda-hopper",
                         "alchemist calibrate --device cuda", "staleness --device cuda",
                         "learning --device cuda",
                         "validate gpu_8b_8k --device cuda", "planned.yaml --set hardware=h100",
                         "--rounds 3 --cuda-graphs --out", "--set serving.cuda_graphs=true --out",
                         "--set training.backward=recorded --set training.max_version_lag=32 --out"):
            self.assertIn(expected, calls)
        self.assertNotIn("--gtest_brief", calls, "the log is to say which test runs")

    def test_policies_are_what_the_program_takes(self):
        self.add_gpu()
        self.assertEqual(0, self.run_suite().returncode)
        policies = sorted((self.root / "out").glob("*validate_*/*.yaml"))
        self.assertEqual(10, len(policies))
        stages_of = {}
        for policy in policies:
            experiment = "gpu_8b_" + re.search("validate_(.k)_", str(policy))[1]
            out = self.root / "simulated" / policy.parent.name
            options = LATE if policy.parent.name.startswith("late") else ()
            done = subprocess.run([os.environ["ALCHEMIST"], "run", experiment, "--policy", policy, *options, "--out", out],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(0, done.returncode, f"{policy}: {done.stderr}")
            self.assertEqual("", done.stderr, "every sample can be trained")
            stages_of.setdefault((out / "requests.csv").read_bytes(), []).append(policy.parent.name)
            if policy.parent.name.startswith("reload"):
                summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
                self.assertGreater(summary["link_h2d_bytes"], 4e9, policy)
        same = [names for names in stages_of.values() if len(names) > 1]
        self.assertEqual([["graphs_validate_2k_alchemist", "hopper_validate_2k_alchemist", "validate_2k_alchemist"]], same,
                         "only what is another mode of the program is the same to the simulation")

    def test_unknown_gpu_has_no_simulation_to_compare_with(self):
        self.add_gpu()
        self.script("bin/nvidia-smi", 'echo "NVIDIA Unheard, 580.0, 81559 MiB, 0, 1, 1, 1, 1, 1, 1, 1, 30"')
        self.assertEqual(0, self.run_suite("--only", "calibrate", "validate_2k_compact").returncode)
        self.assertEqual({"calibrate": "done", "validate_2k_compact": "skipped"}, self.states())

    def test_failure_stops_nobody_and_is_tried_again(self):
        self.add_gpu()
        self.script("build/tests/kernels_benchmark",
                    'case "$*" in *cuda-cudnn* | *cuda-hopper*) exit 3;; esac\necho broken >&2; exit 7')
        done = self.run_suite()
        self.assertEqual(1, done.returncode)
        self.assertEqual("failed", self.states()["benchmark"])
        self.assertEqual("skipped", self.states()["cudnn"], "3: what it needs is not here")
        self.assertEqual("done", self.states()["calibrate"])
        self.assertIn("exit status 7", done.stdout)
        self.assertIn("broken", (self.root / "out/benchmark/log.txt").read_text(encoding="utf-8"))

        self.calls.unlink()
        self.script("build/tests/kernels_benchmark", f"echo again >> {self.calls}")
        self.assertEqual(0, self.run_suite().returncode)
        self.assertEqual("again\n", self.calls.read_text(encoding="utf-8"), "what is done is not repeated")

    def test_what_failed_waits_behind_what_never_ran(self):
        self.add_gpu()
        (self.root / "out/stages.json").write_text('{"correctness": {"state": "failed"}}', encoding="utf-8")
        self.assertEqual(0, self.run_suite("--only", "correctness", "benchmark").returncode)
        calls = self.calls.read_text(encoding="utf-8").splitlines()
        self.assertTrue(calls[0].startswith("kernels_benchmark"), calls)
        self.assertEqual(8, sum(call.startswith("test_gpu") for call in calls), "shares of the tests")

    def test_one_failing_share_of_the_tests_stops_no_other(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", f'echo share >> {self.calls}\n[ "$GTEST_SHARD_INDEX" != 0 ]')
        self.assertEqual(1, self.run_suite("--only", "correctness").returncode)
        self.assertEqual("failed", self.states()["correctness"])
        self.assertEqual(8, len(self.calls.read_text(encoding="utf-8").splitlines()))

    def test_no_validation_without_its_profile(self):
        self.add_gpu()
        self.assertEqual(1, self.run_suite("--only", "validate_2k_compact").returncode)
        self.assertEqual({"validate_2k_compact": "waiting"}, self.states())

        healthy = (self.root / "build/alchemist").read_text(encoding="utf-8").removeprefix("#!/bin/sh\n")
        self.script("build/alchemist", f'case "$*" in calibrate*graphs*) exit 1;; esac\n{healthy}')
        self.assertEqual(1, self.run_suite().returncode)
        self.assertEqual({"graphs_calibrate": "failed", "graphs_validate_2k_alchemist": "waiting"},
                         {name: state for name, state in self.states().items() if state not in ("done", "skipped")})
        for call in self.calls.read_text(encoding="utf-8").splitlines():
            if " validate " in call:
                self.assertRegex(call, "--set profile=.*calibrate/profile")

        self.script("build/alchemist", healthy)
        self.assertEqual(0, self.run_suite().returncode, "what waits for a stage that failed comes behind it")

    def test_what_only_missed_its_tolerance_holds_up_nothing(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", 'case "$*" in *Hopper*) exit 1;; esac')
        wanted = ("hopper", "hopper_calibrate", "hopper_validate_2k_alchemist")
        self.assertEqual(1, self.run_suite("--only", *wanted).returncode)
        self.assertEqual(["failed", "done", "done"], [self.states()[name] for name in wanted])

    def test_what_would_hang_as_another_stage_did_is_not_run(self):
        self.add_gpu()
        # Hangs in one share of the tests; the others fail.
        hangs = '[ "$GTEST_SHARD_INDEX" = 7 ] && sleep 100\nexit 1'
        self.script("build/tests/test_gpu", f'case "$*" in *Hopper*) {hangs};; esac')
        wanted = ("hopper", "hopper_calibrate", "hopper_validate_2k_alchemist", "graphs_calibrate")
        self.assertEqual(1, self.run_suite("--only", *wanted, "--stage-seconds", "4").returncode)
        self.assertEqual(["failed", "waiting", "waiting", "done"], [self.states()[name] for name in wanted])
        self.assertNotIn("cuda-hopper --model", self.calls.read_text(encoding="utf-8").split("calibrate")[-1])

        self.script("build/tests/test_gpu", "exit 0")
        self.assertEqual(0, self.run_suite("--only", *wanted).returncode, "what waits for a stage that hung comes behind it")

    def test_a_test_that_hangs_is_named_and_takes_nothing_else_along(self):
        self.add_gpu()
        test = "All/HopperAttention.EqualsCpu/attention_ragged_64"
        lines = f"echo '[ RUN      ] first'\necho '[       OK ] first (1 ms)'\necho '[ RUN      ] {test}'"
        self.script("build/tests/test_gpu", f'echo "test_gpu $*" >> {self.calls}\n'
                    f'[ "$GTEST_SHARD_INDEX" != 7 ] || case "$*" in *Hopper*) {lines}\nsleep 100;; esac')
        self.script("bin/compute-sanitizer", 'shift 4; exec "$@"')
        wanted = ("hopper", "sanitizer", "hopper_sanitizer")
        self.assertEqual(1, self.run_suite("--only", *wanted, "--stage-seconds", "4").returncode)
        self.assertEqual(["failed", "done", "waiting"], [self.states()[name] for name in wanted])
        self.assertEqual(f"ran past its 4 s in {test}", self.results()["hopper"]["reason"])
        calls = self.calls.read_text(encoding="utf-8")
        self.assertIn("kernels_benchmark --device cuda-hopper", calls, "some shares of the tests ended: so may this")
        self.assertNotIn("*HopperAttention*", calls)

    def test_no_sanitizer_of_tests_that_hang(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", '[ "$GTEST_SHARD_INDEX" != 7 ] || sleep 100')
        self.script("bin/compute-sanitizer", f'echo sanitizer >> {self.calls}')
        self.assertEqual(1, self.run_suite("--only", "correctness", "sanitizer", "--stage-seconds", "4").returncode)
        self.assertEqual({"correctness": "failed", "sanitizer": "waiting"}, self.states())
        self.assertFalse(self.calls.exists(), "it would take all of its time")

    def test_a_run_with_records_that_hangs_holds_up_all_others(self):
        self.add_gpu()
        self.script("build/alchemist", f'echo "$*" >> {self.calls}\ncase "$*" in validate*temporal*) exit 0;; '
                    'validate*) sleep 100;; esac')
        wanted = [stage.name for stage in stages() if "calibrate" in stage.name or "validate" in stage.name]
        self.assertEqual(1, self.run_suite("--only", *wanted, "--stage-seconds", "3").returncode)
        states = self.states()
        self.assertEqual("failed", states.pop("validate_2k_alchemist"))
        self.assertEqual({"done"}, {states[name] for name in wanted if "calibrate" in name or "temporal" in name})
        self.assertEqual(7, list(states.values()).count("waiting"))
        self.assertEqual(1, self.calls.read_text(encoding="utf-8").count("alchemist.yaml"))

    def test_nothing_is_run_behind_what_only_hangs(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", "sleep 100")
        self.assertEqual(1, self.run_suite("--only", "hopper", "--stage-seconds", "2").returncode)
        self.assertTrue(self.results()["hopper"]["timed_out"])
        self.assertFalse(self.calls.exists())

    def test_shares_of_the_tests_leave_time_for_the_benchmark(self):
        stage = next(stage for stage in stages() if stage.name == "hopper")
        shares, benchmark = stage.commands(self.root)
        self.assertEqual(8, len({share.log for share in shares}), "a log each")
        self.assertLessEqual(max(share.seconds for share in shares) + benchmark.seconds, stage.most)

    def test_what_a_killed_suite_had_started_ends_with_it(self):
        self.add_gpu()
        # The share of the tests is a child of the suite's child.
        self.script("bin/compute-sanitizer", f"sleep 100 & echo $! > {self.root}/started.tmp\n"
                    f"mv {self.root}/started.tmp {self.root}/started; wait")
        with self.start("--only", "sanitizer") as suite:
            while not (self.root / "started").exists():
                time.sleep(0.05)
            suite.send_signal(signal.SIGKILL)
            suite.communicate(timeout=20)
        state = Path("/proc", (self.root / "started").read_text(encoding="utf-8").strip(), "stat")
        end = time.monotonic() + 20
        while state.exists() and state.read_text(encoding="utf-8").split()[2] != "Z":
            self.assertLess(time.monotonic(), end, "still runs")
            time.sleep(0.05)

    def test_lost_gpu(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", f"rm {self.root}/bin/nvidia-smi\nexit 1")
        done = self.run_suite("--only", "correctness", "calibrate")
        self.assertEqual(1, done.returncode)
        self.assertEqual({"correctness": "failed", "calibrate": "waiting"}, self.states())
        self.assertIn("the GPU is gone", done.stdout)

    def test_a_test_that_fails_is_not_taken_for_what_is_not_here(self):
        self.add_gpu()
        self.script("build/tests/test_gpu", "exit 1")
        self.script("build/tests/kernels_benchmark", "exit 3")
        self.assertEqual(1, self.run_suite("--only", "hopper").returncode)
        self.assertEqual({"hopper": "failed"}, self.states())

    def test_whatever_goes_wrong_in_a_stage_stops_no_other(self):
        self.add_gpu()
        healthy = (self.root / "build/alchemist").read_text(encoding="utf-8").removeprefix("#!/bin/sh\n")
        damage = f"echo damaged > {self.root}/out/machine.json"  # validations read it
        self.script("build/alchemist", f'case "$*" in calibrate*) {damage};; esac\n{healthy}')
        done = self.run_suite("--only", "calibrate", "validate_2k_alchemist", "staleness")
        self.assertEqual(1, done.returncode)
        self.assertIn("JSONDecodeError", done.stdout)
        self.assertEqual({"calibrate": "done", "validate_2k_alchemist": "failed", "staleness": "done"}, self.states())

    def test_a_build_without_cudnn_says_so_and_its_stage_is_tried_again(self):
        self.add_gpu()
        text = WITHOUT_CUDNN.decode()
        self.assertIn(text, (SOURCE / "kernels/cuda/without_cudnn.cc").read_text(encoding="utf-8"))
        healthy = (self.root / "build/tests/kernels_benchmark").read_text(encoding="utf-8").removeprefix("#!/bin/sh\n")
        self.script("build/tests/kernels_benchmark", f"# {text}\n{healthy}")
        done = self.run_suite("--only", "cudnn", "benchmark")
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stderr, "^gpu_suite: not here: cuDNN's front end in this build")
        self.assertIn("tools/get_cudnn_frontend", done.stdout)
        self.assertEqual({"benchmark": "done", "cudnn": "lacking"}, self.states())
        self.script("build/tests/kernels_benchmark", healthy)
        self.assertEqual(0, self.run_suite("--only", "cudnn").returncode)
        self.assertEqual("done", self.states()["cudnn"])

    def test_what_is_skipped_says_why(self):
        self.add_gpu()
        self.script("build/tests/kernels_benchmark", "echo needs a Hopper GPU >&2; exit 3")
        self.assertEqual(0, self.run_suite("--only", "hopper").returncode)
        self.assertEqual("not available here: needs a Hopper GPU", self.results()["hopper"]["reason"])

    def names_in(self, archive):
        with tarfile.open(archive) as tar:
            return set(tar.getnames())

    def test_archive(self):
        self.add_gpu()
        archive = self.root / "not/yet/there/all.tgz"
        self.assertEqual(0, self.run_suite("--only", "correctness", "benchmark", "--archive", archive).returncode)
        self.assertLessEqual({"out/machine.json", "out/stages.json", "out/benchmark/kernels.csv"},
                             self.names_in(archive))
        self.assertEqual([archive], list(archive.parent.iterdir()))

    def test_archive_is_a_folder_to_go_on_with(self):
        self.add_gpu()
        archive = self.root / "all.tgz"
        self.assertEqual(0, self.run_suite("--only", "benchmark", "--archive", archive).returncode)
        shutil.rmtree(self.root / "out")
        self.calls.unlink()
        with tarfile.open(archive) as tar:
            tar.extractall(self.root)
        self.assertEqual(0, self.run_suite("--only", "benchmark", "staleness", "--archive", archive).returncode)
        self.assertNotIn("kernels_benchmark", self.calls.read_text(encoding="utf-8"))
        self.assertLessEqual({"out/benchmark/kernels.csv", "out/staleness/log.txt"}, self.names_in(archive))

    def test_archive_holds_what_waits(self):
        self.add_gpu()
        archive = self.root / "all.tgz"
        self.script("build/alchemist", "exit 1")
        wanted = ("calibrate", "validate_2k_compact")
        self.assertEqual(1, self.run_suite("--only", *wanted, "--archive", archive).returncode)
        with tarfile.open(archive) as tar:
            results = json.load(tar.extractfile("out/stages.json"))
        self.assertEqual(["failed", "waiting"], [results[name]["state"] for name in wanted])

    def test_no_stage_starts_where_no_archive_can_be_made(self):
        self.add_gpu()
        (self.root / "file").touch()
        for archive, message in ((self.root / "file/all.tgz", "no folder for the archive"),
                                 (self.root / "bin", "is a folder")):
            done = self.run_suite("--archive", archive)
            self.assertEqual(1, done.returncode)
            self.assertIn(message, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
        self.assertFalse(self.calls.exists())

    def test_archive_on_a_full_disk(self):
        self.add_gpu()
        archive, temporary = self.root / "all.tgz", self.root / "all.tgz.tmp"
        self.assertEqual(0, self.run_suite("--only", "correctness", "--archive", archive).returncode)
        before = archive.read_bytes()

        blocked = f"mkdir -p {temporary}/x"  # from here on nothing can be written there
        self.script("build/tests/kernels_benchmark", f"echo benchmark >> {self.calls}\n{blocked}")
        wanted = ("benchmark", "staleness")
        done = self.run_suite("--only", *wanted, "--archive", archive)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("all.tgz is not up to date: IsADirectoryError", done.stderr)
        self.assertEqual(before, archive.read_bytes(), "the last good one stays")
        self.assertEqual(["done", "done"], [self.states()[name] for name in wanted])

        shutil.rmtree(temporary)
        self.script("build/tests/kernels_benchmark", f"ln -s /dev/full {temporary}")
        done = self.run_suite("--again", "--only", "benchmark", "--archive", archive)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("No space left", done.stderr)
        self.assertIn("out/staleness", self.names_in(archive), "made when there is room again")
        self.assertFalse(temporary.is_symlink())

    def test_full_disk_of_the_results(self):
        self.add_gpu()
        temporary = self.root / "out/stages.tmp"
        self.script("build/tests/kernels_benchmark", f"ln -s /dev/full {temporary}")
        done = self.run_suite("--only", "benchmark", "staleness")
        self.assertIn("stages.json is not up to date", done.stderr)
        self.assertIn("staleness", self.calls.read_text(encoding="utf-8"))

    def test_archive_does_not_pack_archives(self):
        self.add_gpu()
        for name in ("first.tgz", "second.tar.gz", "third"):
            done = self.run_suite("--again", "--only", "benchmark", "staleness", "--archive", self.root / "out" / name)
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertEqual({"out", "out/machine.json", "out/stages.json", "out/benchmark",
                              "out/benchmark/kernels.csv", "out/benchmark/log.txt", "out/staleness",
                              "out/staleness/log.txt"}, self.names_in(self.root / "out" / name))

    def test_other_programs(self):
        self.add_gpu()
        self.assertNotIn("warning", self.run_suite("--only", "correctness", "benchmark").stderr)
        self.assertNotIn("warning", self.run_suite("--only", "calibrate").stderr)
        self.script("build/alchemist", "exit 0")
        self.assertRegex(self.run_suite("--only", "staleness").stderr,
                         "other programs .*correctness, benchmark, calibrate;")
        self.assertEqual(2, len({stage["programs"] for stage in self.results().values()}))

    def test_out_of_time(self):
        self.add_gpu()
        done = self.run_suite("--minutes", "0.6")  # with what the end takes, too little to start anything
        self.assertEqual(1, done.returncode)
        self.assertEqual({"waiting"}, set(self.states().values()))
        self.assertFalse(self.calls.exists())
        self.assertEqual(0, self.run_suite().returncode)

    def test_a_stage_that_does_not_fit_gives_way_to_a_shorter_one(self):
        self.add_gpu()
        done = self.run_suite("--only", "correctness", "benchmark", "--minutes", "0.75")  # 20 s beside what the end takes
        self.assertEqual(1, done.returncode)
        self.assertEqual({"correctness": "waiting", "benchmark": "done"}, self.states())
        self.assertRegex(done.stdout, "correctness .*s were left and it takes 21")

    def test_what_a_stage_needs_was_measured(self):
        measured = json.loads((SOURCE / "results/gpu/2026-11-27_h200/stages.json").read_text(encoding="utf-8"))
        least = {stage.name: stage.least for stage in stages()}
        for name, result in measured.items():
            stage = f"reload_{name}" if name.endswith("planned") else name  # pins as much memory and runs as long
            self.assertAlmostEqual(1.1 * result["seconds"], least[stage], delta=0.06, msg=name)
        for stage in stages():
            self.assertLess(stage.least, stage.most)

    def test_what_the_end_of_the_call_cuts_off_has_not_failed(self):
        self.add_gpu()
        self.script("bin/compute-sanitizer", "sleep 100")
        self.assertEqual(1, self.run_suite("--only", "hopper_sanitizer", "--minutes", "0.7").returncode)
        result = self.results()["hopper_sanitizer"]
        self.assertEqual("waiting", result["state"])
        self.assertIn("cut off by the end of the call", result["reason"])


if __name__ == "__main__":
    unittest.main()
