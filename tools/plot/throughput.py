"""Training throughput, and where the time of a training step goes, by policy."""

from plot import bars, pages, style

_RATES = {"train_tokens_per_s": "trained tokens/s\n(wall clock)",
          "train_tokens_per_gpu_s": "trained tokens\nper GPU-second of training"}
# Key of summary.json: (phase, in words).
_PHASES = {"train_forward_ms": ("forward", "forward"),
           "train_restore_stall_ms": ("restore_stall", "waiting for activations"),
           "train_backward_ms": ("backward", "backward"), "train_optimizer_ms": ("optimizer", "optimizer")}


def throughput(study, page):
    names = study.training_names()
    figure, axes = page.panels(len(_RATES), height=bars.height(names), sharex="row", sharey=True)
    for row, (key, label) in zip(axes, _RATES.items()):
        for panel, load in zip(row, page.loads):
            bars.draw_bars(panel, study, study.at(load), names, key)
            panel.set_xlabel(label)
        row[0].set_xlim(left=0)  # of the whole row, once everything is drawn
    return page.figure("throughput", "Training throughput",
                       "Tokens trained in a second of the run (above), and in a second that a GPU spent training (below).",
                       figure)


def step_breakdown(study, page):
    names = study.training_names()
    parts = {key: style.PHASES[phase] for key, (phase, _) in _PHASES.items()}
    figure, axes = page.panels(1, height=bars.height(names), sharex=True, sharey=True)
    for panel, load in zip(axes[0], page.loads):
        bars.draw_stack(panel, study.at(load), names, parts)
        panel.set_xlabel("GPU time of a\ntraining step (ms)")
    axes[0][0].set_xlim(left=0)  # of all, once everything is drawn: an interval may reach below, a time does not
    bars.legend_of_parts(figure, {words: style.PHASES[phase] for phase, words in _PHASES.values()})
    return page.figure("step_breakdown", "Where the time of a training step goes",
                       "Mean GPU time of a training step on one replica, by phase. Forward is what reuse saves; waiting for "
                       "activations is what a reload that is late costs. Time in which the step waits for serving or for "
                       "other replicas is not counted.", figure)


def figures(study):
    if study.training_names():
        for page in pages.of(study):
            yield throughput(study, page)
            yield step_breakdown(study, page)
