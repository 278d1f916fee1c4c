"""How sure a comparison is: along an axis that changes figures of one base one by one, {base: h200, name: slow link,
link_latency: 1 ms} beside h200, what each change does to every policy's advantage over the baseline."""

import itertools

from plot import bars, lines, quantities, style
from plot.axes import map_of, value_name
from plot.figure import Figure

_METRICS = {"train_tokens_per_s": "trained tokens/s", "train_tokens_per_gpu_s": "trained tokens per GPU-second of training"}
_LEAST = 3       # changes that are worth a figure of their own
_FAR = 200       # percent over the baseline from where on a policy would press the others together
_ROW = 0.36      # inches
_SPREAD = 0.72   # of a row, over which its policies are spread


def changes(values):
    """(base, {value: keys that it changes}) of an axis along which most values change the same other one, those that change
    the same keys from the lowest up; or none."""
    maps = {value: map_of(value) for value in values}
    bases = [str(each["base"]) for each in maps.values() if each and "base" in each]
    base = max(bases, key=bases.count, default=None)
    changed = {value: tuple(sorted(each.keys() - {"base", "name"})) for value, each in maps.items()
               if each and str(each.get("base")) == base}
    if base not in maps or len(changed) < max(_LEAST, len(maps) / 2):
        return None
    order = {value: ([quantities.sort_key(str(maps[value][key])) for key in keys], value) for value, keys in changed.items()}
    return base, {value: changed[value] for value in sorted(changed, key=lambda value: (changed[value], order[value]))}


class _Advantages:
    """By how many percent policies are ahead of the baseline, on the same arrivals."""

    def __init__(self, study, axis, others):
        self.study, self.axis, self.others = study, axis, others
        self.differences = {(each.axes, each.policy, each.metric): each for each in study.differences}

    def of(self, value, policy, metric):
        """An interval, or none. The baseline's mean counts as known."""
        load = tuple(value if axis == self.axis else self.others[axis] for axis in self.study.other_axes)
        difference = self.differences.get((load, policy, metric))
        if difference is None:
            return None
        base = next((p.mean(metric) for p in self.study.at(load) if p.policy == difference.baseline), None)
        return difference.interval.scaled(100 / base) if base else None

    def swing(self, base, value, policies):
        """The most that the value moves one of the policies of a metric, in percent of the baseline."""
        pairs = [(self.of(base, policy, metric), self.of(value, policy, metric))
                 for metric, own in policies.items() for policy in own]
        return max((abs(new.mean - old.mean) for old, new in pairs if old and new), default=0)


def _rows(advantages, base, changed, policies):
    """The values of the axis from top to bottom: the base, then those that change the same keys together, by what they
    move."""
    groups = {}
    for value, keys in changed.items():
        groups.setdefault(keys, []).append(value)
    moved = {keys: max(advantages.swing(base, value, policies) for value in own) for keys, own in groups.items()}
    return [[base], *(groups[keys] for keys in sorted(groups, key=lambda keys: -moved[keys]))]


def _draw(panel, advantages, groups, metric, policies):
    base, rows = groups[0][0], list(itertools.chain.from_iterable(groups))
    end = 0
    for number, group in enumerate(groups):
        if number % 2:
            panel.axhspan(end - 0.5, end + len(group) - 0.5, color="black", alpha=0.05, linewidth=0)
        end += len(group)
    for place, policy in enumerate(policies):
        colour, dashes, marker, _ = advantages.study.style(policy)
        panel.axvline(advantages.of(base, policy, metric).mean, color=colour, linestyle=dashes, linewidth=0.7, alpha=0.6)
        shift = _SPREAD * ((place + 0.5) / len(policies) - 0.5)
        for row, value in enumerate(rows):
            interval = advantages.of(value, policy, metric)
            if interval:
                bars.draw_interval(panel, row + shift, interval)
                panel.plot(interval.mean, row + shift, marker, color=colour, markersize=5, zorder=5)
    panel.axvline(0, color="black", linewidth=0.8)
    bars.names_down(panel, [value_name(value) for value in rows])


def _figure(study, axis, found, others, number):
    base, changed = found
    advantages = _Advantages(study, axis, others)
    known = {metric: {p: advantages.of(base, p, metric) for p in study.training_names()} for metric in _METRICS}
    policies = {metric: [p for p, each in own.items() if each and each.mean < _FAR] for metric, own in known.items()}
    policies = {metric: own for metric, own in policies.items() if own}
    if not policies:
        return None
    groups = _rows(advantages, base, changed, policies)
    names = [value_name(value) for value in itertools.chain.from_iterable(groups)]
    figure, axes = style.panels(1, len(policies), height=bars.height(names, _ROW), sharey=True)
    for panel, (metric, own) in zip(axes[0], policies.items()):
        _draw(panel, advantages, groups, metric, own)
        panel.set_xlabel(_METRICS[metric])
    baseline = study.differences[0].baseline
    held = "; ".join(study.axis_value(other, value) for other, value in others.items())
    style.heading(figure, "\n".join(filter(None, (f"More than {baseline}, in percent", held))))
    drawn = [p for p in study.names if any(p in own for own in policies.values())]
    lines.legend(figure, study, drawn, line=False)
    far = sorted({p for metric, own in known.items() for p, each in own.items() if each and each.mean >= _FAR})
    return Figure("sensitivity" + (f"_{number}" if number > 1 else ""),
                  f"What the comparison depends on{': ' if held else ''}{held}",
                  f"By how much policies train more than {baseline} on the same arrivals, with one figure of {base} changed "
                  f"in each row; those that change the most stand above, vertical lines are at {base} itself. Bars are 95 % "
                  "intervals of the difference." +
                  (f" Left out where they train more than {1 + _FAR // 100} times as much: {', '.join(far)}." if far else ""),
                  figure)


def figures(study):
    numbers = itertools.count(1)
    for axis in study.other_axes if study.differences else ():
        found = changes({p.axes[axis] for p in study.points})
        if not found:
            continue
        others = [other for other in study.other_axes if other != axis]
        loads = dict.fromkeys(tuple(p.axes[other] for other in others) for p in study.points if p.values)
        made = (_figure(study, axis, found, dict(zip(others, load)), next(numbers)) for load in loads)
        yield from filter(None, made)
