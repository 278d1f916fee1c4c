import tempfile
import unittest
from pathlib import Path
from unittest import mock

import support  # noqa: F401

from plot import command, output, report, style
from plot.figure import Figure
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


class Stale(unittest.TestCase):
    def test_figures_that_the_report_has_no_longer_go_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            self.write(out, ["latency", "latency_2", "timeline_a.b"], ["png", "svg"])
            (out / "figures/mine_2.png").write_bytes(b"somebody else's")
            self.write(out, ["latency", "pareto"], ["svg"])
            self.assertEqual(["latency.png", "latency.svg", "mine_2.png", "pareto.svg"],  # the PNG was not asked for
                             sorted(file.name for file in (out / "figures").iterdir()))

    def write(self, out, names, forms):
        """A report of figures with these names, over what is there."""
        drawn = [(Figure(name, "title", "caption", None), b"<svg/>") for name in names]
        sections = [("s", sweep("s", "workload.rate", ["4"]), drawn)]
        files = {f"figures/{name}.{form}": b"" for name in names for form in forms}
        files["report.html"] = report.page("title", "command", sections).encode()
        output.write(out, files, command._stale(out, sections))


if __name__ == "__main__":
    unittest.main()
