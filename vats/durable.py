"""Durable exos: objects whose fields are rows of the vatstore, so they survive restart and upgrade."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform
from weakref import WeakValueDictionary

import attrs

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable
from vats import running
from vats.exo import Exo
from vats.rows import SCALARS, vref_order
from vats.vatstore import Counter

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots

_NO_DEFAULT = object()
_set_attribute = object.__setattr__  # past the check that only fields are assigned
_MUTABLE = (list, dict, set)
STORE_KIND = 1
"""The kind number of stores; classes of durable exos have the numbers above."""


class Field:
    """An annotated field: reads the state, fetching it from the vatstore on the first access."""

    __slots__ = ("default", "name", "where")

    def __init__(self, cls: type[Any], name: str, default: Any) -> None:
        self.name = name
        self.default = default
        self.where = f"{cls.__name__}.{name}"

    def __get__(self, instance: DurableExo | None, owner: type[Any]) -> Any:
        if instance is None:
            return self
        state = instance._ocap_state
        if state is None:
            state = instance._ocap_load()
        try:
            value = state[self.name]
        except KeyError:
            value = self._missing(instance, state)
        if type(value) not in SCALARS and instance._ocap_vref is not None and not isinstance(value, Remotable):
            instance._ocap_states().watch(instance)
        return value

    def _missing(self, instance: DurableExo, state: dict[str, Any]) -> Any:
        if self.default is _NO_DEFAULT:
            raise AttributeError(f"{self.where} has no value: the object was stored without it and it has no default")
        value = state[self.name] = instance._ocap_states().admit(self)
        return value


@dataclass_transform(kw_only_default=True, eq_default=False)
class DurableExo(Exo):
    """Base of objects that survive restart and upgrade. Annotated fields are the state.

    The constructor takes the fields by keyword. Fields hold any passable value but promises and
    heap exos; what is assigned is copied. A crank's changes are stored with the crank, or not at all.
    """

    __slots__ = ("_ocap_is_dirty", "_ocap_row", "_ocap_state")
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = True
    _ocap_fields: ClassVar[dict[str, Field]] = {}
    _ocap_state: dict[str, Any] | None
    _ocap_row: bytes | None
    _ocap_is_dirty: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._ocap_fields = dict(cls._ocap_fields)
        for base in reversed(cls.__mro__):  # also plain classes mixed in
            if "_ocap_machinery" in vars(base):
                continue
            annotations = vars(base).get("__annotations__", {})
            names = [n for n, hint in annotations.items() if not n.startswith("_") and not _is_class_var(hint)]
            for name in [*names, *(n for n in cls._ocap_fields if n in vars(base) and n not in names)]:
                default = vars(base).get(name, _NO_DEFAULT)
                field = default if isinstance(default, Field) else Field(cls, name, default)
                cls._ocap_fields[name] = field
                setattr(cls, name, field)
        name = kind_name(cls)
        if "@" not in cls.__module__:
            _library_kinds[name] = cls
        elif running.vat is not None:
            running.vat.states.own_kinds[name] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        vat = running.current(f"{cls.__name__}()")
        self = super().__new__(cls, *args, **kwargs)
        _set_attribute(self, "_ocap_vat", vat)
        _set_attribute(self, "_ocap_state", {})
        _set_attribute(self, "_ocap_row", None)
        _set_attribute(self, "_ocap_is_dirty", False)
        return self

    def __init__(self, **fields: Any) -> None:
        cls = type(self)
        unknown = [name for name in fields if name not in cls._ocap_fields]
        if unknown:
            known = ", ".join(cls._ocap_fields) or "none"
            raise TypeError(f"{cls.__name__}() has no field {', '.join(unknown)}; its fields: {known}")
        missing = [name for name, f in cls._ocap_fields.items() if f.default is _NO_DEFAULT and name not in fields]
        if missing:
            raise TypeError(f"{cls.__name__}() needs a value for {', '.join(missing)}")
        for name, field in cls._ocap_fields.items():
            setattr(self, name, fields.get(name, field.default))

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self)._ocap_fields.get(name)
        if field is None:
            if name not in ("_ocap_vref", "_ocap_vat"):
                cls = type(self).__name__
                raise AttributeError(f"{cls} has no field {name}: annotate it in the class, and it is stored")
            _set_attribute(self, name, value)
            return
        state = self._ocap_state
        if state is None:
            state = self._ocap_load()
        if type(value) not in SCALARS:
            value = self._ocap_states().rows.admit(value, field.where)
        state[name] = value
        if not self._ocap_is_dirty and self._ocap_vref is not None:
            self._ocap_states().watch(self)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name}: a field cannot be deleted; assign None")

    def _ocap_states(self) -> DurableStates:
        vat = self._ocap_vat
        if vat is None or vat is not running.vat:
            raise RuntimeError(f"the state of a {type(self).__name__} can be used only while its vat runs")
        return vat.states

    def _ocap_load(self) -> dict[str, Any]:
        return self._ocap_states().load(self)


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):  # under `from __future__ import annotations`
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or typing.get_origin(annotation) is ClassVar


def kind_name(cls: type[Any]) -> str:
    """What a kind is stored under. A vat's own classes leave the module out: an upgrade may rename the file."""
    return cls.__qualname__ if "@" in cls.__module__ else f"{cls.__module__}.{cls.__qualname__}"


_library_kinds: WeakValueDictionary[str, type[DurableExo]] = WeakValueDictionary()
"""Classes from modules that vats share."""


class MissingKindError(LookupError):
    """A stored object is of a class that the vat's code no longer defines; its author's fault."""


class DurableStates:
    """The states of a vat's durable exos: read on first access, written when the crank ends."""

    __slots__ = ("_instances", "_kind_counter", "_names", "_numbers", "_vat", "_watched", "own_kinds", "rows")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self.rows = vat.rows
        self.own_kinds: dict[str, type[DurableExo]] = {}
        self._kind_counter = Counter(vat.store, "k")
        self._instances: dict[int, Counter] = {}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._watched: dict[str, DurableExo] = {}  # may differ from their rows; held, so that no change is lost

    def load_kinds(self) -> None:
        """Read which kinds earlier incarnations had."""
        for key, name in self._vat.store.scan(b"k"):
            number = int(key[1:])
            self._names[number] = name.decode()
            self._numbers[name.decode()] = number

    def new_vref(self, cls: type[DurableExo]) -> str:
        name = kind_name(cls)
        kind = self._numbers.get(name)
        if kind is None:
            kind = self._numbers[name] = STORE_KIND + self._kind_counter.allocate()
            self._names[kind] = name
            self._vat.store.put(b"k%d" % kind, name.encode())
        return self.new_instance(kind)

    def new_instance(self, kind: int) -> str:
        counter = self._instances.get(kind)
        if counter is None:
            counter = self._instances[kind] = Counter(self._vat.store, f"d{kind}")
        vref = refs.durable_export(kind, counter.allocate())
        self._vat.pillars.touch(vref)
        return vref

    def reanimate(self, vref: str) -> DurableExo:
        """A representative of a stored object. Reads nothing: the state comes with the first access.

        Raises:
            MissingKindError: the vat no longer has its class.
        """
        name = self._names.get(refs.durable_parts(vref)[0], "unknown")
        cls = self.own_kinds.get(name) or _library_kinds.get(name)
        if cls is None:
            raise MissingKindError(
                f"a stored object is of class {name}, which this vat no longer defines; "
                f"bring back `class {name.rpartition('.')[2]}(DurableExo)`"
            )
        instance = Exo.__new__(cls)
        _set_attribute(instance, "_ocap_vat", self._vat)
        _set_attribute(instance, "_ocap_vref", vref)
        _set_attribute(instance, "_ocap_state", None)
        _set_attribute(instance, "_ocap_row", None)
        _set_attribute(instance, "_ocap_is_dirty", False)
        return instance

    def load(self, instance: DurableExo) -> dict[str, Any]:
        vref = instance._ocap_vref
        row = None if vref is None else self._vat.store.get(b"s" + vref.encode())
        if row is None:
            raise LookupError(f"the state of this {type(instance).__name__} was deleted")
        state: dict[str, Any] = self.rows.from_row(row)
        _set_attribute(instance, "_ocap_row", row)
        _set_attribute(instance, "_ocap_state", state)
        return state

    def admit(self, field: Field) -> Any:
        return self.rows.admit(field.default, field.where)

    def watch(self, instance: DurableExo) -> None:
        """Compare the state with the row when the crank ends."""
        if not instance._ocap_is_dirty:
            _set_attribute(instance, "_ocap_is_dirty", True)
            self._watched[str(instance._ocap_vref)] = instance

    def flush(self) -> None:
        """Write the states that changed, in the order of their vrefs; objects that they refer to for the first time too.

        Raises:
            NotPassableError: a value was changed in place into something that cannot be stored.
        """
        done: dict[str, DurableExo] = {}
        while self._watched:
            batch, self._watched = self._watched, {}
            for vref in sorted(batch, key=vref_order):
                instance = done[vref] = batch[vref]
                state = instance._ocap_state
                assert state is not None
                row = self.rows.to_row(state, "")
                if row != instance._ocap_row:
                    self.rows.replace(instance._ocap_row, row)
                    self._vat.store.put(b"s" + vref.encode(), row)
                    _set_attribute(instance, "_ocap_row", row)
        for vref, instance in done.items():
            state = instance._ocap_state
            assert state is not None
            # A list that a suspended behaviour holds may change in any later crank: keep comparing.
            if _is_aliased(state):
                self._watched[vref] = instance
            else:
                _set_attribute(instance, "_ocap_is_dirty", False)


def _is_aliased(container: Any) -> bool:
    """Whether something mutable inside `container` is held by anything else."""
    if isinstance(container, dict):
        members: Iterator[Any] = iter(container.values())
    elif attrs.has(type(container)):
        members = (getattr(container, field.name) for field in attrs.fields(type(container)))
    else:
        members = iter(container)
    for member in members:
        # Held by its container, by `member` and by the argument of getrefcount itself.
        if isinstance(member, _MUTABLE) and sys.getrefcount(member) > 3:
            return True
        if (isinstance(member, (*_MUTABLE, tuple)) or attrs.has(type(member))) and _is_aliased(member):
            return True
    return False
