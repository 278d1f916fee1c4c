"""How a model learns from records of several ages: what `alchemist learning` wrote."""

import json
from dataclasses import dataclass

import matplotlib
import numpy

from plot import style, summary_table
from plot.errors import InputError, at
from plot.figure import Figure
from plot.measurement import Measurement
from plot.tables import Table

_WHAT = {"prompts": "prompts recorded, answers run when they are trained", "all": "prompts and answers recorded"}
_BACKWARD = {"current": "", "recorded": ", backward under the weights of the record"}


@dataclass
class Learning(Measurement):
    """One directory of `alchemist learning`. `trained`: what and how, in one line."""
    table: Table
    trained: str

    def subject(self):
        return self.trained

    def figures(self):
        yield _figure(_curves(self.table))

    def numbers(self):
        return summary_table.plain(self.table, ["lag", *_run_column(self.table), "seed"], ["step", "loss"],
                                   "Loss of held-out samples.")


def _trained(path):
    """From learning.json."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return (f"{said['model']} ({said['weights']} weights), {said['method']}, learning rate {said['learning_rate']:g}, "
                f"after {said['pretrain_steps']} steps of pretraining, {_WHAT[said['recorded']]}"
                f"{_BACKWARD[said.get('backward', 'current')]}, {said['samples']} samples of {said['prompt_tokens']} + "
                f"{said['answer_tokens']} tokens a step; {said['device']}")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise at(path, 1, "expected what `alchemist learning` writes") from error


def read(path):
    """The learning curves of a directory with learning.csv."""
    return Learning(path, Table(path / "learning.csv", ["lag", "seed", "step", "loss"]), _trained(path / "learning.json"))


def _run_column(table):
    """If some ages are those of a run."""
    return ["run"] if "run" in table and any(row.text("run") for row in table.rows) else []


def _curves(table):
    """{lag, or name of a run: {seed: {step: loss}}}, youngest records first, runs behind them in their order."""
    lags, runs = {}, {}
    named = _run_column(table)
    for row in table.rows:
        run = named and row.text("run")
        of_seeds = runs.setdefault(run, {}) if run else lags.setdefault(row.count("lag"), {})
        of_seeds.setdefault(row.text("seed"), {})[row.count("step")] = row.required("loss")
    return dict(sorted(lags.items())) | runs


def _label(age):
    if isinstance(age, str):
        return f"records as old as in {age}"
    return "fresh activations" if age == 0 else f"records {age} step{'s' if age > 1 else ''} old"


def _means(of_seeds):
    """(steps that all seeds reached, the mean over seeds at each)."""
    steps = sorted(set.intersection(*(set(curve) for curve in of_seeds.values())))
    return steps, [numpy.mean([curve[step] for curve in of_seeds.values()]) for step in steps]


def _behind(of_seeds, fresh):
    """The same of how much higher a loss is than that with fresh activations and the same seed."""
    return _means({seed: {step: loss - fresh[seed][step] for step, loss in curve.items() if step in fresh.get(seed, {})}
                   for seed, curve in of_seeds.items()})


def _figure(curves):
    """The loss by step, and how far each age is behind fresh activations."""
    figure, panels = style.panels(1, 2, width=10.0, height=3.4)
    colours = matplotlib.colormaps["viridis"](numpy.linspace(0, 0.85, len(curves)))
    markers = "osD^vP*X"
    for i, (age, of_seeds) in enumerate(curves.items()):
        look = {"color": colours[i], "marker": markers[i % len(markers)], "markersize": 3}
        panels[0, 0].plot(*_means(of_seeds), label=_label(age), **look)
        if 0 in curves:
            panels[0, 1].plot(*_behind(of_seeds, curves[0]), **look)
    panels[0, 0].set_ylabel("loss of held-out samples")
    panels[0, 1].set_ylabel("loss above that with fresh activations")
    for panel in panels.flat:
        panel.set_xlabel("optimizer steps")
    style.legend_below(figure, *panels[0, 0].get_legend_handles_labels())
    return Figure("learning", "Learning from aged records",
                  "Means over the seeds. Every sample was recorded so many optimizer steps before it was trained; the "
                  "samples and their order are the same for all ages.", figure)
