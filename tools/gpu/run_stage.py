"""Runs a stage: whatever goes wrong in it becomes its result, and the others are to run."""

import re
import time

from gpu.machine import environment
from gpu.processes import TIMED_OUT, run_together
from gpu.results import reason_of
from gpu.stages import MAY_NOT_BE_HERE, NOT_HERE, Lacking, Skip


def run_stage(stage, seconds, cut, out, guard):
    """State, reason and exit status of a stage. `cut`: it gets fewer seconds than it might need, for the call ends."""
    folder = out / stage.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            return run_commands(stage.name, seconds, cut, stage.commands(folder), folder, log, guard)
    except Skip as skip:
        return {"state": "skipped", "reason": str(skip)}
    except Lacking as lacking:
        return {"state": "lacking", "reason": str(lacking)}
    except Exception as error:
        return {"state": "failed", "reason": reason_of(error)}


def run_commands(name, seconds, cut, commands, folder, log, guard):
    """State, reason and exit status of the first command that failed. The others run all the same, but those behind a
    command that ran past its time, or behind several of which all did."""
    start = time.monotonic()
    failure = None
    for command in commands:
        left = max(seconds - (time.monotonic() - start), 1)
        group = command if isinstance(command, list) else [command]
        statuses = run_together(group, log, folder, environment(), left, guard)
        if statuses == [NOT_HERE] and failure is None and name in MAY_NOT_BE_HERE:
            return {"state": "skipped", "reason": f"not available here: {last_line(folder / 'log.txt')}"}
        failure = failure or failure_of(group, statuses, left, cut)
        if set(statuses) == {TIMED_OUT}:
            break
    return failure or {"state": "done"}


def failure_of(group, statuses, left, cut):
    late = [command for command, status in zip(group, statuses) if status == TIMED_OUT]
    if late:
        limit = min(left, late[0].seconds)
        if cut and limit == left:
            return {"state": "waiting", "reason": f"was cut off by the end of the call after {left:.0f} s; call again"}
        tests = list(filter(None, (running_test(command.log) for command in late)))
        return {"state": "failed", "reason": f"ran past its {limit:.0f} s" + (f" in {', '.join(tests)}" if tests else ""),
                "status": TIMED_OUT, "timed_out": True}
    for command, status in zip(group, statuses):
        if status != 0:
            where = command.log.name if command.log else "log.txt"
            return {"state": "failed", "reason": f"exit status {status}; see {where}", "status": status}
    return None


def running_test(log):
    """The test that a program of GoogleTest's was in when it was stopped, or none."""
    lines = re.findall(r"^\[ +(RUN|OK|FAILED|SKIPPED) +\] (\S+)", log.read_text(errors="replace"), re.M) if log else []
    return lines[-1][1] if lines and lines[-1][0] == "RUN" else None


def last_line(log):
    return ([line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["see log.txt"])[-1]
