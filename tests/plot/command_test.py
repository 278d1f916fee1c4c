import unittest
from unittest import mock

import support  # noqa: F401

from plot import command, style
from plot.study import Interval, Point, Study


def sweep(name, axis, values):
    points = [Point({"policy": "temporal", axis: value}, {"train_tokens_per_s": Interval(100.0)}, [("1", "ok", "")])
              for value in values]
    return Study(name, ["policy", axis], points, [])


class Parts(unittest.TestCase):
    def setUp(self):
        style.use()
        self.addCleanup(style.plt.close, "all")

    def test_sweeps_beside_each_other_have_their_own_figures(self):
        studies = [sweep("a", "workload.rate", ["4", "8"]), sweep("b", "training.batch_tokens", ["512", "1024"])]
        with (mock.patch.object(command.inputs, "read", return_value=([], [], [])),
              mock.patch.object(command.study, "make", return_value=studies)):
            parts = command._parts([], "nothing")
            found = {name: [figure.name for figure in figures] for name, _, figures in parts}
        self.assertIn("against_workload_rate", found["a"])
        self.assertIn("against_training_batch_tokens", found["b"])
        self.assertNotIn("against_workload_rate", found["b"])


if __name__ == "__main__":
    unittest.main()
