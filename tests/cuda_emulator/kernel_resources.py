#!/usr/bin/env python3
"""Holds what the compiler said of every kernel of kernels/cuda when it was built: no kernel spills registers to memory
or has a stack frame, none needs more registers than its block size leaves, and no products of warpgroups wait for each
other because the compiler found no other way to keep their registers in order. Where there is a disassembler
(cuobjdump), also that a softmax is computed while products run and not behind the wait for them.

    kernel_resources.py OBJECTS

OBJECTS are the library's, with semicolons between them; cmake/keep_report has put a report beside each of a .cu.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

# Two blocks of 128 threads to a multiprocessor with 65536 registers: what __launch_bounds__ asks for.
MAX_REGISTERS = 255
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SERIALISED = re.compile(r"wgmma\.mma_async instructions are serialized .* in the function '(\w+)'")

# A wait that leaves one group of products on its way, one that leaves none, and an exponential.
STEP = re.compile(r"Function : (\w+)|WARPGROUP\.DEPBAR\.LE gsb0, 0x([01])|(MUFU\.EX2)")
FEWEST_EXPONENTIALS = 32  # a thread's of a tile


def parse(report):
    """(kernel, target, stack bytes, spilled bytes, registers) of each kernel of a report of ptxas."""
    kernels, current, frame = [], None, (0, 0)
    for line in report.splitlines():
        if match := ENTRY.search(line):
            current = match.groups()
        elif match := SPILLS.search(line):
            frame = int(match[1]), int(match[2]) + int(match[3])
        elif (match := REGISTERS.search(line)) and current:
            kernels.append((*current, *frame, int(match[1])))
            current = None
    return kernels


def without_overlap(disassembly):
    """The kernels of warpgroups that compute no softmax between the two waits."""
    most, current, count = {}, "", None
    for name, left, _ in STEP.findall(disassembly):
        if name:
            current, count = name, None
        elif left == "1":
            count = 0
        elif left == "0":
            most[current] = max(most.get(current, 0), count or 0)
            count = None
        elif count is not None:
            count += 1
    return [kernel for kernel, exponentials in most.items() if exponentials < FEWEST_EXPONENTIALS]


def self_test():
    planted = ("ptxas info : Compiling entry function 'bad' for 'sm_80'\n"
               "    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads\n"
               "ptxas info : Used 40 registers, used 1 barriers\n")
    assert parse(planted) == [("bad", "sm_80", 24, 36, 40)], parse(planted)
    planted = ("ptxas info : (C7515) Potential Performance Loss: wgmma.mma_async instructions are serialized due to non "
               "wgmma instructions defining accumulator registers of a wgmma in the function 'slow'\n")
    assert SERIALISED.findall(planted) == ["slow"]
    one, none = "WARPGROUP.DEPBAR.LE gsb0, 0x1 ;", "WARPGROUP.DEPBAR.LE gsb0, 0x0 ;"
    exponentials = "MUFU.EX2 R1, R1 ;" * FEWEST_EXPONENTIALS
    planted = ["Function : good", none, exponentials, one, exponentials, none,
               "Function : behind", one, none, exponentials, "Function : neither", exponentials]
    assert without_overlap("\n".join(planted)) == ["behind"]


def main():
    self_test()
    kernels, serialised, behind = [], [], []
    cuobjdump = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
    for built in (Path(name) for name in sys.argv[1].split(";") if name.endswith(".cu.o")):
        report = built.with_name(built.name + ".ptxas").read_text(encoding="utf-8")
        kernels += [(built.stem, *kernel) for kernel in parse(report)]
        serialised += SERIALISED.findall(report)
        if cuobjdump and built.name.startswith("hopper_"):
            behind += without_overlap(subprocess.run([cuobjdump, "-sass", built], capture_output=True, check=True,
                                                     encoding="utf-8").stdout)
    bad = [k for k in kernels if k[3] > 0 or k[4] > 0 or k[5] > MAX_REGISTERS]
    for source, kernel, target, stack, spilled, registers in bad:
        print(f"{source}: {kernel} on {target}: {stack} bytes of stack, {spilled} bytes spilled, {registers} registers")
    for kernel in serialised:
        print(f"{kernel}: its products of warpgroups are serialised")
    for kernel in behind:
        print(f"{kernel}: computes its softmax behind the wait for the products that were to run meanwhile")
    if not cuobjdump:
        print("no cuobjdump: not looked at what is computed while products run")
    print(f"{len(kernels)} kernels, {len(bad)} spill, {len(serialised)} serialise; most registers: {max(k[5] for k in kernels)}")
    return 1 if bad or serialised or behind or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
