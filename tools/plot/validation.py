"""How far simulations are from the runs that they imitate: what `alchemist validate` wrote."""

from dataclasses import dataclass

from plot import style, summary_table
from plot.bars import names_down
from plot.figure import Figure
from plot.measurement import Measurement
from plot.tables import Table

# Of a run that somebody else measured: single requests, with line styles and hatches for print.
_METRICS = {"ttft": ("TTFT", style.BLUE, ""), "tpot": ("TPOT", style.ORANGE, "//"),
            "itl": ("ITL", style.SKY, "xx"), "e2el": ("E2E latency", style.GREEN, "..")}
_RUNS = {"measured": (style.BLUE, "-"), "simulated": (style.VERMILLION, "--")}
# Of a real run of ours: the simulations of its arrivals, by the column of their errors, with marks.
_WORLDS = {"error": ("as calibrated", style.VERMILLION, "o"), "at_speed_error": ("at the machine's speed", style.BLUE, "s"),
           "repriced_error": ("repriced", style.GREEN, "D")}
_ROWS = {"train_tokens_per_s": "training tokens/s", "train_tokens_per_gpu_s": "training tokens per GPU-second",
         "train_step_ms": "training step", "train_forward_ms": "forward of training",
         "train_backward_ms": "backward of training", "output_throughput": "output tokens/s",
         **{f"{statistic}_{metric}_ms": f"{'mean' if statistic == 'mean' else statistic.upper()} {label}"
            for metric, label in (("ttft", "TTFT"), ("tpot", "TPOT"), ("itl", "ITL"), ("e2el", "E2E latency"))
            for statistic in ("mean", "p99")}}


@dataclass
class Validation(Measurement):
    """One directory of `alchemist validate`. `distribution`: of the requests of a run that somebody else measured;
    `operations`: of a real run of ours."""
    comparison: Table
    distribution: Table = None
    operations: Table = None

    def figures(self):
        yield _of_requests(self) if self.distribution else _of_a_real_run(self)

    def numbers(self):
        """All of comparison.csv."""
        words = [column for column in ("metric", "statistic") if column in self.comparison]
        columns = [column for column in self.comparison.header if column not in words]
        return summary_table.plain(self.comparison, words, columns, "Errors: simulated / real - 1.")


def read(path):
    """The validation of a directory with comparison.csv."""
    if (path / "distribution.csv").exists():
        return Validation(path, Table(path / "comparison.csv", ["metric", "statistic", "measured_ms", "simulated_ms", "error"]),
                          distribution=Table(path / "distribution.csv", ["metric", "run", "value_ms", "fraction"]))
    return Validation(path, Table(path / "comparison.csv", ["metric", "real", "simulated", "error"]),
                      operations=Table(path / "operations.csv", ["operation", "count", "real_s", "priced_s", "error"]))


def _known_metrics(rows):
    """Gaps between tokens are not known of every measured run."""
    there = {row.text("metric") for row in rows}
    return [metric for metric in _METRICS if metric in there]


def _draw_distribution(panel, metric, rows):
    """The share of requests, or of gaps, that took at most x, as steps."""
    values = {run: [(r.required("value_ms"), r.required("fraction")) for r in rows
                    if r.text("metric") == metric and r.text("run") == run] for run in _RUNS}
    in_seconds = max((v for points in values.values() for v, _ in points), default=0) >= 2000
    scale, unit = (1e-3, "s") if in_seconds else (1, "ms")
    for run, (colour, line) in _RUNS.items():
        points = values[run]
        if points:
            panel.step([points[0][0] * scale] + [v * scale for v, _ in points], [0] + [f for _, f in points], where="post",
                       color=colour, linestyle=line, linewidth=1.6, label=run)
    panel.set_xlabel(f"{_METRICS[metric][0]} ({unit})")
    panel.set_ylim(0, 1.01)


def _draw_statistics(panel, rows):
    """Bars of the signed errors, grouped by statistic."""
    statistics = list(dict.fromkeys(r.text("statistic") for r in rows))
    known = _known_metrics(rows)
    width = 0.8 / len(known)
    for offset, metric in enumerate(known):
        label, colour, hatch = _METRICS[metric]
        errors = {r.text("statistic"): r.number("error") * 100 for r in rows
                  if r.text("metric") == metric and r.text("error")}
        positions = [i + (offset - (len(known) - 1) / 2) * width for i, s in enumerate(statistics) if s in errors]
        heights = [errors[s] for s in statistics if s in errors]
        bars = panel.bar(positions, heights, width, color=colour, hatch=hatch, edgecolor="white", label=label)
        panel.bar_label(bars, fmt="%+.2f", fontsize=6, padding=2, rotation=90)  # beside each other they would touch
    panel.axhline(0, color="black", linewidth=0.8)
    panel.margins(y=0.25)
    panel.set_xticks(range(len(statistics)), [s if s == "mean" else s.upper() for s in statistics])
    panel.grid(axis="x", visible=False)
    panel.legend(ncols=len(known), loc="upper center", bbox_to_anchor=(0.5, 1.12))


def _of_requests(validation):
    """Distribution functions of the latencies in both runs, and the errors of their statistics."""
    metrics = _known_metrics(validation.distribution.rows)
    columns = (len(metrics) + 2) // 2
    figure, panels = style.panels(2, columns, width=4.5 * columns, height=3.2)
    for panel, metric in zip(panels.flat, metrics):
        _draw_distribution(panel, metric, validation.distribution.rows)
    for row in panels:
        row[0].set_ylabel("share of requests")
    for panel in panels.flat[len(metrics):-1]:
        panel.set_visible(False)
    panels[-1, -1].set_ylabel("error: simulated / measured - 1 (%)")
    panels[0, 0].legend()
    _draw_statistics(panels[-1, -1], validation.comparison.rows)
    return Figure("validation", "Simulation against the measured run",
                  "Share of the requests (ITL: of the gaps) that took at most so long, and how far statistics of the "
                  "simulation are off.", figure)


def _percent(row, column):
    error = row.number(column)
    return None if error is None else 100 * error


def _draw_worlds(panel, table):
    """For each metric the error of each simulation, as a mark."""
    rows = {row.text("metric"): row for row in table.rows}
    worlds = {column: world for column, world in _WORLDS.items() if column in table}
    shown = [key for key in _ROWS if key in rows and any(_percent(rows[key], column) is not None for column in worlds)]
    for column, (label, colour, marker) in worlds.items():
        points = [(_percent(rows[key], column), position) for position, key in enumerate(shown)]
        points = [(error, position) for error, position in points if error is not None]
        if points:
            panel.plot(*zip(*points), marker, color=colour, markeredgecolor="black", markeredgewidth=0.5, label=label)
    panel.axvline(0, color="black", linewidth=0.8)
    names_down(panel, [_ROWS[key] for key in shown])
    panel.set_xlabel("error: simulated / real - 1 (%)")


def _draw_operations(panel, rows):
    """What was charged for each kind of operation of the real run, against what it took."""
    known = [row for row in rows if row.text("error")]
    names = [f"{row.text('operation')} ({row.count('count')})" for row in known]
    bars = panel.barh(range(len(known)), [_percent(row, "error") for row in known], 0.6, color=style.VERMILLION)
    panel.bar_label(bars, fmt="%+.1f", fontsize=7, padding=2)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.margins(x=0.25)
    names_down(panel, names)
    panel.set_xlabel("error: charged / taken - 1 (%)")
    style.title(panel, "The real run's own operations")


def _of_a_real_run(validation):
    """The errors of all simulations by metric, and where they come from."""
    figure, panels = style.panels(1, 2, width=10.0, height=4.4)
    _draw_worlds(panels[0, 0], validation.comparison)
    _draw_operations(panels[0, 1], validation.operations.rows)
    style.legend_below(figure, *panels[0, 0].get_legend_handles_labels())
    return Figure("validation", "Simulation against the real run",
                  "As calibrated; with each operation as slow as the machine was at its moment; and with each kind of "
                  "operation as long in sum as in the real run. What is off in the last is the simulator's, what is off in "
                  "the others and not in that the calibration's. To the right: what the calibration charges for the very "
                  "operations of the real run, with their number.", figure)
