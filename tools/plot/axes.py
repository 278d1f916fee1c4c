"""What the axes of a study are called."""

import re

import yaml

# Axes in words, with the unit of those that are written without one.
_AXES = {
    "workload.rate": ("request rate", "1/s"),
    "workload.arrivals.poisson.rate": ("request rate", "1/s"),
    "workload.lengths.fixed.prompt": ("prompt", "tokens"),
    "workload.arrivals.gamma.cv": ("coefficient of variation of arrivals", ""),
    "hardware.link_h2d_bandwidth": ("link, host to device", ""),
    "hardware.link_d2h_bandwidth": ("link, device to host", ""),
    "hardware.link_duplex_bandwidth": ("link, both directions at once", ""),
    "training.feedback.share": ("share of requests with feedback", ""),
    "training.feedback.delay.exponential": ("mean delay of feedback", ""),
    "training.max_version_lag": ("accepted version lag", "updates"),
    "training.backward": ("adapters in backward", ""),
    "training.max_itl": ("longest gap between tokens that training may cause", ""),
    "training.batch_tokens": ("batch of a training step", "tokens"),
}


def axis_name(axis):
    """An axis in words, without a unit."""
    return _AXES.get(axis, (axis, ""))[0]


def axis_label(axis, unit):
    """An axis in words, with its unit; `unit` is that of its values."""
    name, own = _AXES.get(axis, (axis, ""))
    return f"{name} ({unit or own})" if unit or own else name


class YamlLoader(yaml.SafeLoader):
    """Without dates: a name may look like one that no calendar has."""


YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def map_of(value):
    """A value that is a map, such as {base: h200, name: larger, memory: 160 GiB}, or none."""
    try:
        parsed = yaml.load(value, YamlLoader) if value.startswith("{") else None
    except yaml.YAMLError:
        return None
    return parsed if isinstance(parsed, dict) else None


def value_name(value):
    """What a value is called: of a map, such as {base: h200, name: larger, memory: 160 GiB}, the name in it if it has one."""
    name = re.search(r"[{,]\s*name:\s*([^,{}]+?)\s*[,}]", value) if value.startswith("{") else None
    return name.group(1).strip("\"'") if name else value


def axis_value(axis, value, others=()):
    """One value of an axis, as it stands above a panel: "request rate = 4/s". Whole where one of `others` has its name."""
    name, unit = _AXES.get(axis, (axis, ""))
    unit = {"1/s": "/s", "": ""}.get(unit, f" {unit}")
    shared = any(other != value and value_name(other) == value_name(value) for other in others)
    return f"{name} = {value if shared else value_name(value)}{unit}"
