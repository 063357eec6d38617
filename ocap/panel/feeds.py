"""The traffic that pages show: for each filter that somebody looks with, the latest of it, in a ring.

Where the kernel writes its whole message log to a file, the end of that file is read, and followed: it costs the
kernel nothing, nothing is passed over, and what was before is there too. Else the kernel is asked, which shows
all while that is cheap. It is asked for no longer than somebody looks, and a while.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import trio
from attrs import define, field, frozen

from ocap.daemon.client import Client
from ocap.daemon.place import NotRunningError, SocketError
from ocap.daemon.protocol import ControlError, RequestFailedError
from ocap.log import BadEntryError, Entry, from_json_line
from ocap.log.chain import NoSuchCrankError, chain_to
from ocap.log.entry import Fields
from ocap.log.reading import POLL_SECONDS, read_lines
from ocap.log.recent import Recent
from ocap.log.selection import Selection

RING = 5_000
"""Entries that are kept of a feed."""

LINGER = 60.0
"""Seconds for which a feed goes on after the last page that shows it was left."""

FEEDS = 20
"""At a time: more than there are streams, so that one without a looker can always go."""

TAIL = 4_194_304
"""Bytes of a log file's end that a feed begins with: some thousand entries."""

CHAIN = 33_554_432
"""Bytes of a log file's end in which the chain that led to a crank is looked for."""

CROWD = 500
"""Entries that are taken from a file at a time."""

LARGE = 16_384
"""Bytes of a line of the log beyond which what is large in it is kept by its size alone."""

LARGE_VALUE = 4_096
"""Characters of a value there that are not too many yet."""

RECENT = 10.0
"""Seconds for which it is said that cranks were passed over."""

AGAIN = 1.0
"""Seconds until what failed is tried again."""

AWAY = (NotRunningError, SocketError, ControlError, RequestFailedError)

FIELDS = tuple(it.name for it in attrs.fields(Entry))

By = tuple[str, str]
"""Id and name of a vat."""


@frozen
class Filter:
    """What a page asks for; empty fields ask for nothing."""

    vat: str = ""
    method: str = ""
    ref: str = ""

    def selection(self) -> Selection:
        vats, methods, refs = (frozenset({text} if text else ()) for text in (self.vat, self.method, self.ref))
        return Selection(vats=vats, methods=methods, refs=refs)

    def arguments(self) -> dict[str, list[str]]:
        """As the command `follow` takes them."""
        fields = {"vats": self.vat, "methods": self.method, "refs": self.ref}
        return {name: [text] for name, text in fields.items() if text}


@frozen
class Shown:
    """One entry of a ring, or cranks that were passed over.

    Attributes:
        number: only grows, over all rings.
        by: the vat that ran in the crank which caused a delivery, where that is known.
    """

    number: int
    entry: Entry | None
    by: By | None = None
    passed_over: int = 0


@define(eq=False)
class Feed:
    """The traffic that one filter chooses.

    Attributes:
        ring: oldest first.
        log: the file that is read; None: the kernel is asked.
        is_there: whether there is anything to follow.
    """

    filter: Filter
    ring: deque[Shown] = field(factory=lambda: deque(maxlen=RING))
    log: Path | None = None
    is_there: bool = False
    _lookers: int = 0
    _left_at: float = -math.inf
    _since: float = 0.0
    _gaps: deque[tuple[float, int]] = field(factory=lambda: deque(maxlen=RING))
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """While somebody looks at it."""
        self._lookers += 1
        try:
            yield
        finally:
            self._lookers -= 1
            self.glance()

    def glance(self) -> None:
        """Somebody looked at it once."""
        self._left_at = trio.current_time()

    @property
    def is_looked_at(self) -> bool:
        return self._lookers > 0

    @property
    def is_wanted(self) -> bool:
        return self.is_looked_at or trio.current_time() - self._left_at < LINGER

    @property
    def left_at(self) -> float:
        return self._left_at

    def begin(self, log: Path | None) -> None:
        """What comes now comes from there."""
        self.log, self.is_there = log, True
        self._since = time.time()
        self._gaps.clear()

    def add(self, shown: Shown) -> None:
        self.ring.append(shown)
        if shown.passed_over:
            self._since = time.time()
            self._gaps.append((trio.current_time(), shown.passed_over))

    def after(self, number: int) -> list[Shown]:
        """What came after the one of that number."""
        found: list[Shown] = []
        for it in reversed(self.ring):
            if it.number <= number:
                break
            found.append(it)
        return found[::-1]

    def said(self) -> str:
        """How much of the traffic this is."""
        what = "Everything" if self.filter == Filter() else "Everything that fits"
        if not self.is_there:
            return "Nothing is followed yet."
        if self.log is not None:
            return f"{what}, from the log file {self.log}."
        lately = sum(number for at, number in self._gaps if trio.current_time() - at < RECENT)
        if lately:
            return f"A sample, as the kernel is busy: {lately:,} cranks were passed over in the last {RECENT:.0f} s."
        return f"{what} since {datetime.fromtimestamp(self._since):%H:%M:%S}."  # noqa: DTZ006 - for who sits here


class Feeds:
    """The feeds of one kernel.

    Args:
        path: of the daemon's socket.
        tell: is called when there is something new in any.
    """

    def __init__(self, path: Path, tell: Callable[[], None]) -> None:
        self._path = path
        self._tell = tell
        self._log: Path | None = None
        self._feeds: dict[Filter, Feed] = {}
        self._numbers = count(1)
        self._begun: tuple[trio.MemorySendChannel[Feed], trio.MemoryReceiveChannel[Feed]]
        self._begun = trio.open_memory_channel[Feed](math.inf)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            async for feed in self._begun[1]:
                nursery.start_soon(self._follow, feed)

    def set_log(self, log: str | None) -> None:
        """The message log that the daemon writes to; feeds that are from elsewhere begin anew."""
        self._log = None if log is None else Path(log)
        for feed in self._feeds.values():
            if feed.is_there and feed.log != self._log:
                feed.scope.cancel()

    def find(self, chosen: Filter) -> Feed:
        """The feed of that filter, which somebody looks at; it may have begun just now."""
        feed = self._feeds.get(chosen)
        if feed is None:
            idle = [it for it in self._feeds.values() if not it.is_looked_at]
            if len(self._feeds) >= FEEDS and idle:
                self._forget(min(idle, key=lambda it: it.left_at))
            feed = self._feeds[chosen] = Feed(chosen)
            self._begun[0].send_nowait(feed)
        feed.glance()
        return feed

    def _forget(self, feed: Feed) -> None:
        if self._feeds.get(feed.filter) is feed:
            del self._feeds[feed.filter]
        feed.scope.cancel()

    def entries(self) -> Iterator[Entry]:
        """What any feed has kept."""
        return (it.entry for feed in self._feeds.values() for it in feed.ring if it.entry is not None)

    async def why(self, crank: int) -> list[Entry]:
        """The chain that led to a crank, as far as it is known; empty if nothing is."""
        log = self._readable_log()
        if log is not None:
            return await trio.to_thread.run_sync(_chain, partial(_entries, log), crank)
        rings = [[it.entry for it in feed.ring if it.entry is not None] for feed in self._feeds.values()]
        return max((_chain(partial(list, ring), crank) for ring in rings), key=len, default=[])

    # ---- where it comes from --------------------------------------------------------------------

    async def _follow(self, feed: Feed) -> None:
        try:
            while feed.is_wanted and self._feeds.get(feed.filter) is feed:
                with trio.CancelScope() as feed.scope:
                    try:
                        log = self._readable_log()
                        await (self._ask(feed) if log is None else self._read(feed, log))
                    except* (*AWAY, OSError):
                        feed.is_there = False
                        await trio.sleep(AGAIN)
        finally:
            self._forget(feed)

    def _readable_log(self) -> Path | None:
        """The log, if it is a file that can be read: what is read from a pipe is lost for others."""
        try:
            if self._log is not None and stat.S_ISREG(self._log.stat().st_mode) and os.access(self._log, os.R_OK):
                return self._log
        except OSError:
            pass
        return None

    def _begin(self, feed: Feed, log: Path | None) -> None:
        feed.begin(log)
        self._tell()

    async def _ask(self, feed: Feed) -> None:
        async with (
            await Client.connect(self._path) as client,
            aclosing(client.items("follow", **feed.filter.arguments())) as news,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._until_unwanted, feed)
            self._begin(feed, None)
            async for crowd in news:
                self._add_news(feed, crowd)
            nursery.cancel_scope.cancel()

    async def _until_unwanted(self, feed: Feed) -> None:
        while feed.is_wanted:  # noqa: ASYNC110 - time makes it so
            await trio.sleep(AGAIN)
        feed.scope.cancel()

    def _add_news(self, feed: Feed, crowd: list[dict[str, Any]]) -> None:
        for it in crowd:
            fields, by = it.get("entry"), it.get("by")
            entry = None if fields is None else Entry(*(fields[name] for name in FIELDS))
            shown = Shown(next(self._numbers), entry, by and (by[0], by[1]), it.get("passed_over", 0))
            feed.add(shown)
        self._tell()

    async def _read(self, feed: Feed, log: Path) -> None:
        is_over = threading.Event()

        async def end() -> None:
            try:
                await self._until_unwanted(feed)
            finally:
                is_over.set()

        def take(found: Iterable[tuple[Entry, By | None]]) -> None:
            for entry, by in found:
                feed.add(Shown(next(self._numbers), entry, by))
            self._tell()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            self._begin(feed, log)
            await trio.to_thread.run_sync(_read_log, log, feed.filter.selection(), take, is_over)


class _OverError(Exception):
    """Nobody wants more."""


def _read_log(
    log: Path,
    selection: Selection,
    take: Callable[[list[tuple[Entry, By | None]]], None],
    is_over: threading.Event,
) -> None:
    """In a thread: tell of what a log's end says, and of what is written to it."""
    found: list[tuple[Entry, By | None]] = []
    ran: Recent[int, By] = Recent()

    def hand_over() -> None:
        if found:
            trio.from_thread.run_sync(take, found.copy())
            found.clear()

    def wait() -> None:
        hand_over()
        if is_over.wait(POLL_SECONDS):
            raise _OverError

    try:
        for line in read_lines(log, follow=True, wait=wait, last=TAIL):
            entry = _entry(line.text)
            if entry is None:
                continue
            if entry.kind == "deliver" and entry.vat is not None:
                ran[entry.crank] = (entry.vat, entry.name or entry.vat)
            if selection.has(entry):
                found.append((entry, ran.get(entry.cause) if entry.kind == "deliver" else None))
            if len(found) >= CROWD:
                hand_over()
            if is_over.is_set():
                return
    except _OverError:
        pass


def _entries(log: Path) -> Iterator[Entry]:
    entries = (_entry(line.text) for line in read_lines(log, last=CHAIN))
    return (entry for entry in entries if entry is not None)


def _entry(line: bytes) -> Entry | None:
    """What a line says, without what is too large to keep; None if it is no entry."""
    try:
        entry = from_json_line(line)
    except BadEntryError:
        return None
    if len(line) <= LARGE:
        return entry
    return attrs.evolve(entry, kernel=_brief(entry.kernel), vatside=_brief(entry.vatside))


def _brief(fields: Fields | None) -> Fields | None:
    if fields is None:
        return None
    brief = {
        name: _by_size(value) if name in ("args", "data", "parameters") else value for name, value in fields.items()
    }
    if "settlements" in brief:
        brief["settlements"] = [_brief(it) for it in brief["settlements"]]
    return brief


def _by_size(value: Any) -> Any:
    size = len(json.dumps(value))
    return value if size <= LARGE_VALUE else f"<{size} characters>"


def _chain(log: Callable[[], Iterable[Entry]], crank: int) -> list[Entry]:
    try:
        return chain_to(crank, log).entries
    except NoSuchCrankError:
        return []
