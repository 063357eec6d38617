"""Marks: which numbers the kernel had given by when. From them follows how long anything has been there.

The core has no clock, and no row has a time. But the numbers of cranks, promises and queued items only
grow, and who commits them has a clock. So at a commit it notes the time and what the next numbers are:
what has a lower number was there by then. As old ages may be rough, the marks of a year are some hundred.

Owns the table `marks`, and of `counters` the rows `time`, of the last commit, and `ahead`, by how much that time
runs ahead of the clock. They are written with the other counters, at no cost, and become a mark when a later
commit needs their place.

Invariants:

1. From one mark to the next time grows and no number falls; no number is beyond the counters.
2. Time is never set back: while the clock is behind what it said at the last commit, time stands still,
   and from the next commit it goes on.
3. An age is known to `SPACING` or two parts in a hundred, whichever is more, and never said to be greater than
   it is. Between two neighbours there is as much at most, or there was no commit.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import apsw
from attrs import frozen

Kind = Literal["crank", "promise", "queue"]

KINDS: tuple[Kind, ...] = ("crank", "promise", "queue")
"""The counters that are marked, in the order of the table's columns."""

CLOCK = ("time", "ahead")
"""The rows of `counters` that are of time."""

SPACING = 100
"""Milliseconds between two marks at least: what happens within them is of one age."""

TICK = 10
"""Milliseconds that times are rounded up to, so that most of many commits a second need not write theirs."""

RATIO = 1.01
"""Between the ages of neighbours that are thinned, at least. Before they are so close again, the ages have doubled:
what was lost each time adds up to twice as much."""

MARKS = 4096
"""Marks kept at most; then they are thinned. Those of a thousand years fit in twice."""

Row = tuple[int, int, int, int]


@frozen
class Age:
    """How long something has been there.

    Attributes:
        seconds: at least.
        is_known: it is no more than that; else it was there before the marks begin.
    """

    seconds: float
    is_known: bool = True

    def __str__(self) -> str:
        """For people: `12 s`, `over 3 h`."""
        return f"{'' if self.is_known else 'over '}{span(self.seconds)}"


def span(seconds: float) -> str:
    """A duration for people: `12 s`, `3 min`, `5 h`, `9 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


class Marks:
    """The marks of a store at one moment, oldest first; the last is its last commit.

    Args:
        rows: time in milliseconds, and the next number of each kind.
        now: the time, in milliseconds.
    """

    def __init__(self, rows: list[Row], now: int) -> None:
        self._rows = rows
        self._now = now
        self._numbers = dict(zip(KINDS, list(zip(*rows, strict=True))[1:] or ((), (), ()), strict=True))

    @classmethod
    def read(cls, db: apsw.Connection, clock: Callable[[], float] = time.time) -> Self:
        """Those of the store behind a connection, in its transaction if it is in one."""
        rows: Any = db.execute("SELECT time, crank, promise, queue FROM marks ORDER BY time").fetchall()
        counters = _counters(db)
        now = _milliseconds(clock)
        if "time" in counters:
            rows.append(_row(counters["time"], counters))
            now = max(counters["time"], now + counters.get("ahead", 0))
        return cls(rows, now)

    def age(self, kind: Kind, number: int) -> Age:
        """How long ago the number was given. One that is not committed yet was given now."""
        index = bisect_right(self._numbers[kind], number)
        if index == len(self._rows):
            return Age(0.0)
        return Age(max(0, self._now - self._rows[index][0]) / 1000, index > 0)


class Marker:
    """Writes the marks, as part of each transaction that gives numbers.

    Args:
        db: the connection that writes.
        clock: seconds since 1970.
    """

    def __init__(self, db: apsw.Connection, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock
        counters = _counters(db)
        self._ahead = counters.get("ahead", 0)
        # Of a store that has no marks: what it has given so far, it has given by now.
        self._last = _row(counters.get("time", _milliseconds(clock)), counters)
        self._written = counters.get("time")
        self._next: Row | None = None
        self._next_ahead = self._ahead
        found: Any = db.execute("SELECT count(*), max(time) FROM marks").fetchall()
        self._count: int = found[0][0]
        self._marked: int | None = found[0][1]

    def note(self, counters: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """What to write beside these counters, which this transaction changes."""
        last, crank, promise, queue = self._next or self._last
        clock = -(-_milliseconds(self._clock) // TICK) * TICK
        ahead = max(self._ahead, last - clock)
        now = clock + ahead
        new = dict(counters)
        self._next = now, new.get("crank", crank), new.get("promise", promise), new.get("queue", queue)
        self._next_ahead = ahead
        if ahead != self._ahead:
            return [("time", now), ("ahead", ahead)]
        return [("time", now)] if now != self._written else []

    def forget(self) -> None:
        """What was noted is not going to be committed."""
        self._next = None

    def mark(self) -> None:
        """Before the commit: a mark of the commit before, if it is due."""
        if self._next is None:
            return
        now = self._next[0]
        if self._marked is None or now - self._marked >= SPACING:
            # Another one at this time, if time stood still, said less.
            self._db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", self._last)
            self._marked = self._last[0]
            self._count += 1
            if self._count > MARKS:
                self._thin(now)
        self._last, self._next = self._next, None
        self._written, self._ahead = now, self._next_ahead

    def _thin(self, now: int) -> None:
        rows: Any = self._db.execute("SELECT time FROM marks ORDER BY time")
        times = [row[0] for row in rows]
        kept = thinned(times, now)
        self._db.executemany("DELETE FROM marks WHERE time = ?", [(it,) for it in times if it not in kept])
        self._count = len(kept)


def thinned(times: list[int], now: int) -> set[int]:
    """Of the times of marks, oldest first, those to keep.

    The oldest stays: what was there before it is known to have been.
    """
    kept, age = {times[0], times[-1]}, now - times[-1]
    for it in reversed(times):
        if now - it >= RATIO * age:
            kept.add(it)
            age = now - it
    return kept


def _counters(db: apsw.Connection) -> dict[str, int]:
    rows: Any = db.execute("SELECT kind, next FROM counters")
    return dict(rows)


def _row(now: int, counters: Mapping[str, int]) -> Row:
    return now, counters.get("crank", 1), counters.get("promise", 1), counters.get("queue", 1)


def _milliseconds(clock: Callable[[], float]) -> int:
    return int(clock() * 1000)
