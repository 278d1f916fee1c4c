"""The order of the policies on the same arrivals: who trains more, who is bounded by whom, and what serving feels."""

import json
import unittest

from alchemist_cli import CliTestCase, run

SEEDS = [42, 43, 44]
SIX = [42, 43, 44, 45, 46, 47]


class PolicyOrder(CliTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.known = {}

    def mean(self, policy, key, *arguments, seeds=SEEDS):
        """Over the seeds, of the paper's experiment with LoRA on H200."""
        values = []
        for seed in seeds:
            case = (str(policy), seed, arguments)
            if case not in self.known:
                result = run("run", "paper_lora", "--policy", policy, "--seed", seed, "--json", *arguments)
                self.assert_done(result)
                self.known[case] = json.loads(result.stdout)
            values.append(self.known[case][key])
        return sum(values) / len(values)

    def test_training(self):
        """Where tokens may come 10 ms apart, so that training is neither a trickle nor all that feedback asks for. Within
        3 %, which the means of three seeds vary by (0.5 to 1.5 % from one seed's standard deviation)."""
        budget = ("--set", "training.max_itl=10 ms")
        tokens = {p: self.mean(p, "train_tokens_per_s", *budget)
                  for p in ["temporal", "reuse", "reuse_offload", "alchemist", "race", "planned", "oracle"]}
        for policy, value in tokens.items():
            self.assertGreater(tokens["oracle"], 0.97 * value, policy)
            self.assertLess(self.mean(policy, "bound_fraction", *budget), 1, policy)
        self.assertGreater(tokens["planned"], 0.97 * tokens["race"])
        self.assertGreater(tokens["race"], 0.97 * tokens["alchemist"])
        self.assertGreater(tokens["alchemist"], 1.2 * tokens["temporal"])
        per_gpu = {p: self.mean(p, "train_tokens_per_gpu_s", *budget) for p in ["separate", "temporal", "planned"]}
        self.assertGreater(per_gpu["planned"], 1.1 * per_gpu["separate"])
        self.assertLess(per_gpu["temporal"], 1.02 * per_gpu["separate"])

    def test_answers_are_not_recorded_at_a_loss(self):
        """A decode step pays a launch a layer for them, and hidden training trains a fifteenth of them: `answers` would lose
        a sixth of its speed if it recorded them all the same. Who knows which will be trained gains."""
        per_gpu = {p: self.mean(p, "train_tokens_per_gpu_s") for p in ["alchemist", "answers", "oracle"]}
        self.assertGreater(per_gpu["answers"], 0.97 * per_gpu["alchemist"])
        # Not tokens/s: of these short runs' fifteen steps each one more or less is 6 %. It was 1.067 while backward did not
        # pay for what it rebuilds, which no record saves, and is 1.047.
        self.assertGreater(per_gpu["oracle"], 1.03 * per_gpu["answers"])

    def test_compact_takes_half_of_the_memory(self):
        """Hidden, beside nearly all of the speed-up and a larger batch: less memory than the paper's -47 %."""
        memory = {p: self.mean(p, "peak_train_side_bytes") for p in ["separate", "planned", "compact"]}
        self.assertLess(memory["compact"], 0.53 * memory["separate"])
        self.assertLess(memory["compact"], 0.5 * memory["planned"])
        per_gpu = {p: self.mean(p, "train_tokens_per_gpu_s") for p in ["separate", "planned", "compact"]}
        self.assertGreater(per_gpu["compact"], 1.2 * per_gpu["separate"])  # 1.5 while records and adapters cost nothing
        self.assertGreater(per_gpu["compact"], 0.9 * per_gpu["planned"])
        self.assertGreater(self.mean("compact", "train_max_tokens"), 2 * self.mean("separate", "train_max_tokens"))

    def test_elastic_takes_memory_that_serving_does_not_miss(self):
        """More for each GPU-second where conversations are single prompts, whose prefixes nobody asks for again. Where they
        go on, the cache keeps its hits, which a share as large for records costs it."""
        budget = ("--set", "training.max_itl=20 ms")
        per_gpu = {p: self.mean(p, "train_tokens_per_gpu_s", *budget) for p in ["planned", "elastic", "oracle"]}
        self.assertGreater(per_gpu["elastic"], 1.01 * per_gpu["planned"])  # 1.028; as above, it was 1.046
        self.assertGreater(per_gpu["oracle"], 1.03 * per_gpu["elastic"])
        self.assertLess(self.mean("elastic", "mean_itl_ms", *budget), self.mean("planned", "mean_itl_ms", *budget))
        self.assertGreater(self.mean("elastic", "peak_activations_bytes", *budget),
                           5 * self.mean("planned", "peak_activations_bytes", *budget))
        greedy = self.make_directory() / "greedy.yaml"
        greedy.write_text("description: a\nrecord: minimal\nplace: tiered\nevict: oldest\nrestore: planned\ntrain: headroom\n"
                          "samples: recorded\nfresh: spill\ngpu_record_share: 0.8\n")
        hits = {}
        for policy in ["planned", "elastic", greedy]:
            result = run("run", "default", "--policy", policy, "--json", *budget, "--set", "workload.rate=8",
                         "--set", "workload.requests=3000")
            self.assert_done(result)
            hits[policy] = json.loads(result.stdout)["prefix_hit_tokens"]
        self.assertGreater(hits["elastic"], 0.97 * hits["planned"])
        self.assertLess(hits[greedy], 0.5 * hits["planned"])

    def test_serving_hardly_feels_alchemist(self):
        """At 70 % load: P99 within 2 % of serve_only's, and it does train. P99 of the gaps lies on the steep slope between
        decode steps and steps with a prompt, so that one seed's varies by 1 %."""
        more = ("--set", "workload.requests=20000")
        for key in ["p99_ttft_ms", "p99_itl_ms"]:
            ratio = self.mean("alchemist", key, *more, seeds=SIX) / self.mean("serve_only", key, *more, seeds=SIX)
            self.assertLess(ratio, 1.02, key)
        self.assertGreater(self.mean("alchemist", "train_tokens_per_s", *more), 500)

    def test_hidden_training_takes_no_memory_that_serving_misses(self):
        """An L40S has memory for an 8B model and 14 GB more, which conversations fill: a sample's activations would take
        most of them for a minute, and every third prefix with them. `temporal` trains nothing there, but sets memory for
        its gradients and workspace aside."""
        scarce = ("--set", "hardware=l40s", "--set", "workload.rate=1", "--set", "workload.requests=2000",
                  "--set", "training.max_itl=hidden")
        result = {}
        for policy in ["serve_only", "temporal", "alchemist", "planned", "elastic", "compact"]:
            run_of = run("run", "default", "--policy", policy, "--json", *scarce)
            self.assert_done(run_of)
            result[policy] = json.loads(run_of.stdout)
        hits = {policy: summary["prefix_hit_tokens"] for policy, summary in result.items()}
        self.assertLess(hits["temporal"], 0.99 * hits["serve_only"], "memory is short")
        for policy in ["alchemist", "planned", "elastic", "compact"]:
            self.assertGreater(hits[policy], 0.85 * hits["serve_only"], policy)
            self.assertGreater(result[policy]["train_samples"], 50, policy)

    def test_a_latency_budget_is_the_dial(self):
        """Longer gaps between tokens give more training; with 40 ms as much as a training GPU of its own gives."""
        budgets = [[], ["--set", "training.max_itl=10 ms"], ["--set", "training.max_itl=40 ms"]]
        tokens = [self.mean("alchemist", "train_tokens_per_s", *budget) for budget in budgets]
        self.assertGreater(tokens[1], 1.5 * tokens[0])
        self.assertGreater(tokens[2], 1.2 * tokens[1])
        self.assertGreater(tokens[2], self.mean("separate", "train_tokens_per_s"))
        self.assertLess(self.mean("alchemist", "p99_ttft_ms", *budgets[2]), self.mean("separate", "p99_ttft_ms"))
        self.assertLess(self.mean("alchemist", "mean_itl_ms", *budgets[2]), 40)


if __name__ == "__main__":
    unittest.main()
