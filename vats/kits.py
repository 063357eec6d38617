"""Kits: several facets over one shared state, each its own authority."""

from __future__ import annotations

from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Never, NoReturn, TypeVar, dataclass_transform, overload
from weakref import ref

from vats import running
from vats.exo import Exo
from vats.fields import field
from vats.offheap import OffHeap

if TYPE_CHECKING:
    from typing import Self

    from vats.liveslots import Liveslots

_K = TypeVar("_K")
_F = TypeVar("_F", bound="Facet[Any]")
_set_attribute = object.__setattr__


class Facet(Exo, Generic[_K]):
    """Base of the facets of a kit. `self.kit` has the shared state, and the other facets.

    A facet is passed by reference, as an exo is, and who holds one cannot get from it to the others.
    Its methods apply to facets of its own class only: anything else is a `TypeError`.
    """

    __slots__ = ("_ocap_kit",)
    _ocap_machinery: ClassVar[bool] = True
    _ocap_kit: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, function in list(vars(cls).items()):
            if isinstance(function, FunctionType) and not name.startswith("__"):
                setattr(cls, name, _for_facets_of(cls, function))

    def __new__(cls, *_: Any, **__: Any) -> Self:
        raise TypeError(f"a {cls.__qualname__} is a facet: make its kit")

    @property
    def kit(self) -> _K:
        """The kit that this is a facet of."""
        kit: _K = self._ocap_kit
        return kit

    @property
    def _ocap_durable(self) -> bool:  # type: ignore[override]  # its kit's, hence by instance
        return bool(self._ocap_kit._ocap_durable)

    @property
    def _ocap_off_heap(self) -> bool:  # type: ignore[override]  # the same
        return bool(self._ocap_kit._ocap_off_heap)


def _for_facets_of(cls: type[Any], function: FunctionType) -> FunctionType:
    @wraps(function)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, cls):
            what = f"{cls.__qualname__}.{function.__name__}"
            raise TypeError(f"{what} may be applied only to a {cls.__qualname__}, not to a {type(self).__qualname__}")
        return function(self, *args, **kwargs)

    checked._ocap_unchecked = function  # type: ignore[attr-defined]  # for calls that come to the facet anyway
    return checked  # type: ignore[return-value]  # what wraps returns has a type of its own


def _is_facet_class(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Facet)


class facet(Generic[_F]):  # noqa: N801 - reads as `property` does
    """Declares a facet of a kit: `owner = facet(Owner)`, where `Owner` is a `Facet` class.

    The facet is made when it is first asked for, and is the same as long as anybody holds it.

    Raises:
        TypeError: not a `Facet` class; the class author's fault.
    """

    __slots__ = ("_cls", "_name")

    def __init__(self, cls: type[_F], /) -> None:
        if not _is_facet_class(cls):
            raise TypeError(f"facet() takes a subclass of Facet, not {cls!r}")
        self._cls = cls
        self._name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> facet[_F]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> _F: ...

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is None:
            return self
        return instance._ocap_facet(self._name, self._cls)

    def __set__(self, instance: Any, value: Never) -> NoReturn:
        raise AttributeError(f"{type(instance).__name__}.{self._name}: a facet cannot be replaced")


class _Kit:
    """What kits of all three sorts do."""

    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_off_heap: ClassVar[bool] = False
    _ocap_durable: ClassVar[bool] = False
    _ocap_facet_names: ClassVar[tuple[str, ...]] = ()
    if TYPE_CHECKING:
        _ocap_vat: Liveslots | None
        _ocap_facets: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        own = [name for name, value in vars(cls).items() if isinstance(value, facet)]
        cls._ocap_facet_names = (*cls._ocap_facet_names, *(n for n in own if n not in cls._ocap_facet_names))
        if "_ocap_machinery" not in vars(cls) and not cls._ocap_facet_names:
            raise TypeError(f"{cls.__name__} has no facets: nobody else could use it; declare one with facet()")
        if "__del__" in vars(cls):
            raise TypeError(f"{cls.__name__} defines __del__: the lifetime of a kit belongs to the vat")
        super().__init_subclass__(**kwargs)

    def _ocap_facet(self, name: str, cls: type[Facet[Any]]) -> Any:
        held = self._ocap_facets.get(name)
        found = held() if type(held) is ref else held
        if found is None:
            found = Exo.__new__(cls)
            _set_attribute(found, "_ocap_vat", self._ocap_vat)
            _set_attribute(found, "_ocap_kit", self)
            # On the heap the facets keep each other, or one that was sent could come back as another.
            # Off the heap their common name does that, and a cycle would only wait for the collector.
            self._ocap_facets[name] = ref(found) if self._ocap_off_heap else found
            self._ocap_christen(name, found)
        return found

    def _ocap_christen(self, name: str, found: Facet[Any]) -> None:
        """Give a new facet its vref, if it is known."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class ExoKit(_Kit):
    """Base of kits on the heap: attributes shared by facets, gone when the incarnation ends.

    A kit itself is not passed; its facets are. They are nested classes, each naming its kit for the
    type checker, and are declared by `facet`::

        class Purse(DurableExoKit):                # ExoKit, VirtualExoKit or DurableExoKit
            balance: int = 0                       # the shared state

            class Payee(Facet["Purse"]):
                async def deposit(self, amount: int) -> int:
                    self.kit.balance += amount
                    return self.kit.balance

            class Owner(Facet["Purse"]):
                async def get_payee(self) -> Ref["Purse.Payee"]:
                    return self.kit.payee

            payee = facet(Payee)
            owner = facet(Owner)

        owner = Purse(balance=3).owner

    Holding one facet keeps the state and all facets. Whoever gets only the payee can deposit, and no more.

    Raises:
        TypeError: a kit without facets, or a facet's method applied to anything but such a facet; the
            fault of the class's author.
        NotPassableError: a kit is sent or stored: pass one of its facets; the sender's fault.
    """

    __slots__ = ("__dict__", "__weakref__", "_ocap_facets", "_ocap_vat")
    _ocap_machinery: ClassVar[bool] = True

    def __new__(cls, *_: Any, **__: Any) -> Self:
        self = super().__new__(cls)
        self._ocap_vat = running.vat
        self._ocap_facets = {}
        return self


class _OffHeapKit(_Kit, OffHeap):
    __slots__ = ()
    _ocap_machinery: ClassVar[bool] = True
    _ocap_off_heap: ClassVar[bool] = True

    def __new__(cls, *_: Any, **__: Any) -> Self:
        self = super().__new__(cls)
        _set_attribute(self, "_ocap_facets", {})
        return self

    def _ocap_christen(self, name: str, found: Facet[Any]) -> None:
        if self._ocap_vref is not None:
            vat = self._ocap_vat
            assert vat is not None
            found._ocap_vref = vat.slots.facet_vref(self._ocap_vref, name)

    def _ocap_facet_named(self, name: str) -> Any:
        """The facet that a vref names."""
        return getattr(self, name)

    def _ocap_named(self) -> None:
        """The kit has a vref now, so its facets have one each."""
        for name, held in self._ocap_facets.items():
            found = held()
            if found is not None:
                self._ocap_christen(name, found)


_SLOTS = ("__weakref__", "_ocap_facets", "_ocap_is_dirty", "_ocap_row", "_ocap_state", "_ocap_vat", "_ocap_vref")


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class VirtualExoKit(_OffHeapKit):
    """Base of kits off the heap that are gone when the incarnation ends: `ExoKit` with the fields of `VirtualExo`."""

    __slots__ = _SLOTS
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = False


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class DurableExoKit(_OffHeapKit):
    """Base of kits that survive restart and upgrade: `ExoKit` with the fields of `DurableExo`.

    Facets may be added by an upgrade; one that is there cannot go while there are stored kits, for
    somebody may hold it.
    """

    __slots__ = _SLOTS
    _ocap_machinery: ClassVar[bool] = True
    _ocap_durable: ClassVar[bool] = True
