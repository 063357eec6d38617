"""The timer: time as a capability, in a vat of its own. What is scheduled survives restart and upgrade.

It is a system subcluster over the host program's `clock` service, given as an endowment::

    ClusterConfig("timer", {"timer": VatConfig("vats.timer", endowments=["clock"])})

Times are seconds since the Unix epoch, as floats.

Rules:

1. An event is in the schedule, under its due time and its number, or it waits to hear what time it
   is or for its waker's answer, or it is over.
2. The clock is asked for one alarm, the earliest. Each asking has a number, and only the last counts.
3. When the host program ends, what it was asked is rejected; the next run hears that, and asks again.
4. Nothing fires early or twice. After a time without a kernel, what became due meanwhile fires at once,
   in order, and each repeater once.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any, Protocol

from vats import (
    Baggage,
    DurableExo,
    DurablePromiseKit,
    E,
    Exo,
    IncarnationEndedError,
    MapStore,
    ObjectGoneError,
    Promise,
    Ref,
    VatPowers,
    VatTerminatedError,
    field,
    make_durable_promise_kit,
    passable,
    watch,
)

BATCH = 200
"""Events that fire in one crank; the clock is asked again for the others, and answers at once."""

MIN_INTERVAL = 0.001
"""Seconds between beats at least: about as fast as a waker can answer."""

MAX_TIME = 1e11
"""Seconds, some 3,000 years: floats of that size still tell a millisecond from the next."""


class Waker(Protocol):
    """Who is woken: any object with this method."""

    async def wake(self, time: float) -> Any:
        """It is `time`, or later. A repeater waits for the answer before its next beat."""


@passable
class TimerCancelledError(Exception):
    """A delay or wake-up was cancelled through its token."""


class Event(DurableExo):
    """Something that is to happen once, or again and again.

    Attributes:
        due: its place in the schedule, while it is there.
        kit: whose promise is to be fulfilled; else `waker` is to be woken.
        token: by which it can be cancelled.
        after: seconds from when the clock was asked for the time; of a delay.
        interval: seconds between beats, counted from `start`; of a repeater.
        beat: the last that was told.
    """

    number: int
    kit: Any = None
    waker: Any = None
    token: Any = None
    due: float | None = None
    after: float = 0.0
    start: float = 0.0
    interval: float = 0.0
    beat: float = -math.inf
    is_over: bool = False


class Schedule(DurableExo):
    """All events, and what the clock was asked.

    Attributes:
        events: in the schedule, by due time and number.
        tokens: all that can be cancelled, by token and number.
        armed: the time for which the clock was asked last, while it has not answered.
        asked: the number of that asking.
        latest: the latest time told to anybody.
        is_fresh: this incarnation has not met a run without a clock yet.
    """

    clock: Any
    name: str
    events: MapStore[tuple[float, int], Event] = field(factory=lambda: MapStore(durable=True))
    tokens: MapStore[tuple[Any, int], Event] = field(factory=lambda: MapStore(durable=True))
    numbered: int = 0
    armed: float | None = None
    asked: int = 0
    latest: float = 0.0
    is_fresh: bool = True

    def _new(self, **parts: Any) -> Event:
        self.numbered += 1
        event = Event(number=self.numbered, **parts)
        if event.token is not None:
            self.tokens[event.token, event.number] = event
        return event

    def _put(self, event: Event, due: float) -> None:
        event.due = due
        self.events[due, event.number] = event
        self._arm()

    def _end(self, event: Event) -> None:
        """Nothing more comes of it."""
        event.is_over = True
        if event.due is not None:
            del self.events[event.due, event.number]
            event.due = None
        if event.token is not None:
            del self.tokens[event.token, event.number]
            event.token = None

    def _cancel(self, token: Any) -> int:
        events = list(self.tokens.prefix((token,)).values())
        for event in events:
            self._end(event)
            if event.kit is not None:
                event.kit.reject(TimerCancelledError("cancelled"))
        self._arm()
        return len(events)

    # ---- the clock ----------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have the clock wake us for the earliest event, and for nothing else."""
        earliest = next((due for due, _ in self.events), None)
        if earliest == self.armed:
            return
        self.armed = earliest
        self.asked += 1
        if earliest is None:
            E.send_only(self.clock).cancel(self.name, self.asked)
        else:
            answer = E(self.clock).wake_at(earliest, self.name, self.asked)
            watch(answer, self, self.asked, fulfilled="_rang", rejected="_lost")

    def _rang(self, now: float, asked: int) -> None:
        if asked != self.asked:  # rule 2
            return
        self.armed = None
        for key, event in self._due(now):
            del self.events[key]
            event.due = None
            self._fire(event, key[0], now)
        self._arm()

    def _due(self, now: float) -> list[tuple[tuple[float, int], Event]]:
        after: Any = (math.nextafter(now, math.inf),)  # sorts before what begins with it
        return list(islice(self.events.range(..., after).items(), BATCH))

    def _lost(self, error: Exception, asked: int) -> None:
        if asked != self.asked:
            return
        self.armed = None
        if not isinstance(error, IncarnationEndedError):  # no clock in that run
            if not self.is_fresh:
                raise error  # nor in this: to ask again at once would never end
            self.is_fresh = False
        self._arm()

    def _ask_time(self, event: Event) -> None:
        watch(E(self.clock).now(), self, event, fulfilled="_told_time", rejected="_not_told")

    def _told_time(self, now: float, event: Event) -> None:
        if event.is_over:
            return
        if not event.interval:
            self._put(event, now + event.after)
            return
        # Counted from the start, so rounding does not add up.
        reached = max(now, event.beat)
        beats = math.floor((reached - event.start) / event.interval)
        due = event.start + beats * event.interval
        while due <= reached:
            beats += 1
            due = event.start + beats * event.interval
        self._put(event, due)

    def _not_told(self, error: Exception, event: Event) -> None:
        if isinstance(error, IncarnationEndedError):
            self._ask_time(event)
            return
        self._end(event)
        if event.kit is not None:
            event.kit.reject(error)
        raise error

    # ---- what is due ----------------------------------------------------------------------------

    def _fire(self, event: Event, due: float, now: float) -> None:
        if event.interval:
            missed = math.floor((now - due) / event.interval)
            event.beat = due + missed * event.interval
            answer = E(event.waker).wake(event.beat)
            watch(answer, self, event, fulfilled="_answered", rejected="_failed")
            return
        self._end(event)
        if event.kit is not None:
            event.kit.resolve(due)
        else:
            E.send_only(event.waker).wake(due)

    def _answered(self, _: Any, event: Event) -> None:
        if not event.is_over:
            self._ask_time(event)

    def _failed(self, error: Exception, event: Event) -> None:
        """A waker that raises is woken again; one that is gone is not."""
        if not event.is_over:
            if isinstance(error, VatTerminatedError | ObjectGoneError):
                self._end(event)
            else:
                self._ask_time(event)


class Timer(Exo):
    """The root: what others may ask for.

    A token is any reference of the caller's own, such as an `Exo()`: whoever has it can cancel what it
    was given with, all at once.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        """Nothing to do: the clock is an endowment."""

    async def now(self) -> float:
        """The time. It never goes back: if the machine's clock was set back, it stands still until that has caught up."""
        told: float = await E(self._schedule.clock).now()
        self._schedule.latest = max(told, self._schedule.latest)
        return self._schedule.latest

    def delay(self, seconds: float, token: Ref[Any] | None = None) -> Promise[float]:
        """The promise of the time it will be in so many seconds, fulfilled then.

        Raises:
            TimerCancelledError: `cancel` was called with the token.
            ValueError: no number of seconds within some 3,000 years.
        """
        seconds = _checked(seconds, "seconds")
        kit: DurablePromiseKit[float] = make_durable_promise_kit()
        self._schedule._ask_time(self._schedule._new(kit=kit, after=seconds, token=token))
        return kit.promise

    def wake_at(self, time: float, token: Ref[Any] | None = None) -> Promise[float]:
        """The promise of `time`, fulfilled then; at once if that is past. Raises as `delay` does."""
        time = _checked(time, "time")
        kit: DurablePromiseKit[float] = make_durable_promise_kit()
        self._schedule._put(self._schedule._new(kit=kit, token=token), time)
        return kit.promise

    async def set_wakeup(self, time: float, waker: Ref[Waker], token: Ref[Any] | None = None) -> None:
        """Send `wake(time)` to the waker then; at once if that is past. Raises `ValueError` as `delay` does."""
        time = _checked(time, "time")
        self._schedule._put(self._schedule._new(waker=waker, token=token), time)

    async def repeat(self, start: float, interval: float, waker: Ref[Waker], token: Ref[Any] | None = None) -> None:
        """Send `wake(time)` to the waker at `start`, and every `interval` seconds from then on, without drift.

        A beat is missed while the waker has not answered the one before. A waker that is gone for good is
        forgotten.

        Raises:
            ValueError: no such number, or less than a millisecond between beats.
        """
        start, interval = _checked(start, "start"), _checked(interval, "interval")
        if interval < MIN_INTERVAL:
            raise ValueError(f"interval: at least {MIN_INTERVAL} seconds, not {interval}")
        event = self._schedule._new(waker=waker, token=token, start=start, interval=interval)
        self._schedule._put(event, start)

    async def cancel(self, token: Ref[Any]) -> int:
        """End all that was scheduled with the token; how much that was. A late or second call ends nothing."""
        return self._schedule._cancel(token)


def _checked(number: float, what: str) -> float:
    if not abs(number) <= MAX_TIME:  # nor NaN
        raise ValueError(f"{what}: a number of seconds up to {MAX_TIME:g}, not {number:g}")
    return float(number)


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Timer:
    clock = vat_powers.endowments.get("clock")
    if clock is None:
        raise LookupError('the timer needs the clock: its config would have to say endowments = ["clock"]')
    name = parameters.get("name", "timer")
    schedule: Schedule = baggage.provide("schedule", lambda: Schedule(clock=clock, name=name))
    schedule.clock = clock
    schedule.is_fresh = True
    if schedule.armed is None:
        schedule._arm()
    return Timer(schedule)
