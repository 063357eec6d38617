"""The slot table: which object goes by which vref, in both directions.

Rules:

1. An object's vref is noted on the object (a presence's on its entry); it gets one when it is first sent or
   stored, and keeps it.
2. While alive there is one object a vref: the table finds it by a weak reference.
3. What the kernel can reach of the heap is pinned; dropExports takes the pin away. A kit off the
   heap is in the table, its facets are not: they hold it.
4. What dies is only noted. Only bringOutYourDead acts on it, so syscalls are a function of deliveries.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DecodeError, NotPassableError
from ocap.protocol.marshal import Decoder
from ocap.protocol.passable import Registry
from vats.exo import Exo
from vats.kinds import STORE_KINDS, MissingKindError
from vats.presence import Presence
from vats.promise import VatPromise
from vats.rows import vref_order
from vats.stores import STORES
from vats.vatstore import Counter

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

MANY_DEAD = 1000
"""Deaths after which each new entry of the table buries two dead ones: a scan of a million objects
leaves as many dead representatives, which rows still refer to."""

_REACHABLE, _RECOGNISABLE = b"r", b"s"


class Entry(weakref.ref[Any]):
    """What the table knows of one object, weakly; its callback notes that the object died.

    A presence has its vref from here: its death reads this memory anyway, and a million of them that
    are let go of in one statement are not to read a million strings beside (half of the time, once).
    """

    __slots__ = ("vref",)
    vref: str


class Slots:
    """The slot table of one vat."""

    __slots__ = (
        "_copied", "_copy_decoder", "_dead", "_decoder", "_exports", "_objects", "_reached", "_recognised", "_row_decoder",
        "_vat", "died", "lost", "pinned", "possibly_dead", "registry",
    )  # fmt: skip

    def __init__(self, vat: Liveslots, registry: Registry) -> None:
        self._vat = vat
        self.registry = registry
        self._exports = Counter(vat.store, "o")
        self._objects: dict[str, Entry] = {}
        self._dead: deque[Entry] = deque()
        self.died = self._dead.append  # one bound method for all entries
        self._reached: set[str] = set()  # durable objects whose row says that the kernel reaches them
        self._recognised: set[str] = set()  # heap objects that the kernel recognises but does not reach
        self.pinned: dict[str, Any] = {}
        self.possibly_dead: dict[str, None] = {}
        self.lost: deque[str] = deque()  # off-heap objects that only each other's rows refer to
        self._copied: list[Any] = []
        self._decoder = Decoder(self.to_object, self._to_promise, registry)
        self._row_decoder = Decoder(self.to_object, self._to_promise, registry, stored=True)
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
        vref = self.name(reference)
        if not refs.is_off_heap(vref):
            self.pinned[vref] = reference
        elif vref not in self._reached:
            self._reached.add(vref)
            self._vat.pillars.touch(vref)
            self._vat.store.put(self._vat.store.key(b"x", vref), _REACHABLE)
        return vref

    def name(self, reference: Any) -> str:
        """The vref of one of the vat's own objects, or of an object elsewhere."""
        self._check_ours(reference)
        vref: str | None = reference._ocap_vref
        if vref is not None:
            return vref
        if reference._ocap_off_heap:
            owner = getattr(reference, "_ocap_kit", reference)
            owner._ocap_vref = self._vat.states.kinds.new_vref(type(owner))
            self.register(owner)
            self._vat.states.watch(owner)
            self._vat.states.unnamed.discard(owner)
            if owner is not reference:
                owner._ocap_named()
            named: str = reference._ocap_vref
            return named
        vref = reference._ocap_vref = refs.object_export(self._exports.allocate())
        self.register(reference)
        return vref

    def facet_vref(self, base: str, name: str) -> str:
        """The vref of a facet of the kit `base`."""
        return refs.facet_export(base, self._vat.states.kinds.facets_of(base).index(name))

    def _check_ours(self, reference: Any) -> None:
        owner = getattr(reference, "_ocap_vat", None)
        if owner is None and isinstance(reference, Exo):
            reference._ocap_vat = self._vat  # made while its module was loaded outside any vat
        elif owner is not self._vat:
            raise NotPassableError("", f"a {type(reference).__name__} of another vat: get it by message")

    def register(self, reference: Any) -> None:
        """Have the table find one of the vat's own objects by its vref."""
        self._enter(reference._ocap_vref, reference)

    def _enter(self, vref: str, reference: Any) -> Entry:
        entry = self._objects[vref] = Entry(reference, self.died)
        entry.vref = vref
        if len(self._dead) > MANY_DEAD:
            self._bury_some()
        return entry

    # Names to objects

    def decode(self, data: CapData, *, stored: bool = False) -> Any:
        """The value of `data`, which came from the kernel or is of a row.

        Raises:
            DecodeError: whoever made it is at fault.
            MissingKindError: it mentions an object whose class this vat lacks; its author's fault.
        """
        try:
            return (self._row_decoder if stored else self._decoder).decode(data)
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
            found = Presence(self._vat, sys.intern(interface))  # one string for all of an interface
            found._ocap_entry = self._enter(vref, found)
            self._vat.weak.introduced(vref)
            return found
        if not refs.is_off_heap(vref):
            raise DecodeError(f"{vref} is no object of this incarnation")
        if refs.durable_parts(vref)[0] in STORE_KINDS:
            found = STORES[refs.durable_parts(vref)[0]]._ocap_at(self._vat, vref)
        else:
            facet = refs.facet_of(vref)
            if facet is not None:
                base = refs.base_of(vref)
                kit = self.to_object(base, "")
                return kit._ocap_facet_named(self._vat.states.kinds.facets_of(base)[facet])
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
        if (
            not refs.is_off_heap(vref)
            and not self._vat.rows.is_referenced(vref)
            and not self._vat.weak.recognises(vref)
        ):
            found = self.find(vref)
            if found is not None:
                found._ocap_vref = None
            self._objects.pop(vref, None)

    def _change_status(self, vref: str, status: bytes | None) -> None:
        if refs.is_off_heap(vref):
            self._reached.discard(vref)
            self._vat.pillars.touch(vref)
            self._vat.store.put(self._vat.store.key(b"x", vref), status)
        elif status is None:
            self._recognised.discard(vref)
        else:
            self._recognised.add(vref)
        self.possibly_dead[refs.base_of(vref)] = None

    def forget_status(self, vref: str) -> list[str]:
        """Forget that the kernel recognises a dead export: what it must be told of, the object or its facets."""
        if not refs.is_off_heap(vref):
            was_recognised = vref in self._recognised
            self._recognised.discard(vref)
            return [vref] if was_recognised else []
        told = []
        for name in self._names_of(vref):
            key = self._vat.store.key(b"x", name)
            if self._vat.store.get(key) is not None:
                self._vat.store.put(key, None)
                told.append(name)
        return told

    def is_reached(self, vref: str) -> bool:
        """Whether the kernel reaches an off-heap object, or any facet of it."""
        return any(self._is_reached(name) for name in self._names_of(vref))

    def reached_names_of(self, vref: str) -> list[str]:
        """The names by which the kernel reaches an off-heap object."""
        return [name for name in self._names_of(vref) if self._is_reached(name)]

    def _is_reached(self, name: str) -> bool:
        store = self._vat.store
        return name in self._reached or store.get(store.key(b"x", name)) == _REACHABLE

    def _names_of(self, vref: str) -> list[str]:
        """The vrefs that the kernel may know an off-heap object by."""
        facets = self._vat.states.kinds.facets_of(vref)
        if facets and refs.facet_of(vref) is None:
            return [refs.facet_export(vref, index) for index in range(len(facets))]
        return [vref]

    def alive(self) -> Iterator[tuple[str, Any]]:
        """Every object that has a vref and is alive."""
        for vref, entry in list(self._objects.items()):
            found = entry()
            if found is not None:
                yield vref, found

    def known_off_heap(self) -> Iterator[tuple[str, bool]]:
        """The off-heap objects and facets that the kernel knows, and whether it reaches them."""
        store = self._vat.store
        for prefix in (b"x", store.virtual + b"x"):
            for key, status in store.scan(prefix):
                yield key[len(prefix) :].decode(), status == _REACHABLE

    def suspect(self, vrefs: Iterable[str]) -> None:
        """What an earlier incarnation may have held on its heap."""
        self.possibly_dead.update(dict.fromkeys(vrefs))

    def take_suspects(self, limit: int) -> list[str]:
        """At most `limit` names of what may be dead, in the order of `vref_order`; each is taken once."""
        found: dict[str, None] = {}
        for names in (self._vat.rows.unreferenced, self.possibly_dead):
            while names and len(found) < limit:
                vref = names.popitem()[0]
                found[vref] = None
                # It may be a suspect for other reasons too.
                self.possibly_dead.pop(vref, None)
                entry = self._objects.get(vref)
                if entry is not None and entry() is None:
                    del self._objects[vref]
        for _ in range(min(len(self._dead), limit - len(found))):
            buried = self._bury()
            if buried is not None:
                found[buried] = None
        return sorted(found, key=vref_order)

    def _bury_some(self) -> None:
        """Keep up with a behaviour that makes and loses objects; what rows refer to is not dead.

        When they no longer do, `rows.unreferenced` has it.
        """
        for _ in range(2):
            vref = self._bury() if self._dead else None
            if vref is not None and not self._vat.rows.is_referenced(vref):
                self.possibly_dead[vref] = None

    def _bury(self) -> str | None:
        """Forget the entry that is dead the longest; its vref, which is a suspect now. Emits nothing."""
        entry = self._dead.popleft()
        if self._objects.get(entry.vref) is not entry:
            return None  # it was made anew meanwhile
        del self._objects[entry.vref]
        return entry.vref

    @property
    def has_suspects(self) -> bool:
        return bool(self._dead or self.possibly_dead or self._vat.rows.unreferenced or self.lost)
