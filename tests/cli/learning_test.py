#!/usr/bin/env python3
"""alchemist learning."""

import csv
import json
import unittest

from alchemist_cli import CliTestCase, run

SMALL = ["--samples", "2", "--prompt-tokens", "24", "--answer-tokens", "8", "--method", "full", "--learning-rate", "1e-3",
         "--steps", "6", "--every", "4", "--held-out", "1"]


class LearningTest(CliTestCase):
    def learn(self, *options, pretrain_steps=2):
        out = self.make_directory() / "out"
        result = run("learning", *SMALL, *options, "--pretrain-steps", pretrain_steps, "--out", out)
        self.assert_done(result)
        return out, result.stdout, list(csv.DictReader((out / "learning.csv").read_text().splitlines()))

    def test_a_curve_for_each_age_and_seed(self):
        out, stdout, points = self.learn("--lags", "3,1", "--repeats", "2", "--seed", "5", "--recorded", "all")
        self.assertEqual([(lag, seed, step) for seed in "56" for lag in "013" for step in "046"],
                         [(point["lag"], point["seed"], point["step"]) for point in points])
        loss = {(point["lag"], point["seed"], point["step"]): float(point["loss"]) for point in points}
        for seed in "56":
            self.assertLess(loss["0", seed, "6"], loss["0", seed, "0"])
            self.assertEqual(1, len({loss[lag, seed, "0"] for lag in "013"}))
            self.assertEqual(3, len({loss[lag, seed, "6"] for lag in "013"}))
        said = json.loads((out / "learning.json").read_text())
        self.assertEqual(("all", 6, 2, 64), tuple(said[key] for key in ("recorded", "steps", "repeats", "alphabet")))
        rows = [line.split() for line in stdout.splitlines()[:4]]
        self.assertEqual(["lag", "0", "1", "3"], [row[0] for row in rows])
        self.assertEqual([f"{(loss[lag, '5', '6'] + loss[lag, '6', '6']) / 2:.4f}" for lag in "013"], [row[1] for row in rows[1:]])
        self.assertEqual("6.0", rows[1][2])
        self.assertTrue(stdout.splitlines()[4].startswith("Loss of held-out samples after 6 steps"), "one row for all seeds")

    def test_pretraining_is_what_curves_start_from(self):
        start = {steps: self.learn("--lags", "0", pretrain_steps=steps)[2][0]["loss"] for steps in (0, 2, 3)}
        start["faster"] = self.learn("--lags", "0", "--pretrain-learning-rate", "1e-2")[2][0]["loss"]
        self.assertEqual(4, len(set(start.values())))

    def test_same_seed_same_bytes(self):
        self.assertEqual(self.learn("--lags", "1")[1:][1], self.learn("--lags", "1")[1:][1])

    def test_backward_under_the_weights_of_the_record(self):
        current, recorded = (self.learn("--lags", "2", "--backward", backward) for backward in ("current", "recorded"))
        self.assertEqual(current[2][:3], recorded[2][:3])  # without a lag both are the same
        self.assertNotEqual(current[2][-1], recorded[2][-1])
        for (out, stdout, _), backward in [(current, "current"), (recorded, "recorded")]:
            self.assertEqual(backward, json.loads((out / "learning.json").read_text())["backward"])
            self.assertEqual(backward == "recorded", "under the weights of their record" in stdout)

    def test_figure_and_report(self):
        out, _, _ = self.learn("--lags", "2")
        self.assert_done(run("plot", out))
        self.assertIn("records 2 steps old", (out / "figures/learning.svg").read_text().replace("\N{NO-BREAK SPACE}", " "))
        page = (out / "report.html").read_text()
        self.assertIn("tiny (random weights), full, learning rate 0.001, after 2 steps of pretraining, prompts recorded", page)
        self.assertIn("all numbers", page)
        (out / "learning.csv").write_text("lag,seed,step,loss\n0,0,0,much\n")
        self.assert_one_line_error(run("plot", out), "learning.csv:2: column loss", "\"much\"")

    def test_user_errors_leave_no_output(self):
        out = self.make_directory() / "out"
        for options, message in [(["--lags", "1,x"], "--lags"), (["--lags", "-1"], "--lags"), (["--lags", "1001"], "--lags"),
                                 (["--steps", "0"], "--steps"), (["--every", "1e3"], "--every"),
                                 (["--alphabet", "3"], "--alphabet"), (["--recorded", "answers"], "--recorded"),
                                 (["--backward", "old"], "--backward")]:
            self.assert_user_error(run("learning", *options, "--out", out), message)
        self.assert_one_line_error(run("learning", "--prompt-tokens", "5000", "--out", out),
                                   "5032 tokens; model tiny has positions for 2048")
        self.assert_one_line_error(run("learning", "--model", "qwen3-8b", "--backward", "recorded", "--out", out),
                                   "--backward recorded: model qwen3-8b has norms of queries and keys",
                                   "expected --method lora or --recorded all")
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
