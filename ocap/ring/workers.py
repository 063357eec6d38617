"""A trio task per vat, with a mailbox.

Deliveries go down one memory channel, outcomes come back on another. A vat's task holds its
incarnation's heap; stopping the task is giving up the heap.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import trio
from attrs import frozen

from ocap.protocol.deliveries import Delivery
from ocap.protocol.refs import VatId
from ocap.protocol.syscalls import Outcome

MAILBOX = 8
"""Deliveries a mailbox holds. The scheduler sends one at a time; room to spare for its successors."""


class Supervisor(Protocol):
    """What runs one incarnation of a vat: synchronous, and no exception comes out of user code.

    Attributes:
        name: the vat's.
    """

    name: str

    def is_own(self, frame: FrameType, /) -> bool:
        """Whether the vat's own code runs in this frame; asked from any thread."""
        ...

    def deliver(self, delivery: Delivery) -> Outcome: ...
    def close(self) -> None: ...


@frozen
class _Worker:
    supervisor: Supervisor
    mailbox: trio.MemorySendChannel[Delivery]
    outcomes: trio.MemoryReceiveChannel[Outcome]

    def close(self) -> None:
        self.mailbox.close()
        self.outcomes.close()


class Workers:
    """The running vats.

    Args:
        nursery: where the tasks live.
        supervise: makes the supervisor of a vat's next incarnation.
    """

    def __init__(self, nursery: trio.Nursery, supervise: Callable[[VatId], Supervisor]) -> None:
        self._nursery = nursery
        self._supervise = supervise
        self._workers: dict[VatId, _Worker] = {}
        self._beside: dict[VatId, _Worker] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def supervisor(self, vat: VatId) -> Supervisor | None:
        """What runs a vat, or its upgrade, if anything does; asked from any thread."""
        worker = self._beside.get(vat) or self._workers.get(vat)
        return None if worker is None else worker.supervisor

    async def deliver(self, vat: VatId, delivery: Delivery, *, beside: bool = False) -> Outcome:
        """Hand a delivery to the vat's task, started if need be, and wait for what came of it.

        `beside`: to a new task beside the one it has, until `conclude` says which of them stays.
        """
        workers = self._beside if beside else self._workers
        worker = workers.get(vat)
        if worker is None:
            worker = workers[vat] = self._start(vat)
        try:
            worker.mailbox.send_nowait(delivery)
            return await worker.outcomes.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            # A cancellation of the whole kernel may reach the vat's task first: that is no fault of the vat.
            await trio.lowlevel.checkpoint_if_cancelled()
            return Outcome(fault="its worker was lost")

    def conclude(self, vat: VatId, succeeded: bool) -> None:
        """The task beside the vat's own takes its place, or ends."""
        worker = self._beside.pop(vat)
        if succeeded:
            self.stop(vat)
            self._workers[vat] = worker
        else:
            worker.close()

    def stop(self, vat: VatId) -> None:
        """Give up the vat's heap. Its task ends when it next waits."""
        worker = self._workers.pop(vat, None)
        if worker is not None:
            worker.close()

    def _start(self, vat: VatId) -> _Worker:
        mailbox, deliveries = trio.open_memory_channel[Delivery](MAILBOX)
        outcomes, results = trio.open_memory_channel[Outcome](MAILBOX)
        supervisor = self._supervise(vat)
        self._nursery.start_soon(_run_vat, supervisor, deliveries, outcomes, name=f"vat {vat}")
        return _Worker(supervisor, mailbox, results)


@trio.lowlevel.enable_ki_protection  # Ctrl-C is for the program, not for the behaviour that runs just then
async def _run_vat(
    supervisor: Supervisor,
    deliveries: trio.MemoryReceiveChannel[Delivery],
    outcomes: trio.MemorySendChannel[Outcome],
) -> None:
    with deliveries, outcomes:
        try:
            async for delivery in deliveries:
                try:
                    outcome = supervisor.deliver(delivery)
                except Exception as error:  # our own mistake in the vat's layer: it costs the vat, not the kernel
                    text = "".join(traceback.format_exception(error))
                    outcome = Outcome(
                        fault=f"its supervisor failed: {error!r:.200}", complaints=(("supervisor", text),)
                    )
                try:
                    outcomes.send_nowait(outcome)
                except trio.BrokenResourceError:
                    return
        finally:
            supervisor.close()
