"""Deliveries: what the kernel hands a vat, one a crank. Plain frozen data.

Names are vrefs when a delivery crosses the wall and krefs inside the kernel: the clist turns one
into the other and changes nothing else. `wire` gives each its one CBOR form.
"""

from __future__ import annotations

from attrs import frozen

from ocap.protocol.capdata import CapData, Settlement


@frozen
class StartVat:
    """Build a new incarnation: load the code, call `build_root_object`.

    Attributes:
        incarnation: 0 for the first, one more for each restart or upgrade.
        parameters: the retained vatParameters.
        endowments: services that this vat's config names, by name.
    """

    incarnation: int
    parameters: CapData
    endowments: tuple[tuple[str, str], ...] = ()


@frozen
class Message:
    """Call `method` of `target`, one of the vat's exports or a promise it decides.

    Attributes:
        args: a two-element body: a list of positional arguments, a dict of keyword arguments.
        result: the promise the vat now decides; None when nobody wants an answer.
    """

    target: str
    method: str
    args: CapData
    result: str | None = None


@frozen
class Notify:
    """Promises the vat imported have settled: all that settled together, each once.

    They have left the clist: the vat must not name them again.
    """

    settlements: tuple[Settlement, ...]


@frozen
class DropExports:
    """Nobody can reach these exports any more; somebody may still recognise them."""

    vrefs: tuple[str, ...]


@frozen
class RetireExports:
    """Nobody can even recognise these exports: forget them."""

    vrefs: tuple[str, ...]


@frozen
class RetireImports:
    """The owner gave these up: weak collections must forget them."""

    vrefs: tuple[str, ...]


@frozen
class BringOutYourDead:
    """Report what the vat no longer holds. Runs no user code.

    Attributes:
        vrefs: imports that an earlier incarnation may have left behind, to be looked at too.
    """

    vrefs: tuple[str, ...] = ()


@frozen
class ReportEdges:
    """Say which references lead to which, so that cycles across vats can be found. Runs no user code.

    A vat may tell its report in parts, and is asked until it is whole. A delivery between two of them ends
    the report, as the heap is another then: the next part is the first of a new one.
    """


@frozen
class Ping:
    """Show that the vat still runs its deliveries. Runs no user code."""


Delivery = (
    StartVat | Message | Notify | DropExports | RetireExports | RetireImports | BringOutYourDead | ReportEdges | Ping
)
