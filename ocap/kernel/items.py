"""What waits in the run queue. Names are krefs; every one of them is counted while it waits.

`cause` is the crank that queued the item (0: the host), so that a reader of the log can go from
any crank back to what made it happen.
"""

from __future__ import annotations

from attrs import frozen

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
    """A vat's first incarnation is to be built."""

    vat: VatId
    cause: int


@frozen
class TerminateVat:
    """A vat is to end. What its peers see is one fixed text; the reason goes to the log."""

    vat: VatId
    reason: str
    cause: int


Item = Send | Notify | CreateVat | TerminateVat
