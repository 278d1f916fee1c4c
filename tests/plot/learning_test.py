import json
import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401

from plot import learning, style
from plot.errors import InputError

SAID = {"model": "tiny", "weights": "random", "device": "CPU", "method": "full", "recorded": "all", "learning_rate": 0.001,
        "pretrain_steps": 200, "samples": 4, "prompt_tokens": 96, "answer_tokens": 32}
HEADER = "lag,seed,step,loss\n"
TWO_SEEDS = HEADER + "0,1,0,4\n0,1,10,2\n8,1,0,4\n8,1,10,2.5\n0,2,0,5\n0,2,10,3\n8,2,0,5\n8,2,10,3.1\n"


class LearningTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        style.use()

    def directory(self, csv, said=SAID):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "learning.csv").write_text(csv, encoding="utf-8")
        (folder / "learning.json").write_text(json.dumps(said), encoding="utf-8")
        return folder

    def lines(self, csv):
        """Of both panels: [(label, points)] each."""
        [figure] = learning.read(self.directory(csv)).figures()
        figure.drawing.draw_without_rendering()
        self.addCleanup(style.plt.close, figure.drawing)
        return [[(line.get_label(), [(float(x), round(float(y), 9)) for x, y in line.get_xydata()]) for line in panel.lines]
                for panel in figure.drawing.axes]

    def test_means_over_the_seeds_and_differences_of_the_same_seed(self):
        losses, behind = self.lines(TWO_SEEDS)
        self.assertEqual([("fresh activations", [(0, 4.5), (10, 2.5)]), ("records 8 steps old", [(0, 4.5), (10, 2.8)])],
                         losses)
        self.assertEqual([[(0, 0), (10, 0)], [(0, 0), (10, 0.3)]], [points for _, points in behind])

    def test_a_curve_that_diverges_ends(self):
        losses, _ = self.lines(TWO_SEEDS.replace("8,2,10,3.1\n", ""))
        self.assertEqual(("records 8 steps old", [(0, 4.5)]), losses[1])

    def test_ages_come_in_their_order(self):
        losses, _ = self.lines(HEADER + "16,0,0,4\n0,0,0,4\n1,0,0,4\n")
        self.assertEqual(["fresh activations", "records 1 step old", "records 16 steps old"], [label for label, _ in losses])

    def test_ages_of_runs_come_last_and_by_their_names(self):
        csv = "lag,seed,step,loss,run\n,0,0,4,hidden\n,0,10,3,hidden\n0,0,0,4,\n0,0,10,2,\n8,0,0,4,\n8,0,10,2.5,\n"
        losses, behind = self.lines(csv)
        self.assertEqual(["fresh activations", "records 8 steps old", "records as old as in hidden"],
                         [label for label, _ in losses])
        self.assertEqual([(0, 0), (10, 1)], behind[2][1])
        self.assertIn("hidden", learning.read(self.directory(csv)).numbers())
        self.assertNotIn("Run", learning.read(self.directory(TWO_SEEDS)).numbers())

    def test_says_what_was_trained(self):
        subject = learning.read(self.directory(TWO_SEEDS)).subject()
        self.assertIn("tiny (random weights), full, learning rate 0.001, after 200 steps of pretraining, prompts and answers "
                      "recorded, 4 samples of 96 + 32", subject)

    def test_says_whose_weights_backward_had(self):
        for said, expected in [({}, "recorded, 4 samples"), ({"backward": "current"}, "recorded, 4 samples"),
                               ({"backward": "recorded"}, "recorded, backward under the weights of the record, 4 samples")]:
            self.assertIn(expected, learning.read(self.directory(TWO_SEEDS, SAID | said)).subject())

    def test_what_is_wrong_is_told_with_its_place(self):
        for csv, said, message in [(HEADER + "0,0,0,x\n", SAID, "learning.csv:2: column loss: expected a number"),
                                   (HEADER.replace("lag", "age"), SAID, "column lag is missing"),
                                   (TWO_SEEDS, {}, "learning.json:1: expected what `alchemist learning` writes"),
                                   (TWO_SEEDS, SAID | {"recorded": "none"}, "learning.json:1: expected what"),
                                   (TWO_SEEDS, SAID | {"backward": "none"}, "learning.json:1: expected what")]:
            with self.assertRaisesRegex(InputError, message):
                list(learning.read(self.directory(csv, said)).figures())


if __name__ == "__main__":
    unittest.main()
