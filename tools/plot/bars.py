"""Horizontal bars by policy, with intervals; one panel for each load."""

from matplotlib.patches import Patch

from plot import style

BAR = 0.72
MOST_PANELS = 4  # beside each other


def _errors(interval):
    """(left, right) lengths of the interval's bar."""
    if interval.low is None:
        return 0.0, 0.0
    return max(interval.mean - interval.low, 0.0), max(interval.high - interval.mean, 0.0)


def draw_interval(axes, position, interval):
    """The bounds of an interval as a thin bar; nothing where it has none."""
    if interval.low is not None:
        left, right = _errors(interval)
        axes.errorbar(interval.mean, position, xerr=[[left], [right]], color="black", linewidth=0.9, capsize=2,
                      zorder=4)


def policies_down(axes, policies):
    """Policies as the labels of the y axis, the first on top."""
    axes.set_yticks(range(len(policies)), policies)
    axes.set_ylim(len(policies) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def height(policies):
    """Inches of a panel with a bar for each policy."""
    return 1.1 + 0.19 * len(policies)


def draw_bars(axes, study, points, policies, key, factor=1.0):
    """One bar for each policy: values[key] * factor. A policy without the number has no bar."""
    for point in points:
        interval = point.values.get(key)
        if interval is None or point.policy not in policies:
            continue
        position, interval = policies.index(point.policy), interval.scaled(factor)
        colour, _, _, hatch = study.style(point.policy)
        axes.barh(position, interval.mean, BAR, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        draw_interval(axes, position, interval)
    policies_down(axes, policies)


def draw_stack(axes, points, policies, parts, factor=1.0):
    """Parts of a whole side by side: `parts` is {key: colour}. The interval of each part stands at its right end."""
    for point in points:
        if point.policy not in policies:
            continue
        left, position = 0.0, policies.index(point.policy)
        for key, colour in parts.items():
            interval = point.values.get(key)
            if interval is None:
                continue
            interval = interval.scaled(factor)
            axes.barh(position, interval.mean, BAR, left=left, color=colour, edgecolor="white", linewidth=0.4)
            if interval.low is not None and interval.high > interval.low:
                error = _errors(interval)
                axes.errorbar(left + interval.mean, position, xerr=[[error[0]], [error[1]]], color="black",
                              linewidth=0.8, capsize=1.5)
            left += interval.mean
    policies_down(axes, policies)


def legend_of_parts(figure, parts, columns=4):
    """`parts`: {label: colour}."""
    style.legend_below(figure, [Patch(color=colour) for colour in parts.values()], list(parts), columns)
