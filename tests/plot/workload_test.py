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


if __name__ == "__main__":
    unittest.main()
