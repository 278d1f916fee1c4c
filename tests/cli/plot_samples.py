"""Directories of results for the tests of alchemist plot: runs of a small experiment, sweeps with made-up numbers."""

import csv
import statistics

from alchemist_cli import run
from samples import EXPERIMENT

POLICIES = ["serve_only", "temporal", "alchemist"]
RATES = [4, 8]
SEEDS = [1, 2, 3]

# By key: the value at seed 2; seeds 1 and 3 lie 1 % below and above, so that the mean is this and the interval of three
# seeds 4.303 (Student's t, 97.5 %, 2 degrees of freedom) * 1 % / sqrt(3) = 2.484 % of it.
NUMBERS = {
    "request_goodput": lambda policy, rate: rate * 0.9,
    **{f"{statistic}_{metric}_ms": (lambda policy, rate, i=i, j=j: (POLICIES.index(policy) + 1) * rate * (i + 1) * 10**j)
       for i, statistic in enumerate(("mean", "median", "p90", "p95", "p99"))
       for j, metric in enumerate(("itl", "tpot", "ttft", "e2el"))},
    "train_tokens_per_s": lambda policy, rate: POLICIES.index(policy) * 1000 * rate,
    "train_tokens_per_gpu_s": lambda policy, rate: POLICIES.index(policy) * 9000 or None,
    "train_forward_ms": lambda policy, rate: {"temporal": 40, "alchemist": 10}.get(policy),
    "train_restore_stall_ms": lambda policy, rate: {"temporal": 0, "alchemist": 5}.get(policy),
    "train_backward_ms": lambda policy, rate: 60 if policy != "serve_only" else None,
    "train_optimizer_ms": lambda policy, rate: 1 if policy != "serve_only" else None,
    **{f"peak_{part}_bytes": (lambda policy, rate, i=i: (i + 1) * 2**30)
       for i, part in enumerate(("weights", "kv", "activations", "training", "total", "host"))},
    "gpu_memory_bytes": lambda policy, rate: 80 * 2**30,
    "bound_train_tokens_per_s": lambda policy, rate: 3000 * rate if policy != "serve_only" else None,
    "bound_fraction": lambda policy, rate: POLICIES.index(policy) / 3 or None,
}


def run_directory(folder, policy="alchemist", *arguments):
    """A run of the small experiment under a folder, as `alchemist run` leaves it."""
    experiment = folder / "experiment.yaml"
    experiment.write_text(EXPERIMENT)
    out = folder / policy
    settings = [word for setting in ("workload.requests=200", "training.feedback.share=1", "training.batch_tokens=512",
                                     "training.feedback.delay.exponential=200 ms", "training.max_version_lag=64")
                for word in ("--set", setting)]
    result = run("run", experiment, "--policy", policy, *settings, "--out", out, *arguments)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    return out


def _values(key, policy, rate):
    middle = NUMBERS[key](policy, rate)
    return None if middle is None else [middle * (1 + share) for share in (-0.01, 0, 0.01)]


def _interval(values):
    mean = statistics.mean(values)
    half = 4.302653 * statistics.stdev(values) / len(values)**0.5
    return [len(values), mean, mean - half, mean + half]


def _write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def sweep_directory(folder, axis="workload.rate", values=RATES, failed=()):
    """A finished sweep of three policies, two loads and three seeds. `failed`: of the points, those of which every run
    failed, by number."""
    folder.mkdir(parents=True)
    points = [(policy, rate) for policy in POLICIES for rate in RATES]
    names = [values[RATES.index(rate)] for _, rate in points]
    results, intervals, paired = [], [], []
    for point, (policy, rate) in enumerate(points):
        axes = [point, policy, names[point]]
        for i, seed in enumerate(SEEDS):
            if point in failed:
                results.append([*axes, seed, "failed", "no <room> left", *[""] * (1 + len(NUMBERS))])
                continue
            numbers = [values_[i] if (values_ := _values(key, policy, rate)) else "" for key in NUMBERS]
            results.append([*axes, seed, "ok", "", *numbers, "false"])
        for key in NUMBERS if point not in failed else ():
            numbers = _values(key, policy, rate)
            intervals.append([*axes, key, *(_interval(numbers) if numbers else [0, "", "", ""])])
            base = _values(key, "temporal", rate)
            if policy == "alchemist" and numbers and base:
                paired.append([*axes, "temporal", key, *_interval([a - b for a, b in zip(numbers, base)])])
    axes = ["point", "policy", axis]
    _write(folder / "results.csv", [*axes, "seed", "status", "message", *NUMBERS, "saturated"], results)
    _write(folder / "intervals.csv", [*axes, "metric", "n", "mean", "ci95_low", "ci95_high"], intervals)
    _write(folder / "paired.csv",
           [*axes, "baseline", "metric", "n", "mean_difference", "ci95_low", "ci95_high"], paired)
    (folder / "sweep.yaml").write_text(f"base: {{model: tiny, hardware: cpu-2core}}\n"
                                       f"grid: {{policy: {POLICIES}, {axis}: {values}}}\nseeds: {SEEDS}\n")
    return folder
