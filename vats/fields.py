"""Fields: the annotated state of off-heap objects."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import Remotable
from vats.entries import Entries
from vats.guards import Check, check_of
from vats.hints import UNKNOWN, resolve
from vats.rows import SCALARS, check_scalar

if TYPE_CHECKING:
    from vats.offheap import OffHeap

_T = TypeVar("_T")
_NOTHING: Any = object()

Validator = Callable[[Any, Any, Any], Any]
"""(instance, field, value), as in attrs: raises when the value will not do; `field.name` is the field's name."""


class _Specification:
    """What `field()` was told."""

    __slots__ = ("default", "factory", "validators")

    def __init__(self, default: Any, factory: Callable[[], Any] | None, validators: tuple[Validator, ...]) -> None:
        self.default = default
        self.factory = factory
        self.validators = validators


@typing.overload
def field(*, default: _T, validator: Validator | Sequence[Validator] | None = None) -> _T: ...
@typing.overload
def field(*, factory: Callable[[], _T], validator: Validator | Sequence[Validator] | None = None) -> _T: ...
@typing.overload
def field(*, validator: Validator | Sequence[Validator] | None = None) -> Any: ...


def field(
    *,
    default: Any = _NOTHING,
    factory: Callable[[], Any] | None = None,
    validator: Validator | Sequence[Validator] | None = None,
) -> Any:
    """What a field has beside its annotation: a default, a factory, validators.

    Example::

        tags: list[str] = field(factory=list)

    Args:
        default: the value of a field that is not given, or was not stored by an earlier version.
        factory: makes that value instead, for each object.
        validator: one or several, called as in attrs with (object, field, value) before the value is
            assigned; what it raises is raised by the assignment, and the old value stays. Those of
            `attrs.validators` will do.

    Raises:
        TypeError: both a default and a factory; the class author's fault.
    """
    if default is not _NOTHING and factory is not None:
        raise TypeError("field() takes a default or a factory, not both")
    validators = (validator,) if callable(validator) else tuple(validator or ())
    return _Specification(default, factory, validators)


class Field:
    """A field of a class: reads the state, fetching it from the vatstore on the first access.

    Attributes:
        name: its name.
        annotation: as it was written.
        where: class and field, for complaints.
        validators: called before an assignment.
    """

    __slots__ = (
        "_check", "_default", "_factory", "_is_compiled", "_owner", "_store", "annotation", "name", "validators", "where",
    )  # fmt: skip

    def __init__(self, cls: type[Any], name: str, annotation: Any, value: Any) -> None:
        self.name = name
        self.where = f"{cls.__qualname__.rpartition('<locals>.')[2]}.{name}"
        self._owner = cls
        self.annotation = annotation
        self._is_compiled = annotation is None
        self._check: Check | None = None
        self._store: Any = None
        said = value if isinstance(value, _Specification) else _Specification(value, None, ())
        self._default = said.default
        self._factory = said.factory
        self.validators = said.validators

    def __get__(self, instance: OffHeap | None, owner: type[Any]) -> Any:
        if instance is None:
            return self
        state = instance._ocap_state
        if state is None:
            state = instance._ocap_load()
        try:
            value = state[self.name]
        except KeyError:
            value = self._missing(instance, state)
        if type(value) not in SCALARS and instance._ocap_vref is not None:
            if not isinstance(value, Remotable):
                instance._ocap_states().watch(instance)
            elif isinstance(value, Entries):
                self.compile()
                value._ocap_redeclare(self._store)
        return value

    @property
    def has_default(self) -> bool:
        return self._default is not _NOTHING or self._factory is not None

    def make_default(self) -> Any:
        return self._default if self._factory is None else self._factory()

    def _missing(self, instance: OffHeap, state: dict[str, Any]) -> Any:
        if not self.has_default:
            raise AttributeError(f"{self.where} has no value: the object was stored without it and it has no default")
        value = self.make_default()
        state[self.name] = value = instance._ocap_states().rows.admit(value, self.where, instance._ocap_durable)
        return value

    def compile(self) -> Check | None:
        """The check of the annotation; resolved when it is first needed, as it may name what comes later."""
        if not self._is_compiled:
            self._is_compiled = True
            module = sys.modules.get(self._owner.__module__)
            hint = resolve(self.annotation, {} if module is None else vars(module), self._owner)
            if hint is not UNKNOWN:
                self._check = check_of(hint, self._owner)
                self._store = hint
        return self._check

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a value, by the annotation; None if nothing is."""
        check = self.compile()
        return None if check is None else check(value)

    def admit(self, instance: OffHeap, value: Any) -> Any:
        """`value` as the object may hold it.

        Raises:
            TypeError: it is not what the annotation says; the assigner's fault.
            NotPassableError: it cannot be stored; the assigner's fault.
        """
        check = self._check if self._is_compiled else self.compile()
        if check is not None:
            complaint = check(value)
            if complaint is not None:
                raise TypeError(self.where + complaint)
        for validator in self.validators:
            validator(instance, self, value)
        if type(value) in SCALARS:
            check_scalar(value, self.where)
            return value
        return instance._ocap_states().rows.admit(value, self.where, instance._ocap_durable)

    def recheck(self, value: Any) -> None:
        """Raises `NotPassableError`: a value was changed in place into what the annotation excludes."""
        complaint = None if type(value) in SCALARS else self.complaint(value)
        if complaint is not None:
            raise NotPassableError(self.where, complaint.removeprefix(": "))


def fields_of(cls: type[Any], inherited: dict[str, Field]) -> dict[str, Field]:
    """The fields of a class, in order: those of its bases, plain ones mixed in too, then its own."""
    found = dict(inherited)
    for base in reversed(cls.__mro__):
        if "_ocap_machinery" in vars(base):
            continue
        annotations = vars(base).get("__annotations__", {})
        names = [n for n, hint in annotations.items() if not n.startswith("_") and not _is_class_var(hint)]
        for name in [*names, *(n for n in found if n in vars(base) and n not in names)]:
            value = vars(base).get(name, _NOTHING)
            if not isinstance(value, Field):
                annotation = annotations.get(name) or (found[name].annotation if name in found else None)
                value = Field(cls, name, annotation, value)
            found[name] = value
    return found


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):  # under `from __future__ import annotations`
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or typing.get_origin(annotation) is ClassVar
