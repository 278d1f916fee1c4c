#!/usr/bin/env python3
"""alchemist learning."""

import csv
import json
import unittest

from alchemist_cli import CliTestCase, run

SMALL = ["--samples", "2", "--prompt-tokens", "24", "--answer-tokens", "8", "--learning-rate", "1e-3",
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

    def make_run(self, name, lags, rate=1000):
        """Of what a run writes, what is read."""
        folder = self.make_directory() / name
        folder.mkdir()
        rows = [f"{i},{'' if lag is None else 1 + i // 2},{'' if lag in (None, '-') else lag}" for i, lag in enumerate(lags)]
        (folder / "requests.csv").write_text("\n".join(["request_id,trained_at_s,version_lag", *rows, ""]))
        (folder / "summary.json").write_text(json.dumps({"train_tokens_per_s": rate}))
        return folder

    def test_as_old_as_in_runs(self):
        # One of two requests was not trained, one had no record.
        mixed = self.make_run("mixed", [None, 5, 2, "-", None, 3])
        constant, fresh = self.make_run("constant", [3, 3]), self.make_run("fresh", ["-", 0], rate=500)
        out, stdout, points = self.learn("--run", mixed, constant, "--run", fresh, "--lags", "3")
        loss = {(point["lag"], point["run"], point["step"]): point["loss"] for point in points}
        self.assertEqual({("0", ""), ("3", ""), ("", "mixed"), ("", "constant"), ("", "fresh")}, {key[:2] for key in loss})
        self.assertEqual(loss["3", "", "6"], loss["", "constant", "6"])
        self.assertEqual(loss["0", "", "6"], loss["", "fresh", "6"])
        self.assertEqual(4 - 1, len({loss["0", "", "6"], loss["3", "", "6"], loss["", "mixed", "6"]}))
        rows = {words[0]: words for words in map(str.split, stdout.splitlines()) if words}
        self.assertEqual(["fresh", "0.0", f"{float(loss['', 'fresh', '6']):.4f}", "6.0", "500", "500"], rows["fresh"])
        self.assertEqual("2.5", rows["mixed"][1])
        self.assertAlmostEqual(float(rows["mixed"][3]) / 6 * 1000, float(rows["mixed"][5]), delta=10)
        said = json.loads((out / "learning.json").read_text())
        self.assertEqual([("mixed", 4, 2.5, 1000), ("constant", 2, 3, 1000), ("fresh", 2, 0, 500)],
                         [tuple(run.values()) for run in said["runs"]])
        self.assertEqual({"0", ""}, {point["lag"] for point in self.learn("--run", mixed)[2]}, "no lags but what is asked for")
        self.assert_done(run("plot", out))
        self.assertIn("as old as in mixed", (out / "figures/learning.svg").read_text().replace("\N{NO-BREAK SPACE}", " "))

    def test_as_old_as_in_a_run_that_was_simulated(self):
        simulated = self.make_directory() / "simulated"
        self.assert_done(run("run", "default", "--policy", "alchemist", "--set", "workload.requests=60", "--set",
                             "training.feedback={share: 1, delay: {fixed: 1 s}}", "--set", "training.max_itl=20 ms",
                             "--set", "training.max_version_lag=9", "--out", simulated))
        summary = json.loads((simulated / "summary.json").read_text())
        out, stdout, _ = self.learn("--run", simulated, "--method", "lora", "--backward", "recorded")
        [told] = json.loads((out / "learning.json").read_text())["runs"]
        self.assertEqual(summary["train_tokens_per_s"], told["train_tokens_per_s"])
        rows = csv.DictReader((simulated / "requests.csv").read_text().splitlines())
        lags = [int(row["version_lag"] or 0) for row in rows if row["trained_at_s"]]
        self.assertGreater(max(lags), 2)
        self.assertEqual(len(lags), told["samples"])
        self.assertIn(f"simulated  {sum(lags) / len(lags):8.1f}", stdout)

    def test_where_nothing_is_learned_no_tokens_are_told(self):
        out = self.make_directory() / "out"
        told = run("learning", *SMALL[:-8], "--learning-rate", "0", "--steps", "2", "--held-out", "1", "--run",
                   self.make_run("some", [2]), "--pretrain-steps", "1", "--out", out)
        self.assert_done(told)
        [row] = [line.split() for line in told.stdout.splitlines() if line.startswith("some")]
        self.assertEqual(["some", "2.0"], row[:2])
        self.assertEqual(4, len(row), "no rates")

    def test_runs_that_tell_no_ages_are_refused(self):
        out = self.make_directory() / "out"
        good = self.make_run("good", [1])
        nothing, torn, rateless = self.make_run("nothing", [None]), self.make_run("torn", [1]), self.make_run("rateless", [1])
        (torn / "requests.csv").write_text("request_id,trained_at_s,version_lag\n0,1,old\n")
        (rateless / "summary.json").write_text("{}")
        for folder, *message in [(nothing, "nothing/requests.csv: no request was trained on"),
                                 (torn, "torn/requests.csv:2: ", "old"),
                                 (rateless, "rateless/summary.json: expected the summary.json of a run"),
                                 (good.parent, "requests.csv: ")]:
            self.assert_one_line_error(run("learning", "--run", folder, "--out", out), *message)
        self.assert_one_line_error(run("learning", "--run", good, self.make_run("good", [1]), "--out", out),
                                   "another one is named good too")
        self.assert_one_line_error(run("learning", "--run", good, "--backward", "recorded", "--out", out),
                                   "--backward recorded: the samples of a --run are of several ages",
                                   "expected --method lora")
        self.assertFalse(out.exists())

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
