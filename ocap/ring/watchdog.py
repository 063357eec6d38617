"""Notices that the kernel is long in one step, and says who holds it up.

Vats run in the kernel's thread: while a behaviour goes on, nothing else does. From outside it can only be ended with
the process, after which its crank never happened. So it is told, from a thread that does nothing else.

Invariants:

1. All that this costs the kernel's thread is the assignment of what it does, at each step.
2. What is told has no values: of a vat's code the file and the line.
3. What was told of is told to be over.

Not noticed is what keeps other threads from running at all: one long call into C, such as a sum or a regular
expression, that does not let go of Python's lock. Nor is it what the program does while the kernel has nothing to do.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from attrs import frozen

from ocap.kernel.crank import Crank
from ocap.legible import span
from ocap.log.entry import OPS
from ocap.protocol import deliveries
from ocap.protocol.refs import VatId
from ocap.ring.workers import Supervisor

logger = logging.getLogger("ocap.kernel")

SLOW_CRANK = 2.0
"""Seconds in one step after which it is told."""

LOOKS = 8
"""Looks in that time: what is told of begins so much too late at most."""

PERIOD = 0.25
"""Seconds between two looks at most."""

OF_THE_PROGRAM = "the program's own code"

Doing = Crank | str | None
"""A vat's crank; or what the kernel itself does; None: nothing."""


@frozen
class SlowStep:
    """A step of the kernel that takes long.

    Attributes:
        crank: its number; 0 for what is none, or not a vat's.
        vat: whose, and its name; None for what the kernel or the program itself does.
        doing: such as `method deposit`, `start` or `a commit`.
        where: the file and line that the vat's code, or the program, is at, if it is known.
        since: when it began, in seconds since 1970.
        seconds: how long it has been going on.
    """

    crank: int
    vat: str | None
    name: str | None
    doing: str
    where: str | None
    since: float
    seconds: float

    def __str__(self) -> str:
        return f"the kernel has been in {self.what} for {span(self.seconds)}{self.detail}"

    @property
    def what(self) -> str:
        """What it is in."""
        return self.doing if self.vat is None else f"vat {self.vat} {self.name}, {self.doing},"

    @property
    def detail(self) -> str:
        """The crank and where, in parentheses; or nothing."""
        parts = [f"crank {self.crank}"] if self.crank else []
        if self.where is not None:
            parts.append(f"at {self.where}")
        return f" ({', '.join(parts)})" if parts else ""


Tell = Callable[[SlowStep | None], None]
"""Is told of a slow step, again and again as long as it goes on, and None when it is over. Called in a thread of its
own; must not raise."""


class Watched(Protocol):
    """What says what it does; its values are only read, at any moment."""

    doing: Doing
    cranks: int
    commits: int


class Watchdog:
    """Looks at the kernel's thread now and then.

    Args:
        watched: what runs in that thread.
        limit: seconds in one step after which it is told.
    """

    def __init__(self, watched: Watched, limit: float) -> None:
        self._watched = watched
        self._limit = limit
        self._seen: tuple[Doing, int, int] = (None, 0, 0)
        self._began = 0.0
        self._told: SlowStep | None = None
        self._next_line = 0.0
        self._kernel_thread = 0
        self._supervisor: Callable[[VatId], Supervisor | None] = lambda _: None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ocap watchdog", daemon=True)
        self.tell: Tell = lambda _: None

    def start(self, supervisor: Callable[[VatId], Supervisor | None]) -> None:
        """Look at the thread that calls this, until `stop`.

        Args:
            supervisor: what runs a vat, if anything does; asked from the watchdog's thread.
        """
        self._supervisor = supervisor
        self._kernel_thread = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """There is nothing to look at any more."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._ended.wait(min(PERIOD, self._limit / LOOKS)):
            self._look()
        self._conclude()

    def _look(self) -> None:
        now, it = time.monotonic(), self._watched
        seen = it.doing, it.cranks, it.commits
        if seen[0] is not self._seen[0] or seen[1:] != self._seen[1:]:
            self._conclude()
            self._seen, self._began = seen, now
        elif seen[0] is not None and now - self._began >= self._limit:
            step = self._describe(seen[0], now - self._began)
            if it.doing is not seen[0]:
                return  # it ended while we looked
            if self._told is None or step.seconds >= self._next_line:
                logger.warning("%s; nothing else runs meanwhile", step)
                self._next_line = 2 * step.seconds
            self._told = step
            self.tell(step)

    def _conclude(self) -> None:
        step, self._told = self._told, None
        if step is not None:
            seconds = span(time.monotonic() - self._began)
            logger.warning("the kernel goes on: it was in %s for %s%s", step.what, seconds, step.detail)
            self.tell(None)

    def _describe(self, doing: Crank | str, seconds: float) -> SlowStep:
        since = time.time() - seconds
        frame = sys._current_frames().get(self._kernel_thread)
        if isinstance(doing, str):
            return SlowStep(0, None, None, doing, None, since, seconds)
        assert doing.vat is not None
        supervisor = self._supervisor(doing.vat)
        if supervisor is None or not _is_of_kernel(frame):
            return SlowStep(0, None, None, OF_THE_PROGRAM, _line(frame), since, seconds)
        while frame is not None and not supervisor.is_own(frame):
            frame = frame.f_back
        return SlowStep(doing.number, doing.vat, supervisor.name, _kind(doing), _line(frame), since, seconds)


def _is_of_kernel(frame: FrameType | None) -> bool:
    """Whether the kernel's own tasks run, and not another one of the program."""
    while frame is not None:
        if frame.f_globals.get("__package__") == __package__:
            return True
        frame = frame.f_back
    return False


def _line(frame: FrameType | None) -> str | None:
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _kind(crank: Crank) -> str:
    match crank.delivery:
        case deliveries.Message(method=method):
            return f"method {method}"
        case deliveries.StartVat():
            return "upgrade" if crank.is_upgrade else "start"
    return OPS[type(crank.delivery)]
