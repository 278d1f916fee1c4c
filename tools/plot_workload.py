#!/usr/bin/python3
"""Draws the numbers of `alchemist workload inspect`: plot_workload.py NUMBERS.json OUT.png

Rate over time, the distributions of lengths, and, where the workload was compared with a file, quantiles of both."""
import json
import sys

try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("plot_workload.py: matplotlib is missing; install it with: apt install python3-matplotlib")

CURVES = {"prompt_tokens": "prompt", "first_prompt_tokens": "first prompt", "new_user_tokens": "new user tokens",
          "output_tokens": "output"}


def plot_rate(axes, numbers):
    rates = numbers.get("rate_over_time_per_s", [])
    if len(rates) < 2:
        axes.text(0.5, 0.5, "no arrival times", ha="center", va="center", transform=axes.transAxes)
        return
    edges = [i * numbers["rate_bin_s"] for i in range(len(rates) + 1)]
    axes.stairs(rates, edges, fill=True, color="#4477aa")
    axes.set(xlabel="time (s)", ylabel="requests / s", title="Rate over time", ylim=(0, None))


def plot_lengths(axes, numbers):
    for key, label in CURVES.items():
        if key in numbers:
            values = numbers[key]["percentiles_0_to_100"]
            axes.plot(values, [i / 100 for i in range(101)], label=label)
    axes.set(xscale="log", xlabel="tokens", ylabel="share of requests at or below", title="Lengths")
    axes.legend()


def plot_comparison(axes, rows):
    names = list(dict.fromkeys(row["what"] for row in rows if "quantile" in row))
    for i, name in enumerate(names):
        points = [row for row in rows if row["what"] == name and "quantile" in row]
        axes.plot([p["file"] for p in points], [p["workload"] for p in points], "o-", color=f"C{i}", markersize=4,
                  label=name.replace("_", " "))
    low, high = axes.get_xlim()
    axes.plot([1, high], [1, high], color="grey", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="file", ylabel="workload", title="Quantiles P10 ... P99")
    axes.legend()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        numbers = json.load(file)
    panels = 3 if "against" in numbers else 2
    figure, axes = plt.subplots(1, panels, figsize=(5 * panels, 3.6), layout="constrained")
    plot_rate(axes[0], numbers)
    plot_lengths(axes[1], numbers)
    if panels == 3:
        plot_comparison(axes[2], numbers["against"])
    figure.suptitle(f"{numbers['workload']}: {numbers['requests']} requests, "
                    f"{100 * numbers['prefix_sharing_fraction']:.1f} % of prompt tokens shared")
    figure.savefig(sys.argv[2], dpi=120)


if __name__ == "__main__":
    main()
