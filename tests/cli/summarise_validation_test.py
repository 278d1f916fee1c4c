"""tools/summarise_validation: errors, and runs between two calibrations."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase

TOOL = Path(os.environ["ALCHEMIST_SOURCE_DIR"]) / "tools" / "summarise_validation"
COMPARISON = "metric,real,simulated,repriced\ntrain_tokens_per_s,{},{},{}\n"


class SummariseValidation(CliTestCase):
    def summary(self, out):
        return subprocess.run([sys.executable, "-B", TOOL, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)

    def add(self, out, policy, minute, microseconds, disturbance=1.0, took=None):
        """A calibration whose cases take so long and, where `took` is given, a run behind it whose operations take that
        times their price."""
        profile = out / f"profile-{policy}-1"
        profile.mkdir(parents=True)
        (profile / "meta.yaml").write_text(f"disturbance: {disturbance}\ndate: 2026-01-01T00:{minute:02}:00Z\n")
        (profile / "steps.csv").write_text("table,tokens,shape,time_us\n"
                                           f"decode,1,1x32,{microseconds}\nmixed,16,16+0 0x0,{2 * microseconds}\n")
        (profile / "training.csv").write_text("kind,tokens,attended_keys,time_us\n"
                                              f"forward,64,100,{disturbance * microseconds}\n")
        if took is None:
            return
        run = out / policy / "1"
        run.mkdir(parents=True)
        (run / "comparison.csv").write_text(COMPARISON.format(100, 100 * took, 99))
        (run / "operations.csv").write_text("operation,count,real_s,priced_s,error\n"
                                            + "".join(f"{kind},1,{2 * took},2,0\n" for kind in ["decode", "forward"]))

    def test_a_run_is_compared_with_the_mean_of_the_calibrations_around_it(self):
        """The machine is half as slow again behind the first run (50 us, then 60 us of which a quarter is disturbance),
        which took a quarter longer than priced, and has not changed behind the second, which took 1.1 times its price."""
        out = self.make_directory() / "out"
        self.add(out, "zebra", 1, 50, took=1.25)  # in the order of their dates, not of their names
        self.add(out, "ant", 2, 60, disturbance=1.25, took=1.1)
        self.add(out, "bee", 3, 75)
        result = self.summary(out)
        self.assertEqual(0, result.returncode, result.stderr)
        for kind in ["decode", "forward"]:
            self.assertIn(f"{kind}: took 1.05 times what the calibrations before and behind the run say (1.00 to 1.10 in "
                          "2 runs)\n", result.stdout)
        self.assertNotIn("prefill: took", result.stdout)
        self.assertRegex(result.stdout, r"zebra +train_tokens_per_s +100 +125 +\+25.0 % +-1.0 %")

    def test_mistakes(self):
        for out in [self.make_directory(), self.make_directory() / "missing"]:
            result = self.summary(out)
            self.assertEqual(1, result.returncode)
            self.assertTrue(result.stderr)
            self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
    unittest.main()
