"""Kinds: which class an off-heap object is of, as the number in its vref `o+dKIND/INSTANCE`.

A durable kind is found again by the name of its class, in whichever incarnation. A virtual one has
a number of its own in each incarnation, so its vrefs never name anything of an earlier one.

Rules:

1. Every durable kind that has objects has its class when `build_root_object` has returned, or the
   incarnation does not start.
2. A class of its own module is declared once an incarnation.
3. The facets of a kind keep their indices: new ones come behind, in order of their names; none goes
   while there are objects.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ocap.protocol import refs
from ocap.protocol.errors import OcapError
from vats import running
from vats.vatstore import Counter

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

MAP, SET, WEAK_MAP, WEAK_SET = range(1, 5)
STORE_KINDS = range(MAP, WEAK_SET + 1)
"""Stores. All of them draw their instance numbers from one counter, so a number names one store."""

FIRST_CLASS_KIND = 10
"""Classes of exos and kits have this number and those above."""

_library: WeakValueDictionary[str, type[Any]] = WeakValueDictionary()
"""Classes from modules that vats share."""


class MissingKindError(OcapError, LookupError):
    """Stored objects are of a class, or have a facet, that the vat's code no longer defines; its author's fault."""


def kind_name(cls: type[Any]) -> str:
    """What a kind is stored under. A vat's own classes leave the module out: an upgrade may rename the file."""
    return cls.__qualname__ if "@" in cls.__module__ else f"{cls.__module__}.{cls.__qualname__}"


def declare(cls: type[Any]) -> None:
    """Let objects of `cls` be found by its name.

    Raises:
        TypeError: the vat's module declares two classes of that name; its author's fault.
    """
    name = kind_name(cls)
    if "@" not in cls.__module__:
        _library[name] = cls  # the latest counts: the module may have been loaded again
    elif running.vat is not None:
        own = running.vat.states.kinds.own
        if name in own:
            raise TypeError(f"class {name} is declared twice: its stored objects could be of either; rename one")
        own[name] = cls


class Kinds:
    """The kinds of one vat.

    Attributes:
        own: the classes of its own module, by name.
    """

    __slots__ = (
        "_classes",
        "_counter",
        "_facets",
        "_instances",
        "_names",
        "_numbers",
        "_vat",
        "_virtual",
        "_virtual_instances",
        "own",
    )

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self.own: dict[str, type[Any]] = {}
        self._counter = Counter(vat.store, "k")
        self._instances: dict[int, Counter] = {}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._facets: dict[int, tuple[str, ...]] = {}
        self._virtual: dict[type[Any], int] = {}
        self._virtual_instances = count(1)  # their kinds are this incarnation's alone, so nothing is to be kept
        self._classes: dict[int, type[Any]] = {}  # known to fit what is stored

    def load(self) -> None:
        """Read which kinds earlier incarnations had."""
        for key, row in self._vat.store.scan(b"k"):
            name, *facets = row.decode().split("\n")
            number = int(key[1:])
            self._names[number] = name
            self._numbers[name] = number
            self._facets[number] = tuple(facets)

    def stored(self) -> list[tuple[int, str]]:
        """Number and name of each kind that earlier incarnations had."""
        return sorted(self._names.items())

    def new_vref(self, cls: type[Any]) -> str:
        """A name for a new object of `cls`."""
        if cls._ocap_durable:
            kind = self._numbers.get(kind_name(cls))
            if kind is None:
                kind = self._enter(cls)
            vref = refs.durable_export(kind, self.new_instance(kind))
        else:
            kind = self._virtual.get(cls, 0)
            if not kind:
                kind = self._virtual[cls] = FIRST_CLASS_KIND - 1 + self._counter.allocate()
                self._classes[kind] = cls
                self._facets[kind] = cls._ocap_facet_names
            vref = refs.virtual_export(kind, next(self._virtual_instances))
        self._vat.pillars.touch(vref)
        return vref

    def new_store(self, kind: int, *, durable: bool) -> str:
        """A name for a new store."""
        number = self.new_instance(MAP)
        vref = refs.durable_export(kind, number) if durable else refs.virtual_export(kind, number)
        self._vat.pillars.touch(vref)
        return vref

    def new_instance(self, kind: int) -> int:
        counter = self._instances.get(kind)
        if counter is None:
            counter = self._instances[kind] = Counter(self._vat.store, f"d{kind}")
        return counter.allocate()

    def _enter(self, cls: type[Any]) -> int:
        kind = FIRST_CLASS_KIND - 1 + self._counter.allocate()
        name = kind_name(cls)
        self._numbers[name] = kind
        self._names[kind] = name
        self._classes[kind] = cls
        self._set_facets(kind, tuple(sorted(cls._ocap_facet_names)))
        return kind

    def _set_facets(self, kind: int, facets: tuple[str, ...]) -> None:
        self._facets[kind] = facets
        self._vat.store.put(b"k%d" % kind, "\n".join([self._names[kind], *facets]).encode())

    def facets_of(self, vref: str) -> tuple[str, ...]:
        """The names of an object's facets, by index; none if it is no kit."""
        return self._facets.get(refs.durable_parts(vref)[0], ())

    def class_of(self, vref: str) -> type[Any]:
        """The class of an object, checked to fit what is stored of it.

        Raises:
            MissingKindError: the vat no longer has it, or no longer one that fits.
        """
        kind = refs.durable_parts(vref)[0]
        cls = self._classes.get(kind)
        if cls is None:
            cls = self._classes[kind] = self._find(kind)
        return cls

    def _find(self, kind: int) -> type[Any]:
        name = self._names.get(kind, "unknown")
        short = name.rpartition(".")[2]
        cls = self.own.get(name) or _library.get(name)
        stored = self._facets.get(kind, ())
        base = "DurableExoKit" if stored else "DurableExo"
        if cls is None:
            raise MissingKindError(
                f"stored objects are of class {name}, which this vat no longer defines; "
                f"bring back `class {short}({base})`"
            )
        if not cls._ocap_durable or bool(stored) != bool(cls._ocap_facet_names):
            raise MissingKindError(
                f"stored objects of class {name} are of a {base}, and the class is none now; give one of them another name"
            )
        gone = [facet for facet in stored if facet not in cls._ocap_facet_names]
        if gone:
            raise MissingKindError(
                f"stored objects of class {name} have a facet {', '.join(gone)}, which the class no longer has; "
                "bring it back: somebody may hold it"
            )
        added = sorted(set(cls._ocap_facet_names) - set(stored))
        if added:
            self._set_facets(kind, (*stored, *added))
        return cls

    def check(self) -> None:
        """At the end of a start: raises `MissingKindError` where rule 1 is broken."""
        for kind, _ in self.stored():
            try:
                self.class_of(refs.durable_export(kind, 0))
            except MissingKindError:
                if self._vat.store.has_any(b"so+d%d/" % kind):
                    raise
