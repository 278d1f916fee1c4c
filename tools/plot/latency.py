"""Latencies: percentiles by policy, and distribution functions where there are single requests."""

import numpy
from matplotlib.lines import Line2D

from plot import bars, lines, pages, style
from plot.tables import read_columns

_STATISTICS = {"median": "|", "p90": "o", "p95": "s", "p99": "D"}  # with their marks
_METRICS = {"ttft": "TTFT", "itl": "ITL", "e2el": "E2E latency"}
_COLUMNS = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2E latency"}
# Points of a distribution function: the slowest requests one by one, and of the others some, evenly spread.
_TAIL, _BODY = 50, 150


def _draw_ladder(panel, study, points, metric):
    """A line from the median to P99 for each name, one below the other, with a mark for each percentile."""
    for point in points:
        rungs = [point.values.get(f"{statistic}_{metric}_ms") for statistic in _STATISTICS]
        if None in rungs:
            continue
        colour, position = study.style(point.name)[0], study.names.index(point.name)
        panel.plot([rung.mean for rung in rungs], [position] * len(rungs), color=colour, linewidth=1.2, zorder=2)
        for rung, marker in zip(rungs, _STATISTICS.values()):
            panel.plot(rung.mean, position, marker, color=colour, markersize=5, markeredgecolor="black",
                       markeredgewidth=0.5, zorder=3)
        bars.draw_interval(panel, position, rungs[-1])
    bars.names_down(panel, study.names)


def _all_rungs(study, loads, metric):
    """The means of a metric and the upper ends of their intervals: what the axis must show."""
    points = [point for load in loads for point in study.at(load)]
    rungs = [point.values.get(f"{statistic}_{metric}_ms") for point in points for statistic in _STATISTICS]
    return [bound for rung in rungs if rung for bound in (rung.mean, rung.high or rung.mean)]


def percentiles(study, page):
    figure, axes = page.panels(len(_METRICS), height=bars.height(study.names), sharey=True, sharex="row")
    for row, (metric, label) in zip(axes, _METRICS.items()):
        for panel, load in zip(row, page.loads):
            _draw_ladder(panel, study, study.at(load), metric)
            panel.set_xlabel(f"{label} (ms)")
        style.fit_axis(row, "x", _all_rungs(study, page.loads, metric))
    handles = [Line2D([], [], color="grey", marker=marker, markeredgecolor="black", markeredgewidth=0.5)
               for marker in _STATISTICS.values()]
    style.legend_below(figure, handles, [s if s == "median" else s.upper() for s in _STATISTICS])
    return page.figure("latency", "Latency percentiles",
                       "Percentiles over the requests of a run, means over the seeds; the bar is the 95 % interval of P99.",
                       figure)


def _steps(values):
    """(value, share of requests at or below it), thinned out."""
    values = numpy.sort(values)
    chosen = numpy.arange(len(values))
    if len(values) > _BODY + _TAIL:
        body = numpy.linspace(0, len(values) - _TAIL - 1, _BODY).round().astype(int)
        chosen = numpy.concatenate([body, chosen[-_TAIL:]])
    return values[chosen], (chosen + 1) / len(values)


def distributions(study, page):
    """Of the first seed of each point whose requests.csv is there."""
    figure, axes = page.panels(len(_COLUMNS), height=2.3, sharex="row", sharey=True)
    shown, ends = set(), [[] for _ in _COLUMNS]
    for column, load in zip(axes.T, page.loads):
        for point in (p for p in study.at(load) if p.directories):
            shown.add(point.name)
            requests = read_columns(point.directories[0] / "requests.csv", list(_COLUMNS))
            colour, line, _, _ = study.style(point.name)
            for panel, values, seen in zip(column, requests.values(), ends):
                panel.step(*_steps(values), where="post", color=colour, linestyle=line)
                seen += [values.min(), values.max()] if len(values) else []
    for row, label, seen in zip(axes, _COLUMNS.values(), ends):
        row[0].set_ylabel("share of requests")
        style.fit_axis(row, "x", seen)
        for panel in row:
            panel.set_xlabel(f"{label} (ms)")
    lines.legend(figure, study, [name for name in study.names if name in shown], marker=False)
    return page.figure("latency_distribution", "Latency distributions",
                       "Share of the requests that took at most so long, in the run of the first seed.", figure)


def figures(study):
    for page in pages.of(study):
        yield percentiles(study, page)
    for page in pages.of(study, [load for load in study.loads() if any(p.directories for p in study.at(load))]):
        yield distributions(study, page)
