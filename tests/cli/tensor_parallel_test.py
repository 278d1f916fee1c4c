"""Models whose layers are split over several GPUs: they train with every policy, and what cannot be split is refused."""

import csv
import io
import json
import unittest

from alchemist_cli import CliTestCase, run

FOUR = ["run", "llama70b_4xh200", "--set", "workload.requests=300", "--set", "training.feedback.delay={exponential: 10 s}"]
H200_BYTES = int(139.8 * 2**30)
RECORD_BYTES = 80 * 70_728  # of a token on one of four GPUs, see test_shown_figures


class TensorParallel(CliTestCase):
    def train(self, *arguments):
        result = run(*FOUR, "--json", *arguments)
        self.assert_done(result)
        summary = json.loads(result.stdout)
        self.assertEqual(300, summary["completed"])
        self.assertGreater(summary["train_steps"], 0)
        self.assertLessEqual(summary["train_tokens_per_s"], summary["bound_train_tokens_per_s"])
        self.assertEqual(H200_BYTES, summary["gpu_memory_bytes"])
        self.assertLessEqual(summary["peak_total_bytes"], H200_BYTES)
        # Embedding and head of 32,064 rows each, 80 layers of 213,925,888 parameters, a norm; in bf16.
        self.assertEqual(2 * (2 * 32_064 * 8192 + 80 * 213_925_888 + 8192), summary["peak_weights_bytes"])
        tokens = summary["train_tokens_reused"] + summary["train_tokens_recomputed"]
        self.assertAlmostEqual(tokens / summary["duration_s"], summary["train_tokens_per_s"], delta=1)
        return summary

    def test_70b_on_four_gpus(self):
        temporal = self.train("--policy", "temporal")
        out = self.make_directory() / "out"
        alchemist = self.train("--policy", "alchemist", "--out", out)
        self.assertEqual(0, temporal["train_tokens_reused"])
        self.assertGreater(alchemist["train_tokens_reused"], 0)
        self.assertLess(alchemist["train_redundant_forward_fraction"], temporal["train_redundant_forward_fraction"])
        with open(out / "requests.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(alchemist["train_samples"], sum(1 for row in rows if row["trained_at_s"]))
        for row in rows:
            self.assertLessEqual(int(row["recorded_bytes"]), RECORD_BYTES * int(row["recorded_tokens"]))
        self.assertIn("tensor_parallel: 4", (out / "config.yaml").read_text())
        self.assertEqual((out / "summary.json").read_text(), run("run", out / "config.yaml", "--json").stdout)

    def test_groups_of_gpus(self):
        two = self.train("--set", "cluster.gpus=8", "--policy", "planned")
        apart = self.train("--set", "cluster={gpus: 8, training_gpus: 4}", "--policy", "separate_checkpoint")
        self.assertEqual(two["peak_weights_bytes"], apart["peak_weights_bytes"])
        refused = [("cluster={gpus: 6}", "4 does not divide the GPUs: 6 in all"),
                   ("cluster={gpus: 8, training_gpus: 2}", "6 of them serve, 2 train"),
                   ("serving.tensor_parallel=3", "3 does not divide")]
        for setting, expected in refused:
            with self.subTest(setting=setting):
                result = run(*FOUR, "--policy", "separate", "--set", setting)
                self.assert_one_line_error(result, "serving.tensor_parallel", expected)
        self.assert_one_line_error(run(*FOUR, "--policy", "separate"), "at least one GPU for each side")

    def test_full_fine_tuning_needs_more_gpus(self):
        # 70.6 billion parameters take 16 bytes each, 282 GB on each of four GPUs and 35 on each of 32.
        full = [*FOUR, "--policy", "temporal", "--set", "training.method=full"]
        self.assert_one_line_error(run(*full), "does not fit", "tensor_parallel")
        self.assert_done(run(*full, "--set", "serving.tensor_parallel=32", "--set", "cluster.gpus=32", "--json"))

    def test_a_real_run_has_one_device(self):
        out = self.make_directory() / "out"
        result = run("validate", "tiny", "--device", "cpu", "--set", "serving.tensor_parallel=2", "--set", "cluster.gpus=2",
                     "--out", out)
        self.assert_user_error(result, "a real run has one device")
        self.assertFalse((out / "real").exists())

    def test_shown_figures(self):
        # A token in one layer: x, x_mid 32,768; rstd 8; q, attention 2 x 4,096; k, v 2 x 512; lse 64; gate, up 2 x
        # 14,336: 70,728 bytes.
        result = run("show", "model", "llama-3.1-70b", "--tensor-parallel", 4)
        self.assert_done(result)
        for text in ("on each of 4 GPUs", f"{RECORD_BYTES} B", "80 KiB", "70,728", "n1.split", "o.all_reduce",
                     "forward 32,768, backward 32,768"):
            self.assertIn(text, result.stdout)
        self.assertNotIn("all_reduce", run("show", "model", "llama-3.1-70b").stdout)

        def slowest_link(*arguments):
            text = run("show", "breakeven", "llama-3.1-70b", "h200", "--csv", *arguments)
            self.assert_done(text)
            return float(next(csv.DictReader(io.StringIO(text.stdout)))["reload_all_ms"])

        # Whole, the record of a layer has 184,584 bytes.
        self.assertAlmostEqual(70_728 / 184_584, slowest_link("--tensor-parallel", 4) / slowest_link(), delta=0.01)
        self.assert_user_error(run("show", "model", "tiny", "--tensor-parallel", 0), "--tensor-parallel", "from 1 to 1024")
        self.assert_one_line_error(run("show", "breakeven", "llama-3.1-70b", "h200", "--tensor-parallel", 5),
                                   "5 does not divide the 64 query heads")
        self.assert_one_line_error(run("show", "policy", "race", "--tensor-parallel", 2), "only for models and breakeven")


if __name__ == "__main__":
    unittest.main()
