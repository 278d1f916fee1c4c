"""What happened when, in single runs: memory, queue, training and the link over time."""

import json

import numpy

from plot import memory, style
from plot.errors import InputError, at
from plot.figure import Figure
from plot.labels import path_names
from plot.study import spread
from plot.tables import read_columns

_BINS = 300       # over the duration of a run
_MOST_FIGURES = 6
_LINK = {"reload": ("host to device", style.BLUE), "offload": ("device to host", style.ORANGE)}


def peaks(times, values, edges):
    """The largest value of a step function in each bin: values[i] holds from times[i] to times[i + 1], and 0 before."""
    first = numpy.searchsorted(times, edges[:-1], side="right") - 1
    last = numpy.searchsorted(times, edges[1:], side="left")
    padded = numpy.concatenate([[0.0], values])
    return numpy.array([padded[i + 1:j + 1].max() if j > i else 0.0 for i, j in zip(first, last)])


def at_peaks(times, parts, totals, edges):
    """The parts at the largest total of each bin, one row for each part: [i] holds from times[i] to times[i + 1], and 0
    before. A row of a long run stands for several moments, each part at its own peak: those share the total."""
    parts, totals = numpy.insert(parts, 0, 0.0, axis=1), numpy.concatenate([[0.0], totals])
    first = numpy.searchsorted(times, edges[:-1], side="right") - 1
    last = numpy.searchsorted(times, edges[1:], side="left")
    rows = [i + 1 + totals[i + 1:j + 1].argmax() if j > i else 0 for i, j in zip(first, last)]
    sums = numpy.maximum(parts.sum(axis=0), 1.0)  # in bytes
    return (parts * numpy.minimum(totals / sums, 1.0))[:, rows]


def rate(starts, ends, amounts, edges):
    """Mean rate in each bin of amounts that come in evenly from their start to their end."""
    ends = numpy.maximum(ends, starts + 1e-9)
    times = numpy.concatenate([starts, ends])
    slopes = amounts / (ends - starts)
    changes = numpy.concatenate([slopes, -slopes])
    order = numpy.argsort(times, kind="stable")
    times, slope = times[order], numpy.cumsum(changes[order])
    total = numpy.concatenate([[0.0], numpy.cumsum(slope[:-1] * numpy.diff(times))])
    at_edges = numpy.interp(edges, times, total, left=0.0) if len(times) else numpy.zeros(len(edges))
    return numpy.maximum(numpy.diff(at_edges), 0) / numpy.diff(edges)


def _draw_memory(panel, directory, edges):
    columns = {category: f"{category}_bytes" for category in style.MEMORY}
    table = read_columns(directory / "memory.csv", ["time_s", "replica", *columns.values(), "total_bytes", "host_bytes"])
    replicas = numpy.unique(table["replica"])
    rows = [table["replica"] == replica for replica in replicas]

    def mean(series, shape):
        return sum(series, numpy.zeros(shape)) / max(len(rows), 1) / memory.GIB

    parts = mean([at_peaks(table["time_s"][r], numpy.array([table[column][r] for column in columns.values()]),
                           table["total_bytes"][r], edges) for r in rows], (len(columns), len(edges) - 1))
    panel.stackplot(edges[:-1], parts, colors=list(style.MEMORY.values()), labels=list(memory.WORDS.values()), linewidth=0,
                    step="post")
    host = mean([peaks(table["time_s"][r], table["host_bytes"][r], edges) for r in rows], len(edges) - 1)
    panel.step(edges[:-1], host, where="post", color="black", linestyle="--", linewidth=1, label="host memory")
    panel.set_ylabel("GiB of a replica" if len(replicas) < 2 else f"GiB, mean of\n{len(replicas)} replicas")


def _draw_queue(panel, requests, edges):
    for label, begin, end, colour in (("running", "scheduled_s", "finished_s", style.BLUE),
                                      ("waiting", "arrived_s", "scheduled_s", style.VERMILLION)):
        times = numpy.concatenate([requests[end], requests[begin]])  # who leaves at a time leaves before who comes
        change = numpy.concatenate([-numpy.ones(len(requests[end])), numpy.ones(len(requests[begin]))])
        order = numpy.argsort(times, kind="stable")
        count = peaks(times[order], numpy.cumsum(change[order]), edges)
        panel.step(edges[:-1], count, where="post", color=colour, linewidth=1, label=label)
    panel.set_ylabel("requests")


def _draw_training(panel, directory, edges):
    steps = read_columns(directory / "steps.csv", ["start_s", "end_s", "reused_tokens", "recomputed_tokens"])
    rates = [rate(steps["start_s"], steps["end_s"], steps[f"{how}_tokens"], edges) for how in ("reused", "recomputed")]
    panel.stackplot(edges[:-1], rates, colors=[style.GREEN, style.ORANGE], labels=["reused", "recomputed"], step="post",
                    linewidth=0)
    panel.set_ylabel("trained tokens/s")


def transfers(path):
    """By direction (starts, ends, bytes) in seconds, from a trace with one event on each line."""
    found = {name: [] for name in _LINK}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if '"name":"reload"' not in line and '"name":"offload"' not in line:
                    continue
                event = json.loads(line.rstrip().rstrip(","))
                found[event["name"]].append((event["ts"], event["ts"] + event["dur"], event["args"]["bytes"]))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise at(path, number, "expected a trace event with name, ts, dur and args.bytes") from error
    return {name: numpy.array(spans, dtype=float).reshape(-1, 3) * [1e-6, 1e-6, 1] for name, spans in found.items()}


def _draw_link(panel, directory, edges):
    for name, spans in transfers(directory / "trace.json").items():
        label, colour = _LINK[name]
        moved = rate(spans[:, 0], spans[:, 1], spans[:, 2], edges) / 1e9
        panel.step(edges[:-1], moved, where="post", color=colour, linewidth=1, label=label)
    panel.set_ylabel("link (GB/s)")


def _figure(study, point, name, note):
    directory = point.directories[0]
    requests = read_columns(directory / "requests.csv", ["arrived_s", "scheduled_s", "finished_s"])
    steps = read_columns(directory / "steps.csv", ["end_s"])
    end = max([*requests["finished_s"], *steps["end_s"], 1e-3])
    edges = numpy.linspace(0, end, _BINS + 1)
    traced = (directory / "trace.json").exists()
    drawers = [lambda panel: _draw_memory(panel, directory, edges), lambda panel: _draw_queue(panel, requests, edges)]
    drawers += [lambda panel: _draw_training(panel, directory, edges)] if len(steps["end_s"]) else []
    drawers += [lambda panel: _draw_link(panel, directory, edges)] if traced else []
    figure, axes = style.panels(len(drawers), 1, height=1.7, sharex=True)
    for panel, draw in zip(axes[:, 0], drawers):
        draw(panel)
        panel.set_ylim(bottom=0)
        panel.set_xlim(0, end)
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes[-1, 0].set_xlabel("time (s)")
    figure.align_ylabels()
    subject = ", ".join([point.name, *study.title(point.load()).splitlines()])
    return Figure(name, f"Time line: {subject}",
                  "Memory is that of the moment of each interval at which most was in use; requests are the most in it, "
                  "rates its mean." +
                  ("" if traced else " A run with --trace-events shows the link too.") + note, figure)


def figures(study):
    """The first seed of each point whose files are there, at the highest load that has any."""
    loads = [load for load in study.loads() if any(p.directories for p in study.at(load))]
    points = [p for load in loads for p in study.at(load) if p.directories]
    if any(p.load() != points[0].load() for p in points) and len(points) > _MOST_FIGURES:
        points = [p for p in points if p.load() == loads[-1]]
    count = sum(1 for load in loads for p in study.at(load) if p.directories)
    points = spread(points, _MOST_FIGURES)
    note = f" {len(points)} of {count} runs are shown." if len(points) < count else ""
    names = path_names([p.directories[0] for p in points])
    names = ["timeline"] if len(points) == 1 else [f"timeline_{name}" for name in names]
    for point, name in zip(points, names):
        yield _figure(study, point, name, note)
