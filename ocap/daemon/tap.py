"""Shows live traffic to whoever follows it, at a bounded cost for the kernel.

What each follower asked for is chosen from the events themselves, which is cheap; what is chosen is written as a
line of the log. As long as that takes no more than a share of the time, all of it is shown. Beyond, messages are not
traced for a while: whole cranks are passed over, and how many is told.

A share of the kernel's time: where others use the processor too, a busy kernel has less of it than the clock says.

Invariants:

1. Without followers, and nobody else who is to have them, messages are not traced at all.
2. Writing takes `SHARE` of the time, and one crank more; `SAVED` seconds' worth can be saved up.
3. Of the cranks since it began to follow, a follower is shown all it asked for, or is told that they were passed over.
4. A slow follower costs memory for `BACKLOG` items, and nobody's time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter, thread_time

import trio
from attrs import define

from ocap.host.kernel import Kernel
from ocap.kernel.effects import MESSAGES, Event
from ocap.log import event_line
from ocap.log.recent import Recent
from ocap.log.selection import Selection

SHARE = 0.04
"""Of the time that showing may take."""

SAVED = 0.5
"""Seconds of which the share can be saved up: a burst of a thousand entries."""

WINDOW = 0.1
"""Seconds between two looks at what there is to spend."""

LARGE = 4_096
"""Bytes of a body beyond which only its size is shown: a line has room for the first 200."""

MAX_NEWS = 1_048_576
"""Characters of one item; what is longer is passed over."""

BACKLOG = 2_000
"""Items that wait for a slow follower at most; what is beyond is passed over."""

News = str
"""JSON: `{"entry": ENTRY, "by": [ID, NAME]}`, or `{"passed_over": CRANKS}`. `by` is the vat that ran in the crank
which caused it, null if it is not known."""


@define(eq=False)
class Follower:
    """One who follows.

    Attributes:
        joined: the last crank before it followed.
        passed_over: cranks of which it is still to be told so.
    """

    selection: Selection
    send: trio.MemorySendChannel[News]
    joined: int
    passed_over: int = 0
    _lost: int = -1

    def settle(self) -> bool:
        """Tell what was passed over; whether there was room for it."""
        if self.passed_over:
            try:
                self.send.send_nowait(json.dumps({"passed_over": self.passed_over}))
            except trio.WouldBlock:
                return False
            self.passed_over = 0
        return True

    def show(self, crank: int, news: News) -> None:
        """Show an entry, or count its crank as passed over."""
        if len(news) <= MAX_NEWS and self.settle():
            try:
                self.send.send_nowait(news)
            except trio.WouldBlock:
                pass
            else:
                return
        if crank != self._lost:
            self._lost = crank
            self.passed_over += 1


class Tap:
    """What the kernel tells its events to.

    Args:
        kernel: it is observed from now on.
        write: is given each event, such as for a file; None if there is nobody.
        messages: whether that is to have the messages too, or only what vats log and what goes wrong.
        clock: the time, in seconds, for a kernel that is idle.
        processor: the processor's time of this thread, in seconds.
    """

    def __init__(
        self,
        kernel: Kernel,
        write: Callable[[Event], None] | None = None,
        *,
        messages: bool = True,
        clock: Callable[[], float] = perf_counter,
        processor: Callable[[], float] = thread_time,
    ) -> None:
        self._kernel = kernel
        self._write = write
        self._writes_messages = write is not None and messages
        self._clock = clock
        self._processor = processor
        self._left = SHARE * SAVED
        self._replenished = clock(), processor()
        self._followers: dict[Follower, None] = {}
        self._ran: Recent[int, str] = Recent()
        self._shows = False
        self._first = 0  # the first crank that was traced from its beginning
        self._shown = 0  # the last crank that was shown, or told of as passed over
        self._seen = 0  # the last one of which we were told anything
        kernel.observe(self._tell, messages=self._writes_messages)

    async def run(self) -> None:
        """Have something to spend again and again, for ever."""
        while True:
            await trio.sleep(WINDOW)
            self.replenish()

    def replenish(self) -> None:
        """Take what the time since the last call allows; go on showing."""
        now, before = (self._clock(), self._processor()), self._replenished
        which = 0 if self._kernel.status()["idle"] else 1
        self._left = min(SHARE * SAVED, self._left + SHARE * (now[which] - before[which]))
        self._replenished = now
        if self._followers and not self._shows and self._left > 0:
            self._begin()

    @contextmanager
    def follow(self, selection: Selection) -> Iterator[trio.MemoryReceiveChannel[News]]:
        """What happens from now on, and was asked for."""
        send, receive = trio.open_memory_channel[News](BACKLOG)
        follower = Follower(selection, send, self._kernel.stats()["last_crank"])
        self._followers[follower] = None
        self.replenish()
        try:
            yield receive
        finally:
            del self._followers[follower]
            send.close()
            receive.close()
            if not self._followers and self._shows:
                self._end()

    def _begin(self) -> None:
        self._shows = True
        if not self._writes_messages:
            # The crank under way, if there is one, began without us.
            self._seen = self._kernel.stats()["last_crank"]
            self._first = self._seen + 1
            self._kernel.observe(self._tell, messages=True)
        for follower in self._followers:
            follower.passed_over += max(0, self._seen - max(self._shown, follower.joined))
            follower.settle()
        self._shown = self._seen

    def _end(self) -> None:
        self._shows = False
        if not self._writes_messages:
            self._kernel.observe(self._tell, messages=False)

    def _tell(self, event: Event) -> None:
        """Takes an event; called by the kernel after its commit."""
        if self._write is not None and (self._writes_messages or event.kind not in MESSAGES):
            self._write(event)
        crank = event.crank
        if crank:
            self._seen = crank
        if not self._shows or 0 < crank < self._first:
            return
        if crank > self._shown:
            if self._left <= 0:
                self._end()
                return
            self._shown = crank
        if event.kind == "deliver" and event.vat is not None:
            self._ran[crank] = event.vat
        name_of, news = self._kernel.vat_name, ""
        for follower in self._followers:
            if follower.selection.has_event(event, name_of):
                began = self._processor()
                news = news or self._news(event)
                follower.show(crank, news)
                self._left -= self._processor() - began

    def _news(self, event: Event) -> News:
        name_of = self._kernel.vat_name
        by = self._ran.get(event.cause) if event.kind == "deliver" else None
        vat = "null" if by is None else _vat(by, name_of(by))
        return f'{{"entry": {event_line(event, name_of, LARGE)}, "by": {vat}}}'


@lru_cache(maxsize=1024)
def _vat(vat: str, name: str) -> str:
    return json.dumps([vat, name])
