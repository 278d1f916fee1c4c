"""Horizontal bars by name, with intervals; one panel for each load."""

from matplotlib.patches import Patch

from plot import style
from plot.labels import wrapped

BAR = 0.72


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


def names_down(axes, names):
    """Names as the labels of the y axis, the first on top."""
    axes.set_yticks(range(len(names)), [wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def height(names, bar=0.19):
    """Inches of a panel with a bar for each name; `bar` is that of one bar, or more where its label has more lines."""
    lines = max((wrapped(name).count("\n") + 1 for name in names), default=1)
    return 1.1 + max(bar, 0.05 + 0.14 * lines) * len(names)


def draw_bars(axes, study, points, names, key, factor=1.0):
    """One bar for each name: values[key] * factor. A name without the number has no bar."""
    for point in points:
        interval = point.values.get(key)
        if interval is None or point.name not in names:
            continue
        position, interval = names.index(point.name), interval.scaled(factor)
        colour, _, _, hatch = study.style(point.name)
        axes.barh(position, interval.mean, BAR, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        draw_interval(axes, position, interval)
    names_down(axes, names)


def draw_stack(axes, points, names, parts, factor=1.0):
    """Parts of a whole side by side: `parts` is {key: colour}. The interval of each part stands at its right end."""
    for point in points:
        if point.name not in names:
            continue
        left, position = 0.0, names.index(point.name)
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
    names_down(axes, names)


def legend_of_parts(figure, parts, columns=4):
    """`parts`: {label: colour}."""
    style.legend_below(figure, [Patch(color=colour) for colour in parts.values()], list(parts), columns)
