"""Shows live traffic to whoever follows it, at a bounded cost for the kernel.

The message log costs about a third of a kernel's speed when all of it is written down. So while somebody
follows, it is switched on for a moment, until so many entries were made, and off till the next: what is shown
is a sample of whole cranks, and how many were passed over is told. With a log file all is written there anyway.

Invariants:

1. Without followers, and nobody else who is to have them, messages are not traced at all.
2. A slow follower costs memory for `BACKLOG` items, and nobody's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio
from attrs import asdict, define

from ocap.host.kernel import Kernel
from ocap.kernel.effects import Event
from ocap.log import Entry, from_event
from ocap.log.selection import Selection

WINDOW = 0.25
"""Seconds between two moments."""

SAMPLE = 50
"""Entries that one moment makes before it ends with its crank: 200 a second, some 2 % of the kernel's time."""

BACKLOG = 2_000
"""Items that wait for a slow follower at most; what is beyond is passed over."""

News = dict[str, Any]
"""`{"entry": ENTRY}`, or `{"passed_over": CRANKS}`."""


@define(eq=False)
class Follower:
    """One who follows."""

    selection: Selection
    send: trio.MemorySendChannel[News]
    last: int | None = None
    """The last crank it could have been shown."""

    def reach(self, crank: int) -> None:
        if crank:  # the host program's syscalls have none
            self.last = crank


class Tap:
    """What the kernel tells its events to.

    Args:
        kernel: it is observed from now on.
        write: is given each event, such as for a file; None if there is nobody.
        messages: whether that is to have the messages too, or only what vats log and what goes wrong.
    """

    def __init__(self, kernel: Kernel, write: Callable[[Event], None] | None = None, *, messages: bool = True) -> None:
        self._kernel = kernel
        self._write = write
        self._writes_messages = write is not None and messages
        self._followers: dict[Follower, None] = {}
        self._left = 0
        self._crank = -1
        self._trace(on=self._writes_messages)

    def _trace(self, *, on: bool) -> None:
        self._is_on = on
        self._kernel.observe(self._tell, messages=on)

    async def run(self) -> None:
        """Begin moment after moment, for ever."""
        while True:
            self._left = SAMPLE
            if self._followers and not self._is_on:
                self._trace(on=True)
            await trio.sleep(WINDOW)

    @contextmanager
    def follow(self, selection: Selection) -> Iterator[trio.MemoryReceiveChannel[News]]:
        """What happens from now on, and was asked for."""
        send, receive = trio.open_memory_channel[News](BACKLOG)
        follower = Follower(selection, send)
        self._followers[follower] = None
        if not self._is_on:
            self._trace(on=True)
        try:
            yield receive
        finally:
            del self._followers[follower]
            send.close()
            receive.close()
            if not self._followers and not self._writes_messages:
                self._trace(on=False)

    def _tell(self, event: Event) -> None:
        """Takes an event; called by the kernel after its commit."""
        is_shown = bool(self._followers) and (self._left > 0 or event.crank == self._crank)
        is_written = self._writes_messages or (self._write is not None and event.kind not in ("deliver", "syscall"))
        if not is_shown and self._is_on and not self._writes_messages:
            self._trace(on=False)
        if not is_shown and not is_written:
            return
        if is_written and self._write is not None:
            self._write(event)
        if is_shown:
            entry = from_event(event, self._kernel.vat_name)
            self._left -= 1
            self._crank = event.crank
            data = asdict(entry, recurse=False)
            for follower in self._followers:
                _show(follower, entry, data)


def _show(follower: Follower, entry: Entry, data: News) -> None:
    news: list[News] = []
    passed_over = 0 if follower.last is None or not entry.crank else entry.crank - follower.last - 1
    if passed_over > 0:
        news.append({"passed_over": passed_over})
    if follower.selection.has(entry):
        news.append({"entry": data})
    elif not news:
        follower.reach(entry.crank)
        return
    try:
        for it in news:
            follower.send.send_nowait(it)
    except trio.WouldBlock:
        return  # what was passed over is told when there is room again
    follower.reach(entry.crank)
