"""tools/summarise_validation: medians of errors, and pairs of policies in the same order."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase

TOOL = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "tools" / "summarise_validation"


class SummariseValidation(CliTestCase):
    def summary(self, out):
        return subprocess.run([sys.executable, "-B", TOOL, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)

    def add(self, out, policy, number, *values):
        """A run's tokens/s: real, simulated, repriced, at its speed (empty: not known)."""
        run = out / policy / str(number)
        run.mkdir(parents=True)
        (run / "comparison.csv").write_text("metric,real,simulated,repriced,at_speed\ntrain_tokens_per_s,"
                                            + ",".join(map(str, values)) + "\n")
        (run / "operations.csv").write_text("operation,count,real_s,priced_s,error\ndecode,1,2,1.5,0\n")

    def test_medians_and_order(self):
        """Of three runs the medians; `ant` is really faster than `zebra`, simulated slower, at the runs' speed faster."""
        out = self.make_directory() / "out"
        for number, error in [(1, 0.5), (2, 0.1), (3, -0.2)]:
            self.add(out, "zebra", number, 100, 100 * (1 + error), 101, 110)
            self.add(out, "ant", number, 200, 70, 199, 190)
        result = self.summary(out)
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertRegex(result.stdout, r"zebra +train_tokens_per_s +100 +110 +\+10.0 % +\+10.0 % +\+1.0 %")
        self.assertRegex(result.stdout, r"ant +decode_priced_s +2 +1.5 +-25.0 % +- +-")
        self.assertIn("train_tokens_per_s by simulated runs: zebra > ant\n", result.stdout)
        self.assertIn("train_tokens_per_s by at_speed runs: ant > zebra\n", result.stdout)
        self.assertIn("3 times two policies of a real run are more than 5 % apart; in the same order simulated 0, at_speed 3, "
                      "repriced 3 times\n", result.stdout)

    def test_speed_is_not_known(self):
        out = self.make_directory() / "out"
        self.add(out, "ant", 1, 100, 110, 101, "")
        self.add(out, "a_longer_name_of_a_zebra", 1, 200, 220, 202, 210)
        result = self.summary(out)
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertRegex(result.stdout, r"ant +train_tokens_per_s +100 +110 +\+10.0 % +- +\+1.0 %")
        self.assertRegex(result.stdout, r"zebra +train_tokens_per_s +200 ")
        self.assertNotIn("at_speed", result.stdout)
        self.assertIn("in the same order simulated 1, repriced 1 times\n", result.stdout)

    def test_pairs_are_of_one_run(self):
        """Run 2 of `ant` has no such number; its run 3 stands beside run 3 of `zebra`, from which it hardly differs: 4.9 %
        of the larger one. Run 1 is in another order."""
        out = self.make_directory() / "out"
        for number, real, simulated in [(1, 100, 110), (2, 200, 200), (3, 300, 300)]:
            self.add(out, "zebra", number, real, simulated, real, real)
        self.add(out, "ant", 1, 90, 120, 90, 90)
        self.add(out, "ant", 3, 285.3, 290, 285.3, 285.3)
        result = self.summary(out)
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertIn("train_tokens_per_s: 1 times two policies of a real run are more than 5 % apart; in the same order "
                      "simulated 0, at_speed 1, repriced 1 times\n", result.stdout)

    def test_mistakes(self):
        for out in [self.make_directory(), self.make_directory() / "missing"]:
            result = self.summary(out)
            self.assertEqual(1, result.returncode)
            self.assertTrue(result.stderr)
            self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    unittest.main()
