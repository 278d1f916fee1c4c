"""Every kernel has a time and a rate, whose speed is not judged.

    kernels_benchmark_test.py PROGRAM
"""

import csv
import math
import os
import subprocess
import sys
import unittest

HEADER = "kernel,tokens,median_us,p10_us,p90_us,tflop_per_s,gbyte_per_s,roof,share_of_roof"
# Some of each list; a list that lost its rows would be measured faster than before.
KERNELS = ["cross_entropy_gradient", "adamw", "norm_backward_weight", "gated_forward_recorded", "keep_rows", "rotary",
           "head_norm_backward", "qkv_weight_gradient", "o_adapter_b_add", "gate_up_forward_add", "down_input_gradient_add",
           "attention_forward", "attention_backward", "paged_prefill", "decode_64_sequences"]
LAYERS = [f"layer_{what}" for what in ["forward_lora", "backward_lora_minimal", "backward_lora_lean", "forward_full",
                                       "backward_full_minimal", "backward_full_lean"]]
PREFILLS = ["prefill", "prefill_lean", "prefill_minimal"]
PROGRAM = sys.argv.pop()


class KernelsBenchmark(unittest.TestCase):
    def rows_of(self, *arguments):
        done = subprocess.run([PROGRAM, "--device", "cpu", "--model", "tiny", "--tokens", "48", "--quick", *arguments],
                              capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        lines = done.stdout.splitlines()
        start = lines.index(HEADER)
        rows = list(csv.DictReader(lines[start:]))
        self.assertEqual(len(rows), len({(row["kernel"], row["tokens"]) for row in rows}), "each kernel once")
        for row in rows:
            with self.subTest(row=row):
                self.assertGreater(float(row["p10_us"]), 0)
                self.assertLessEqual(float(row["p10_us"]), float(row["median_us"]))
                self.assertLessEqual(float(row["median_us"]), float(row["p90_us"]))
                self.assertIn(row["tokens"], ("0", "48"))
                if row["roof"]:
                    self.assertIn(row["roof"], ("matrix", "copy"))
                    self.assertTrue(0 < float(row["share_of_roof"]) < math.inf)
        return {row["kernel"]: row for row in rows}

    def test_every_kernel(self):
        rows = self.rows_of()
        self.assertEqual([], [name for name in [*KERNELS, *LAYERS, *PREFILLS] if name not in rows])
        # What a row did in its time, by the formulas of the cost model: a matrix product's FLOPs are its shape's.
        for name in ["qkv_forward", "qkv_input_gradient", "qkv_weight_gradient"]:
            flops = 2 * 48 * 256 * (256 + 2 * 128)
            self.assertAlmostEqual(flops / float(rows[name]["median_us"]) * 1e-6, float(rows[name]["tflop_per_s"]), delta=0.011)

    def test_layers_alone(self):
        rows = self.rows_of("--layers")
        self.assertEqual([], [name for name in [*LAYERS, "attention_forward"] if name not in rows])
        self.assertNotIn("adamw", rows)

    def test_a_device_that_fails_is_not_one_that_is_not_there(self):
        done = subprocess.run([PROGRAM, "--device", "cuda"], capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        self.assertIn("no CUDA device", done.stderr)
        self.assertEqual(3 if "built without a CUDA compiler" in done.stderr else 1, done.returncode)

    def test_mistakes(self):
        for value in ["0", "nan", "99999999999999999999"]:
            done = subprocess.run([PROGRAM, "--device", "cpu", "--model", "tiny", "--tokens", value], capture_output=True,
                                  text=True, timeout=10, check=False)
            self.assertEqual(1, done.returncode)
            self.assertIn("--tokens: expected a whole number", done.stderr)


if __name__ == "__main__":
    unittest.main()
