#!/usr/bin/env python3
"""alchemist staleness."""

import csv
import json
import unittest

from alchemist_cli import CliTestCase, run

SMALL = ["--samples", "2", "--prompt-tokens", "24", "--answer-tokens", "8", "--repeats", "1", "--warm-up-steps", "1"]


class StalenessTest(CliTestCase):
    def measure(self, *options):
        out = self.make_directory() / "out"
        result = run("staleness", *SMALL, *options, "--out", out)
        self.assert_done(result)
        return result.stdout, list(csv.DictReader((out / "staleness.csv").read_text().splitlines())), json.loads((out / "staleness.json").read_text())

    def test_error_grows_from_nothing(self):
        for method in ["lora", "full"]:
            stdout, points, provenance = self.measure("--max-lag", "3", "--method", method)
            errors = [float(point["relative_error"]) for point in points]
            self.assertEqual([0, 1, 2, 3], [int(point["lag"]) for point in points])
            self.assertEqual(0, errors[0])
            self.assertLess(0, errors[1])
            self.assertLess(errors[1], errors[3])
            self.assertEqual(method, provenance["method"])
            self.assertIn("CPU, f32", provenance["device"])
            self.assertIn("relative error", stdout)

    def test_same_seed_same_bytes(self):
        self.assertEqual(self.measure("--max-lag", "1")[1:], self.measure("--max-lag", "1")[1:])
        self.assertNotEqual(self.measure("--max-lag", "1")[1], self.measure("--max-lag", "1", "--seed", "2")[1])

    def test_user_errors_leave_no_output(self):
        out = self.make_directory() / "out"
        self.assert_one_line_error(run("staleness", "--prompt-tokens", "5000", "--out", out),
                                   "5032 tokens; model tiny has positions for 2048")
        self.assert_one_line_error(run("staleness", "--weights", out, "--out", out), "config.json: cannot be read")
        self.assert_one_line_error(run("staleness", "--model", "llama-3.1-8b", "--out", out), "tiny")
        self.assert_user_error(run("staleness", "--max-lag", "-1", "--out", out), "--max-lag")
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
