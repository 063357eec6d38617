"""The slot table: which object goes by which vref, in both directions.

Rules:

1. An object's vref is noted on the object; it gets one when it is first sent or stored, and keeps it.
2. While alive there is one object a vref: the table finds it by a weak reference.
3. What the kernel can reach of the heap is pinned; dropExports takes the pin away.
4. What dies is only noted. Only bringOutYourDead acts on it, so syscalls are a function of deliveries.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DecodeError, NotPassableError
from ocap.protocol.marshal import Decoder
from ocap.protocol.passable import Registry
from vats.durable import STORE_KIND, MissingKindError
from vats.exo import Exo
from vats.presence import Presence
from vats.promise import VatPromise
from vats.stores import MapStore
from vats.vatstore import Counter

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

_REACHABLE, _RECOGNISABLE = b"r", b"s"


class _Entry(weakref.ref[Any]):
    __slots__ = ("vref",)
    vref: str


class Slots:
    """The slot table of one vat."""

    __slots__ = (
        "_copied", "_copy_decoder", "_dead", "_decoder", "_exports", "_objects", "_reached", "_recognised", "_vat",
        "pinned", "possibly_dead",
    )  # fmt: skip

    def __init__(self, vat: Liveslots, registry: Registry) -> None:
        self._vat = vat
        self._exports = Counter(vat.store, "o")
        self._objects: dict[str, _Entry] = {}
        self._dead: deque[_Entry] = deque()
        self._reached: set[str] = set()  # durable objects whose row says that the kernel reaches them
        self._recognised: set[str] = set()  # heap objects that the kernel recognises but does not reach
        self.pinned: dict[str, Any] = {}
        self.possibly_dead: dict[str, None] = {}
        self._copied: list[Any] = []
        self._decoder = Decoder(self.to_object, self._to_promise, registry)
        self._copy_decoder = Decoder(lambda slot, _: self._copied_at(slot), self._copied_at, registry)

    # Objects to names

    def export(self, reference: Any, settled: list[VatPromise]) -> str:
        """The vref of an object or promise that goes to the kernel."""
        if type(reference) is Presence and reference._ocap_vat is self._vat:
            return reference._ocap_vref
        if type(reference) is VatPromise and reference.vat is self._vat:
            return self._vat.promises.export(reference, settled)
        return self.export_object(reference)

    def export_object(self, reference: Any) -> str:
        """The vref of one of the vat's own objects, which the kernel reaches from now on."""
        if getattr(type(reference), "_ocap_durable", False):
            vref = self.name_durable(reference)
            if vref not in self._reached:
                self._reached.add(vref)
                self._vat.pillars.touch(vref)
                self._vat.store.put(b"x" + vref.encode(), _REACHABLE)
            return vref
        self._check_ours(reference)
        vref = reference._ocap_vref
        if vref is None:
            vref = reference._ocap_vref = refs.object_export(self._exports.allocate())
            self.register(reference)
        self.pinned[vref] = reference
        return vref

    def name_durable(self, reference: Any) -> str:
        """The vref of a reference that may be stored."""
        self._check_ours(reference)
        vref: str | None = reference._ocap_vref
        if vref is None:
            vref = reference._ocap_vref = self._vat.states.new_vref(type(reference))
            self.register(reference)
            self._vat.states.watch(reference)
        return vref

    def _check_ours(self, reference: Any) -> None:
        owner = getattr(reference, "_ocap_vat", None)
        if owner is None and isinstance(reference, Exo):
            reference._ocap_vat = self._vat  # made while its module was loaded outside any vat
        elif owner is not self._vat:
            raise NotPassableError("", f"a {type(reference).__name__} of another vat: get it by message")

    def register(self, reference: Any) -> None:
        vref = reference._ocap_vref
        entry = self._objects[vref] = _Entry(reference, self._dead.append)
        entry.vref = vref

    # Names to objects

    def decode(self, data: CapData) -> Any:
        """The value of `data`.

        Raises:
            DecodeError: whoever made it is at fault.
            MissingKindError: it mentions an object whose class this vat lacks; its author's fault.
        """
        try:
            return self._decoder.decode(data)
        except DecodeError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, MissingKindError):
                cause = cause.__cause__
            raise cause or error from None

    def decode_copy(self, body: bytes, references: list[Any]) -> Any:
        """A copy of a value that `marshal.encode` took apart, with the very same references."""
        self._copied = references
        # Names of the right sort, for slots that never leave this method.
        slots = tuple([f"{'p' if isinstance(r, VatPromise) else 'o'}{i}" for i, r in enumerate(references)])
        try:
            return self._copy_decoder.decode(CapData(body, slots))
        finally:
            self._copied = []

    def _copied_at(self, slot: str) -> Any:
        return self._copied[refs.number_of(slot)]

    def find(self, vref: str) -> Any:
        """The object of `vref` if it is alive here, else None."""
        entry = self._objects.get(vref)
        return None if entry is None else entry()

    def to_object(self, vref: str, interface: str) -> Any:
        """The object of `vref`: the one alive, else a new presence or representative.

        Raises:
            DecodeError: a heap object that this incarnation never exported, or that died.
            MissingKindError: a durable one whose class is missing.
        """
        found = self.find(vref)
        if found is not None:
            return found
        if not refs.is_vat_allocated(vref):
            found = Presence(self._vat, vref, interface)
        elif not refs.is_durable(vref) or vref == refs.ROOT:
            raise DecodeError(f"{vref} is no object of this incarnation")
        elif refs.durable_parts(vref)[0] == STORE_KIND:
            found = MapStore._ocap_at(self._vat, vref)
        else:
            found = self._vat.states.reanimate(vref)
        self.register(found)
        return found

    def to_stored_object(self, vref: str) -> Any:
        """Like `to_object`, for a reference in a key, where its interface is not at hand."""
        found = self.find(vref)
        return found if found is not None else self.to_object(vref, self._vat.rows.stored_interface(vref))

    def _to_promise(self, vpid: str) -> VatPromise:
        return self._vat.import_promise(vpid)

    def interface_of(self, vref: str) -> str:
        """The interface an import alleges, to be stored with it; empty for the vat's own."""
        found = self.find(vref)
        return found._interface_name() if type(found) is Presence else ""

    # What the kernel no longer holds, and what died

    def drop_export(self, vref: str) -> None:
        if vref == refs.ROOT:
            return  # whoever restarts the vat reaches it again
        self.pinned.pop(vref, None)
        self._change_status(vref, _RECOGNISABLE)

    def retire_export(self, vref: str) -> None:
        if vref == refs.ROOT:
            return
        self.pinned.pop(vref, None)
        self._change_status(vref, None)
        if not refs.is_durable(vref):
            found = self.find(vref)
            if found is not None:
                found._ocap_vref = None
            self._objects.pop(vref, None)

    def _change_status(self, vref: str, status: bytes | None) -> None:
        if refs.is_durable(vref):
            self._reached.discard(vref)
            self._vat.pillars.touch(vref)
            self._vat.store.put(b"x" + vref.encode(), status)
        elif status is None:
            self._recognised.discard(vref)
        else:
            self._recognised.add(vref)
        self.possibly_dead[vref] = None

    def forget_status(self, vref: str) -> bool:
        """Forget that the kernel recognises a dead export; whether it did, so that it must be told."""
        if not refs.is_durable(vref):
            was_recognised = vref in self._recognised
            self._recognised.discard(vref)
            return was_recognised
        key = b"x" + vref.encode()
        if self._vat.store.get(key) is None:
            return False
        self._vat.store.put(key, None)
        return True

    def is_reached(self, vref: str) -> bool:
        """Whether the kernel reaches a durable object."""
        return vref in self._reached or self._vat.store.get(b"x" + vref.encode()) == _REACHABLE

    def alive(self) -> Iterator[tuple[str, Any]]:
        """Every object that has a vref and is alive."""
        for vref, entry in list(self._objects.items()):
            found = entry()
            if found is not None:
                yield vref, found

    def reached_durables(self) -> list[str]:
        """The durable objects that the kernel reaches."""
        return [key[1:].decode() for key, status in self._vat.store.scan(b"x") if status == _REACHABLE]

    def suspect(self, vrefs: Iterable[str]) -> None:
        """What an earlier incarnation may have held on its heap."""
        self.possibly_dead.update(dict.fromkeys(vrefs))

    def bury(self) -> None:
        """Forget the entries of what died; its vrefs become possibly dead. Emits nothing."""
        while self._dead:
            entry = self._dead.popleft()
            if self._objects.get(entry.vref) is entry:  # else it was made anew meanwhile
                del self._objects[entry.vref]
                self.possibly_dead[entry.vref] = None
