#!/usr/bin/python3
"""Draws the numbers of `alchemist workload inspect`: plot_workload.py NUMBERS.json OUT.png

Rate over time, the distributions of lengths, and, where the workload was compared with a file, quantiles of both."""
import json
import sys

from plot import style

# Key of the numbers: (label, colour).
CURVES = {"prompt_tokens": ("prompt", style.BLUE), "first_prompt_tokens": ("first prompt", style.ORANGE),
          "new_user_tokens": ("new user tokens", style.GREEN), "output_tokens": ("output", style.VERMILLION)}
COMPARED = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION, style.PURPLE, style.SKY)


def plot_rate(axes, numbers):
    rates = numbers.get("rate_over_time_per_s", [])
    if len(rates) < 2:
        axes.text(0.5, 0.5, "no rate: all at one time, or without times", ha="center", va="center",
                  transform=axes.transAxes)
        axes.set_axis_off()
        return
    edges = [i * numbers["rate_bin_s"] for i in range(len(rates) + 1)]
    axes.stairs(rates, edges, fill=True, color=style.BLUE)
    axes.set(xlabel="time (s)", ylabel="requests / s", title="Rate over time", ylim=(0, None))


def plot_lengths(axes, numbers):
    for key, (label, colour) in CURVES.items():
        if key in numbers:
            values = numbers[key]["percentiles_0_to_100"]
            axes.plot(values, [i / 100 for i in range(101)], color=colour, label=label)
    axes.set(xscale="log", xlabel="tokens", ylabel="share of requests at or below", title="Lengths")
    axes.legend()


def plot_comparison(axes, rows):
    names = list(dict.fromkeys(row["what"] for row in rows if "quantile" in row))
    for i, name in enumerate(names):
        points = [row for row in rows if row["what"] == name and "quantile" in row]
        axes.plot([p["file"] for p in points], [p["workload"] for p in points], "o-", color=COMPARED[i % len(COMPARED)],
                  markersize=4, label=name.replace("_", " "))
    low, high = axes.get_xlim()
    axes.plot([1, high], [1, high], color="grey", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="file", ylabel="workload", title="Quantiles P10 ... P99")
    axes.legend()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        numbers = json.load(file)
    style.use()
    panels = 3 if "against" in numbers else 2
    figure, axes = style.panels(1, panels, width=4.5 * panels, height=3.2)
    axes = axes[0]
    plot_rate(axes[0], numbers)
    plot_lengths(axes[1], numbers)
    if panels == 3:
        plot_comparison(axes[2], numbers["against"])
    figure.suptitle(f"{numbers['workload']}: {numbers['requests']} requests, "
                    f"{100 * numbers['prefix_sharing_fraction']:.1f} % of prompt tokens shared")
    with open(sys.argv[2], "wb") as file:
        file.write(style.render(figure, "png"))


if __name__ == "__main__":
    main()
