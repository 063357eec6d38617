"""What happens now: whether the store has changed, samples of the kernel's counters, the traffic."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ocap.daemon.client import ANSWER_SECONDS, LOOK, Client
from ocap.daemon.protocol import VersionError
from ocap.daemon.silence import silence
from ocap.panel.feeds import AWAY, Feeds
from ocap.panel.rates import Sample, sample_of
from ocap.panel.reading import Reader
from ocap.ring.watchdog import SlowStep

POLL = 0.5
"""Seconds between two looks whether the store has changed."""

SAMPLE = 1.0
"""Seconds between two samples of the counters."""

SAY_AGAIN = 5.0
"""Seconds after which pages say again for how long the daemon has not answered."""

SAMPLES = 600
"""That are kept: ten minutes."""


class Live:
    """Follows one kernel.

    Args:
        reader: of its database.
        path: of its socket.
        log: its message log, if it writes one.

    Attributes:
        is_away: nobody listens at the daemon's socket.
        held_up: why the daemon does not answer, in words, if it has not for a while; or cannot be asked.
        samples: oldest first.
        about: what the daemon said of itself; None before it did.
        told: its latest counters.
        traffic: the feeds of traffic.
    """

    def __init__(self, reader: Reader, path: Path, log: str | None) -> None:
        self._reader = reader
        self._path = path
        self._changed = trio.Event()
        self.version = 0
        self.is_away = False
        self.held_up: str | None = None
        self.about: dict[str, Any] | None = None
        self.told: dict[str, Any] | None = None
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.traffic = Feeds(path, self._tell)
        self.traffic.set_log(log)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._sample)
            nursery.start_soon(self.traffic.run)

    @property
    def changed(self) -> trio.Event:
        """Happens when there is anything newer than now. Ask for it, then look, then wait: so nothing is missed."""
        return self._changed

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
                    client.on_silence = partial(self._hear_nothing, client)
                    self.about = await client.call("status")
                    self.traffic.set_log(self.about.get("log_json"))
                    await client.call("spent", vats=[])  # which has it counted from now on
                    while True:
                        self.told = found = await client.call("stats")
                        self._set_state(is_away=False)
                        self.samples.append(sample_of(trio.current_time(), found))
                        await trio.sleep(SAMPLE)
            except VersionError as error:
                self._set_state(is_away=False, held_up=str(error))
                await trio.sleep(SAMPLE)
            except (*AWAY, OSError):
                self._set_state(is_away=True)
                await trio.sleep(SAMPLE)

    def _hear_nothing(self, client: Client, _command: str, seconds: float, step: SlowStep | None) -> None:
        if (step is not None or seconds >= ANSWER_SECONDS) and (self.held_up is None or seconds % SAY_AGAIN < LOOK):
            self._set_state(is_away=False, held_up=silence(client.path, client.pid, seconds, step))

    def _set_state(self, *, is_away: bool, held_up: str | None = None) -> None:
        if (is_away, held_up) != (self.is_away, self.held_up):
            self.is_away, self.held_up = is_away, held_up
            self.version += 1
            self._tell()
