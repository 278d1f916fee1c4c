"""GPU memory by category and policy."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plot import bars, style
from plot.figure import Figure
from plot.study import left_out

GIB = 2**30
WORDS = {"weights": "weights", "kv": "KV blocks", "activations": "activation records", "training": "training"}
_MARK = "#333333"
_MARKS = {"sum": {"marker": "|", "markersize": 9, "markeredgewidth": 1.8, "linestyle": ""},
          "host": {"marker": "x", "markersize": 5, "linestyle": ""}}


def _mark(panel, position, interval, marker):
    if interval and interval.mean > 0:
        panel.plot(interval.mean / GIB, position, color=_MARK, **_MARKS[marker])


def figures(study):
    loads = study.panel_loads(bars.MOST_PANELS)
    parts = {f"peak_{category}_bytes": colour for category, colour in style.MEMORY.items()}
    figure, axes = style.panels(1, len(loads), height=bars.height(study.names), sharex=True, sharey=True)
    for panel, load in zip(axes[0], loads):
        points = study.at(load)
        bars.draw_stack(panel, points, study.names, parts, 1 / GIB)
        for point in points:
            position = study.names.index(point.name)
            _mark(panel, position, point.values.get("peak_total_bytes"), "sum")
            _mark(panel, position, point.values.get("peak_host_bytes"), "host")
        for size in sorted({p.mean("gpu_memory_bytes") for p in points} - {None}):
            panel.axvline(size / GIB, color="black", linestyle="--", linewidth=0.8)
        panel.set_xlabel("GiB of one GPU")
        style.title(panel, study.title(load))
    handles = [Patch(color=colour) for colour in style.MEMORY.values()]
    handles += [Line2D([], [], color=_MARK, **mark) for mark in _MARKS.values()]
    handles += [Line2D([], [], color="black", linestyle="--", linewidth=0.8)]
    style.legend_below(figure, handles, [*WORDS.values(), "peak of the sum", "host memory", "GPU memory"], 7)
    yield Figure("memory", "GPU memory by category",
                 "The peak of each category, side by side. Peaks come at different moments, so the largest sum at any "
                 "moment (bar mark) is less than the whole length." + left_out(study, loads), figure)
