#!/usr/bin/env python3
"""tools/gpu_suite from end to end without a GPU: its own stages and commands, and in the place of the GPU's program the
one with the emulated GPU, of a model that is small enough for it. What it was called with and what it wrote is checked."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest
import unittest.mock
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from alchemist_cli import CliTestCase, run  # noqa: E402

SOURCE = Path(os.environ["ALCHEMIST_SOURCE_DIR"])
PROFILE = SOURCE / "results/gpu/2026-11-27_h200/profile"
MODEL = ("layers: 2\nhidden: 64\nintermediate: 32\nheads: 1\nkv_heads: 1\nhead_dim: 64\nvocabulary: 64\n"
         "max_position: 128\ndtype_bytes: 2\n")
REQUESTS = 12
# What the files of both experiments say, each once, and what they say here.
SMALLER = {
    r"rate: [\d.]+": "rate: 12",
    r"prompt: 2048, output: 64": "prompt: 40, output: 4",
    r"prompt: 8000, output: 64": "prompt: 72, output: 4",
    r"requests: \d+": f"requests: {REQUESTS}",
    r"max_num_seqs: 64": "max_num_seqs: 4\n  kv_cache_tokens: 9008",
    r"max_num_batched_tokens: 2048": "max_num_batched_tokens: 48",
    r"max_model_len: 8192": "max_model_len: 80",
    r"\bbatch_tokens: 8192": "batch_tokens: 96",
    r"max_itl: 40 ms": "max_itl: 10 s",
    r"exponential: 2 s": "fixed: 50 ms",
}
HOST_MEMORY = "host_memory: 1 GiB"  # a part of which the emulator really allocates

# Calls the emulated program with smaller sizes where the command line has none. In the place of calibrating, which takes
# the emulator minutes and other machines' noise into its prices, it hands out what a GPU has measured before. Once, if
# there is such a file, the suite dies at the end of a stage.
PROGRAM = """#!{python}
import json, os, pathlib, shutil, signal, subprocess, sys
root = pathlib.Path("{root}")
words = sys.argv[1:]
if words != ["--version"]:
    with open(root / "calls", "a") as calls:
        print(json.dumps(words), file=calls)
if words[0] == "staleness":
    words += ["--samples", "1", "--prompt-tokens", "16", "--answer-tokens", "8", "--repeats", "1", "--warm-up-steps", "1",
              "--max-lag", "1"]
if words[0] == "learning":
    words += ["--samples", "1", "--prompt-tokens", "16", "--answer-tokens", "8", "--alphabet", "8", "--pretrain-steps", "1",
              "--steps", "2", "--held-out", "1", "--lags", "1"]
if words[0] == "calibrate":
    profile = pathlib.Path(words[words.index("--out") + 1])
    shutil.copytree("{profile}", profile)
    if "--cuda-graphs" in words:
        with open(profile / "meta.yaml", "a") as meta:
            print("cuda_graphs: true", file=meta)
    sys.exit()
status = subprocess.run(["{program}", *words]).returncode
dies = root / "dies_in"
if dies.exists() and "/" + dies.read_text() + "/" in " ".join(words):
    dies.unlink()
    os.kill(os.getppid(), signal.SIGKILL)
sys.exit(status)
"""


def rows_of(file):
    with open(file, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


class GpuSuiteOnTheEmulator(CliTestCase):
    def setUp(self):
        self.root = self.make_directory()
        self.out = self.root / "out"
        self.enterContext(unittest.mock.patch.dict(os.environ, {"ALCHEMIST_CONFIGS": str(self.root / "configs")}))
        # The suite takes configs/ from beside its own folder.
        shutil.copytree(SOURCE / "tools/gpu", self.root / "tools/gpu", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SOURCE / "tools/gpu_suite", self.root / "tools")
        shutil.copytree(SOURCE / "configs", self.root / "configs")
        self.edit("tools/gpu/stages.py", {r'(Stage\(f?"[^"]+"), \d+,': r"\1, 100_000,"}, times=15)  # a GPU's limits
        for context, prompt in (("2k", "2048"), ("8k", "8000")):
            other = "8000" if prompt == "2048" else "2048"
            self.edit(f"configs/experiments/gpu_8b_{context}.yaml",
                      {key: value for key, value in SMALLER.items() if f"prompt: {other}" not in key})
        self.edit("configs/hardware/h200.yaml", {r"host_memory: \d+ GiB": HOST_MEMORY})
        # So that what is on the host comes back, whatever the prices.
        self.edit("configs/policies/planned.yaml", {"restore: planned": "restore: reload"})
        for model in ("llama-3.1-8b", "tiny"):
            self.write(f"configs/models/{model}.yaml", MODEL)
        self.write("configs/models/llama-3.1-70b.yaml", MODEL.replace("\nheads: 1", "\nheads: 4"))  # which four GPUs split
        self.script("build/alchemist", PROGRAM.format(python=sys.executable, root=self.root, profile=PROFILE,
                                                      program=os.environ["ALCHEMIST"]))
        self.script("bin/nvidia-smi", '#!/bin/sh\necho "NVIDIA H200, 580.0, 143771 MiB, 0, 1, 1, 1, 1, 1, 1, 1, 30"\n')
        self.script("bin/python3", "#!/bin/sh\nexit 3\n")  # without PyTorch
        for program in ("bin/compute-sanitizer", "build/tests/test_gpu", "build/tests/kernels_benchmark"):
            self.script(program, "#!/bin/sh\nexit 0\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def script(self, name, text):
        self.write(name, text).chmod(0o755)

    def edit(self, name, changes, times=1):
        text = (self.root / name).read_text(encoding="utf-8")
        for pattern, replacement in changes.items():
            text, count = re.subn(pattern, replacement, text)
            self.assertEqual(times, count, f"{name}: {pattern}")
        self.write(name, text)

    def run_suite(self):
        environment = {**os.environ, "PATH": f"{self.root}/bin:/usr/bin:/bin", "ALCHEMIST_BUILD": f"{self.root}/build"}
        return subprocess.run([sys.executable, self.root / "tools/gpu_suite", "--out", self.out, "--archive",
                               self.root / "all.tgz", "--minutes", "1000"], env=environment, capture_output=True, text=True,
                              check=False)

    def stages(self):
        return json.loads((self.out / "stages.json").read_text(encoding="utf-8"))

    def calls(self):
        """What each stage called the program with, all calls of it."""
        calls = {}
        for line in (self.root / "calls").read_text(encoding="utf-8").splitlines():
            words = json.loads(line)
            stage = Path(words[words.index("--out") + 1]).relative_to(self.out).parts[0]
            calls.setdefault(stage, []).append(words)
        return calls

    def test_every_stage_ends_and_leaves_what_it_promises(self):
        self.write("dies_in", "validate_2k_temporal")
        self.assertEqual(-signal.SIGKILL, self.run_suite().returncode)
        before = self.stages()
        self.assertEqual("done", before["validate_2k_alchemist"]["state"], self.failed_logs())
        self.assertNotIn("validate_2k_temporal", before)

        again = self.run_suite()
        self.assertEqual(0, again.returncode, again.stdout + self.failed_logs())
        stages = self.stages()
        self.assertEqual({name: "skipped" if name == "pytorch" else "done" for name in stages},
                         {name: stage["state"] for name, stage in stages.items()})
        self.assertEqual(before, {name: stages[name] for name in before}, "what is done stays")

        calls = self.calls()
        self.assertEqual(["validate_2k_temporal"], [stage for stage, all_of_it in calls.items() if len(all_of_it) > 1])
        checks = {"calibrate": self.check_profile, "validate": self.check_comparison, "staleness": self.check_staleness,
                  "learning": self.check_learning}
        for stage, (words, *_) in calls.items():
            with self.subTest(stage):
                checks[words[0]](self.out / stage, words)
        self.assertEqual(set(checks), {words[0] for words, *_ in calls.values()})
        self.check_summary([stage for stage, (words, *_) in calls.items() if words[0] == "validate"])

    def failed_logs(self):
        return "".join((self.out / name / "log.txt").read_text(encoding="utf-8", errors="replace")
                       for name, stage in self.stages().items() if stage["state"] == "failed")

    def check_profile(self, folder, words):
        # With the GPU's sizes the small model has too few positions, which is said once all else was understood.
        self.assert_one_line_error(run(*words), "--context: with --step-tokens expected at most the 128 positions")
        self.assertTrue(rows_of(folder / "profile/training.csv"))

    def check_comparison(self, folder, words):
        comparison = folder / "comparison"
        values = {row["metric"]: row for row in rows_of(comparison / "comparison.csv")}
        for world in ("real", "simulated", "repriced"):
            self.assertEqual(REQUESTS, float(values["completed"][world]))
            self.assertEqual(REQUESTS, len(rows_of(comparison / world / "requests.csv")))
            for file in ("steps", "memory", "memory_phases"):
                self.assertTrue(rows_of(comparison / world / f"{file}.csv"), f"{world}: {file}")
            for file in ("summary", "trace"):
                json.loads((comparison / world / f"{file}.json").read_text(encoding="utf-8"))
            self.assertGreater(float(values["train_steps"][world]), 0)
        for file in ("operations", "operation_times"):
            self.assertTrue(rows_of(comparison / f"{file}.csv"), file)
        self.assertIn("commands, all equal\n", (folder / "log.txt").read_text(encoding="utf-8"))
        replay = run("replay", comparison / "events.log")
        self.assert_done(replay)
        self.assertIn("all equal", replay.stdout)

        real = json.loads((comparison / "real/summary.json").read_text(encoding="utf-8"))
        self.assertEqual(["h200", "llama-3.1-8b"], [real["hardware"], real["model"]])
        self.assertRegex(real["device"], "^CUDA emulator, .*")
        self.assertRegex(real["engine"]["git_hash"], "^[0-9a-z]+")
        config = (comparison / "real/config.yaml").read_text(encoding="utf-8")
        self.assertIn(f"profile: {words[-1].removeprefix('profile=')}\n", config)
        self.assertIn(f"backward: {'recorded' if folder.name.startswith('late') else 'current'}\n", config)
        self.assertIn(f"cuda_graphs: {'true' if folder.name.startswith('graphs') else 'false'}\n", config)
        if folder.name.startswith("reload"):
            # By a GPU's prices records come back. The emulator's own run says nothing of it: on a machine that does other
            # things too, copies may take so long that the policy sends next to nothing to the host.
            simulated = json.loads((comparison / "simulated/summary.json").read_text(encoding="utf-8"))
            self.assertGreater(simulated["link_h2d_bytes"], 0, "records are to come back")
        elif "temporal" not in folder.name:
            self.assertGreater(real["train_tokens_reused"], 0)

    def check_staleness(self, folder, _):
        points = rows_of(folder / "staleness/staleness.csv")
        self.assertEqual(["0", "1"], [point["lag"] for point in points])
        provenance = json.loads((folder / "staleness/staleness.json").read_text(encoding="utf-8"))
        self.assertEqual("llama-3.1-8b", provenance["model"])
        self.assertIn("CUDA emulator", provenance["device"])

    def check_learning(self, folder, _):
        points = rows_of(folder / "learning/learning.csv")
        self.assertEqual({"0", "1"}, {point["lag"] for point in points})
        provenance = json.loads((folder / "learning/learning.json").read_text(encoding="utf-8"))
        self.assertEqual("tiny", provenance["model"])
        self.assertIn("CUDA emulator", provenance["device"])

    def check_summary(self, comparisons):
        summary = subprocess.run([sys.executable, "-B", SOURCE / "tools/summarise_validation", self.out],
                                 capture_output=True, text=True, check=False)
        self.assert_done(summary)
        for stage in comparisons:
            self.assertRegex(summary.stdout, rf"(?m)^{stage} +train_tokens_per_s +[\d.]+ ")


if __name__ == "__main__":
    unittest.main()
