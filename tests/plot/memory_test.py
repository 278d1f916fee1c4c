import unittest

import support  # noqa: F401

from plot import memory, style
from plot.study import Interval, Point, Study

# A GPU that serves had 30 GiB of KV beside its weights, one that trains 40 for training: no GPU ever had 85, and none
# can have.
PEAKS = {"weights": 15, "kv": 30, "activations": 20, "training": 40, "train_side": 45, "total": 60, "host": 9}


def tearDownModule():
    style.plt.close("all")


def figure():
    style.use()
    values = {f"peak_{name}_bytes": Interval(gib * memory.GIB) for name, gib in PEAKS.items()}
    values["peak_total_bytes"] = Interval(60 * memory.GIB, 58 * memory.GIB, 62 * memory.GIB, 3)
    points = [Point({"policy": policy}, values | {"gpu_memory_bytes": Interval(size * memory.GIB)})
              for policy, size in (("separate", 80), ("planned", 140))]
    return next(memory.figures(Study("s", ["policy"], points, [])))


class Memory(unittest.TestCase):
    def test_no_bar_ends_beyond_the_peak_of_the_sum(self):
        bars = figure().drawing.axes[0].patches
        self.assertEqual({0}, {bar.get_x() for bar in bars})  # none stands on another
        self.assertEqual(60, max(bar.get_x() + bar.get_width() for bar in bars))

    def test_every_peak_has_a_bar(self):
        widths = sorted(bar.get_width() for bar in figure().drawing.axes[0].patches)
        self.assertEqual(sorted(2 * [gib for name, gib in PEAKS.items() if name != "host"]), widths)

    def test_thin_bars_lie_apart_within_the_bar_of_the_sum(self):
        bars = figure().drawing.axes[0].patches[:6]
        total, side, *thin = ((bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars)
        for above, below in zip(thin, thin[1:]):
            self.assertLess(above[1], below[0])
        self.assertLessEqual(total[0], thin[0][0])
        self.assertGreaterEqual(total[1] + 1e-9, thin[-1][1])
        self.assertLess(thin[1][1], side[0])  # what training takes does not lie behind the KV blocks
        self.assertLess(side[0], thin[2][0])

    def test_what_the_host_holds_and_the_interval_of_the_sum_are_in_the_same_unit(self):
        panel = figure().drawing.axes[0]
        self.assertEqual([9, 9], [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "x"])
        ends = [segment[:, 0].tolist() for lines in panel.collections for segment in lines.get_segments()]
        self.assertEqual([[58, 62]] * 2, ends)

    def test_each_name_has_the_line_of_its_own_gpu(self):
        lines = [line for line in figure().drawing.axes[0].lines if line.get_linestyle() == "--"]
        self.assertEqual([([80, 80], [-0.5, 0.5]), ([140, 140], [0.5, 1.5])],
                         [(list(line.get_xdata()), list(line.get_ydata())) for line in lines])


if __name__ == "__main__":
    unittest.main()
