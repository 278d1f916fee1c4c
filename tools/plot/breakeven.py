"""When reloading activations beats computing them again, for the model and hardware of the results."""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from plot import style
from plot.figure import Figure
from plot.study import spread
from plot.tables import Table

_MOST_SUBJECTS = 3  # pairs of model and hardware
_MOST_LINKS = 6
_COLOURS = (style.VERMILLION, style.ORANGE, style.GREEN, style.SKY, style.BLUE, style.PURPLE)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_METHODS = {"lora": "LoRA", "full": "full fine-tuning"}
_WAYS = {"reload_all_ms": "reload everything", "planned_ms": "planned"}
_COLUMNS = ["method", "link_h2d_gb_per_s", "context_tokens", "recompute_all_ms", "resident_ms", *_WAYS]


def _subjects(study):
    """{(model, hardware): a point that ran with them}, in the order of the points."""
    subjects = {}
    for point in study.points:
        if point.values:
            subjects.setdefault((point.name_of("model"), point.name_of("hardware")), point)
    return subjects


def _named(folder, point, kind):
    """What the program knows the model or hardware by: a name, or a file with what the run was given."""
    known = point.config.get(kind)
    if not isinstance(known, dict):
        return str(known)
    path = Path(folder) / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(known, sort_keys=False), encoding="utf-8")
    return str(path)


def _table(program, point):
    """The rows of `alchemist show breakeven`, or none, with a note, where it does not know the model or hardware."""
    with tempfile.TemporaryDirectory() as folder:
        names = [_named(folder, point, kind) for kind in ("model", "hardware")]
        command = [program, "show", "breakeven", *names, "--csv"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"alchemist: note: no break-even figure: {done.stderr.strip()}", file=sys.stderr)
            return None
        path = Path(folder) / "breakeven.csv"
        path.write_text(done.stdout, encoding="utf-8")
        return Table(path, _COLUMNS).rows


def _draw(panel, rows, links, way):
    for link, colour, marker in zip(links, _COLOURS, _MARKERS):
        own = [row for row in rows if row.required("link_h2d_gb_per_s") == link]
        panel.plot([row.required("context_tokens") for row in own],
                   [row.required("recompute_all_ms") / row.required(way) for row in own], color=colour, marker=marker,
                   label=f"{link:g} GB/s")
    fastest = [row for row in rows if row.required("link_h2d_gb_per_s") == links[-1]]
    panel.plot([row.required("context_tokens") for row in fastest],
               [row.required("recompute_all_ms") / row.required("resident_ms") for row in fastest], color="black",
               linestyle=":", label="all in GPU memory")
    panel.axhline(1, color="black", linewidth=0.8)
    panel.set_xscale("log", base=2)
    panel.set_ylim(bottom=0)


def _figure(rows, name, subject):
    links = spread(sorted({row.required("link_h2d_gb_per_s") for row in rows}), _MOST_LINKS)
    figure, axes = style.panels(len(_WAYS), len(_METHODS), height=2.8, sharex=True, sharey=True)
    for line, (way, words) in zip(axes, _WAYS.items()):
        for panel, (method, title) in zip(line, _METHODS.items()):
            _draw(panel, [row for row in rows if row.text("method") == method], links, way)
            panel.set_title(f"{title}: {words}")
        line[0].set_ylabel("speed-up over\nrecomputing everything")
    for panel, method in zip(axes[-1], _METHODS):
        ticks = sorted({row.required("context_tokens") for row in rows if row.text("method") == method})
        panel.set_xticks(ticks, [f"{tick / 1024:g}k" for tick in ticks])
        panel.set_xlabel("context (tokens)")
    style.legend_below(figure, *axes[0][0].get_legend_handles_labels(), columns=7)
    return Figure(name, f"Break-even of reload and recompute: {subject}",
                  "By how much a training micro-batch is faster, from the start of the restore to the end of backward, "
                  "than if everything were computed again, by the bandwidth of the link; above 1 it pays. From the cost "
                  "model, on an idle GPU and link; all records lie on the host.", figure)


def figures(study, program):
    if not study.training_names():
        return
    subjects = _subjects(study)
    for (model, hardware), point in list(subjects.items())[:_MOST_SUBJECTS]:
        rows = _table(program, point) if model and hardware else None
        if rows:
            name = "breakeven" if len(subjects) == 1 else f"breakeven_{model}_{hardware}"
            yield _figure(rows, name, f"{model} on {hardware}")
