"""Whole runs against what they gave before (tests/golden): no result changes by accident.

A change that is meant to change results says so by changing the files, with the program in $ALCHEMIST:

    ALCHEMIST=build/release/alchemist python3 tests/cli/golden_test.py --update
"""

import json
import sys
import unittest
from pathlib import Path

from alchemist_cli import CliTestCase, run

EXPERIMENTS = sorted((Path(__file__).parent.parent / "golden").glob("*.yaml"))


def summary(test, experiment):
    """What the program makes of it now, but for the program's own version."""
    result = run("run", experiment, "--json")
    test.assert_done(result)
    numbers = json.loads(result.stdout)
    del numbers["engine"]
    return numbers


class Golden(CliTestCase):
    def test_results_are_as_before(self):
        self.assertGreaterEqual(len(EXPERIMENTS), 7)
        for experiment in EXPERIMENTS:
            with self.subTest(experiment=experiment.name):
                before, now = json.loads(experiment.with_suffix(".json").read_text()), summary(self, experiment)
                self.assertEqual(list(before), list(now))
                self.assertEqual({}, {key: (before[key], now[key]) for key in now if before[key] != now[key]},
                                 "was and is; if that is meant, see the top of this file")

    def test_they_are_worth_comparing(self):
        """Each mechanism that an experiment is there for leaves its mark."""
        def golden(name):
            return json.loads(next(e for e in EXPERIMENTS if e.stem == name).with_suffix(".json").read_text())
        self.assertGreater(golden("serving")["num_preemptions"], 0)
        self.assertGreater(golden("serving")["prefix_hit_tokens"], 0)
        self.assertGreater(golden("short_of_memory")["train_preemptions"], 5)
        for name in ("hidden", "late_tokens", "preferences", "split", "short_of_memory"):
            self.assertGreater(golden(name)["train_steps"], 2, name)
            self.assertGreater(golden(name)["train_tokens_reused"], 0, name)
            self.assertGreater(golden(name)["stale_prefix_hit_tokens"], 0, name)
        self.assertGreater(golden("separate")["train_steps"], 2)
        self.assertGreater(golden("separate")["prefix_hit_tokens"], 0)
        self.assertEqual(golden("separate")["stale_prefix_hit_tokens"], 0)


def update():
    test = Golden()
    for experiment in EXPERIMENTS:
        experiment.with_suffix(".json").write_text(json.dumps(summary(test, experiment), indent=2) + "\n")


if __name__ == "__main__":
    if "--update" in sys.argv:
        update()
    else:
        unittest.main()
