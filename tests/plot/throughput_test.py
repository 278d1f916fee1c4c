import unittest

import support  # noqa: F401

from plot import style, throughput
from plot.study import Interval, Point, Study


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


class StepBreakdown(unittest.TestCase):
    def test_phases_stand_side_by_side_each_in_its_colour(self):
        values = {"train_tokens_per_s": Interval(100.0), "train_forward_ms": Interval(4.0),
                  "train_restore_stall_ms": Interval(1.0), "train_backward_ms": Interval(8.0, 7.0, 10.0, 3),
                  "train_optimizer_ms": Interval(2.0), "train_recording_ms": Interval(30.0)}
        study = Study("s", ["policy"], [Point({"policy": "planned"}, values, [("1", "ok", "")])], [])
        panel = list(throughput.figures(study))[1].drawing.axes[0]
        bars = [(style.to_hex(bar.get_facecolor()).upper(), bar.get_x(), bar.get_width()) for bar in panel.patches]
        self.assertEqual([(style.PHASES["forward"], 0, 4), (style.PHASES["restore_stall"], 4, 1),
                          (style.PHASES["backward"], 5, 8), (style.PHASES["optimizer"], 13, 2)], bars)
        # The interval of 7 to 10 of backward, whose bar ends at 13.
        ends = [segment[:, 0].tolist() for lines in panel.collections for segment in lines.get_segments()]
        self.assertEqual([[12, 15]], ends)


if __name__ == "__main__":
    unittest.main()
