import unittest

import support  # noqa: F401

import plot_workload
from plot import style


class Rate(unittest.TestCase):
    def test_a_workload_of_one_moment_has_no_axes_and_is_not_said_to_lack_times(self):
        style.use()
        figure, axes = style.panels(1, 2)
        plot_workload.plot_rate(axes[0][0], {})
        self.assertFalse(axes[0][0].axison)
        self.assertIn("all at one time", axes[0][0].texts[0].get_text())
        plot_workload.plot_rate(axes[0][1], {"rate_over_time_per_s": [1, 2], "rate_bin_s": 5})
        self.assertTrue(axes[0][1].axison)
        style.plt.close(figure)


class Curves(unittest.TestCase):
    def drawn(self, draw, numbers):
        style.use()
        figure, axes = style.panels(1, 1)
        draw(axes[0][0], numbers)
        self.addCleanup(style.plt.close, figure)
        return axes[0][0]

    def test_bins_of_the_rate_are_as_long_as_they_are_said_to_be(self):
        panel = self.drawn(plot_workload.plot_rate, {"rate_over_time_per_s": [1, 3], "rate_bin_s": 5})
        self.assertEqual([0, 5, 10], list(panel.patches[0].get_data().edges))

    def test_percentiles_0_to_100_are_shares_from_0_to_1(self):
        panel = self.drawn(plot_workload.plot_lengths, {"prompt_tokens": {"percentiles_0_to_100": list(range(1, 102))}})
        self.assertEqual((0, 0.5, 1), tuple(panel.lines[0].get_ydata()[[0, 50, 100]]))
        self.assertEqual(51, panel.lines[0].get_xdata()[50])

    def test_the_file_lies_along_and_the_workload_up(self):
        rows = [{"what": "turns", "quantile": 0.5, "workload": 2, "file": 3},
                {"what": "turns, first answer", "measure": "rank correlation", "workload": 0.1, "file": 0.2}]
        line = self.drawn(plot_workload.plot_comparison, rows).lines[0]
        self.assertEqual(([3], [2]), (list(line.get_xdata()), list(line.get_ydata())))


if __name__ == "__main__":
    unittest.main()
