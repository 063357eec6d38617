"""What is known of a daemon that does not answer: what its kernel is long in, as a file beside its socket says.

The kernel's thread answers over the socket too; while a vat holds it up, nobody does. The file is written by the thread
that watches, and only then. A daemon that is killed meanwhile leaves it, so that the next one can tell.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import IO

from attrs import asdict, evolve

from ocap.daemon.place import info_path
from ocap.legible import span
from ocap.ring.watchdog import SlowStep

MUTE = 5.0
"""Seconds without a turn for any thread of Python's, after which the daemon's log gets a stack."""

_BEAT = 1.0


def silence_path(path: Path) -> Path:
    """Beside a socket: what its daemon is long in, as JSON."""
    return path.with_suffix(".slow")


class SilenceFile:
    """Written for clients of a socket; to be told by `Kernel.watch`."""

    def __init__(self, path: Path) -> None:
        self._path = silence_path(path)

    def __call__(self, step: SlowStep | None) -> None:
        with suppress(OSError):  # who asks learns less; the log has it
            if step is None:
                self._path.unlink(missing_ok=True)
                return
            fresh = self._path.with_suffix(".slow+")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump({"pid": os.getpid(), **asdict(step)}, file)
            fresh.replace(self._path)


def long_step(path: Path, pid: int) -> SlowStep | None:
    """What the daemon at a socket, of that process, is long in; None if nothing says so."""
    found = _read(path)
    return None if found is None or found[0] != pid else evolve(found[1], seconds=max(0.0, time() - found[1].since))


def take_last_step(path: Path) -> SlowStep | None:
    """What the last daemon at a socket was long in when it was killed. It is not told again."""
    found = _read(path)
    silence_path(path).unlink(missing_ok=True)
    return None if found is None else found[1]


def _read(path: Path) -> tuple[int, SlowStep] | None:
    try:
        found = json.loads(silence_path(path).read_text())
        return int(found.pop("pid")), SlowStep(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


# ---- in words -------------------------------------------------------------------------------------


def silence(path: Path, pid: int, seconds: float, step: SlowStep | None) -> str:
    """Why a daemon does not answer, and what to do."""
    if step is not None:
        return f"process {pid} does not answer: {step}; nothing else runs meanwhile. Wait, or end it with `ocap stop`"
    text = f"process {pid} has not answered for {span(seconds)}"
    try:
        log = json.loads(info_path(path).read_text())["log"]
    except (OSError, ValueError, KeyError, TypeError):
        log = None
    where = "" if log is None else f"; `kill -USR1 {pid}` has it write to {log} where it is"
    return f"{text}{where}. Wait, or end it with `ocap stop`"


def killed_in(step: SlowStep) -> str:
    """That a daemon was killed in a step; by whom, the caller adds."""
    return f"when the kernel had been in {step.what} for {span(step.seconds)}{step.detail}"


def way_out(step: SlowStep, database: str) -> str:
    """What follows from a kill in a step, and how not to come there again."""
    if step.vat is None:
        return "what was not committed never happened"
    again = f"what vat {step.vat} was given is given to it again, unless it was not committed yet"
    hold = f"`ocap suspend {step.vat} --db {database}` before a start holds it back, or mend the vat's source"
    return f"that crank never happened; {again}: {hold}"


# ---- stacks, where even the thread that watches is held up -------------------------------------------


@contextmanager
def stack_at_signal(file: IO[str]) -> Iterator[None]:
    """At SIGUSR1, write the stack of the thread at work, whatever it does; then do what was done at it before."""
    faulthandler.register(signal.SIGUSR1, file, all_threads=False, chain=True)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR1)


@contextmanager
def stack_when_mute(file: IO[str]) -> Iterator[None]:
    """Write every thread's stack if none of Python's gets a turn for a while: one holds its lock in a call into C."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            faulthandler.dump_traceback_later(MUTE, file=file)

    thread = threading.Thread(target=beat, name="ocap mute", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_BEAT)
        faulthandler.cancel_dump_traceback_later()
