"""alchemist run with every policy: they run, train within the bound, and see the same arrivals and feedback."""

import csv
import json
import os
import re
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run

CONFIGS = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "configs"

EXPERIMENT = """
model: llama-3.1-8b
hardware: h200
workload:
  arrivals: {poisson: {rate: 2}}
  lengths: {lognormal: {prompt: {median: 700, sigma: 0.6}, output: {median: 150, sigma: 0.6}}}
  requests: 300
training:
  batch_tokens: 4096
  feedback: {share: 0.5, delay: {exponential: 10 s}}
  max_version_lag: 1000
seed: 7
"""

COLOCATED = ["serve_only", "temporal", "token_fill", "reuse", "reuse_offload", "alchemist", "answers", "compact", "elastic", "race", "planned",
             "beside", "oracle"]
SEPARATE = ["separate", "separate_checkpoint", "separate_offload"]


class Policies(CliTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.summaries = {}

    def summary(self, policy, *arguments):
        folder = self.make_directory()
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        result = run("run", folder / "experiment.yaml", "--policy", policy, "--out", folder / "out", "--json", *arguments)
        self.assert_done(result)
        with open(folder / "out" / "requests.csv", newline="", encoding="utf-8") as file:
            requests = list(csv.DictReader(file))
        return json.loads(result.stdout), requests

    def run_default(self, policy, *arguments):
        result = run("run", "default", "--policy", policy, "--json", *arguments)
        self.assert_done(result)
        return json.loads(result.stdout)

    def check(self, policy, summary, requests):
        self.assertEqual(300, summary["completed"])
        self.assertEqual(300, len(requests))
        trained = [row for row in requests if row["trained_at_s"]]
        self.assertEqual(summary["train_samples"], len(trained))
        for row in trained:
            self.assertGreater(float(row["trained_at_s"]), float(row["finished_s"]))
        if policy == "serve_only":
            self.assertEqual(0, summary["train_steps"])
            return
        self.assertGreater(summary["train_steps"], 10)
        self.assertLessEqual(summary["train_tokens_per_s"], summary["bound_train_tokens_per_s"])
        self.assertLess(summary["train_redundant_forward_fraction"], 0.6)
        self.assertLessEqual(summary["peak_total_bytes"], summary["gpu_memory_bytes"])
        tokens = summary["train_tokens_reused"] + summary["train_tokens_recomputed"]
        self.assertAlmostEqual(tokens / summary["duration_s"], summary["train_tokens_per_s"], delta=1)

    def test_colocated(self):
        arrivals = None
        for policy in COLOCATED:
            with self.subTest(policy=policy):
                summary, requests = self.summary(policy)
                self.check(policy, summary, requests)
                here = sorted((row["request_id"], row["arrived_s"], row["num_decode_tokens"]) for row in requests)
                arrivals = arrivals or here
                self.assertEqual(arrivals, here)
                self.summaries[policy] = summary
        # Prompts are fresh here, so that records hold what feedback asks for, and less forward is repeated.
        fraction = {p: s["train_redundant_forward_fraction"] for p, s in self.summaries.items()}
        self.assertLess(fraction["alchemist"], 0.7 * fraction["temporal"])
        self.assertLess(fraction["oracle"], 0.7 * fraction["temporal"])
        per_gpu = {p: s["train_tokens_per_gpu_s"] for p, s in self.summaries.items()}
        self.assertGreater(per_gpu["alchemist"], 1.1 * per_gpu["temporal"])
        self.assertEqual(0, self.summaries["temporal"]["train_tokens_reused"])
        self.assertGreater(per_gpu["answers"], 1.1 * per_gpu["temporal"])

    def test_recorded_answers_are_not_run_forward(self):
        """Where they are recorded whatever it costs: few requests decode here, for whom it would not pay."""
        folder = self.make_directory()
        for name in ("true", "false"):
            (folder / f"{name}.yaml").write_text("description: a\nrecord: minimal\nplace: tiered\nevict: oldest\nrestore: planned\n"
                                                 f"train: headroom\nspare_memory: true\nrecord_answers: {name}\n")
        with_answers, without = (self.summary(folder / f"{name}.yaml")[0]["train_redundant_forward_fraction"]
                                 for name in ("true", "false"))
        self.assertLess(with_answers, 0.5 * without)

    def test_checkpointed_batches_need_no_records(self):
        """The largest batch has none: it keeps each layer's input of all its tokens, as without records, and serving has
        as much memory. (Records were counted at the bytes of a checkpoint once, which made it ten times as large.)"""
        folder = self.make_directory()
        (folder / "recompute.yaml").write_text("description: a\nrecord: none\nplace: none\nevict: none\nrestore: none\n"
                                               "train: headroom\nfresh: checkpoint\n")
        (folder / "reuse.yaml").write_text("description: b\nrecord: minimal\nplace: eager\nevict: oldest\nrestore: planned\n"
                                           "train: headroom\nfresh: checkpoint\n")
        without, having = (self.summary(folder / name)[0]["train_max_tokens"] for name in ("recompute.yaml", "reuse.yaml"))
        self.assertAlmostEqual(1, having / without, delta=0.05)

    def test_separate(self):
        for policy in SEPARATE:
            with self.subTest(policy=policy):
                summary, requests = self.summary(policy, "--set", "cluster={gpus: 2, training_gpus: 1}")
                self.check(policy, summary, requests)
                self.assertEqual(0, summary["train_tokens_reused"])

    # Memory is short there, and samples are long: what one needs is most of what serving leaves.
    def test_prompts_do_not_wait_for_memory_that_training_holds(self):
        few = ["--set", "hardware=l40s", "--set", "workload.rate=1", "--set", "workload.requests=3000", "--seed", "1"]
        alone = self.run_default("serve_only", *few)
        preempted = 0
        for policy in ("temporal", "reuse", "reuse_offload", "alchemist", "elastic", "token_fill", "beside"):
            for budget in ("hidden", "40 ms"):
                with self.subTest(policy=policy, budget=budget):
                    summary = self.run_default(policy, *few, "--set", f"training.max_itl={budget}")
                    self.assertLess(summary["p99_ttft_ms"], 2 * alone["p99_ttft_ms"])
                    preempted += summary["train_preemptions"]
        self.assertGreater(preempted, 50)

    def test_host_memory_that_holds_nothing_leaves_the_gpus(self):
        arguments = ["--set", "workload.rate=6", "--set", "training.max_itl=20 ms", "--set", "training.max_version_lag=64",
                     "--set", "training.feedback={share: 1, delay: {exponential: 10 s}}", "--set", "workload.requests=1000"]
        recomputed = self.run_default("temporal", *arguments)["train_tokens_per_s"]
        small = self.run_default("alchemist", *arguments, "--set", "hardware.host_memory=1 GiB")
        self.assertGreater(small["train_tokens_per_s"], 0.9 * recomputed)

    # A batch may be recomputed as a whole, whatever is recorded.
    def test_records_take_memory_of_the_largest_batch(self):
        largest = {p: self.summary(p)[0]["train_max_tokens"] for p in ("temporal", "reuse", "reuse_offload", "alchemist")}
        self.assertLessEqual(largest["reuse"], 1.05 * largest["temporal"])
        self.assertGreater(largest["reuse"], 0.95 * largest["temporal"])
        self.assertGreater(largest["alchemist"], largest["temporal"])
        self.assertLess(largest["reuse_offload"], 5 * largest["temporal"])

    def test_records_that_were_dropped_are_told(self):
        little = self.summary("reuse", "--set", "hardware.memory=40 GiB")[0]
        self.assertGreater(little["train_tokens_dropped"], 1000)
        self.assertLessEqual(little["train_tokens_dropped"], little["train_tokens_recomputed"])
        self.assertEqual(0, self.summary("temporal")[0]["train_tokens_dropped"])

    def test_separate_needs_gpus_of_its_own(self):
        result = run("run", "default", "--policy", "separate", "--set", "workload.requests=10")
        self.assert_one_line_error(result, "training_gpus")

    def test_training_that_does_not_fit_says_so(self):
        result = run("run", "default", "--policy", "temporal", "--set", "training.method=full", "--set", "hardware=a100-80g",
                     "--set", "workload.requests=10")
        self.assert_one_line_error(result, "does not fit", "lora")

    def test_changed_by_keys(self):
        """A policy with keys of its own is that of a file which has them, keeps its name and is written to run again."""
        folder = self.make_directory()
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        text = (CONFIGS / "policies/alchemist.yaml").read_text()
        (folder / "less.yaml").write_text(text + "gpu_record_share: 0.01\n")
        arguments = ["run", folder / "experiment.yaml", "--set", "workload.rate=6"]
        changed = [*arguments, "--policy", "alchemist", "--set", "policy.gpu_record_share=0.01"]
        self.assert_done(run(*changed, "--out", folder / "a"))
        self.assert_done(run("run", folder / "a/config.yaml", "--out", folder / "b"))
        self.assertEqual({file.name: file.read_bytes() for file in (folder / "a").iterdir()},
                         {file.name: file.read_bytes() for file in (folder / "b").iterdir()})
        self.assertRegex((folder / "a/config.yaml").read_text(), r"policy:\W+base: alchemist\W+gpu_record_share: 0\.01\W")
        summary = json.loads((folder / "a/summary.json").read_text())
        self.assertEqual("alchemist", summary["policy"])
        of_file = json.loads(run(*arguments, "--policy", folder / "less.yaml", "--json").stdout)
        plain = json.loads(run(*arguments, "--policy", "alchemist", "--json").stdout)
        self.assertEqual({**of_file, "policy": "alchemist"}, summary)
        self.assertNotEqual(plain["peak_activations_bytes"], summary["peak_activations_bytes"])
        inline = run(*arguments, "--set", "policy={base: alchemist, gpu_record_share: 0.01}", "--json")
        self.assertEqual(summary, json.loads(inline.stdout))

    def test_a_file_is_not_needed_to_run_again(self):
        """What is written has all that the policy's file said, which may change or go."""
        folder = self.make_directory()
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        mine = folder / "mine.yaml"
        for setting in ([], ["--set", "policy.window_layers=3"]):
            mine.write_text((CONFIGS / "policies/alchemist.yaml").read_text() + "gpu_record_share: 0.01\n")
            self.assert_done(run("run", folder / "experiment.yaml", "--policy", mine, *setting, "--out", folder / "a"))
            mine.write_text((CONFIGS / "policies/temporal.yaml").read_text())
            self.assert_done(run("run", folder / "a/config.yaml", "--out", folder / "b"))
            mine.unlink()
            self.assert_done(run("run", folder / "a/config.yaml", "--out", folder / "c"))
            files = [{file.name: file.read_bytes() for file in (folder / out).iterdir()} for out in "abc"]
            self.assertEqual(files[0], files[1])
            self.assertEqual(files[0], files[2])
            self.assertEqual(str(mine), json.loads(files[0]["summary.json"])["policy"])

    def test_written_out_in_the_experiment(self):
        folder = self.make_directory()
        decisions = "record: none, place: none, evict: none, restore: none, train: headroom"
        (folder / "experiment.yaml").write_text(EXPERIMENT + f"policy: {{{decisions}, stretch: 0.03}}\n")
        self.assert_done(run("run", folder / "experiment.yaml", "--out", folder / "a"))
        self.assert_done(run("run", folder / "a/config.yaml", "--out", folder / "b"))
        for name in ("config.yaml", "summary.json", "requests.csv"):
            self.assertEqual((folder / "a" / name).read_bytes(), (folder / "b" / name).read_bytes())
        self.assertEqual("inline", json.loads((folder / "a/summary.json").read_text())["policy"])

    def test_broken_keys_of_a_policy(self):
        for setting, expected in [("policy.gpu_record_share=2", ("--set policy.gpu_record_share=2: ", "from 0 to 1")),
                                  ("policy.record=none", ("--policy alchemist: key policy: ", "go together", "(with --set policy.record=none)")),
                                  ("policy.sm_share=0.3", ("key policy.sm_share", "train: beside")),
                                  ("policy.train=beside", ("needs the key sm_share", "(with --set policy.train=beside)")),
                                  ("policy={record: none}", ("key policy.place: missing",)),
                                  ("policy={base: alchemst}", ("key policy.base", "did you mean \"alchemist\"")),
                                  ("policy.windw_layers=3", ("did you mean \"window_layers\"",))]:
            with self.subTest(setting=setting):
                arguments = [] if setting.startswith("policy=") else ["--policy", "alchemist"]
                self.assert_one_line_error(run("run", "default", *arguments, "--set", setting), *expected)

    def test_nothing_trained_says_why(self):
        for settings, reason in [
                (["training.max_itl=5 ms"], r"training\.max_itl of 5 ms is shorter than a decode step alone takes "
                                            r"\(median [0-9.]+ ms\): no piece of training fits behind it"),
                (["training.max_itl=0 ms"], r"training\.max_itl of 0 ms is shorter than a decode step"),
                (["training.batch_tokens=1000000000"], r"no batch of 1000000000 tokens \(training\.batch_tokens\) was "
                                                       r"ever full: [1-9][0-9]* tokens of feedback came")]:
            with self.subTest(settings=settings):
                words = [word for setting in ("workload.requests=300", *settings) for word in ("--set", setting)]
                result = run("run", "default", "--policy", "alchemist", *words)
                self.assert_done(result)
                self.assertRegex(result.stderr, "nothing was trained of the [1-9][0-9]* samples whose feedback came: " + reason)
                self.assertNotIn("does not keep up", result.stderr)
                self.assertRegex(result.stdout, r"training\n  tokens per second +0\.0\n")
                self.assertRegex(result.stdout, r"steps, samples +0, 0\n")
        served = run("run", "default", "--policy", "serve_only", "--set", "workload.requests=50")
        self.assertNotIn("\ntraining\n", served.stdout)

    def test_little_reuse_says_why(self):
        words = ["--policy", "alchemist", "--set", "training.max_itl=20 ms", "--set", "workload.requests=2000"]
        result = run("run", "default", *words)
        self.assert_done(result)
        self.assertRegex(result.stderr, r"hardly anything was reused: [0-4]\.[0-9] % of the tokens trained had a record, of "
                                        r"[0-9]+ % it was gone or too old, .* may be 1 optimizer steps old "
                                        r"\(training.max_version_lag\), and [0-9]+ steps were run")
        fresh = run("run", "default", *words, "--set", "training.max_version_lag=64",
                    "--set", "training.feedback.delay.exponential=10 s")
        self.assertNotIn("hardly anything", fresh.stderr)

    def test_the_parts_of_a_step_are_all_told(self):
        result = run("run", "default", "--policy", "temporal", "--set", "workload.rate=4", "--set", "workload.requests=500")
        self.assert_done(result)
        step = re.search(r"step \(ms\) +([0-9.]+) = restore ([0-9.]+) \+ forward ([0-9.]+) \+ backward ([0-9.]+) \+ other "
                         r"replicas ([0-9.]+) \+ optimizer ([0-9.]+) \+ waiting behind serving ([0-9.]+)\n",
                         result.stdout)
        whole, *parts = map(float, step.groups())
        self.assertAlmostEqual(whole, sum(parts), delta=0.05)
        self.assertRegex(result.stdout, r"by older weights +[0-9]+ tokens\n")

    def test_broken_policy_files(self):
        folder = self.make_directory()
        good = "description: d\nrecord: minimal\nplace: stay\nevict: oldest\nrestore: reload\ntrain: idle\n"
        for wrong, expected in [(good.replace("minimal", "minimul"), ("p.yaml:2", "key record", "did you mean")),
                                (good.replace("place: stay", "place: none"), ("p.yaml", "go together")),
                                (good.replace("train: idle\n", ""), ("p.yaml", "train")),
                                (good.replace("train: idle", "train: beside"), ("p.yaml", "sm_share")),
                                ("description: d\nrecord: none\nplace: none\nevict: none\nrestore: none\ntrain: idle\n"
                                 "spare_memory: true\n", ("p.yaml", "spare_memory", "record is none")),
                                (good + "sm_share: 0.3\n", ("p.yaml:7", "train: beside")),
                                (good.replace("train: idle", "train: beside\nsm_share: 1.5"), ("p.yaml:7", "0.99")),
                                (good + "record_answers: perhaps\n", ("p.yaml:7", "record_answers", "true or false")),
                                ("description: d\nrecord: none\nplace: none\nevict: none\nrestore: none\ntrain: idle\n"
                                 "record_answers: true\n", ("p.yaml", "record is none"))]:
            (folder / "p.yaml").write_text(wrong)
            result = run("run", "default", "--policy", folder / "p.yaml", "--set", "workload.requests=10")
            self.assert_one_line_error(result, *expected)


if __name__ == "__main__":
    unittest.main()
