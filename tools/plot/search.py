"""What a sweep that searches found: the best of each policy, round by round."""

from matplotlib.patches import Patch

from plot import bars, style
from plot.figure import Figure
from plot.inputs import policy_name
from plot.study import spread


def _best(study, table, rows):
    """Of each policy the row of the best rank; where policies are not searched over, there is one."""
    best = {}
    for row in sorted(rows, key=lambda row: row.count("rank")):
        policy = policy_name(row.text("policy")) if "policy" in table else study.policies[0]
        if policy not in study.policies:
            row.fail("policy", "results.csv has no such policy")
        best.setdefault(policy, row)
    return best


def _draw(panel, study, best):
    for policy, row in best.items():
        score = row.number("score")
        if score is None:
            continue
        colour = study.style(policy)[0]
        feasible, kept = row.text("feasible") == "true", row.text("kept") == "true"
        panel.barh(study.policies.index(policy), score, bars.BAR, facecolor=colour if feasible else "none",
                   edgecolor=colour, hatch="" if feasible else "xxx", linewidth=1)
        if kept:
            panel.annotate(" ✓", (score, study.policies.index(policy)), va="center")
    bars.names_down(panel, study.policies)


def figures(study):
    for sweep in (source for source in study.sources if getattr(source, "search", None)):
        if not sweep.search.rows:
            continue
        rounds = spread(sorted({row.count("round") for row in sweep.search.rows}), bars.MOST_PANELS)
        figure, axes = style.panels(1, len(rounds), height=bars.height(study.policies), sharex=True, sharey=True)
        for panel, number in zip(axes[0], rounds):
            rows = [row for row in sweep.search.rows if row.count("round") == number]
            _draw(panel, study, _best(study, sweep.search, rows))
            panel.set_title(f"round {number}, seeds: {rows[0].text('seeds')}")
            panel.set_xlabel(sweep.goal)
        axes[0][0].set_xlim(left=0)  # of all, once everything is drawn
        patches = [Patch(facecolor=style.GREY), Patch(facecolor="none", edgecolor=style.GREY, hatch="xxx")]
        style.legend_below(figure, patches, ["within the bounds", "not within the bounds"])
        last = max(row.count("round") for row in sweep.search.rows)
        found = any(row.text("feasible") == "true" for row in sweep.search.rows if row.count("round") == last)
        yield Figure("search", f"Search for the highest {sweep.goal}",
                     "The best that each policy reached in each round; those with a tick went on to the next round, "
                     "which runs longer or with more seeds." + ("" if found else " No candidate keeps the bounds."),
                     figure)
