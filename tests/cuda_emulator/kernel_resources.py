#!/usr/bin/env python3
"""Holds what the compiler said of every kernel of kernels/cuda when it was built: no kernel spills registers to memory
or has a stack frame, none needs more registers than its block size leaves, and no products of warpgroups wait for each
other because the compiler found no other way to keep their registers in order.

    kernel_resources.py OBJECTS

OBJECTS are the library's, with semicolons between them; cmake/keep_report has put a report beside each of a .cu.
"""

import re
import sys
from pathlib import Path

# Two blocks of 128 threads to a multiprocessor with 65536 registers: what __launch_bounds__ asks for.
MAX_REGISTERS = 255
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SERIALISED = re.compile(r"wgmma\.mma_async instructions are serialized .* in the function '(\w+)'")


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


def self_test():
    planted = ("ptxas info : Compiling entry function 'bad' for 'sm_80'\n"
               "    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads\n"
               "ptxas info : Used 40 registers, used 1 barriers\n")
    assert parse(planted) == [("bad", "sm_80", 24, 36, 40)], parse(planted)
    planted = ("ptxas info : (C7515) Potential Performance Loss: wgmma.mma_async instructions are serialized due to non "
               "wgmma instructions defining accumulator registers of a wgmma in the function 'slow'\n")
    assert SERIALISED.findall(planted) == ["slow"]


def main():
    self_test()
    kernels, serialised = [], []
    for built in (Path(name) for name in sys.argv[1].split(";") if name.endswith(".cu.o")):
        report = built.with_name(built.name + ".ptxas").read_text(encoding="utf-8")
        kernels += [(built.stem, *kernel) for kernel in parse(report)]
        serialised += SERIALISED.findall(report)
    bad = [k for k in kernels if k[3] > 0 or k[4] > 0 or k[5] > MAX_REGISTERS]
    for source, kernel, target, stack, spilled, registers in bad:
        print(f"{source}: {kernel} on {target}: {stack} bytes of stack, {spilled} bytes spilled, {registers} registers")
    for kernel in serialised:
        print(f"{kernel}: its products of warpgroups are serialised")
    print(f"{len(kernels)} kernels, {len(bad)} spill, {len(serialised)} serialise; most registers: {max(k[5] for k in kernels)}")
    return 1 if bad or serialised or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
