"""Lines with bands for their intervals."""

from matplotlib.lines import Line2D

from plot import style


def draw_line(axes, study, policy, xs, intervals):
    """A line through the means, a band where there are bounds. Where an interval is none, the line has a gap."""
    colour, line, marker, _ = study.style(policy)
    nan = float("nan")
    axes.plot(list(xs), [i.mean if i else nan for i in intervals], color=colour, linestyle=line, marker=marker)
    bounds = [(i.low, i.high) if i and i.low is not None else (nan, nan) for i in intervals]
    axes.fill_between(list(xs), *zip(*bounds), color=colour, alpha=0.12, linewidth=0)


def legend(figure, study, names, line=True, marker=True):
    """All names, in their order, under the panels; as lines, markers or both."""
    handles = []
    for name in names:
        colour, dashes, shape, _ = study.style(name)
        handles.append(Line2D([], [], color=colour, linestyle=dashes if line else "", marker=shape if marker else ""))
    style.legend_below(figure, handles, names)
