import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import breakeven, style
from plot.tables import Table

# Milliseconds by method, link and context: reload, recompute, planned, all in memory.
ROWS = """method,link_h2d_gb_per_s,context_tokens,recompute_all_ms,resident_ms,reload_all_ms,planned_ms
lora,10,1024,60,20,120,30
lora,10,2048,90,30,60,45
lora,50,1024,60,10,30,15
lora,50,2048,90,15,30,18
full,10,1024,80,40,80,64
full,50,1024,80,20,40,32
"""


def setUpModule():
    style.use()


def tearDownModule():
    style.plt.close("all")


class Breakeven(unittest.TestCase):
    def test_lines_are_speed_ups_over_recomputing_of_one_method_and_link(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "breakeven.csv"
            path.write_text(ROWS)
            panels = breakeven._figure(Table(path, breakeven._COLUMNS).rows, "breakeven", "m on h").drawing.axes
        lines = {(panel.get_title(), line.get_label()): dict(zip(line.get_xdata(), line.get_ydata()))
                 for panel in panels for line in panel.lines}
        lora, full = "LoRA: reload everything", "full fine-tuning: reload everything"
        self.assertEqual({1024: 0.5, 2048: 1.5}, lines[lora, "10 GB/s"])
        self.assertEqual({1024: 2, 2048: 3}, lines[lora, "50 GB/s"])
        self.assertEqual({1024: 2, 2048: 2}, lines["LoRA: planned", "10 GB/s"])
        self.assertEqual(({1024: 1}, {1024: 2}), (lines[full, "10 GB/s"], lines[full, "50 GB/s"]))
        # What no link beats: of the fastest one.
        self.assertEqual({1024: 6, 2048: 6}, lines[lora, "all in GPU memory"])


if __name__ == "__main__":
    unittest.main()
