"""The tables of the report: the policy to choose, every point with its numbers, and the paired differences between policies."""

import re
from html import escape

from plot import quantities
from plot.axes import axis_name

# Key of summary.json: (heading, unit, factor).
COLUMNS = {
    "train_tokens_per_s": ("training", "tokens/s", 1.0),
    "train_tokens_per_gpu_s": ("training per GPU-second", "tokens", 1.0),
    "bound_fraction": ("of the bound", "%", 100.0),
    "train_redundant_forward_fraction": ("redundant forward", "% of training", 100.0),
    "request_goodput": ("goodput", "requests/s", 1.0),
    "p99_ttft_ms": ("P99 TTFT", "ms", 1.0),
    "p99_tpot_ms": ("P99 TPOT", "ms", 1.0),
    "p99_itl_ms": ("P99 ITL", "ms", 1.0),
    "peak_total_bytes": ("peak GPU memory", "GiB", 1 / 2**30),
    "peak_host_bytes": ("peak host memory", "GiB", 1 / 2**30),
    "train_mean_version_lag": ("version lag", "updates", 1.0),
}

# What the table of the policy to choose shows of it.
_CHOICE = ("train_tokens_per_s", "train_tokens_per_gpu_s", "request_goodput", "p99_ttft_ms", "p99_itl_ms")
_KEPT = 0.95            # of the best goodput at a load, by a policy that is worth choosing
_NEXT = 3               # policies behind the chosen one that are named
_FORESEES = re.compile(r"^oracle$|\bbase'?: '?oracle\b|\brecord'?: '?foreseen\b")  # nobody can choose it
_COMPARABLE = ("policy.", "training.max_itl")  # what runs may differ in and still be a choice


def number(value):
    """Three significant digits or more, never an exponent."""
    magnitude = abs(value)
    digits = 0 if magnitude >= 100 or value == 0 else 1 if magnitude >= 10 else 2 if magnitude >= 1 else 3
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0: what rounds to nothing has no sign


def _cell(interval, factor, signed=False):
    """One number with half the width of its interval; sorted by the mean."""
    if interval is None:
        return "<td data-value=\"\">–</td>"
    interval = interval.scaled(factor)
    sign = "+" if signed and interval.mean > 0 else ""
    text = sign + number(interval.mean)
    if interval.low is not None:
        text += f" <span class=\"interval\">± {number((interval.high - interval.low) / 2)}</span>"
    sure = signed and interval.low is not None and (interval.low > 0 or interval.high < 0)
    kind = " class=\"sure\"" if sure else ""
    return f"<td data-value=\"{interval.mean:.9g}\"{kind}>{text}</td>"


def _axis_cell(value):
    parsed = quantities.parse(value)
    return f"<td class=\"word\" data-value=\"{parsed[0] if parsed else escape(value)}\">{escape(value)}</td>"


def _policy_cell(study, policy, note=""):
    return f"<th scope=\"row\" data-value=\"{study.policies.index(policy)}\">{escape(policy)}{note}</th>"


def _heading(text, unit="", word=False):
    small = f"<small>{escape(unit)}</small>" if unit else ""
    kind = " class=\"word\"" if word else ""
    return f"<th scope=\"col\"{kind}><button type=\"button\">{escape(text)}</button>{small}</th>"


def _axis_headings(study):
    return [_heading(name, word=True) for name in ("policy", *map(axis_name, study.other_axes))]


def _table(headings, rows, caption):
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (f"<div class=\"scroll\"><table class=\"sortable\"><caption>{escape(caption)}</caption>\n"
            f"<thead><tr>{''.join(headings)}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n")


def _runs(point):
    done = len(point.rows) - point.failed
    return str(done) if not point.failed else f"{done} of {len(point.rows)}"


def numbers(study):
    """Every point. A column that no point has is left out."""
    columns = {key: column for key, column in COLUMNS.items() if any(key in p.values for p in study.points)}
    headings = [*_axis_headings(study), _heading("runs")]
    headings += [_heading(text, unit) for text, unit, _ in columns.values()]
    rows = []
    for point in study.points:
        note = " <span class=\"badge\">saturated</span>" if point.saturated else ""
        cells = [_policy_cell(study, point.policy, note)]
        cells += [_axis_cell(point.axes[axis]) for axis in study.other_axes]
        cells.append(f"<td data-value=\"{len(point.rows) - point.failed}\">{_runs(point)}</td>")
        cells += [_cell(point.values.get(key), factor) for key, (_, _, factor) in columns.items()]
        rows.append("".join(cells))
    return _table(headings, rows, "Means over the runs, ± half of the 95 % interval. Saturated: in a run of this point, "
                  "the service fell behind its arrivals.")


def _foresees(point):
    """True of oracle and of what has keys of it changed, whatever that is called."""
    return any(_FORESEES.search(str(text)) for text in (point.axes["policy"], point.config.get("policy")))


def _that_train(points):
    return [p for p in points if not _foresees(p) and (p.mean("train_tokens_per_s") or 0) > 0]


def _worth_choosing(points):
    """Those that train and, where there is an SLO, keep enough of the best goodput; the one that trains most first."""
    kept = _that_train(points)
    if any("request_goodput" in p.values for p in points):
        best = max(p.mean("request_goodput") or 0 for p in points)
        kept = [p for p in kept if best > 0 and (p.mean("request_goodput") or 0) >= _KEPT * best]
    return sorted(kept, key=lambda p: -p.mean("train_tokens_per_s"))


def _behind(value, most):
    """How far a value is below the largest one."""
    text = f"{100 * (1 - value / most):.1f} %"
    return text if text == "0.0 %" else "−" + text


def _choice(study, load):
    """The cells of one load; none where nothing is worth choosing."""
    ranked = _worth_choosing(study.at(load))
    if not ranked:
        return ""
    first, others = ranked[0], ranked[1:1 + _NEXT]
    axes = [] if first.label else [_axis_cell(first.axes[axis]) for axis in study.other_axes]
    most = first.mean("train_tokens_per_s")
    behind = [f"{p.name} {_behind(p.mean('train_tokens_per_s'), most)}" for p in others]
    place = study.names.index(first.name)
    return "".join([*axes, f"<th scope=\"row\" data-value=\"{place}\">{escape(first.name)}</th>",
                    *(_cell(first.values.get(key), COLUMNS[key][2]) for key in _choice_columns(study)),
                    f"<td class=\"word\" data-value=\"{len(others)}\">{escape(', '.join(behind)) or '–'}</td>"])


def _objectives(study):
    """The latencies that goodput asks for, where all points ask for the same. What an axis sets, its column tells."""
    asked = [p.config.get("slo") for p in study.points]
    varied = asked.count(asked[0]) < len(asked) or any(axis.split(".")[0] == "slo" for axis in study.axes)
    words = [f"{key.upper()} {value}" for key, value in asked[0].items()] if isinstance(asked[0], dict) and not varied else []
    return f": {', '.join(words)}" if words else ""


def _choice_columns(study):
    return [key for key in _CHOICE if any(key in p.values for p in study.points)]


def _eligible(study):
    """Among whom the choice is."""
    if "request_goodput" not in _choice_columns(study):
        return "Without an SLO (key slo), so however late tokens come:"
    return (f"Of the policies that keep {100 * _KEPT:.0f} % of the best goodput at a load (requests/s that meet the "
            f"SLO{_objectives(study)})")


def _missing(study, rows):
    count = len(study.loads())
    return f" At {count - len(rows)} of {count} loads there is none." if len(rows) < count else ""


def choice(study):
    """What to take at each load; nothing where there is no choice between policies that train."""
    runs = any(point.label for point in study.points)
    if runs and not all(axis.startswith(_COMPARABLE) for axis in study.other_axes):
        return ""
    if len(study.training_names()) < 2 or not _that_train(study.points):
        return ""
    rows = [row for row in (_choice(study, load) for load in study.loads()) if row]
    if not rows:
        return ("<h3>Which policy?</h3>\n<p>None of those that train keeps, at any load, "
                f"{100 * _KEPT:.0f} % of the best goodput (requests/s that meet the SLO{escape(_objectives(study))}).</p>\n")
    headings = [] if runs else [_heading(axis_name(axis), word=True) for axis in study.other_axes]
    headings += [_heading("trains most", word=True), *(_heading(*COLUMNS[key][:2]) for key in _choice_columns(study)),
                 _heading("next, and how far behind in tokens/s", word=True)]
    return "<h3>Which policy?</h3>\n" + _table(
        headings, rows, f"{_eligible(study)} the one that trains most; oracle, which knows the future, is left out. What lies "
        f"within the intervals of each other is no difference.{_missing(study, rows)} A stricter bound on latency: read the table "
        "of all points or the figures.")


def differences(study):
    """Paired differences from the baseline, or nothing where there are none."""
    metrics = {d.metric for d in study.differences}
    columns = {key: column for key, column in COLUMNS.items() if key in metrics}
    if not columns:
        return ""
    by_point = {}
    for each in study.differences:
        by_point.setdefault((each.policy, each.axes), {})[each.metric] = each.interval
    order = {key: i for i, key in enumerate((p.policy, p.load()) for p in study.points)}
    headings = _axis_headings(study)
    headings += [_heading(text, unit) for text, unit, _ in columns.values()]
    rows = []
    for policy, axes in sorted(by_point, key=lambda key: order.get(key, len(order))):
        values = by_point[policy, axes]
        cells = [_policy_cell(study, policy), *map(_axis_cell, axes)]
        cells += [_cell(values.get(key), factor, signed=True) for key, (_, _, factor) in columns.items()]
        rows.append("".join(cells))
    baselines = ", ".join(sorted({d.baseline for d in study.differences}))
    return _table(headings, rows, f"Difference from {baselines} on the same arrivals, seed by seed, ± half of the 95 % "
                  "interval. Bold: the interval does not hold 0.")


def plain(table, words, columns, caption):
    """A file as it is: columns of words, then columns of numbers, which may have gaps."""
    headings = [*(_heading(name, word=True) for name in words), *map(_heading, columns)]
    rows = []
    for row in table.rows:
        values = [row.number(column) for column in columns]
        rows.append("".join([*(_axis_cell(row.text(word)) for word in words),
                             *("<td data-value=\"\">–</td>" if value is None else
                               f"<td data-value=\"{value:.9g}\">{number(value)}</td>" for value in values)]))
    return _table(headings, rows, caption)
