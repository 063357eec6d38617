"""The clock: what time it is, and to be woken. For system subclusters; others get the timer, which is built on it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import trio
from attrs import define, field

from ocap.host.kernel import Kernel

SLICE = 60.0
"""Seconds after which a sleeper looks at the wall clock again, which may have been set forward, or the
machine have slept."""


@define(eq=False)
class Clock:
    """Seconds since the Unix epoch, never going back while the host program runs.

    If the machine's clock is set back, `now()` stands still until it has caught up; sleepers
    sleep as long as they would have.

    Args:
        wall: the machine's clock; another one for tests.
    """

    _wall: Callable[[], float] = time.time
    _told: float = field(default=-math.inf, init=False)
    _alarms: dict[str, tuple[int, trio.CancelScope]] = field(factory=dict, init=False)

    def now(self) -> float:
        """The time."""
        self._told = max(self._told, self._wall())
        return self._told

    async def sleep(self, seconds: float) -> float:
        """Answer when so many seconds have passed, with the time.

        Raises:
            ValueError: not a number; the caller's fault.
        """
        return await self.wake_at(self.now() + seconds)

    async def wake_at(self, when: float, alarm: str | None = None, serial: int = 0) -> float:
        """Answer when it is `when`, or later, with the time; at once if that is past.

        Args:
            when: seconds since the epoch.
            alarm: a name; of the calls for one alarm the last, by `serial`, waits, and the others are
                answered at once. So who sets an alarm anew leaves nothing behind. Calls may come in any order.
            serial: which call for the alarm this is.

        Raises:
            ValueError: not a number; the caller's fault.
        """
        if math.isnan(when):
            raise ValueError("wake_at: not a number")
        with trio.CancelScope() as scope:
            if alarm is None or self._take(alarm, serial, scope):
                await self._until(when)
        return self.now()

    def cancel(self, alarm: str, serial: int = 0) -> None:
        """Answer who waits for the alarm with a lower serial, and whoever asks late with one."""
        self._take(alarm, serial, trio.CancelScope())

    def _take(self, alarm: str, serial: int, scope: trio.CancelScope) -> bool:
        latest, waiting = self._alarms.get(alarm, (-1, None))
        if serial < latest:
            return False
        if waiting is not None:
            waiting.cancel()
        self._alarms[alarm] = serial, scope
        return True

    async def _until(self, when: float) -> None:
        woken = trio.current_time() + when - self.now()
        while self.now() < when and trio.current_time() < woken:  # noqa: ASYNC110 - nobody tells of time
            await trio.sleep(min(SLICE, max(0.0, woken - trio.current_time())))
        self._told = max(self._told, when)


class VirtualClock(Clock):
    """A clock for tests, which stands still but for `advance`.

    Args:
        start: the time it begins with.
    """

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._told = start
        self._sleepers: dict[trio.Event, float] = {}

    def now(self) -> float:
        return self._told

    async def advance(self, seconds: float, kernel: Kernel | None = None) -> None:
        """Let time pass, and wake who is due.

        Args:
            seconds: how long.
            kernel: is let do all it can, first and after each wake-up, before time goes on; calls to other services
                must come to an end. Without it time jumps, as it does for a machine that slept.

        Raises:
            ValueError: back in time; the caller's fault.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back, nor by {seconds} seconds")
        end = self._told + seconds
        if kernel is not None:
            await self._settle(kernel)
            while (due := min(self._sleepers.values(), default=math.inf)) <= end:
                await self._go_to(due)
                await self._settle(kernel)
        await self._go_to(end)

    async def _settle(self, kernel: Kernel) -> None:
        while True:
            await kernel.idle()
            status = kernel.status()
            if status["idle"] and status["service_calls"] == len(self._sleepers):
                return
            await trio.lowlevel.checkpoint()

    async def _go_to(self, when: float) -> None:
        self._told = max(self._told, when)
        for event, due in sorted(self._sleepers.items(), key=lambda sleeper: sleeper[1]):
            if due <= self._told:
                del self._sleepers[event]
                event.set()
        for _ in range(2):  # who was woken is run between the first and the second
            await trio.lowlevel.checkpoint()

    async def _until(self, when: float) -> None:
        if when <= self._told:
            await trio.lowlevel.checkpoint()
            return
        event = trio.Event()
        self._sleepers[event] = when
        try:
            await event.wait()
        finally:
            self._sleepers.pop(event, None)
