"""What training costs serving: training throughput against the slowest first tokens."""

from plot import lines, pages, style

_COST, _GAIN = "p99_ttft_ms", "train_tokens_per_s"


def front(points):
    """Of (cost, gain) pairs those that no other beats in both, by cost."""
    kept = []
    for cost, gain in sorted(points, key=lambda pair: (pair[0], -pair[1])):
        if not kept or gain > kept[-1][1]:
            kept.append((cost, gain))
    return kept


def _errors(interval):
    if interval.low is None:
        return None
    return [[max(interval.mean - interval.low, 0)], [max(interval.high - interval.mean, 0)]]


def _draw(panel, study, points):
    both = [p for p in points if _COST in p.values and _GAIN in p.values]
    for point in both:
        cost, gain = point.values[_COST], point.values[_GAIN]
        colour, _, marker, _ = study.style(point.name)
        panel.errorbar(cost.mean, gain.mean, xerr=_errors(cost), yerr=_errors(gain), color=colour, marker=marker,
                       markersize=7, linestyle="", elinewidth=0.8, capsize=2)
    best = front([(p.mean(_COST), p.mean(_GAIN)) for p in both])
    panel.step([c for c, _ in best], [g for _, g in best], where="post", color=style.GREY, linewidth=1.5, zorder=1)
    style.fit_axis([panel], "x", [bound for p in both for bound in (p.mean(_COST), p.values[_COST].high or 0)])
    panel.set_xlabel("P99 TTFT (ms)")


def _gains(study, loads):
    """The means of all panels and the upper ends of their intervals: what the axis must show."""
    gains = [point.values[_GAIN] for load in loads for point in study.at(load) if _GAIN in point.values]
    return [bound for gain in gains for bound in (gain.mean, gain.high or 0)]


def _figure(study, page):
    figure, axes = page.panels(1, height=3.2, sharey=True)
    for panel, load in zip(axes[0], page.loads):
        _draw(panel, study, study.at(load))
    axes[0][0].set_ylabel("trained tokens/s")
    most = max(_gains(study, page.loads), default=0)
    if most > 0:
        axes[0][0].set_ylim(-0.05 * most, 1.08 * most)  # room for the marks of those that train nothing, at 0
    lines.legend(figure, study, study.names, line=False)
    return page.figure("pareto", "Training throughput against P99 TTFT",
                       "Up and to the left is better. The grey line is the Pareto front of the means: no policy on it is "
                       "beaten in both. Bars are 95 % intervals.", figure)


def figures(study):
    return (_figure(study, page) for page in pages.of(study)) if study.training_names() else ()
