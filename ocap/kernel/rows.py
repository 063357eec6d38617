"""The rows of the kernel's tables, as they stand in memory.

A row is mutable: `Table.edit` first, then assign. What a field refers to is counted: see `refcounts`.
"""

from __future__ import annotations

from typing import Literal

from attrs import define, field

from ocap.kernel.options import DEFAULT_OPTIONS, VatOptions
from ocap.protocol.capdata import CapData
from ocap.protocol.refs import Kref, SubclusterId, VatId, Vref

PromiseState = Literal["unresolved", "fulfilled", "rejected", "forwarded"]
VatState = Literal["new", "live", "suspended", "terminated"]
SubclusterState = Literal["launching", "running"]
FacetKind = Literal["vat_admin", "admin"]
GcKind = Literal["drop_export", "retire_export", "retire_import"]


@define(eq=False)
class Row:
    """What rows have in common.

    Attributes:
        unit: the last unit of work whose journal has this row as it was before.
    """

    unit: int = field(default=0, init=False, repr=False)


@define(eq=False)
class ObjectRow(Row):
    """An object: who exports it, and how many can reach or merely recognise it."""

    kref: Kref
    owner: VatId | None
    reachable: int = 0
    recognizable: int = 0
    gone: str | None = None  # why it cannot be sent to: it has no owner, or is revoked


@define(eq=False)
class PromiseRow(Row):
    """A promise. Unresolved, its decider settles it; None while a queued message carries it."""

    kref: Kref
    decider: VatId | None
    refs: int = 0
    state: PromiseState = "unresolved"
    data: CapData | None = None  # fulfilled or rejected: what with
    target: Kref | None = None  # forwarded: the promise it follows
    # Who is to be told: vats, and the promises that follow this one. A dict for its order.
    subscribers: dict[str, None] = field(factory=dict)
    # The unit of work that the dict of these is of: the journal may have the one before.
    copied: int = field(default=0, init=False)


@define(eq=False)
class ClistRow:
    """One name a vat has.

    Attributes:
        reachable: the importer holds it; the exporter has not been told to drop it.
        heard: a promise whose settlement the vat wants to hear of in any incarnation.
        decided: a promise that the vat goes on deciding in any incarnation.
    """

    vat: VatId
    kref: Kref
    vref: Vref
    reachable: bool = True
    heard: bool = False
    decided: bool = False


@define(eq=False)
class VatRow(Row):
    """A vat. Its `root` and the slots of its `parameters` are counted references."""

    id: VatId
    name: str
    subcluster: SubclusterId | None
    source: str
    parameters: CapData
    root: Kref | None
    state: VatState = "new"
    incarnation: int = -1
    # Whether the current incarnation has been disconnected: its promises rejected, its heap's
    # exports orphaned. A vat without a worker is disconnected before it is started again.
    ended: bool = True
    faults: int = 0
    next_import: int = 1
    options: VatOptions = DEFAULT_OPTIONS
    # For whoever administers the vat: how it ended. A counted reference.
    done: Kref | None = None
    # The last restart of all vats when the current incarnation was begun.
    epoch: int = 0
    # Why it is suspended, for whoever looks after it.
    reason: str | None = None

    @property
    def is_created(self) -> bool:
        """Whether it has, or had, an incarnation."""
        return self.incarnation >= 0


@define(eq=False)
class SubclusterRow(Row):
    """A subcluster.

    Attributes:
        config: as it was given; its slots are counted references.
        result: follows the promise for what bootstrap returned; a counted reference.
        is_system: declared by the host program at its start.
        replaces: the subcluster that this one takes the place of, once its bootstrap has answered.
    """

    id: SubclusterId
    name: str
    config: CapData
    bootstrap: VatId
    result: Kref
    state: SubclusterState = "launching"
    is_system: bool = False
    replaces: SubclusterId | None = None


@define(eq=False)
class FacetRow:
    """An object of the kernel's own.

    Attributes:
        kind: vat_admin, which creates vats of the subcluster `subject`; admin, of the vat `subject`.
        done: for an admin, the promise of how its vat ended; a counted reference.
    """

    kref: Kref
    kind: FacetKind
    subject: str
    done: Kref | None = None


@define(eq=False)
class DeadLetterRow:
    """A delivery whose crank faulted, and why."""

    number: int
    crank: int
    vat: VatId
    target: str
    method: str
    args: CapData
    reason: str
