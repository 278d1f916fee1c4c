"""What a sweep that searches found: what each candidate reached, round by round."""

from matplotlib.patches import Patch

from plot import bars, pages, quantities, style
from plot.figure import Figure
from plot.inputs import policy_name
from plot.labels import labels
from plot.study import spread

_MOST = 48  # candidates


def _candidate(sweep, row):
    """What makes a row's candidate, in every round: its axes but those that the search itself moves."""
    return tuple(row.text(axis) for axis in sweep.axes if axis not in sweep.found)


def _policy(study, sweep, row):
    """Where policies are not searched over, there is one."""
    policy = policy_name(row.text("policy")) if "policy" in sweep.search else study.policies[0]
    if policy not in study.policies:
        row.fail("policy", "results.csv has no such policy")
    return policy


def _names(study, sweep, rows):
    """{candidate: (its label, its policy)} in the order of the axis: the policy and every other axis that varies."""
    own = {_candidate(sweep, row): row for row in rows}
    axes = [axis for axis in sweep.axes if axis not in sweep.found and axis != "policy"]
    axes = [axis for axis in axes if len({row.text(axis) for row in own.values()}) > 1]
    policies = {candidate: _policy(study, sweep, row) for candidate, row in own.items()}
    order = sorted(own, key=lambda candidate: (study.policies.index(policies[candidate]),
                                               [quantities.sort_key(own[candidate].text(axis)) for axis in axes]))
    texts = labels([(policies[c], {axis: own[c].text(axis) for axis in axes}) for c in order])
    return {candidate: (text, policies[candidate]) for candidate, text in zip(order, texts)}


def _best(sweep, rows):
    """The rows of the candidates that went furthest, where there are too many for one figure."""
    furthest = {}  # by candidate, the best (round, rank)
    for row in rows:
        place = (-row.count("round"), row.count("rank"))
        furthest[_candidate(sweep, row)] = min(place, furthest.get(_candidate(sweep, row), place))
    kept = sorted(furthest, key=furthest.get)[:_MOST]
    return [row for row in rows if _candidate(sweep, row) in kept], len(furthest) - len(kept)


def _draw(panel, study, sweep, names, rows):
    places = {candidate: position for position, candidate in enumerate(names)}
    for row in rows:
        score, position = row.number("score"), places[_candidate(sweep, row)]
        if score is None:
            continue
        colour = study.style(names[_candidate(sweep, row)][1])[0]
        feasible, kept = row.text("feasible") == "true", row.text("kept") == "true"
        panel.barh(position, score, bars.BAR, facecolor=colour if feasible else "none", edgecolor=colour,
                   hatch="" if feasible else "xxx", linewidth=1)
        if kept:
            panel.annotate(" ✓", (score, position), va="center")
    bars.names_down(panel, [name for name, _ in names.values()])


def _figure(study, sweep):
    rows, dropped = _best(sweep, sweep.search.rows)
    names = _names(study, sweep, rows)
    numbers = sorted({row.count("round") for row in rows})
    rounds = spread(numbers, pages.PANELS)
    height = bars.height([name for name, _ in names.values()])
    figure, axes = style.panels(1, len(rounds), height=height, sharex=True, sharey=True)
    for panel, number in zip(axes[0], rounds):
        own = [row for row in rows if row.count("round") == number]
        _draw(panel, study, sweep, names, own)
        panel.set_title(f"round {number}, seeds: {own[0].text('seeds')}")
        panel.set_xlabel(sweep.goal)
    axes[0][0].set_xlim(left=0)  # of all, once everything is drawn
    patches = [Patch(facecolor=style.GREY), Patch(facecolor="none", edgecolor=style.GREY, hatch="xxx")]
    style.legend_below(figure, patches, ["within the bounds", "not within the bounds"])
    found = any(row.text("feasible") == "true" for row in sweep.search.rows if row.count("round") == numbers[-1])
    notes = (f" {dropped} more candidates are left out." if dropped else "") + (
        "" if found else " No candidate keeps the bounds.")
    return Figure("search", f"Search for the {'lowest' if sweep.minimised else 'highest'} {sweep.goal}",
                  "What each candidate reached in each round; those with a tick went on to the next round, which runs "
                  "longer or with more seeds; in the last round the tick is the best's." + notes, figure)


def figures(study):
    for sweep in (source for source in study.sources if getattr(source, "search", None)):
        if sweep.search.rows:
            yield _figure(study, sweep)
