"""What those who ask name: subclusters by id (`s1`) or name, vats by id (`v1`) or name, objects by kref (`ko7`).

A vat or subcluster stands for its root where an object is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ocap.host.inventory import Launch, Subcluster, Vat
from ocap.host.kernel import Kernel
from ocap.host.refs import HostRef
from ocap.legible import to_json
from ocap.protocol.errors import OcapError, SubclusterNotFoundError, VatNotFoundError
from ocap.protocol.refs import is_promise_kref, is_well_formed_kref

HELD = 1_000
"""References from answers that are kept for whoever got them over the socket; older ones are let go."""

Json = Any

T = TypeVar("T", Launch, Subcluster, Vat, Subcluster | Vat)


class NoSuchObjectError(OcapError, LookupError):
    """There is no object of that kref, or it has gone. The asker's fault."""


class AmbiguousNameError(OcapError, LookupError):
    """Several have that name; use the id of one. The asker's fault."""


class Names:
    """Finds in a kernel what is named, and holds what it told the names of: what nobody holds is collected.

    Raises, in all of its methods:
        SubclusterNotFoundError, VatNotFoundError, NoSuchObjectError: there is none of that name.
        AmbiguousNameError: there are several.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._held: OrderedDict[str, HostRef] = OrderedDict()

    def find(self, what: str) -> Subcluster | Vat:
        """The subcluster or vat of that id or name."""
        return _the_one(what, self._named(what))

    def vats(self, what: str) -> list[Vat]:
        """The vat of that id or name, or all of the subcluster."""
        found = self.find(what)
        return [found] if isinstance(found, Vat) else list(found.vats.values())

    def _named(self, what: str) -> list[Subcluster | Vat]:
        """The one of that id, or all of that name; at least one."""
        for get in (self._kernel.get_subcluster, self._kernel.get_vat):
            try:
                return [get(what)]
            except LookupError:
                pass
        named = self._kernel.get_named(what)
        if not named and (launch := self.launch(what)) is not None:
            raise SubclusterNotFoundError(
                f"{launch.name} ({launch.id}) is being launched: its bootstrap has not answered"
            )
        if not named:
            raise VatNotFoundError(f"there is no subcluster or vat {what}")
        return named

    def launch(self, what: str) -> Launch | None:
        """The subcluster of that id or name whose bootstrap has not answered yet, if there is one."""
        found = [it for it in self._kernel.get_launches() if what in (it.id, it.name)]
        return _the_one(what, found) if found else None

    def subcluster(self, name: str) -> Subcluster:
        try:
            return self._kernel.get_subcluster(name)
        except SubclusterNotFoundError:
            named = self.subclusters(name)
            if not named:
                raise
            return _the_one(name, named)

    def subclusters(self, name: str) -> list[Subcluster]:
        """All of that name."""
        return [it for it in self._kernel.get_named(name) if isinstance(it, Subcluster)]

    def vat(self, name: str) -> Vat:
        try:
            return self._kernel.get_vat(name)
        except VatNotFoundError:
            named = [it for it in self._kernel.get_named(name) if isinstance(it, Vat)]
            if not named:
                raise
            return _the_one(name, named)

    def object(self, name: str) -> HostRef:
        """The object of that kref, or the root of what has that id or name."""
        if is_well_formed_kref(name):
            if is_promise_kref(name):
                raise NoSuchObjectError(f"{name} is a promise; send to what it settles to")
            try:
                return self.keep(self._kernel.ref(name))
            except LookupError:
                raise NoSuchObjectError(f"there is no object {name}") from None
        named = self._named(name)
        roots = [it.root if isinstance(it, Subcluster) else self._kernel.root(it.id) for it in named]
        if len({root.kref for root in roots}) > 1:
            _the_one(name, named)
        return roots[0]  # a subcluster's is that of its bootstrap vat, whose name it often has

    def keep(self, ref: HostRef) -> HostRef:
        """Hold a reference for whoever was told its kref: what nobody holds is collected."""
        self._held[ref.kref] = ref
        self._held.move_to_end(ref.kref)
        if len(self._held) > HELD:
            self._held.popitem(last=False)
        return ref

    def to_answer(self, value: Any) -> Json:
        """A value as JSON, whose references are shown as krefs and kept for a while, so that they can be used."""
        for ref in _references(value):
            self.keep(ref)
        return to_json(value)

    def to_argument(self, value: Json) -> Any:
        """A value of JSON, in which `{"@ref": NAME}` is an object."""
        match value:
            case {"@ref": str(name)} if len(value) == 1:
                return self.object(name)
            case dict():
                return {key: self.to_argument(it) for key, it in value.items()}
            case list():
                return [self.to_argument(it) for it in value]
        return value


def _references(value: Any) -> Iterator[HostRef]:
    match value:
        case HostRef():
            yield value
        case Mapping():
            for key, it in value.items():
                yield from _references(key)
                yield from _references(it)
        case list() | tuple() | set() | frozenset():
            for it in value:
                yield from _references(it)


def _the_one(name: str, named: list[T]) -> T:
    if len(named) > 1:
        kinds = [f"{type(it).__name__.lower()} {it.id}" for it in named]
        raise AmbiguousNameError(f"{name} is the name of {', '.join(kinds)}; use the id of one")
    return named[0]
