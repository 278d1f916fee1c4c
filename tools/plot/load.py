"""Results against every axis that is a number: request rate, link, context length, share of feedback."""

from plot import lines, quantities, style
from plot.figure import Figure
from plot.study import axis_label, axis_name, axis_value

_PANELS = {"train_tokens_per_s": ("trained tokens/s", 1), "train_tokens_per_gpu_s": ("trained tokens per GPU-second", 1),
           "bound_fraction": ("of the clairvoyant bound (%)", 100), "request_goodput": ("goodput (requests/s)", 1),
           "p99_ttft_ms": ("P99 TTFT (ms)", 1), "p99_itl_ms": ("P99 ITL (ms)", 1)}
_DECADE = 20  # axes that span more than this factor are logarithmic


def _draw(panel, study, points, axis, key, factor):
    for policy in study.policies:
        own = sorted((quantities.parse(p.axes[axis])[0], p.values[key].scaled(factor)) for p in points
                     if p.policy == policy and key in p.values)
        if own:
            lines.draw_line(panel, study, policy, [x for x, _ in own], [interval for _, interval in own])


def _held(study, axis):
    """The other axes and the middle of their values, at which they are held."""
    others = [other for other in study.other_axes if other != axis]
    combinations = sorted({tuple(p.axes[o] for o in others) for p in study.points if p.values},
                          key=lambda values: [quantities.sort_key(v) for v in values])
    return dict(zip(others, combinations[len(combinations) // 2]))


def _against(study, axis, unit):
    held = _held(study, axis)
    points = [p for p in study.points if p.values and all(p.axes[o] == value for o, value in held.items())]
    xs = sorted({quantities.parse(p.axes[axis])[0] for p in points})
    if len(xs) < 2:
        return None
    panels = {key: panel for key, panel in _PANELS.items() if any(key in p.values for p in points)}
    figure, axes = style.panels((len(panels) + 2) // 3, 3, height=2.7, sharex=True)
    for panel in axes.flat[len(panels):]:
        panel.set_visible(False)
    for panel, (key, (label, factor)) in zip(axes.flat, panels.items()):
        _draw(panel, study, points, axis, key, factor)
        values = [p.values[key].scaled(factor) for p in points if key in p.values]
        ends = [bound for value in values for bound in (value.mean, value.high or value.mean)]
        (style.fit_axis if key.endswith("_ms") else style.start_at_zero)([panel], "y", ends)
        panel.set_ylabel(label)
        panel.set_xlabel(axis_label(axis, unit))
        if xs[0] > 0 and xs[-1] / xs[0] > _DECADE:
            panel.set_xscale("log")
    lines.legend(figure, study, study.policies)
    at = ", ".join(axis_value(other, value) for other, value in held.items())
    return Figure("against_" + axis.replace(".", "_"), f"Against {axis_name(axis)}",
                  "Means over the seeds with 95 % bands." + (f" At {at}." if at else ""), figure)


def figures(study):
    for axis in study.other_axes:
        unit = quantities.common_unit([p.axes[axis] for p in study.points])
        figure = _against(study, axis, unit) if unit is not None else None
        if figure:
            yield figure
