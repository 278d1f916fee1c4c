"""Directories of results: what `alchemist run --out`, `sweep --out` and `validate --out` write."""

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from plot import learning, validation
from plot.axes import YamlLoader, value_name
from plot.errors import InputError, at
from plot.tables import Table


@dataclass
class Run:
    """One run's directory. `summary` and `config` as parsed, tables are read when they are drawn."""
    path: Path
    summary: dict
    config: dict
    config_text: str

    @property
    def policy(self):
        return policy_name(self.summary["policy"])

    def engines(self):
        """The version that made it; nothing where that is not known."""
        engine = self.summary.get("engine")
        if not isinstance(engine, dict):
            return []
        return [f"alchemist {engine.get('version')} ({engine.get('git_hash')})"]


@dataclass
class Sweep:
    """One sweep's directory: every (point, seed), and the intervals over the seeds of each point."""
    path: Path
    axes: list
    results: Table
    intervals: Table
    paired: Table = None
    search: Table = None  # of a sweep that searched: what each round found
    base: dict = field(default_factory=dict)  # the experiment that every point varies; empty where it is not known
    goal: str = ""        # what it maximised or minimised, if it searched
    minimised: bool = False
    found: list = field(default_factory=list)  # axes that are no choice: what it looks for, and how long runs are
    text: str = ""
    policies: dict = field(default_factory=dict)  # by their names, those along the axis that are no other one's name
    kept: dict = field(default_factory=dict)  # directories of runs, by POINT-SEED

    def engines(self):
        """The version that made it, from its database; nothing where that is not there."""
        path = self.path / "results.sqlite"
        if not path.exists():
            return []
        try:  # immutable: looking at it leaves no files beside it
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
                found = database.execute("SELECT value FROM sweep WHERE key = 'engine'").fetchall()
        except sqlite3.Error:
            return []
        return [f"alchemist {value}" for value, in found]


def policy_name(text):
    """A policy's name; of a policy in a file of its own, the file's; of one with keys changed, the one it was given."""
    return Path(text).stem if text.endswith((".yaml", ".yml")) else value_name(text)


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise at(path, 0, f"not a text file in UTF-8: {error.reason}") from error


def _read_yaml(path):
    try:
        value = yaml.load(_read_text(path), YamlLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise at(path, mark.line + 1 if mark else 0, getattr(error, "problem", None) or "not YAML") from error
    if not isinstance(value, dict):
        raise at(path, 1, "expected a map of keys")
    return value


def _read_summary(path):
    try:
        summary = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise at(path, error.lineno, f"not JSON: {error.msg}") from error
    if not isinstance(summary, dict):
        raise at(path, 1, "expected a map of keys")
    for key in ("policy", "model", "hardware"):
        if not isinstance(summary.get(key), str):
            raise at(path, 0, f"{key}: expected a name")
    for key, value in summary.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise at(path, 0, f"{key}: expected a number, got {value}")
    return summary


def read_run(path):
    config = path / "config.yaml"
    return Run(path, _read_summary(path / "summary.json"), _read_yaml(config), _read_text(config))


def _read_sweep(path):
    results = Table(path / "results.csv", ["point", "seed", "status", "message"])
    axes = results.between("point", "seed")
    intervals = Table(path / "intervals.csv", ["point", *axes, "metric", "n", "mean", "ci95_low", "ci95_high"])
    sweep = Sweep(path, axes, results, intervals)
    if (path / "paired.csv").exists():
        columns = ["point", *axes, "baseline", "metric", "n", "mean_difference", "ci95_low", "ci95_high"]
        sweep.paired = Table(path / "paired.csv", columns)
    if (path / "search.csv").exists():
        columns = ["round", "rank", "point", *axes, "seeds", "feasible", "score", "kept"]
        sweep.search = Table(path / "search.csv", columns)
    if (path / "sweep.yaml").exists():
        sweep.text = _read_text(path / "sweep.yaml")
        resolved = _read_yaml(path / "sweep.yaml")
        sweep.base = resolved["base"] if isinstance(resolved.get("base"), dict) else {}
        axes = [resolved[how] for how in ("grid", "zip") if isinstance(resolved.get(how), dict)]
        policies = [policy for axis in axes for policy in axis.get("policy") or [] if isinstance(policy, dict)]
        sweep.policies = {str(policy["name"]): policy for policy in policies if "name" in policy}
        sweep.minimised = "minimise" in resolved
        sweep.goal = str(resolved.get("minimise" if sweep.minimised else "maximise", ""))
        sweep.found = [key for how in ("search", "halving") for key in resolved.get(how) or {}]
    sweep.kept = {file.parent.name: file.parent for file in sorted((path / "points").glob("*/requests.csv"))}
    return sweep


def read(directories):
    """(runs, sweeps, measurements) of the directories, in their order. Measurements are validations, which bring their
    real run and its simulation, and learning curves."""
    runs, sweeps, measurements = [], [], []
    for path in map(Path, directories):
        if not path.is_dir():
            raise InputError(f"{path}: no such directory")
        if (path / "results.csv").exists():
            sweeps.append(_read_sweep(path))
        elif (path / "summary.json").exists():
            runs.append(read_run(path))
        elif (path / "comparison.csv").exists():
            measurements.append(validation.read(path))
            runs += [read_run(path / world) for world in ("real", "simulated") if (path / world).is_dir()]
        elif (path / "learning.csv").exists():
            measurements.append(learning.read(path))
        else:
            raise InputError(f"{path}: no results: expected summary.json of `alchemist run --out`, results.csv of "
                             "`alchemist sweep --out`, comparison.csv of `alchemist validate --out` or learning.csv of "
                             "`alchemist learning --out`")
    return runs, sweeps, measurements
