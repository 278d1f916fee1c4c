"""What this machine and these programs are, and what they lack."""

import datetime
import functools
import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

from gpu.processes import ask

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("ALCHEMIST_BUILD", ROOT / "build/release"))
ALCHEMIST = BUILD / "alchemist"
TEST_GPU = BUILD / "tests/test_gpu"
BENCHMARK = BUILD / "tests/kernels_benchmark"
PROGRAMS = (ALCHEMIST, TEST_GPU, BENCHMARK)
# PyTorch's, if there are several.
PYTHON = shutil.which("python3") or sys.executable
# A driver answers within seconds, also one that has to wake the GPU; one that hangs is not to take minutes.
DRIVER_SECONDS = 20
# What kernels/cuda/without_cudnn.cc has in the place of cuDNN's attention.
WITHOUT_CUDNN = b"this program was built without cuDNN's front end"
# By a part of the name that the driver gives the GPU.
HARDWARE = {"H200": "h200", "H100": "h100", "A100-SXM4-80GB": "a100-80g", "A100 80GB": "a100-80g"}


def hardware_of(gpu):
    """The name in configs/hardware, or none."""
    return next((file for name, file in HARDWARE.items() if name in gpu), None)


def compute_sanitizer():
    return shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")


def programs_digest():
    """Which programs these are: the commit is only that of the folder they lie in, if it has one."""
    digest = hashlib.sha256()
    for program in filter(Path.is_file, PROGRAMS):
        digest.update(program.read_bytes())
    return digest.hexdigest()[:12]


def built_with_cudnn():
    return not any(WITHOUT_CUDNN in program.read_bytes() for program in (TEST_GPU, BENCHMARK) if program.is_file())


def gpus(seconds=DRIVER_SECONDS):
    """(What the driver says of each GPU that it sees, why there is none). Asked once: it may hang."""
    query = "name,driver_version,memory.total,pci.bus_id,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit," \
            "persistence_mode,ecc.mode.current,temperature.gpu"
    lines, reason = ask("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", seconds=seconds)
    found = [dict(zip(query.split(","), map(str.strip, line.split(",")))) for line in (lines or "").splitlines()]
    return found, None if found else reason or "nvidia-smi sees none"


def describe_machine():
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    versions = "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())"
    found, no_gpu = gpus()
    machine = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "version": ask(str(ALCHEMIST), "--version")[0],
        "programs": programs_digest(),
        "commit": ask("git", "-C", str(ROOT), "describe", "--always", "--dirty")[0],
        "gpus": found,
        "no_gpu": no_gpu,
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch_cuda_cudnn": ask(PYTHON, "-c", versions)[0],
    }
    machine["lacks"] = lacks(machine)
    return machine


def lacks(machine):
    """What some stage needs and is not here."""
    missing = [] if built_with_cudnn() else [
        "cuDNN's front end in this build (tools/get_cudnn_frontend, then tools/build): no stage cudnn"]
    if machine["torch_cuda_cudnn"] is None:
        missing.append("PyTorch: no stage pytorch")
    if compute_sanitizer() is None:
        missing.append("compute-sanitizer: no stages sanitizer and hopper_sanitizer")
    missing += [f"a file in configs/hardware for {gpu['name']}: no validations" for gpu in machine["gpus"][:1]
                if hardware_of(gpu["name"]) is None]
    return missing


def check_ready(machine):
    """Ends the program, with a message, where no stage could run."""
    for program in PROGRAMS:
        if not os.access(program, os.X_OK):
            sys.exit(f"gpu_suite: {program} is missing; please run tools/build where there is a CUDA compiler")
    if not machine["gpus"]:
        sys.exit(f"gpu_suite: no CUDA device: {machine['no_gpu']}; the machine's description is kept")


@functools.cache
def paths_of_libraries():
    """The cuDNN that PyTorch uses, if it has one of its own: an older one may be on the machine too."""
    folder, _ = ask(PYTHON, "-c", "import nvidia.cudnn; print(list(nvidia.cudnn.__path__)[0])")
    library = Path(folder or "/nowhere") / "lib/libcudnn.so.9"
    if not library.is_file():
        return {}
    # It opens its parts by their names alone, and they must be of the same version.
    paths = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"ALCHEMIST_CUDNN": str(library), "LD_LIBRARY_PATH": ":".join(paths)}


def environment():
    """Of every program."""
    return {**os.environ, **paths_of_libraries(), "ALCHEMIST_CONFIGS": str(ROOT / "configs"), "ALCHEMIST_NEEDS_GPU": "1"}
