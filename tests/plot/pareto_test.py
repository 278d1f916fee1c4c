import unittest

import support  # noqa: F401

from plot.pareto import front


class Front(unittest.TestCase):
    # Cost and gain. (2, 3) is beaten by (1, 3), which costs less; (4, 4) by (3, 5), which gives more; of (1, 3) and
    # (1, 2) the one that gives more is left.
    def test_keeps_what_nothing_beats(self):
        points = [(4, 4), (1, 2), (3, 5), (2, 3), (1, 3), (9, 9)]
        self.assertEqual([(1, 3), (3, 5), (9, 9)], front(points))

    def test_one_and_none(self):
        self.assertEqual([(1, 1)], front([(1, 1)]))
        self.assertEqual([], front([]))


if __name__ == "__main__":
    unittest.main()
