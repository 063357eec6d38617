"""Rates and latencies, from samples of the kernel's counters: of each second, from what was counted in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import define, field, frozen

LATELY = 60.0
"""Seconds, at most, that a share of the time is of."""

ENOUGH = 0.5
"""Seconds, at least: of less a share says nothing."""

Points = list[tuple[float, float]]
"""Times by the monotonic clock, growing, and values."""


@frozen
class Sample:
    """Counters at one moment, by the monotonic clock.

    Attributes:
        bounds: up to how many seconds each class of cranks took; one more class is of those beyond.
        took: how many cranks of each class there were.
    """

    at: float
    cranks: int
    commits: int
    queue: int
    bounds: tuple[float, ...]
    took: tuple[int, ...]


def sample_of(at: float, told: dict[str, Any]) -> Sample:
    """What the daemon told of its counters."""
    took = told["crank_seconds"]
    return Sample(at, told["cranks"], told["commits"], told["run_queue"], tuple(took["bounds"]), tuple(took["counts"]))


def rate(samples: Iterable[Sample], count: Callable[[Sample], int]) -> Points:
    """How much a counter grew, a second."""
    return [
        (new.at, (count(new) - count(old)) / max(new.at - old.at, 0.001))
        for old, new in pairwise(samples)
        if count(new) >= count(old)  # else it was begun anew
    ]


def latency(samples: Iterable[Sample], part: float) -> Points:
    """Of the cranks between two samples, the seconds that such a part of them took at most."""
    points = []
    for old, new in pairwise(samples):
        counts = [after - before for before, after in zip(old.took, new.took, strict=True)]
        if min(counts) >= 0 and sum(counts) > 0:
            points.append((new.at, quantile(new.bounds, counts, part)))
    return points


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float:
    """The value that such a part of what was counted by class does not exceed.

    Within a class it is taken to be spread evenly, as Prometheus does; of what is beyond the last bound, that
    bound is all that is known.
    """
    left = part * sum(counts)
    low = 0.0
    for high, count in zip(bounds, counts, strict=False):
        if count and left <= count:
            return low + (high - low) * left / count
        left -= count
        low = high
    return low


@define
class Spending:
    """What the daemon told of the time that the cranks of vats took, as often as somebody looked lately.

    Attributes:
        since: when counting began, in seconds since 1970.
    """

    since: float = 0.0
    _told: deque[tuple[float, Mapping[str, float]]] = field(factory=deque)

    def note(self, at: float, told: Mapping[str, Any]) -> None:
        """What was told at a time by the monotonic clock."""
        if told["since"] != self.since:  # by a kernel that was opened anew
            self._told.clear()
            self.since = told["since"]
        if len(self._told) > 1 and self._told[-1][0] - self._told[-2][0] < ENOUGH:
            self._told.pop()
        while self._told and at - self._told[0][0] > LATELY:
            self._told.popleft()
        self._told.append((at, told["seconds"]))

    def of(self, vat: str) -> tuple[float, float | None]:
        """Seconds of a vat, together; and what part of the last minute it took, as far as that is known."""
        now, latest = self._told[-1]
        seconds = latest.get(vat, 0.0)
        before = next(((at, its[vat]) for at, its in self._told if vat in its), (now, seconds))
        share = (seconds - before[1]) / (now - before[0]) if now - before[0] >= ENOUGH else None
        return seconds, share
