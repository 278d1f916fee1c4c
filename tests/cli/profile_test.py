"""alchemist run with a profile: what does not belong together, or is not known to, is told."""

import os
import shutil
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT, write_profile

CALIBRATED = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "results/gpu/2026-11-27_h200/profile"


class Profiles(CliTestCase):
    def setUp(self):
        self.profile = self.make_directory() / "profile"

    def warnings(self, experiment, policy, *settings):
        words = [word for setting in (f"profile={self.profile}", "workload.requests=5", *settings)
                 for word in ("--set", setting)]
        result = run("run", experiment, "--policy", policy, *words)
        self.assert_done(result)
        return [line.removeprefix(f"alchemist: warning: profile {self.profile} ") for line in result.stderr.splitlines()
                if f"warning: profile {self.profile} " in line]

    def test_what_belongs_together(self):
        shutil.copytree(CALIBRATED, self.profile)
        for policy in ("serve_only", "temporal"):
            self.assertEqual([], self.warnings("default", policy))
        self.assertEqual([], self.warnings("default", "temporal", "hardware.memory=100 GiB"))

    def test_another_model(self):
        shutil.copytree(CALIBRATED, self.profile)
        self.assertEqual(["was measured with model llama-3.1-8b, but this is tiny with lora: its times may be far off"],
                         self.warnings("tiny", "temporal", "hardware=h200"))

    def test_another_model_of_the_same_name(self):
        shutil.copytree(CALIBRATED, self.profile)
        with open(self.profile / "meta.yaml", "a", encoding="utf-8") as meta:
            meta.write("parameters: 8030261248\n")
        self.assertEqual([], self.warnings("default", "temporal"))
        self.assertEqual(["was measured with another model of this name (8030261248 parameters, not 8030269440), but this is "
                          "llama-3.1-8b with lora: its times may be far off"],
                         self.warnings("default", "temporal", "model={base: llama-3.1-8b, qk_norm: true}"))

    def test_another_device(self):
        shutil.copytree(CALIBRATED, self.profile)
        for hardware in ("a100-80g", "cpu-2core"):
            told = self.warnings("tiny", "serve_only", f"hardware={hardware}", "model=llama-3.1-8b",
                                 "hardware.memory=80 GiB")
            self.assertEqual([f"was measured on NVIDIA H200, but hardware is {hardware}: kernels take the times of the "
                              "one, memory is the other's"], told)

    def test_without_training(self):
        shutil.copytree(CALIBRATED, self.profile)
        (self.profile / "training.csv").unlink()
        self.assertEqual([], self.warnings("default", "serve_only"))
        self.assertEqual(["lacks training (training.csv), whose times come from the roofline of h200"],
                         self.warnings("default", "temporal"))

    def test_without_a_word_of_its_origin(self):
        write_profile(self.profile)
        experiment = self.profile.parent / "experiment.yaml"
        experiment.write_text(EXPERIMENT)
        unknown = "has no meta.yaml: whether it was measured with this model and hardware is not known"
        self.assertEqual([unknown], self.warnings(experiment, "serve_only"))
        self.assertEqual([unknown, "lacks training (training.csv), whose times come from the roofline of cpu-2core"],
                         self.warnings(experiment, "temporal"))

    def test_origin_as_llmservingsim_says_it(self):
        write_profile(self.profile)
        (self.profile / "meta.yaml").write_text("gpu: NVIDIA GeForce RTX 4090\nmodel: meta-llama/Llama-3.1-8B\n")
        settings = ("model=llama-3.1-8b", "serving.max_num_batched_tokens=512", "hardware.memory=80 GiB")
        self.assertEqual([], self.warnings("tiny", "serve_only", *settings, "hardware=rtx4090"))
        self.assertEqual(1, len(self.warnings("tiny", "serve_only", *settings, "hardware=l40s")))


if __name__ == "__main__":
    unittest.main()
