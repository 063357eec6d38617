"""Rates and latencies, from samples of the kernel's counters: of each second, from what was counted in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from attrs import frozen

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
