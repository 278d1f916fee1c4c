"""GPU memory by name: what was in use at most at one moment, and the most that each category took at any."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plot import bars, pages, style

GIB = 2**30
WORDS = {"weights": "weights", "kv": "KV blocks", "activations": "activation records", "training": "training"}
_TOTAL, _TRAIN_SIDE, _MARK = "#E3E3E3", "#B8B8B8", "#333333"
_HOST = {"color": _MARK, "marker": "x", "markersize": 5, "linestyle": ""}
_GPU = {"color": "black", "linestyle": "--", "linewidth": 0.8, "marker": ""}
_INCHES = 0.42                     # of a name, whose bar holds a thin one for each category
_SLOT = bars.BAR / len(WORDS)      # of a thin bar, in the unit of the axis of names
_THIN = 0.7 * _SLOT
_TRAINING = ("activations", "training")  # the last two, so that one bar lies behind both


def _top(category):
    """Where the slot of a category begins, from the middle of its name."""
    return -bars.BAR / 2 + list(WORDS).index(category) * _SLOT


def _bar(panel, interval, top, height, colour):
    if interval and interval.mean > 0:
        panel.barh(top, interval.mean / GIB, height, align="edge", color=colour, linewidth=0)


def _draw(panel, names, point):
    """Every bar begins at 0: peaks of categories come at different moments or on different GPUs, and their sum is more
    than any GPU ever held."""
    middle = names.index(point.name)
    total = point.values.get("peak_total_bytes")
    _bar(panel, total, middle - bars.BAR / 2, bars.BAR, _TOTAL)
    _bar(panel, point.values.get("peak_train_side_bytes"), middle + _top(_TRAINING[0]), len(_TRAINING) * _SLOT,
         _TRAIN_SIDE)
    for category, colour in style.MEMORY.items():
        _bar(panel, point.values.get(f"peak_{category}_bytes"), middle + _top(category) + (_SLOT - _THIN) / 2, _THIN,
             colour)
    if total:
        bars.draw_interval(panel, middle, total.scaled(1 / GIB))
    host = point.values.get("peak_host_bytes")
    if host and host.mean > 0:
        panel.plot(host.mean / GIB, middle, **_HOST)
    size = point.mean("gpu_memory_bytes")
    if size:  # beside its name only: another run may have another GPU
        panel.plot([size / GIB] * 2, [middle - 0.5, middle + 0.5], **_GPU)


def _figure(study, page):
    figure, axes = page.panels(1, height=bars.height(study.names, _INCHES), sharex=True, sharey=True)
    for panel, load in zip(axes[0], page.loads):
        for point in study.at(load):
            _draw(panel, study.names, point)
        bars.names_down(panel, study.names)
        panel.set_xlabel("peak (GiB of one GPU)")
    axes[0][0].set_xlim(left=0)  # of all, once everything is drawn
    handles = [Patch(color=_TOTAL), Patch(color=_TRAIN_SIDE), *(Patch(color=colour) for colour in style.MEMORY.values()),
               Line2D([], [], **_HOST), Line2D([], [], **_GPU)]
    words = ["all at one moment", "records and training at one moment", *WORDS.values(), "host memory", "GPU memory"]
    style.legend_below(figure, handles, words, 4)
    return page.figure("memory", "GPU memory by category",
                       "The most that one GPU held at any moment (light bar) and the most that each category took (thin "
                       "bars). Thin bars do not add up: their peaks come at different moments and, where GPUs are set apart "
                       "for training, on different GPUs.", figure)


def figures(study):
    return (_figure(study, page) for page in pages.of(study))
