"""One incarnation of a vat in this process: its liveslots, its code, its view of the vatstore."""

from __future__ import annotations

from types import FrameType

from attrs import evolve

from ocap.kernel.state import State
from ocap.protocol.deliveries import Delivery
from ocap.protocol.refs import VatId
from ocap.protocol.syscalls import Outcome
from ocap.ring.heap import Heap
from vats.liveslots import Liveslots
from vats.loader import VatSource


class VatstoreView:
    """One vat's rows, read locally: the kernel's cache first, then the store. Knows no other vat."""

    __slots__ = ("_state", "_vat")

    def __init__(self, state: State, vat: VatId) -> None:
        self._state = state
        self._vat = vat

    def get(self, key: bytes, /) -> bytes | None:
        return self._state.vatstore.get((self._vat, key))

    def scan(self, start: bytes, end: bytes, limit: int, /, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        return self._state.scan_vatstore(self._vat, start, end, limit, reverse=reverse)


class TaskSupervisor:
    """Runs a vat inside its trio task; the vat's own code sees neither trio nor the kernel."""

    def __init__(self, state: State, vat: VatId, heap: Heap) -> None:
        row = state.vats[vat]
        self.name = row.name
        self._source = VatSource(row.source, vat, row.options.imports or ())
        self._lines: list[str] = []
        self._liveslots = Liveslots(
            vat,
            VatstoreView(state, vat),
            self._source,
            registry=self._source.registry,
            log=self._lines.append,
            collect=heap.collect,
        )

    def is_own(self, frame: FrameType, /) -> bool:
        return self._source.is_of(frame.f_globals)

    def deliver(self, delivery: Delivery) -> Outcome:
        outcome = self._liveslots.deliver(delivery)
        if self._lines:
            outcome = evolve(outcome, log=tuple(self._lines))
            self._lines.clear()
        return outcome

    def close(self) -> None:
        self._liveslots.close()
        self._source.unload()
