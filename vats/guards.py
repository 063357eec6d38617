"""Guards: annotations, compiled once to checks of what arrives, is returned or is stored.

A check returns None for a value that fits, else what is wrong and where in the value:
`[2]: expected int, came str`.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Union

from ocap.protocol.eventual import Promise, Ref
from ocap.protocol.marshal import PromiseLike, Remotable
from vats.constraints import Constraint, constraints_of
from vats.presence import Presence

Check = Callable[[Any], str | None]


def check_of(annotation: Any, own: type[Any]) -> Check | None:
    """The check for `annotation`, resolved, in class `own`; None where anything may come."""
    origin = typing.get_origin(annotation)
    args = typing.get_args(annotation)
    if origin is Annotated:
        return _constrained(check_of(args[0], own), constraints_of(args[1:]))
    if origin is Union or origin is types.UnionType:
        return _any_of([check_of(arg, own) for arg in args])
    if origin is Literal:
        members = [(type(arg), arg) for arg in args]
        return _test(lambda value: (type(value), value) in members, f"one of {', '.join(map(repr, args))}")
    if annotation is Ref or origin is Ref:
        return _test(lambda value: isinstance(value, Remotable | PromiseLike), "a reference")
    if annotation is Promise or origin is Promise:
        return _test(lambda value: isinstance(value, PromiseLike), "a promise")
    if isinstance(annotation, typing.NewType):
        return check_of(annotation.__supertype__, own)
    if annotation is typing.Self:
        return _instance(own)
    if annotation is None:
        return _instance(types.NoneType)
    if annotation is float:
        return _test(lambda value: isinstance(value, float | int), "float")
    cls = origin or annotation
    if not isinstance(cls, type) or cls in (Any, object) or getattr(cls, "_is_protocol", False):
        return None
    if typing.is_typeddict(cls):
        return _instance(dict)
    return _container(cls, [check_of(arg, own) for arg in args], args)


def _constrained(whole: Check | None, constraints: list[Constraint]) -> Check | None:
    if not constraints:
        return whole

    def check(value: Any) -> str | None:
        complaint = None if whole is None else whole(value)
        if complaint is None:
            for expected, fits in constraints:
                if not fits(value):
                    return f": expected {expected}, came {shown(value)}"
        return complaint

    return check


def shown(value: Any) -> str:
    """A value in a complaint: numbers and short text as they are, the rest by type and length."""
    if isinstance(value, str | bytes) and len(value) > 40:
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, bool | int | float | str | bytes | Decimal | datetime):
        return repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "a large int"
    return f"{came(value)} of length {len(value)}" if isinstance(value, collections.abc.Sized) else came(value)


def _container(cls: type[Any], checks: list[Check | None], args: tuple[Any, ...]) -> Check:
    whole = _instance(cls)
    if issubclass(cls, Remotable):  # a store: its entries are checked when they are made
        return whole
    if not any(checks):
        return whole if cls is not tuple or not args or args[-1:] == (...,) else _parts(whole, checks)
    if cls is tuple and args[-1] is not ...:
        return _parts(whole, checks)
    if issubclass(cls, collections.abc.Mapping):
        return _entries(whole, *checks)
    if issubclass(cls, collections.abc.Iterable):
        return _items(whole, checks[0])
    return whole


def came(value: Any) -> str:
    """What sort of thing a value is."""
    if value is None:
        return "None"
    if isinstance(value, Presence):
        return f"a reference to a {value._interface_name()} elsewhere"
    return "a promise" if isinstance(value, PromiseLike) else type(value).__name__


def _test(fits: Callable[[Any], bool], expected: str) -> Check:
    return lambda value: None if fits(value) else f": expected {expected}, came {came(value)}"


def _instance(cls: type[Any]) -> Check:
    name = "None" if cls is types.NoneType else cls.__qualname__.rpartition("<locals>.")[2]

    def check(value: Any) -> str | None:
        return None if isinstance(value, cls) else f": expected {name}, came {came(value)}"

    check.exact = cls  # type: ignore[attr-defined]  # for exact_of
    return check


def exact_of(check: Check | None) -> type[Any] | None:
    """The type whose very instances need no check, as they always fit; most values are of it."""
    return getattr(check, "exact", None)


def _any_of(checks: list[Check | None]) -> Check | None:
    if None in checks:
        return None
    alternatives = typing.cast("list[Check]", checks)

    def check(value: Any) -> str | None:
        complaints = []
        for alternative in alternatives:
            complaint = alternative(value)
            if complaint is None:
                return None
            complaints.append(complaint)
        inside = [complaint for complaint in complaints if complaint.startswith("[")]
        if inside:  # the container fits and something in it does not: that says more
            return inside[0]
        expected = " or ".join(complaint.split(", came")[0].removeprefix(": expected ") for complaint in complaints)
        return f": expected {expected}, came {came(value)}"

    return check


def _items(whole: Check, item: Check | None) -> Check:
    exact = exact_of(item)

    def check(value: Any) -> str | None:
        complaint = whole(value)
        if complaint is None and item is not None and {*map(type, value)} != {exact}:
            for index, member in enumerate(value):
                complaint = item(member)
                if complaint is not None:
                    return f"[{index}]{complaint}"
        return complaint

    return check


def _entries(whole: Check, key: Check | None, item: Check | None = None) -> Check:
    def check(value: Any) -> str | None:
        complaint = whole(value)
        if complaint is not None:
            return complaint
        for name, member in value.items():
            complaint = (key(name) if key else None) or (item(member) if item else None)
            if complaint is not None:
                return f"[{name!r}]{complaint}"
        return None

    return check


def _parts(whole: Check, parts: list[Check | None]) -> Check:
    def check(value: Any) -> str | None:
        complaint = whole(value)
        if complaint is not None:
            return complaint
        if len(value) != len(parts):
            return f": expected a tuple of {len(parts)}, came one of {len(value)}"
        for index, (part, member) in enumerate(zip(parts, value, strict=True)):
            complaint = part(member) if part else None
            if complaint is not None:
                return f"[{index}]{complaint}"
        return None

    return check
