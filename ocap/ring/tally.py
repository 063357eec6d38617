"""Counts of what a kernel does, for whoever measures it. Those by vat are kept only once somebody asks.

The scheduler fills it between cranks; reading it changes nothing. How long things wait, the store knows.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter

from attrs import define, field

from ocap.protocol.deliveries import Delivery
from ocap.protocol.refs import VatId
from ocap.protocol.syscalls import Outcome

SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the classes that durations are counted in: from a fast crank to one that is noticed."""


@define
class Histogram:
    """Durations by class; `counts[i]` is of those up to `SECONDS[i]`, the last of those beyond."""

    counts: list[int] = field(factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


@define
class Tally:
    """What happened since somebody asked for it.

    Attributes:
        deliveries: how many, by vat and type; the host's notifications are not among them.
        syscalls: how many were asked for, by vat and type.
        slow_crank: seconds from which a crank is slow.
        slow: how many cranks were, by vat.
        events: how many, by vat and kind: log, error, fault, terminate.
        seconds: how long the cranks of each vat took, together.
        longest: how long the longest of them did.
        cranks: how long those with a vat took, since the kernel was opened.
        commits: how long they took.
        since: when counting by vat began, in seconds since 1970.
    """

    slow_crank: float = math.inf
    deliveries: Counter[tuple[VatId, type]] = field(factory=Counter)
    syscalls: Counter[tuple[VatId, type]] = field(factory=Counter)
    events: Counter[tuple[VatId, str]] = field(factory=Counter)
    slow: Counter[VatId] = field(factory=Counter)
    seconds: dict[VatId, float] = field(factory=dict)
    longest: dict[VatId, float] = field(factory=dict)
    cranks: Histogram = field(factory=Histogram)
    commits: Histogram = field(factory=Histogram)
    since: float = field(factory=time.time)

    def crank(self, vat: VatId, delivery: Delivery, outcome: Outcome) -> None:
        self.deliveries[vat, type(delivery)] += 1
        for call in outcome.syscalls:
            self.syscalls[vat, type(call)] += 1

    def took(self, vat: VatId, seconds: float) -> None:
        """How long a crank of a vat did."""
        self.seconds[vat] = self.seconds.get(vat, 0.0) + seconds
        if seconds > self.longest.get(vat, 0.0):
            self.longest[vat] = seconds
        if seconds >= self.slow_crank:
            self.slow[vat] += 1
