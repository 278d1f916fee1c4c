"""Differences between policies on the same arrivals: what is left when the luck of a seed, which all of them share, is
taken out."""

from plot import bars, pages

_METRICS = {"train_tokens_per_s": "trained tokens/s", "p99_ttft_ms": "P99 TTFT (ms)", "p99_itl_ms": "P99 ITL (ms)"}


def _draw(panel, study, policies, load, metric):
    for each in study.differences:
        if each.axes != load or each.metric != metric or each.policy not in policies:
            continue
        colour, _, marker, _ = study.style(each.policy)
        position = policies.index(each.policy)
        bars.draw_interval(panel, position, each.interval)
        panel.plot(each.interval.mean, position, marker, color=colour, markersize=7, zorder=5)
    panel.axvline(0, color="black", linewidth=0.8)
    bars.names_down(panel, policies)


def _figure(study, page, policies, title):
    figure, axes = page.panels(len(_METRICS), f"{title} on the same arrivals",  # axes alone would read as what was reached
                               height=bars.height(policies), sharey=True)
    for row, (metric, label) in zip(axes, _METRICS.items()):
        for panel, load in zip(row, page.loads):
            _draw(panel, study, policies, load, metric)
            panel.set_xlabel(label)
    return page.figure("differences", title,
                       "Mean over the seeds of the difference on the same arrivals, with its 95 % interval; an interval that "
                       "does not hold 0 is a difference that the seeds do not explain.", figure)


def figures(study):
    baselines = sorted({d.baseline for d in study.differences})
    policies = [p for p in study.policies if any(d.policy == p for d in study.differences)]
    if not policies:
        return
    title = f"Differences from {', '.join(baselines)}"
    for page in pages.of(study):
        yield _figure(study, page, policies, title)
