"""Where the time of a crank goes: one case under the profiler, by function and by layer.

cProfile counts every call and so makes many small calls look dearer than they are. The shares by
layer are therefore given twice: also from samples of an undisturbed run, a thousand a second.
"""

from __future__ import annotations

import cProfile
import pstats
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType
from typing import Any

from attrs import frozen

from benchmarks.cases import CASES
from benchmarks.measure import Task, store_at, warm_up
from ocap import Kernel

SAMPLE_SECONDS = 0.001

# The first that matches, by the path of a function's file, the name of a built-in function, or the
# module of a method that attrs made.
_LAYERS = (
    ("codec", re.compile(r"cbor2|ocap/protocol/marshal|method 'search' of 're|built-in method marshal")),
    ("store", re.compile(r"apsw|ocap/store/")),
    ("kernel core", re.compile(r"ocap/kernel/")),
    ("liveslots", re.compile(r"(?<!benchmarks)/vats/|^vats/")),
    ("protocol", re.compile(r"ocap/protocol/")),
    ("ring", re.compile(r"ocap/ring/")),
    ("host", re.compile(r"ocap/host/")),
    ("vats' own code", re.compile(r"benchmarks/vats/")),
    ("trio", re.compile(r"trio/|outcome/|select.epoll|sortedcontainers")),
)
REST = "rest"
LAYERS = (*(name for name, _ in _LAYERS), REST)

_Function = tuple[str, int, str]


@frozen
class Line:
    """One function of the profile.

    Attributes:
        own: seconds in it, without what it called.
        calls: how often it was called.
    """

    where: str
    layer: str
    own: float
    calls: int


@frozen
class Profile:
    """What a profiled run showed.

    Attributes:
        cranks: how many there were.
        functions: dearest first.
        profiled: share of each layer by cProfile.
        sampled: share of each layer by samples of another run.
    """

    task: Task
    cranks: int
    functions: list[Line]
    profiled: dict[str, float]
    sampled: dict[str, float]


def layer_of(place: str) -> str | None:
    """The layer of a file or built-in function; None for one that belongs to whoever calls it."""
    return next((name for name, pattern in _LAYERS if pattern.search(place)), None)


async def profile(task: Task) -> Profile:
    """Run one repetition with samples and one under cProfile, in this process."""
    with store_at(task) as path:
        async with Kernel(path) as kernel:
            case = CASES[task.case](kernel)
            await warm_up(case, task.size)
            with _sampled() as samples:
                await case.work(task.size)
            await case.clear()
            before = kernel.stats()["cranks"]
            with cProfile.Profile() as profiler:
                await case.work(task.size)
            cranks = kernel.stats()["cranks"] - before
            await case.clear()
    stats: dict[_Function, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]  # typeshed lacks it
    return Profile(task, cranks, _functions(stats), _shares(_by_layer(stats)), _shares(samples))


def _shares(parts: Counter[str]) -> dict[str, float]:
    total = sum(parts.values()) or 1
    return {layer: parts[layer] / total for layer in LAYERS}


# ---- cProfile ---------------------------------------------------------------------------------


def _place(function: _Function) -> str:
    file, _, name = function
    if made := re.match(r"<attrs generated \w+ ([\w.]+)>", file):
        return made[1].replace(".", "/")
    return name if file in ("~", "") else file


def _functions(stats: dict[_Function, Any]) -> list[Line]:
    lines = []
    for function, (_, calls, own, _, _) in stats.items():
        file, number, name = function
        place = _place(function)
        short = "/".join(PurePath(place).parts[-3:])
        where = name if file in ("~", "") else f"{short}:{number} {name}"
        lines.append(Line(where, layer_of(place) or REST, own, calls))
    return sorted(lines, key=lambda line: line.own, reverse=True)


def _by_layer(stats: dict[_Function, Any]) -> Counter[str]:
    """Own time by layer. What has no layer itself, such as `len`, counts for its callers'."""
    found: Counter[str] = Counter()
    for function, (_, _, own, _, callers) in stats.items():
        layer = layer_of(_place(function))
        if layer is not None:
            found[layer] += own
        else:
            for caller, (_, _, part, _) in callers.items():
                found[layer_of(_place(caller)) or REST] += part
    return found


# ---- samples ----------------------------------------------------------------------------------


@contextmanager
def _sampled() -> Iterator[Counter[str]]:
    """Samples by layer, taken at regular amounts of the process's own time."""
    found: Counter[str] = Counter()

    def take(_: int, frame: FrameType | None) -> None:
        while frame is not None:
            layer = layer_of(frame.f_code.co_filename if "attrs generated" not in frame.f_code.co_filename else "")
            if layer is not None:
                found[layer] += 1
                return
            frame = frame.f_back
        found[REST] += 1

    former = signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield found
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
