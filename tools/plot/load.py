"""Results against every axis that is a number: request rate, link, context length, share of feedback."""

import collections

from plot import lines, quantities, style
from plot.axes import axis_label, axis_name
from plot.figure import Figure
from plot.pages import along

# Key of summary.json: (label, factor).
_PANELS = {"train_tokens_per_s": ("trained tokens/s", 1),
           "train_tokens_per_gpu_s": ("trained tokens per GPU-second", 1),
           "bound_fraction": ("of the clairvoyant bound (%)", 100), "request_goodput": ("goodput (requests/s)", 1),
           "p99_ttft_ms": ("P99 TTFT (ms)", 1), "p99_itl_ms": ("P99 ITL (ms)", 1)}
_MOST_LISTED = 6  # values that are not drawn
_DECADE = 20  # axes that span more than this factor are logarithmic
_NARROWEST = 0.1  # of such an axis, from one of the numbers at it to the next


def apart(xs):
    """Of the values along a logarithmic axis, in order, those whose numbers do not stand on one another: the ends, and of the
    others as many as there is room for."""
    least = (xs[-1] / xs[0])**_NARROWEST
    kept = xs[:1]
    for x in xs[1:-1]:
        kept += [x] if x >= kept[-1] * least and xs[-1] >= x * least else []
    return kept + xs[-1:]


def _draw(panel, study, points, axis, key, factor):
    for policy in study.policies:
        own = sorted(((quantities.parse(p.axes[axis])[0], p.values[key].scaled(factor)) for p in points
                      if p.policy == policy and key in p.values), key=lambda pair: pair[0])
        if own:
            lines.draw_line(panel, study, policy, [x for x, _ in own], [interval for _, interval in own])


def _held(study, axes):
    """These axes and the values at which they are held: the middle of those at which most points ran."""
    counts = collections.Counter(tuple(p.axes[a] for a in axes) for p in study.points if p.values)
    combinations = sorted((values for values, count in counts.items() if count == max(counts.values())),
                          key=lambda values: [quantities.sort_key(v) for v in values])
    return dict(zip(axes, combinations[len(combinations) // 2]))


def _listed(values):
    """Some of many values, in order."""
    values = sorted(values, key=quantities.sort_key)
    more = f" and {len(values) - _MOST_LISTED} more" if len(values) > _MOST_LISTED else ""
    return ", ".join(values[:_MOST_LISTED]) + more


def _conditions(study, axis, followers, held, drawn):
    """What the lines do not show, a sentence each: axes that go along or are held, and policies that are not drawn."""
    for other in followers:
        values = {p.axes[axis]: p.axes[other] for p in study.points}
        in_order = [values[value] for value in sorted(values, key=quantities.sort_key)]
        yield f"{axis_name(other)} goes along: {', '.join(in_order)}."
    for other, value in held.items():
        others = {p.axes[other] for p in study.points} - {value}
        yield f"At {study.axis_value(other, value)}" + (f"; not drawn: {_listed(others)}." if others else ".")
    missing = [policy for policy in study.policies if policy not in drawn]
    if held and missing:
        yield f"Not run there: {', '.join(missing)}."


def _against(study, axis, unit, followers):
    held = _held(study, [a for a in study.other_axes if a != axis and a not in followers])
    points = [p for p in study.points if p.values and all(p.axes[o] == value for o, value in held.items())]
    xs = sorted({quantities.parse(p.axes[axis])[0] for p in points})
    if len(xs) < 2:
        return None
    panels = {key: panel for key, panel in _PANELS.items() if any(key in p.values for p in points)
              and (key != "train_tokens_per_s" or study.training_names())}
    figure, axes = style.panels((len(panels) + 2) // 3, 3, height=2.7, sharex=True)
    for panel in axes.flat[len(panels):]:
        panel.set_visible(False)
    for above, below in zip(axes[:-1].flat, axes[1:].flat):
        above.xaxis.set_tick_params(labelbottom=not below.get_visible())
    for panel, (key, (label, factor)) in zip(axes.flat, panels.items()):
        _draw(panel, study, points, axis, key, factor)
        values = [p.values[key].scaled(factor) for p in points if key in p.values]
        ends = [bound for value in values for bound in (value.mean, value.high or value.mean)]
        (style.fit_axis if key.endswith("_ms") else style.start_at_zero)([panel], "y", ends)
        panel.set_ylabel(label)
        panel.set_xlabel(axis_label(axis, unit))
        if xs[0] > 0 and xs[-1] / xs[0] > _DECADE:
            panel.set_xscale("log")
            ticks = apart(xs)
            panel.set_xticks(ticks, [f"{x:g}" for x in ticks], rotation=45 if len(ticks) > 6 else 0)
            panel.minorticks_off()
    drawn = [policy for policy in study.policies if any(p.policy == policy for p in points)]
    conditions = list(_conditions(study, axis, followers, held, drawn))
    if conditions:
        style.heading(figure, "\n".join(conditions))
    lines.legend(figure, study, drawn)
    return Figure("against_" + axis.replace(".", "_"), f"Against {axis_name(axis)}",
                  " ".join(["Means over the seeds with 95 % bands.", *conditions]), figure)


def figures(study):
    shown = set()  # axes that went along with one that has its figure
    for axis in study.series:
        unit = quantities.common_unit([p.axes[axis] for p in study.points])
        if unit is None or axis in shown:
            continue
        followers = along(study, axis)
        figure = _against(study, axis, unit, followers)
        if figure:
            shown.update(followers)
            yield figure
