"""What the figures compare: points (a policy under some load) with their numbers and 95 % intervals."""

from dataclasses import dataclass, field

from plot import quantities, style
from plot.axes import axis_value, map_of
from plot.errors import InputError
from plot.inputs import policy_name
from plot.labels import labels, path_names, unique

# Keys of a configuration that hold a name and much that follows from it.
_NAMED = ("model", "hardware")
_MANY = 3  # where runs differ in more other keys, their directories are named in place of these
_ABSENT = "none"  # stands for a key that a configuration lacks


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds; bounds are none for a single one."""
    mean: float
    low: float = None
    high: float = None
    n: int = 1

    def scaled(self, factor):
        bounds = (None if bound is None else bound * factor for bound in (self.low, self.high))
        return Interval(self.mean * factor, *bounds, self.n)


@dataclass
class Point:
    """`axes`: the value of each axis as text, `policy` among them. `values`: by key of summary.json; what is null is
    not there. `rows`: one (seed, status, message) for each run."""
    axes: dict
    values: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    saturated: int = 0  # of the runs
    config: dict = field(default_factory=dict)  # its experiment, as far as it is known
    directories: list = field(default_factory=list)  # of its runs, as far as there are any, in the order of their seeds
    label: str = ""  # of a run that somebody made by itself: its policy and what else tells it from the others

    @property
    def policy(self):
        return policy_name(self.axes["policy"])

    @property
    def name(self):
        """What it is called among those that stand on one axis."""
        return self.label or self.policy

    def name_of(self, kind):
        """The name of its model or hardware; empty where it is not known."""
        value = self.config.get(kind, "")
        return str(value.get("name", value.get("base", "")) if isinstance(value, dict) else value)

    def load(self):
        """What the point differs in besides its name: points of one load stand on one axis."""
        return () if self.label else tuple(value for name, value in self.axes.items() if name != "policy")

    def mean(self, key):
        """None if the point has no such number."""
        return self.values[key].mean if key in self.values else None

    @property
    def failed(self):
        return sum(status != "ok" for _, status, _ in self.rows)


def _check_names(policies):
    """Two files of policies with one name would be drawn as one policy."""
    named = {}
    for text in sorted(policies):
        other = named.setdefault(policy_name(text), text)
        if other != text:
            raise InputError(f"policies {other} and {text} have the same name; rename one of the files")


def _sort_keys(values):
    return [quantities.sort_key(value) for value in values]


class Study:
    """Points over the same axes. `series`: the axes along which they form lines; all but the policy, unless given."""

    def __init__(self, name, axes, points, sources, differences=(), series=None):
        self.name, self.axes, self.sources, self.differences = name, axes, sources, list(differences)
        _check_names({point.axes["policy"] for point in points})
        order = {p: style.policy_key(p) for p in {point.policy for point in points}}
        self.points = sorted(points, key=lambda p: (_sort_keys(p.load()), order[p.policy], _sort_keys(p.axes.values())))
        self.policies = sorted(order, key=style.policy_key)
        # A name has one policy; those of one policy stand together. One whose every run failed has nothing to draw.
        self.policy_of = {p.name: p.policy for p in sorted(self.points, key=lambda p: order[p.policy])}
        drawn = {p.name for p in self.points if p.values}
        self.names = [name for name in self.policy_of if name in drawn]
        self.other_axes = [axis for axis in axes if axis != "policy"]
        self.series = self.other_axes if series is None else series

    def loads(self):
        """Values of the axes but the policy, in order."""
        return list(dict.fromkeys(p.load() for p in self.points if p.values))

    def at(self, load):
        return [p for p in self.points if p.load() == load and p.values]

    def training_names(self):
        """Those that trained at all, at any load."""
        trained = {p.name for p in self.points if p.mean("train_tokens_per_s")}
        return [name for name in self.names if name in trained]

    def title(self, load):
        """What stands above the panel of one load: a line for each axis."""
        return "\n".join(self.axis_value(axis, value) for axis, value in zip(self.other_axes, load))

    def axis_value(self, axis, value):
        """A value of an axis in words that are those of no other one."""
        return axis_value(axis, value, {p.axes[axis] for p in self.points})

    def style(self, name):
        """(colour, line, marker, hatch) of a policy or of a name."""
        policy = self.policy_of.get(name, name)
        same = [other for other in self.names if self.policy_of[other] == policy]
        look = style.policy_style(policy, self.policies)
        return style.variant(look, same.index(name)) if name in same else look


def spread(items, most):
    """At most so many items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _interval(row, mean="mean"):
    value, low, high = (row.number(column) for column in (mean, "ci95_low", "ci95_high"))
    if (low is None) != (high is None) or (low is not None and low > high):
        row.fail("ci95_low", "expected both bounds of the interval, the lower one first, or none")
    return None if value is None else Interval(value, low, high, row.count("n"))


@dataclass(frozen=True)
class Difference:
    """How far a policy is from the baseline on the same arrivals."""
    axes: tuple
    policy: str
    baseline: str
    metric: str
    interval: Interval


def _point(sweep, key):
    """A point of a sweep, without its runs. What an axis sets stands over the base."""
    axes = dict(zip(sweep.axes, key))
    config = {**sweep.base, **{axis: map_of(value) or value for axis, value in axes.items() if axis in _NAMED}}
    policy = config.get("policy", "")
    if isinstance(policy, dict):
        policy = policy.get("name", policy.get("base", "inline"))
    if "policy" in axes:
        config["policy"] = sweep.policies.get(axes["policy"], axes["policy"])
    return Point({"policy": str(policy)} | axes, config=config)


def _points(sweep):
    """By the values of all axes, the points of a sweep with what results.csv says of their runs."""
    points = {}
    for row in sweep.results.rows:
        key = tuple(row.text(axis) for axis in sweep.axes)
        point = points.setdefault(key, _point(sweep, key))
        point.rows.append((row.text("seed"), row.text("status"), row.text("message")))
        kept = sweep.kept.get(f"{row.text('point')}-{row.text('seed')}")
        point.directories += [kept] if kept else []
        point.saturated += "saturated" in sweep.results and row.text("saturated") == "true"
    return points


def of_sweep(sweep):
    points = _points(sweep)
    for row in sweep.intervals.rows:
        key = tuple(row.text(axis) for axis in sweep.axes)
        if key not in points:
            row.fail("point", "results.csv has no such point")
        value = _interval(row)
        if value is not None:
            points[key].values[row.text("metric")] = value
    axes = ["policy"] + [axis for axis in sweep.axes if axis != "policy"]
    return Study(sweep.path.resolve().name, axes, list(points.values()), [sweep], _differences(sweep, points))


def _differences(sweep, points):
    for row in sweep.paired.rows if sweep.paired else ():
        if tuple(row.text(axis) for axis in sweep.axes) not in points:
            row.fail("point", "results.csv has no such point")
        value = _interval(row, "mean_difference")
        if value is None:
            continue
        axes = {axis: row.text(axis) for axis in sweep.axes}
        policy = policy_name(axes.pop("policy", ""))
        yield Difference(tuple(axes.values()), policy, policy_name(row.text("baseline")), row.text("metric"), value)


def _flatten(value, prefix=""):
    if not isinstance(value, dict):
        return {prefix: value}
    flat = {}
    for key, inner in value.items():
        flat.update(_flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _changes(policy, runs):
    """Of a policy whose name the summary has, the keys that tell it from others of that name: what is changed of a base;
    of one from a file, which stands there with all its keys, those in which two of them differ."""
    if "base" in policy or "name" not in policy:
        return {key: value for key, value in policy.items() if key not in ("base", "name")}
    others = [run.config["policy"] for run in runs if isinstance(run.config.get("policy"), dict)]
    others = [other for other in others if other.get("name") == policy["name"] and "base" not in other]
    return {key: value for key, value in policy.items() if any(other.get(key) != value for other in others)}


def _differing(runs):
    """By run, the keys of its configuration in which the runs differ, with their values as text."""
    configs = []
    for run in runs:
        config = dict(run.config)
        for name in _NAMED:
            if isinstance(config.get(name), dict):
                config[name] = config[name].get("name", "")
        policy = config.pop("policy", None)
        if isinstance(policy, dict):
            config.update({f"policy.{key}": value for key, value in _changes(policy, runs).items()})
        configs.append({key: str(value) for key, value in _flatten(config).items()})
    keys = list(dict.fromkeys(key for config in configs for key in config))
    keys = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    return [{key: config.get(key, _ABSENT) for key in keys} for config in configs]


def _told_apart(runs, directories):
    """By run, the axes that tell it from the others: what their configurations differ in, and the directory where that is
    nothing or too much."""
    differing = _differing(runs)
    if len(differing[0].keys() - set(_NAMED)) > _MANY:
        differing = [{key: each[key] for key in _NAMED if key in each} for each in differing]
    elif len({(run.policy, *each.values()) for run, each in zip(runs, differing)}) == len(runs):
        return differing
    return [each | {"run": directory} for each, directory in zip(differing, directories)]


def _labels(runs, axes, directories):
    """What each run is called: its policy and its axes, as far as they matter to it."""
    named = [{key: value for key, value in each.items() if value != _ABSENT and
              not (run.policy == "serve_only" and key.startswith("training."))}  # it trains nothing
             for run, each in zip(runs, axes)]
    known = labels([(run.policy, values) for run, values in zip(runs, named)])
    return [label if known.count(label) == 1 else f"{label}, {directory}"
            for label, directory in zip(known, directories)]


def _series(runs, axes):
    """The one key along which the runs form lines, in a list; none where they differ in more, where it is no number, or
    where not every policy has the same values of it: what differs might then be the policy's doing."""
    keys = list(axes[0])
    if len(keys) != 1 or keys == ["seed"]:
        return []
    pairs = [(run.policy, each[keys[0]]) for run, each in zip(runs, axes)]
    policies, values = {policy for policy, _ in pairs}, {value for _, value in pairs}
    whole = len(set(pairs)) == len(pairs) == len(policies) * len(values)
    return keys if whole and quantities.common_unit(values) is not None else []


def of_runs(runs):
    """One study of runs that somebody made one by one. They stand on one axis, called by what they differ in."""
    directories = path_names([run.path for run in runs])
    axes = _told_apart(runs, directories)
    points = []
    for run, each, label in zip(runs, axes, _labels(runs, axes, directories)):
        numbers = {key: Interval(value) for key, value in run.summary.items()
                   if isinstance(value, (int, float)) and not isinstance(value, bool)}
        points.append(Point({"policy": run.summary["policy"], **each}, numbers,
                            [(str(run.summary.get("seed", "")), "ok", "")], int(run.summary.get("saturated") is True),
                            run.config, [run.path], label))
    name = runs[0].path.resolve().name if len(runs) == 1 else "runs"
    return Study(name, ["policy", *axes[0]], points, runs, series=_series(runs, axes))


def make(runs, sweeps):
    """One study for each sweep, and one of all the runs. Names are made unique."""
    studies = [of_sweep(sweep) for sweep in sweeps] + ([of_runs(runs)] if runs else [])
    for study, name in zip(studies, unique([study.name for study in studies])):
        study.name = name
        if not study.loads():
            messages = sorted({m for p in study.points for _, _, m in p.rows if m})
            raise InputError(f"{study.sources[0].path}: no finished run to draw" +
                             (f"; the first failure: {messages[0]}" if messages else ""))
    return studies
