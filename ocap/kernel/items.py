"""What waits in the run queue. Names are krefs; every one of them is counted while it waits.

`cause` is the crank that queued the item (0: the host), so that a reader of the log can go from
any crank back to what made it happen.
"""

from __future__ import annotations

from attrs import frozen

from ocap.kernel.options import VatOptions
from ocap.protocol.capdata import CapData
from ocap.protocol.refs import Kref, VatId


@frozen
class Send:
    """A message on its way. Where it goes is decided when it is taken from the queue."""

    target: Kref
    method: str
    args: CapData
    result: Kref | None
    cause: int


@frozen
class Notify:
    """A vat is to hear that a promise settled."""

    vat: VatId
    promise: Kref
    cause: int


@frozen
class CreateVat:
    """A vat's first incarnation is to be built; `result` is for its root and its admin object."""

    vat: VatId
    cause: int
    result: Kref | None = None


@frozen
class UpgradeVat:
    """A vat's next incarnation is to run other code, or get other parameters or options (None: those it has).

    `result` is for the number of that incarnation. One without options is asked for by itself, and its
    subcluster's config takes over what it brings; one with options follows from that config.
    """

    vat: VatId
    source: str | None
    parameters: CapData | None
    result: Kref | None
    cause: int
    options: VatOptions | None = None


@frozen
class PingVat:
    """A vat is to show that it runs; `result` is for True."""

    vat: VatId
    result: Kref
    cause: int


@frozen
class TerminateVat:
    """A vat is to end. What its peers see is one fixed text; the reason goes to the log.

    Attributes:
        detail: what its administrator's `done()` is rejected with; None: an error with the reason.
    """

    vat: VatId
    reason: str
    cause: int
    detail: CapData | None = None


Item = Send | Notify | CreateVat | UpgradeVat | PingVat | TerminateVat


def slots_of(item: Item) -> tuple[str, ...]:
    """What an item holds, beside a message's target and the promise of a notify."""
    match item:
        case Send(args=data) | UpgradeVat(parameters=CapData() as data) | TerminateVat(detail=CapData() as data):
            slots = data.slots
        case _:
            slots = ()
    match item:
        case UpgradeVat(options=VatOptions() as options):
            slots += tuple([kref for _, kref in options.endowments])
    match item:
        case Send(result=str() as result) | CreateVat(result=str() as result):
            return (*slots, result)
        case UpgradeVat(result=str() as result) | PingVat(result=result):
            return (*slots, result)
    return slots
