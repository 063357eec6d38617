"""Syscalls: what a vat asks of the kernel, and the outcome that carries a crank's worth of them.

A vat never waits for a syscall. It records them in order, and when its turn queue is empty they
go to the kernel as one `Outcome`, to be applied whole or not at all. Names are vrefs on the
vat's side of the wall.
"""

from __future__ import annotations

from attrs import frozen

from ocap.protocol.capdata import CapData, Settlement


@frozen
class Send:
    """Queue a message. Naming a `result` also subscribes the sender to it.

    Attributes:
        target: an object or promise the vat can name.
        args: a two-element body: a list of positional arguments, a dict of keyword arguments.
        result: a promise new to the kernel, or one the vat decides; the receiver decides it next.
    """

    target: str
    method: str
    args: CapData
    result: str | None = None


@frozen
class Subscribe:
    """Ask to be notified when an imported promise settles. Idempotent."""

    promise: str


@frozen
class Resolve:
    """Settle promises this vat decides, all or none. They leave the vat's clist."""

    settlements: tuple[Settlement, ...]


@frozen
class Forward:
    """Make a promise this vat decides follow another one. It leaves the vat's clist.

    SwingSet has no such syscall: there a promise that follows another dies with the vat
    between them. Here it settles as the other does, whoever lives.
    """

    promise: str
    to: str


@frozen
class Keep:
    """Let a promise's name outlive this incarnation; without it the kernel disconnects the promise.

    Attributes:
        promise: one the vat has subscribed to, or decides.
        decision: True: the vat goes on deciding it, in whichever incarnation; False: the vat goes on
            listening, and is started to be told.
    """

    promise: str
    decision: bool


@frozen
class DropImports:
    """The vat cannot reach these imports any more, but may still recognise them."""

    vrefs: tuple[str, ...]


@frozen
class RetireImports:
    """The vat cannot even recognise these imports, which it dropped before."""

    vrefs: tuple[str, ...]


@frozen
class RetireExports:
    """The vat gave up these exports, which nobody can reach."""

    vrefs: tuple[str, ...]


@frozen
class AbandonExports:
    """Break these exports: who holds one keeps its identity, but messages to it fail."""

    vrefs: tuple[str, ...]


@frozen
class Exit:
    """End this vat after the crank.

    Attributes:
        is_failure: if so the crank's other effects are undone.
        data: the completion value, or the error.
    """

    is_failure: bool
    data: CapData


Syscall = (
    Send | Subscribe | Resolve | Forward | Keep | DropImports | RetireImports | RetireExports | AbandonExports | Exit
)


@frozen
class Outcome:
    """Everything one crank of a vat did.

    Attributes:
        syscalls: in the order the vat made them.
        checkpoint: vatstore writes, key to value, at most one a key; None deletes.
        fault: why the crank must leave no trace; None when all is well.
        complaints: (error id, traceback text) of what behaviours raised, for the log only.
        log: lines the vat wrote to its log.
        unfinished: after bringOutYourDead, whether there is more to bring out; after reportEdges, whether this
            is not the last part of the report.
        edges: after reportEdges, from each export ("" for what holds without being held) to what it reaches;
            "#1" and so on are what is between, in this report only.
    """

    syscalls: tuple[Syscall, ...] = ()
    checkpoint: tuple[tuple[bytes, bytes | None], ...] = ()
    fault: str | None = None
    complaints: tuple[tuple[str, str], ...] = ()
    log: tuple[str, ...] = ()
    unfinished: bool = False
    edges: tuple[tuple[str, tuple[str, ...]], ...] = ()
