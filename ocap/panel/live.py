"""What happens now: samples of the kernel's counters, and a ring of the latest traffic.

The traffic is followed while somebody looks at it and a while longer, and costs the kernel nothing otherwise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from ocap.daemon.client import Client
from ocap.daemon.place import NotRunningError, SocketError
from ocap.daemon.protocol import ControlError, RequestFailedError
from ocap.log import Entry
from ocap.panel.rates import Sample, sample_of
from ocap.panel.reading import Reader

POLL = 0.5
"""Seconds between two looks whether the store has changed."""

SAMPLE = 1.0
"""Seconds between two samples of the counters."""

SAMPLES = 600
"""That are kept: ten minutes."""

RING = 5_000
"""Entries of traffic that are kept."""

LINGER = 60.0
"""Seconds for which traffic is followed after the last page that shows it was left."""

FIELDS = ("crank", "cause", "kind", "vat", "name", "op", "kernel", "vatside", "text", "time", "took")

_AWAY = (NotRunningError, SocketError, ControlError, RequestFailedError, OSError)


@frozen
class Shown:
    """One entry of the ring, with a number that only grows; or cranks that were passed over."""

    number: int
    at: float
    entry: Entry | None
    passed_over: int = 0


class Live:
    """Follows one kernel.

    Attributes:
        is_away: the daemon does not answer.
        samples: oldest first.
        ring: oldest first.
    """

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self._path = path
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self._lookers = 0
        self._left_at = -math.inf
        self.version = 0
        self.is_away = False
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.ring: deque[Shown] = deque(maxlen=RING)
        self._number = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._sample)
            nursery.start_soon(self._follow)

    async def changed(self) -> None:
        """Wait until there is anything new."""
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _watch(self) -> None:
        last = None
        while True:
            version = self._reader.version()
            if version != last:
                last = version
                self.version += 1
                self._tell()
            await trio.sleep(POLL)

    async def _sample(self) -> None:
        while True:
            try:
                async with await Client.connect(self._path) as client:
                    while True:
                        found = await client.call("stats")
                        self._set_away(is_away=False)
                        self.samples.append(sample_of(trio.current_time(), found))
                        await trio.sleep(SAMPLE)
            except _AWAY:
                self._set_away(is_away=True)
                await trio.sleep(SAMPLE)

    def _set_away(self, *, is_away: bool) -> None:
        if self.is_away != is_away:
            self.is_away = is_away
            self.version += 1
            self._tell()

    # ---- traffic --------------------------------------------------------------------------------

    @contextmanager
    def looking(self) -> Iterator[None]:
        """While somebody looks at the traffic."""
        self._lookers += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._lookers -= 1
            self._left_at = trio.current_time()

    def glance(self) -> None:
        """Somebody looked at the traffic once."""
        self._left_at = trio.current_time()
        self._wanted.set()

    @property
    def _is_wanted(self) -> bool:
        return self._lookers > 0 or trio.current_time() - self._left_at < LINGER

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while self._is_wanted:
                try:
                    async with (
                        await Client.connect(self._path) as client,
                        aclosing(client.items("follow")) as news,
                        trio.open_nursery() as nursery,
                    ):
                        nursery.start_soon(self._until_unwanted, nursery.cancel_scope)
                        async for crowd in news:
                            for it in crowd:
                                self._add(it)
                            self._tell()
                except* _AWAY:
                    await trio.sleep(SAMPLE)

    async def _until_unwanted(self, scope: trio.CancelScope) -> None:
        while self._is_wanted:  # noqa: ASYNC110 - time makes it so
            await trio.sleep(SAMPLE)
        scope.cancel()

    def _add(self, news: dict[str, Any]) -> None:
        self._number += 1
        entry = news.get("entry")
        made = None if entry is None else Entry(*(entry[name] for name in FIELDS))
        self.ring.append(Shown(self._number, trio.current_time(), made, news.get("passed_over", 0)))

    def since(self, number: int) -> list[Shown]:
        """What came after the entry of that number."""
        found: list[Shown] = []
        for it in reversed(self.ring):
            if it.number <= number:
                break
            found.append(it)
        return found[::-1]
