#!/usr/bin/env python3
"""The whole program on the emulated GPU: what the suite for a GPU runs there starts, computes and ends."""

import csv
import json
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from alchemist_cli import CliTestCase, run  # noqa: E402

# A fibre for each thread of a GPU is slow: as little of everything as has heads of 64 and rows of several tiles.
MODEL = ("layers: 2\nhidden: 128\nintermediate: 192\nheads: 2\nkv_heads: 1\nhead_dim: 64\nvocabulary: 256\n"
         "max_position: 128\ndtype_bytes: 2\n")
FEW = ["workload={arrivals: {poisson: {rate: 12}}, lengths: {fixed: {prompt: 40, output: 4}}, requests: 20}",
       "serving.max_num_seqs=4", "serving.max_model_len=48", "serving.max_num_batched_tokens=48",
       "training.batch_tokens=96", "training.max_itl=10 s", "training.feedback={share: 1, delay: {fixed: 50 ms}}"]
# Fresh activations leave, a layer at a time.
SHORT_OF_MEMORY = ["serving.kv_cache_tokens=9000", "policy.window_layers=1"]


class EmulatedProgram(CliTestCase):
    def setUp(self):
        self.directory = self.make_directory()
        self.model = self.directory / "small.yaml"
        self.model.write_text(MODEL)

    def validate(self, policy, *settings):
        out = self.directory / policy
        sets = [f"model={self.model}", *FEW, *settings]
        result = run("validate", "tiny", "--device", "cuda", "--policy", policy,
                     *(word for setting in sets for word in ("--set", setting)), "--out", out)
        self.assert_done(result)
        self.assertIn("commands, all equal", result.stdout)
        self.assertIn("CUDA emulator", result.stdout)
        self.assert_done(run("replay", out / "events.log"))
        return json.loads((out / "real" / "summary.json").read_text())

    def test_reuse(self):
        real = self.validate("planned")
        self.assertGreater(real["train_samples"], 0)
        self.assertGreater(real["train_tokens_reused"], 0)

    def test_activations_that_come_and_go(self):
        real = self.validate("compact", *SHORT_OF_MEMORY)
        self.assertGreater(real["link_d2h_bytes"], 0)
        self.assertGreater(real["link_h2d_bytes"], 0)

    def test_staleness(self):
        out = self.directory / "staleness"
        self.assert_done(run("staleness", "--device", "cuda", "--model", self.model, "--samples", 1, "--prompt-tokens",
                             16, "--answer-tokens", 8, "--repeats", 1, "--warm-up-steps", 1, "--max-lag", 1, "--out",
                             out))
        with open(out / "staleness.csv", newline="", encoding="utf-8") as file:
            points = list(csv.DictReader(file))
        self.assertEqual(["0", "1"], [point["lag"] for point in points])
        self.assertEqual(1, float(points[0]["cosine"]))
        self.assertLess(float(points[1]["cosine"]), 1)

    def test_learning(self):
        out = self.directory / "learning"
        self.assert_done(run("learning", "--device", "cuda", "--model", self.model, "--samples", 1, "--prompt-tokens", 16,
                             "--answer-tokens", 8, "--alphabet", 8, "--pretrain-steps", 1, "--steps", 3, "--held-out", 1, "--lags", 1, "--recorded",
                             "all", "--learning-rate", 1e-3, "--out", out))
        with open(out / "learning.csv", newline="", encoding="utf-8") as file:
            loss = {(point["lag"], point["step"]): float(point["loss"]) for point in csv.DictReader(file)}
        self.assertEqual({("0", "0"), ("0", "3"), ("1", "0"), ("1", "3")}, set(loss))
        self.assertEqual(loss["0", "0"], loss["1", "0"])
        self.assertNotEqual(loss["0", "0"], loss["0", "3"])


if __name__ == "__main__":
    unittest.main()
