"""Programs that end, with all that they started, when their time is up or when this program ends."""

import contextlib
import ctypes
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path

KILL_SECONDS = 20  # a program may take them to give so much memory back
TIMED_OUT = 124  # in the place of an exit status


@dataclass
class Command:
    arguments: list
    output: Path | None = None  # of stdout alone
    log: Path | None = None  # of all that it says, in place of the stage's
    seconds: float = inf  # at most, also where its stage has more


class Guard:
    """Outlives this program for a moment, however that ends, and kills what it had started and not ended: the kernel would
    only kill its children, and a child that is killed takes none of its own along (compute-sanitizer's run the tests)."""

    def __init__(self):
        end, self.pipe = os.pipe()
        if os.fork() != 0:
            os.close(end)
            return
        try:
            os.setsid()  # what ends this program's group is not to end the guard
            os.close(self.pipe)
            self.watch(end)
        finally:
            os._exit(0)

    @staticmethod
    def watch(end):
        groups = set()
        with os.fdopen(end) as lines:  # they end when this program does
            for line in lines:
                (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
        for group in groups:
            kill_group(group)

    def tell(self, sign, group):
        with contextlib.suppress(OSError):
            os.write(self.pipe, f"{sign}{group}\n".encode())

    @contextlib.contextmanager
    def watching(self, process):
        self.tell("+", process.pid)
        try:
            yield
        finally:
            kill_group(process.pid)  # what it left behind
            self.tell("-", process.pid)


def kill_group(group):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_with_parent():
    """In a child: the kernel kills it when the thread that started it goes, also if the guard does not live to do so."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def ask(*command, seconds=30):
    """(What a command says, None), or (None, why it has no answer). One that cannot even be killed is left alone."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True, preexec_fn=end_with_parent)
    except OSError as error:
        return None, f"{command[0]}: {error.strerror}"
    try:
        text, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        return None, f"{command[0]} says nothing for {seconds:.0f} s"
    if process.returncode == 0:
        return text.strip(), None
    lines = (text.strip() or complaint.strip()).splitlines()
    return None, lines[0] if lines else f"{command[0]}: exit status {process.returncode}"


def run_command(command, log, folder, environment, seconds, guard):
    """Exit status of a command; TIMED_OUT if it ran past its time. Its whole process group ends with it."""
    print("  " + " ".join(map(str, command.arguments)), file=log, flush=True)
    with contextlib.ExitStack() as files:
        own = [files.enter_context(open(path, "w", encoding="utf-8")) if path else None
               for path in (command.log, command.output)]
        says = own[0] or log
        process = subprocess.Popen([str(a) for a in command.arguments], stdout=own[1] or says, stderr=says, cwd=folder,
                                   env=environment, start_new_session=True, preexec_fn=end_with_parent)
        with guard.watching(process):
            try:
                return process.wait(timeout=min(seconds, command.seconds))
            except subprocess.TimeoutExpired:
                kill_group(process.pid)
                try:
                    process.wait(timeout=KILL_SECONDS)
                except subprocess.TimeoutExpired:
                    print("  was killed but does not end", file=log, flush=True)
                return TIMED_OUT


def run_together(commands, *rest):
    """The exit status of each of several commands that run at once, each with its time."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: run_command(command, *rest), commands))
