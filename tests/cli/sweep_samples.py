"""A small sweep, and what the tests of `alchemist sweep` share."""

import csv

from alchemist_cli import CliTestCase, run
from samples import EXPERIMENT

SWEEP = """\
base: ./experiment.yaml
grid:
  workload.rate: [10, 20]
  policy: [serve_only, temporal, reuse]
seeds: [4, 2, 9]
"""
TABLES = ["results.csv", "intervals.csv", "paired.csv"]


def read_table(file):
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


class SweepTestCase(CliTestCase):
    def setUp(self):
        self.folder = self.make_directory()
        (self.folder / "experiment.yaml").write_text(EXPERIMENT)
        self.sweep_file = self.folder / "small.yaml"
        self.sweep_file.write_text(SWEEP)

    def sweep(self, out, *arguments):
        """Runs the sweep with results in a folder of that name, which it must manage; the folder."""
        self.assert_done(run("sweep", self.sweep_file, "--out", self.folder / out, *arguments))
        return self.folder / out

    def tables(self, folder):
        """The bytes of all tables."""
        return {name: (folder / name).read_bytes() for name in TABLES}
