"""What the core wants done outside, in order.

The ring holds all of it back until the commit that covers the crank it came from: nothing a crank
did is seen before it is durable.
"""

from __future__ import annotations

from attrs import define, frozen

from ocap.protocol import deliveries, syscalls
from ocap.protocol.refs import VatId

MESSAGES = frozenset({"deliver", "syscall"})
"""The kinds of events that there are for each message, and only while the log is to have messages."""


@frozen
class HostDelivery:
    """Something for the host program, in krefs: an answer, a message to a service, or what it may let go of."""

    delivery: deliveries.Delivery


@define
class Event:
    """One entry of the message log.

    Not frozen, as what else is told outside: there is one for each message while somebody follows, and the ring
    fills the times in rather than copy it. Nobody changes it after that.

    Attributes:
        crank: which crank; 0 before the first.
        cause: the crank that queued what this crank took up; 0 for the host.
        kind: deliver, syscall, log (a line the vat wrote), error (what a behaviour raised), fault,
            suspend, resume, terminate, note.
        vat: the vat it happened in or to; None for the kernel itself.
        kernel: the delivery or syscall in krefs, where there is one.
        vat_side: the same in vrefs.
        text: an explanation, for kinds that have no message.
        time: when its crank began, or between cranks when it was committed, in seconds since the epoch; told
            by the ring, as the core keeps no time.
        took: the seconds its crank took; None between cranks.
    """

    crank: int
    cause: int
    kind: str
    vat: VatId | None
    kernel: deliveries.Delivery | syscalls.Syscall | None = None
    vat_side: deliveries.Delivery | syscalls.Syscall | None = None
    text: str | None = None
    time: float | None = None
    took: float | None = None


Effect = HostDelivery | Event
