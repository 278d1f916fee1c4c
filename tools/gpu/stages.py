"""The stages of tools/gpu_suite: what each runs, in which order, and how long it may and must be able to run."""

import json
from dataclasses import dataclass
from typing import Callable

from gpu.machine import ALCHEMIST, BENCHMARK, PYTHON, ROOT, TEST_GPU, built_with_cudnn, compute_sanitizer, hardware_of
from gpu.processes import Command

MODEL = "llama-3.1-8b"
# What stages took on an H200 (results/gpu/2026-11-27_h200/stages.json). With less than a tenth more than that, a stage is
# not started: it would be stopped before it shows anything, and a shorter one may still fit.
MEASURED = {
    "correctness": 18.8, "cudnn": 14.8, "benchmark": 15.0, "pytorch": 69.4, "calibrate": 43.7,
    "validate_2k_temporal": 22.7, "validate_8k_temporal": 31.7, "validate_2k_planned": 31.8, "validate_8k_planned": 39.4,
    "validate_2k_alchemist": 30.3, "validate_8k_alchemist": 38.8, "staleness": 24.1, "sanitizer": 36.8,
}
# Not measured yet: those like another one take as long. Kernels for Hopper: 10 s for the longest test's reference on the
# CPU, 12 for the benchmark of layers; memcheck took 8 s for the other kernels' tests.
# A quarter of 70B has 2.2 times the weights of 8B, and a round less is measured.
MEASURED |= {"hopper": 25.0, "hopper_sanitizer": 12.0, "learning": 15.0, "graphs_calibrate": MEASURED["calibrate"],
             "hopper_calibrate": MEASURED["calibrate"], "split_calibrate": 2 * MEASURED["calibrate"],
             **{name: MEASURED["validate_2k_alchemist"] for name in
                ("validate_2k_compact", "late_validate_2k_alchemist", "graphs_validate_2k_alchemist",
                 "hopper_validate_2k_alchemist")},
             **{f"reload_validate_{context}_planned": MEASURED[f"validate_{context}_planned"] for context in ("2k", "8k")}}
# For each share of the tests, of which the longest has 10 s of a reference on the CPU and the GPU's a few: one that hangs
# is not to take the time of all others, and whatever else its stage has is run behind it.
TEST_SECONDS = 45
LAYERS_SECONDS = 45  # measured: less than 15
# A simulation without the machine's profile is not what a real run is to be compared with.
NEEDS = {"late_validate_2k_alchemist": "calibrate", "hopper_validate_2k_alchemist": "hopper_calibrate",
         "graphs_validate_2k_alchemist": "graphs_calibrate",
         **{f"validate_{context}_{policy}": "calibrate" for context in ("2k", "8k")
            for policy in ("alchemist", "temporal", "compact")},
         **{f"reload_validate_{context}_planned": "calibrate" for context in ("2k", "8k")}}
# Stages that would hang where another one did. A test that misses its tolerance says nothing of their kind.
HANG_WITH = {"hopper_calibrate": "hopper", "hopper_sanitizer": "hopper", "sanitizer": "correctness",
             "validate_8k_temporal": "validate_2k_temporal",
             **{name: "validate_2k_alchemist" for name in
                ("validate_8k_alchemist", "reload_validate_2k_planned", "reload_validate_8k_planned",
                 "graphs_validate_2k_alchemist", "hopper_validate_2k_alchemist", "validate_2k_compact",
                 "late_validate_2k_alchemist")}}
# Stages whose programs say, by NOT_HERE, that this machine does not have what they need.
MAY_NOT_BE_HERE = ("hopper", "cudnn", "pytorch")
NOT_HERE = 3  # exit status
# What policies are given here that say nothing of it themselves. A record of one prompt of thousands of tokens takes
# gigabytes: more than records may have by default on the GPU. On the host, 16 GiB do: pinning takes seconds for each ten
# of them, and the machine may have less than configs/hardware says.
RECORD_SHARES = {"gpu_record_share": 0.5, "host_record_share": 0.0625}
# So much of the GPU holds all that is reused: nothing comes back from the host, and no policy has a choice how to restore
# it. With a tenth of that nearly all of it comes back over the link at 2k (in simulation), and about half at 8k.
RELOAD_SHARES = RECORD_SHARES | {"gpu_record_share": 0.05}

# More versions than the run makes.
LATE = ("--set", "training.backward=recorded", "--set", "training.max_version_lag=32")


class Skip(Exception):
    """Why a stage has nothing to do on this machine."""


class Lacking(Exception):
    """What these programs lack: another build has it, so a later call tries again."""


@dataclass
class Stage:
    name: str
    most: float  # seconds
    commands: Callable  # of the stage's folder; Commands in a list of their own run at once

    @property
    def least(self):
        """Seconds without which it is not started."""
        return round(1.1 * MEASURED[self.name], 1)


def stages():
    """In the order of worth, for a call may end before all of them are done. First what the project stands on: kernels are
    right; what they and recording cost, by warpgroups too; the machine's prices; what reuse gains and how far simulation is
    from it, at both lengths of prompts (ours, and recomputing everything); records that come back from the host, which no
    GPU has shown yet. Then what each mode changes: CUDA graphs, warpgroups. Then races, policies less often used, cuDNN,
    staleness, learning, one GPU's part of a split model. Last PyTorch, which takes longest, is the only one that our programs do not change, and was measured
    before."""
    def comparison(context, policy):
        return Stage(f"validate_{context}_{policy}", 120, lambda out: validate(out, context, policy))

    def reload(context):
        return Stage(f"reload_validate_{context}_planned", 120,
                     lambda out: validate(out, context, "planned", shares=RELOAD_SHARES))

    return [
        Stage("correctness", TEST_SECONDS, correctness),
        Stage("benchmark", 90, benchmark),
        Stage("hopper", TEST_SECONDS + LAYERS_SECONDS, hopper),
        Stage("calibrate", 120, calibrate),
        comparison("2k", "alchemist"),
        comparison("2k", "temporal"),
        comparison("8k", "alchemist"),
        comparison("8k", "temporal"),
        reload("2k"),
        Stage("graphs_calibrate", 120, lambda out: calibrate(out, "--cuda-graphs")),
        Stage("graphs_validate_2k_alchemist", 120, graphs_validate),
        Stage("hopper_calibrate", 120, lambda out: calibrate(out, device="cuda-hopper", rounds=2)),
        Stage("hopper_validate_2k_alchemist", 120, hopper_validate),
        Stage("sanitizer", 120, sanitizer),
        Stage("hopper_sanitizer", 60, hopper_sanitizer),
        comparison("2k", "compact"),
        Stage("late_validate_2k_alchemist", 120, late_validate),
        Stage("cudnn", TEST_SECONDS + LAYERS_SECONDS, cudnn),
        reload("8k"),
        Stage("staleness", 90, staleness),
        Stage("learning", 60, learning),
        Stage("split_calibrate", 180, lambda out: calibrate(out, "--tensor-parallel", "4", model="llama-3.1-70b", rounds=2)),
        Stage("pytorch", 100, pytorch),
    ]


def correctness(out):
    return [tests(out, "-*Cudnn*:*Hopper*")]


def tests(out, which):
    """A kernel that fails takes the GPU from its whole process: several share the tests, at the same time. Each says in a
    file of its own which test it runs, for one that hangs writes no JSON."""
    shards = 8
    return [Command(["env", f"GTEST_TOTAL_SHARDS={shards}", f"GTEST_SHARD_INDEX={i}", TEST_GPU, f"--gtest_filter={which}",
                     f"--gtest_output=json:{out}/tests_{i}.json"], log=out / f"tests_{i}.txt", seconds=TEST_SECONDS)
            for i in range(shards)]


def benchmark(out):
    return [Command([BENCHMARK, "--device", "cuda", "--model", MODEL], output=out / "kernels.csv")]


def hopper(out):
    return with_attention(out, "*Hopper*", "cuda-hopper")


def cudnn(out):
    if not built_with_cudnn():
        raise Lacking("this build lacks cuDNN's front end: tools/get_cudnn_frontend, then tools/build")
    return with_attention(out, "*Cudnn*", "cuda-cudnn")


def with_attention(out, which, device):
    return [tests(out, which), Command([BENCHMARK, "--device", device, "--model", MODEL, "--layers"],
                                       output=out / "kernels.csv", seconds=LAYERS_SECONDS)]


def pytorch(out):
    return [Command([PYTHON, ROOT / "tests/benchmarks/pytorch_layer.py"], output=out / "pytorch.csv")]


def calibrate(out, *options, device="cuda", model=MODEL, rounds=3):
    return [Command([ALCHEMIST, "calibrate", "--device", device, "--model", model, "--step-tokens", "2048", "--sequences",
                     "64", "--context", "8192", "--micro-batch-tokens", "8192", "--rounds", rounds, *options, "--out",
                     out / "profile"])]


def staleness(out):
    return [Command([ALCHEMIST, "staleness", "--device", "cuda", "--model", MODEL, "--out", out / "staleness"])]


def learning(out):
    """The curves that CPUs have in f32 (results/learning), in bf16."""
    out.mkdir(parents=True, exist_ok=True)
    model = out / "tiny_bf16.yaml"
    model.write_text("base: tiny\ndtype_bytes: 2\n", encoding="utf-8")
    return [Command([ALCHEMIST, "learning", "--device", "cuda", "--model", model, "--out", out / "learning"])]


def sanitizer(out):
    return [sanitize(out, kind, "*GpuOperator*") for kind in ("memcheck", "racecheck", "synccheck")]


def hopper_sanitizer(out):
    """racecheck knows nothing of products that run behind the back of their threads."""
    return [sanitize(out, "memcheck", "*HopperAttention*")]


def sanitize(out, kind, which):
    tool = compute_sanitizer()
    if tool is None:
        raise Skip("compute-sanitizer is not installed")
    large = "*llama*:*large*:*_8192*:*1000x*:*2048x*:*128256*:*0000*"
    return Command([tool, "--tool", kind, "--error-exitcode", "1", TEST_GPU, f"--gtest_filter={which}-{large}"],
                   log=out / f"{kind}.txt")


def graphs_validate(out):
    """What replayed decode steps change: the same comparison as without."""
    return validate(out, "2k", "alchemist", "graphs_calibrate", "--set", "serving.cuda_graphs=true")


def late_validate(out):
    """What the adapters of old records cost: the same comparison as with those of now."""
    return validate(out, "2k", "alchemist", "calibrate", *LATE)


def hopper_validate(out):
    """What attention by warpgroups changes."""
    return validate(out, "2k", "alchemist", "hopper_calibrate", device="cuda-hopper")


def validate(out, context, policy, calibration="calibrate", *options, device="cuda",
             shares=RECORD_SHARES):
    gpu = json.loads((out.parent / "machine.json").read_text(encoding="utf-8"))["gpus"][0]["name"]
    hardware = hardware_of(gpu)
    if hardware is None:
        raise Skip(f"no file in configs/hardware describes {gpu}")
    text = (ROOT / f"configs/policies/{policy}.yaml").read_text(encoding="utf-8").rstrip("\n")
    lines = text.splitlines()
    if "record: none" not in lines:  # of which such a policy makes no use, and says so
        keys = [line.partition(":")[0] for line in lines]
        lines += [f"{key}: {share}" for key, share in shares.items() if key not in keys]
    text = "\n".join(lines)
    (out / f"{policy}.yaml").write_text(text + "\n", encoding="utf-8")
    return [Command([ALCHEMIST, "validate", f"gpu_8b_{context}", "--device", device, "--policy", out / f"{policy}.yaml",
                     "--set", f"hardware={hardware}", *options, "--out", out / "comparison",
                     "--set", f"profile={out.parent / calibration / 'profile'}"])]
