"""The kernel's own objects: vat-admin, which creates vats, and the admin object of each vat it created.

A message to one of them is a crank in which the kernel itself acts, at once and without IO. What
takes a vat (its creation, an upgrade) is queued and answers the message when its turn has come.

Owns the table of facets. They are exports of the endpoint `kernel`, counted and collected as a vat's.

Invariants:

1. Whatever a message asks, it only raises into its own answer.
2. A vat created by a subcluster's vat-admin belongs to that subcluster, and ends with it.
3. Every request is answered, also when its subject dies before.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import PurePath
from typing import Any, get_args

from attrs import define

from ocap.kernel.bodies import Named, find_promise, read_body, write_body
from ocap.kernel.items import CreateVat, PingVat, Send, TerminateVat, UpgradeVat
from ocap.kernel.lifecycle import Lifecycle, VatSpec
from ocap.kernel.options import FAULT_LIMIT, FaultPolicy, VatOptions
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import FacetKind, FacetRow, VatRow
from ocap.kernel.state import State
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import NotPassableError, OcapError, VatNotFoundError
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import KERNEL, Kref, VatId, durable_export

_KINDS: dict[FacetKind, int] = {"vat_admin": 1, "admin": 2}

MAX_NAME = 200
"""Characters of a vat's name, as in SwingSet's vat-admin."""

MAX_FAULT_LIMIT = 1_000_000
"""Faults a vat may be allowed: more than any has, and small enough for the store."""

_UNSET: Any = object()


@define(eq=False)
class Facets:
    """What vats may ask of the kernel.

    Args:
        end: gives up a vat's heap.
    """

    _state: State
    _counts: Refcounts
    _promises: Promises
    _lifecycle: Lifecycle
    _end: Callable[[VatId, str], None]

    def make(self, kind: FacetKind, subject: str, done: Kref | None = None) -> Kref:
        """A new object of the kernel's; the caller sees to it that somebody holds it."""
        state = self._state
        kref = state.new_object(KERNEL)
        state.maybe_free[kref] = None
        state.clist(KERNEL).add(kref, durable_export(_KINDS[kind], state.next_number("facet")))
        if done is not None:
            self._counts.incref(done)
        state.facets.insert(kref, FacetRow(kref, kind, subject, done))
        return kref

    def retire(self, krefs: tuple[str, ...]) -> None:
        """Nobody can name these any more."""
        for kref in krefs:
            row = self._state.facets[kref]
            if row.done is not None:
                self._counts.decref(row.done)
            self._state.facets.delete(kref)

    def deliver(self, target: str, item: Send) -> None:
        """Do what a message to the facet `target` asks and answer it, or see to it that it is answered."""
        facet = self._state.facets[target]
        try:
            answer = self._call(facet, item)
        except (OcapError, AttributeError, TypeError, ValueError) as error:
            self._settle(item, True, encode_error(error))
        else:
            if answer is not None:
                self._settle(item, False, answer)

    def _settle(self, item: Send, rejected: bool, data: CapData) -> None:
        if item.result is not None:
            self._promises.settle(self._state.promises[item.result], rejected, data)

    def _call(self, facet: FacetRow, item: Send) -> CapData | None:
        method = _METHODS[facet.kind].get(item.method)
        if method is None:
            known = ", ".join(_METHODS[facet.kind])
            raise AttributeError(f"{facet.kind} has no method {item.method!r}; it has {known}")
        match read_body(item.args):
            case [list() as args, dict() as kwargs]:
                pass
            case _:
                raise TypeError("the body of a message must be a list of positional and a dict of keyword arguments")
        try:
            signature(method).bind(self, facet, item, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{item.method}: {error}") from None
        return method(self, facet, item, *args, **kwargs)

    # ---- vat_admin ------------------------------------------------------------------------------

    def _create_vat(
        self,
        facet: FacetRow,
        item: Send,
        source: Any,
        *,
        name: Any = "",
        parameters: Any = _UNSET,
        on_fault: Any = "suspend",
        fault_limit: Any = FAULT_LIMIT,
        imports: Any = None,
        critical: Any = False,
    ) -> None:
        """Queue a vat's creation; answers with (root, admin) when it has been created."""
        row = self._state.subclusters.get(facet.subject)
        if row is None:
            raise VatNotFoundError(f"subcluster {facet.subject} was terminated: no vats can be created in it")
        _check(name, str, "name")
        if len(name) > MAX_NAME or not (name.isprintable()):
            raise ValueError(f"name: at most {MAX_NAME} printable characters")
        _check(critical, bool, "critical")
        if critical and not row.is_system:
            raise ValueError("critical: only a system subcluster may create vats that stop the kernel")
        if on_fault not in get_args(FaultPolicy) or (on_fault == "panic" and not row.is_system):
            raise ValueError("on_fault: 'suspend' or 'terminate'; 'panic' is for system subclusters")
        _check(fault_limit, int, "fault_limit")
        if not 1 <= fault_limit <= MAX_FAULT_LIMIT:
            raise ValueError(f"fault_limit: at least 1, not {fault_limit}; at most {MAX_FAULT_LIMIT}")
        if imports is not None:
            _check(imports, list, "imports")
            for module in imports:
                _check(module, str, "imports")
        spec = VatSpec(
            name or "dynamic",
            self._source(source, row.bootstrap),
            _parameters({} if parameters is _UNSET else parameters),
            VatOptions(critical, on_fault, fault_limit, None if imports is None else tuple(imports)),
        )
        vat = self._lifecycle.create(spec, row.id)
        self._lifecycle.watch_end(vat)
        self._state.queue.push(CreateVat(vat.id, self._state.crank, self._pass_on(item)))

    def _source(self, source: Any, bootstrap: VatId) -> str:
        """A file beside that of the vat which was bootstrapped, unless it says where it is."""
        _check(source, str, "source")
        if not source.endswith(".py") or PurePath(source).is_absolute():
            return str(source)
        first = self._state.vats.get(bootstrap)
        if first is None or not first.source.endswith(".py"):
            raise ValueError(
                f"source: {source} is relative, and its subcluster has no folder; name a module, or a full path"
            )
        return str(PurePath(first.source).parent / source)

    def created(self, vat: VatRow, result: Kref) -> None:
        """Answer who asked for a vat that has been created; the host program needs no admin object."""
        assert vat.root is not None
        root = Named(vat.name, vat.root)
        made = root if vat.done is None else (root, Named("Admin", self.make("admin", vat.id, vat.done)))
        self._promises.settle(self._state.promises[result], False, write_body(made))

    # ---- admin ----------------------------------------------------------------------------------

    def _done(self, facet: FacetRow, item: Send) -> None:
        """How the vat ends: its exit value, or why it was terminated."""
        if item.result is not None:
            assert facet.done is not None
            self._promises.forward(self._state.promises[item.result], self._state.promises[facet.done])

    def _upgrade(self, facet: FacetRow, item: Send, source: Any = None, *, parameters: Any = _UNSET) -> None:
        """Queue an upgrade; answers with the number of the new incarnation."""
        vat = self._vat(facet)
        new = None
        if source is not None:
            assert vat.subcluster is not None
            new = self._source(source, self._state.subclusters[vat.subcluster].bootstrap)
        data = None if parameters is _UNSET else _parameters(parameters)
        if data is not None:
            self._counts.incref_slots(data)
        self._state.queue.push(UpgradeVat(vat.id, new, data, self._pass_on(item), self._state.crank))

    def _restart(self, facet: FacetRow, _: Send) -> CapData:
        self._end(self._vat(facet).id, "it was restarted")
        return write_body(None)

    def _suspend(self, facet: FacetRow, _: Send) -> CapData:
        vat = self._vat(facet)
        self._end(vat.id, "it was suspended")
        self._lifecycle.suspend(vat, "its administrator asked for it")
        return write_body(None)

    def _resume(self, facet: FacetRow, _: Send) -> CapData:
        self._lifecycle.resume(self._vat(facet))
        return write_body(None)

    def _ping(self, facet: FacetRow, item: Send) -> CapData | None:
        vat = self._vat(facet)
        result = self._pass_on(item)
        if result is not None:
            self._state.queue.push(PingVat(vat.id, result, self._state.crank))
        return None

    def _terminate(self, facet: FacetRow, _: Send, reason: Any = "its administrator terminated it") -> CapData:
        vat = self._vat(facet)
        if vat.options.critical:
            raise ValueError(f"vat {vat.name} is critical: only the host program terminates it")
        detail = None
        match reason:
            case str():
                text = reason
            case Exception(args=(str(said), *_)):
                text = f"{type(reason).__name__}: {said}"
            case _:  # as a text it would differ from run to run
                text = f"its administrator terminated it, with a {type(reason).__name__}"
        if not isinstance(reason, str):
            detail = write_body(reason)
            self._counts.incref_slots(detail)
        self._state.queue.push(TerminateVat(vat.id, text, self._state.crank, detail))
        return write_body(None)

    def _vat(self, facet: FacetRow) -> VatRow:
        vat = self._state.vats.get(VatId(facet.subject))
        if vat is None or vat.state == "terminated":
            raise VatNotFoundError(f"vat {facet.subject} was terminated")
        return vat

    def _pass_on(self, item: Send) -> Kref | None:
        """The message's result, for another item to carry."""
        if item.result is not None:
            self._counts.incref(item.result)
        return item.result


def _check(value: Any, kind: type, where: str) -> None:
    if type(value) is not kind:
        raise TypeError(f"{where}: expected {kind.__name__}, got {type(value).__name__}")


def _parameters(value: Any) -> CapData:
    place = find_promise(value, "parameters")
    if place is not None:
        raise NotPassableError(place, "a promise cannot be kept in parameters; await it, and pass what it settles to")
    return write_body(value)


_Method = Callable[..., CapData | None]

_METHODS: dict[FacetKind, dict[str, _Method]] = {
    "vat_admin": {"create_vat": Facets._create_vat},
    "admin": {
        "done": Facets._done,
        "upgrade": Facets._upgrade,
        "restart": Facets._restart,
        "suspend": Facets._suspend,
        "resume": Facets._resume,
        "ping": Facets._ping,
        "terminate": Facets._terminate,
    },
}
