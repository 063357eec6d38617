"""The one CBOR form of deliveries, syscalls, settlements and outcomes.

For process workers, whose pipe carries nothing else, and for whatever keeps one of them.

Rules:

1. A value is an array `[code, field…]` in the order of its class, nested ones too. Codes are small
   integers, a byte each, and differ between deliveries and syscalls: neither is taken for the other.
   A code is never given to another class.
2. Bodies are opaque bytes: nothing here reads them.
3. Reading takes exactly what writing makes, field by field and type by type; references are text,
   and whether they name anything is the clist's business.
4. `_FORMS` is the whole format; no class has code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, TypeVar, get_args, overload

import attrs
import cbor2

from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import MAX_BODY, MAX_SLOTS, NO_TAGS, strict_loads

MAX_WIRE = 80 * 1024 * 1024
"""Bytes of one value: the outcome of a crank that used up its budgets of bodies and vatstore."""

MAX_ITEMS = 100_000
"""Members of one array, such as the syscalls of a crank."""

MAX_HEADS = 1_000_000
"""CBOR items of one value. Empty arrays take 70 times their bytes in memory; opaque bytes take none."""

_T = TypeVar("_T")


class _MismatchError(Exception):
    """A value has not the shape it should. Each level it passes on its way out adds its step."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.steps: list[str] = []

    def __str__(self) -> str:
        where = "".join(reversed(self.steps)).lstrip(".")
        return f"{where}: {self.complaint}" if where else self.complaint


@attrs.frozen
class _Shape:
    """What one field holds: its name in complaints, and the ways out to CBOR and back in."""

    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]

    def mismatch(self, value: object) -> _MismatchError:
        return _MismatchError(f"expected {self.name}, not {type(value).__name__}")


def _exactly(kind: type[Any], name: str, limit: int | None = None) -> _Shape:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise shape.mismatch(value)
        if limit is not None and len(value) > limit:
            raise _MismatchError(f"{len(value)} bytes are over the limit of {limit}")
        return value

    shape = _Shape(name, same, same)
    return shape


def _count() -> _Shape:
    def same(value: Any) -> Any:
        if type(value) is not int:
            raise shape.mismatch(value)
        if not 0 <= value < 1 << 63:
            raise _MismatchError(f"{value} is not from 0 to 2**63 - 1")
        return value

    shape = _Shape("a count", same, same)
    return shape


def _maybe(inner: _Shape) -> _Shape:
    return _Shape(
        f"{inner.name} or null",
        lambda value: None if value is None else inner.write(value),
        lambda value: None if value is None else inner.read(value),
    )


def _each(ways: Iterable[Callable[[Any], Any]], values: Iterable[Any]) -> list[Any]:
    out: list[Any] = []
    try:
        for way, value in zip(ways, values, strict=False):
            out.append(way(value))
    except _MismatchError as error:
        error.steps.append(f"[{len(out)}]")
        raise
    return out


def _many(inner: _Shape, limit: int = MAX_ITEMS) -> _Shape:
    def through(kind: type[Any], way: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
        def go(values: Any) -> list[Any]:
            if type(values) is not kind:
                raise shape.mismatch(values)
            if len(values) > limit:
                raise _MismatchError(f"{len(values)} members are over the limit of {limit}")
            return _each([way] * len(values), values)

        return go

    read = through(list, inner.read)
    shape = _Shape(f"an array of {inner.name}", through(tuple, inner.write), lambda values: tuple(read(values)))
    return shape


def _pair(first: _Shape, second: _Shape) -> _Shape:
    def through(kind: type[Any], *ways: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
        def go(values: Any) -> list[Any]:
            if type(values) is not kind:
                raise shape.mismatch(values)
            if len(values) != 2:
                raise _MismatchError(f"expected {shape.name}, not {len(values)} members")
            return _each(ways, values)

        return go

    read = through(list, first.read, second.read)
    shape = _Shape(
        f"a pair of {first.name} and {second.name}",
        through(tuple, first.write, second.write),
        lambda values: tuple(read(values)),
    )
    return shape


def _one_of(*classes: type[Any]) -> _Shape:
    """A value of one of the classes, in array form."""
    title = classes[0].__name__ if len(classes) == 1 else f"one of {', '.join(cls.__name__ for cls in classes)}"

    def write(value: Any) -> list[Any]:
        form = _BY_CLASS.get(type(value)) if type(value) in classes else None
        if form is None:
            raise shape.mismatch(value)
        out: list[Any] = [form.code]
        for name, field in form.fields:
            try:
                out.append(field.write(getattr(value, name)))
            except _MismatchError as error:
                error.steps.append(f".{name}")
                raise
        return out

    def read(value: Any) -> Any:
        if type(value) is not list or not value or type(value[0]) is not int:
            raise shape.mismatch(value)
        form = _BY_CODE.get(value[0])
        if form is None or form.cls not in classes:
            raise _MismatchError(f"expected {title}, not code {value[0]}")
        if len(value) != len(form.fields) + 1:
            raise _MismatchError(f"expected the {len(form.fields)} fields of {form.cls.__name__}, not {len(value) - 1}")
        made: list[Any] = []
        for (name, field), item in zip(form.fields, value[1:], strict=True):
            try:
                made.append(field.read(item))
            except _MismatchError as error:
                error.steps.append(f".{name}")
                raise
        return form.cls(*made)

    shape = _Shape(title, write, read)
    return shape


_TEXT = _exactly(str, "text")
_BYTES = _exactly(bytes, "bytes")
_BODY = _exactly(bytes, "bytes", MAX_BODY)
_FLAG = _exactly(bool, "true or false")
_COUNT = _count()
_REFS = _many(_TEXT)
_DATA = _one_of(CapData)
_SETTLEMENTS = _many(_one_of(Settlement))
_SYSCALLS = _many(_one_of(*get_args(syscalls.Syscall)))


class _Form:
    """How one class is written: its code, and the shape of each of its fields in order."""

    def __init__(self, code: int, cls: type[Any], *shapes: _Shape) -> None:
        self.code = code
        self.cls = cls
        names = [field.name for field in attrs.fields(cls)]
        self.fields = tuple(zip(names, shapes, strict=True))


_FORMS = (
    # deliveries
    _Form(1, deliveries.StartVat, _COUNT, _DATA, _many(_pair(_TEXT, _TEXT))),
    _Form(2, deliveries.Message, _TEXT, _TEXT, _DATA, _maybe(_TEXT)),
    _Form(3, deliveries.Notify, _SETTLEMENTS),
    _Form(4, deliveries.DropExports, _REFS),
    _Form(5, deliveries.RetireExports, _REFS),
    _Form(6, deliveries.RetireImports, _REFS),
    _Form(7, deliveries.BringOutYourDead, _REFS),
    _Form(8, deliveries.ReportEdges),
    _Form(9, deliveries.Ping),
    # syscalls
    _Form(10, syscalls.Send, _TEXT, _TEXT, _DATA, _maybe(_TEXT)),
    _Form(11, syscalls.Subscribe, _TEXT),
    _Form(12, syscalls.Resolve, _SETTLEMENTS),
    _Form(13, syscalls.Forward, _TEXT, _TEXT),
    _Form(19, syscalls.Keep, _TEXT, _FLAG),
    _Form(14, syscalls.DropImports, _REFS),
    _Form(15, syscalls.RetireImports, _REFS),
    _Form(16, syscalls.RetireExports, _REFS),
    _Form(17, syscalls.AbandonExports, _REFS),
    _Form(18, syscalls.Exit, _FLAG, _DATA),
    # what they are made of, and what a crank comes to
    _Form(20, CapData, _BODY, _many(_TEXT, MAX_SLOTS)),
    _Form(21, Settlement, _TEXT, _FLAG, _DATA),
    _Form(
        22,
        syscalls.Outcome,
        _SYSCALLS,
        _many(_pair(_BYTES, _maybe(_BYTES))),
        _maybe(_TEXT),
        _many(_pair(_TEXT, _TEXT)),
        _many(_TEXT),
        _FLAG,
        _many(_pair(_TEXT, _REFS)),
    ),
)
_BY_CODE = {form.code: form for form in _FORMS}
_BY_CLASS = {form.cls: form for form in _FORMS}
_ANY = _one_of(*_BY_CLASS)
_EXPECTED: dict[Any, _Shape] = {}


def to_wire(value: object) -> bytes:
    """The CBOR form of a delivery, syscall, settlement, outcome or CapData.

    Raises:
        TypeError: a field has not its declared type; whoever built the value is at fault.
        ValueError: it is over a limit of size.
    """
    try:
        data = cbor2.dumps(_ANY.write(value))
    except _MismatchError as error:
        raise TypeError(f"{type(value).__name__} has no wire form: {error}") from None
    if len(data) > MAX_WIRE:
        raise ValueError(f"{type(value).__name__}: {len(data)} bytes are over the limit of {MAX_WIRE}")
    return data


@overload
def from_wire(data: bytes, expected: type[_T]) -> _T: ...
@overload
def from_wire(data: bytes, expected: UnionType) -> Any: ...
def from_wire(data: bytes, expected: Any) -> Any:
    """The value `to_wire` wrote.

    Args:
        data: bytes from the other side.
        expected: the class or union it must be of, such as `Delivery`.

    Raises:
        DecodeError: it is none; whoever sent the bytes is at fault. Says where and what was expected.
    """
    shape = _EXPECTED.get(expected)
    if shape is None:
        shape = _EXPECTED[expected] = _one_of(*(get_args(expected) or (expected,)))
    if len(data) > MAX_WIRE:
        raise DecodeError(f"{len(data)} bytes are over the limit of {MAX_WIRE}")
    _refuse_swarm(data)
    try:
        return shape.read(strict_loads(data, NO_TAGS))
    except _MismatchError as error:
        raise DecodeError(str(error)) from None


def _refuse_swarm(data: bytes) -> None:
    """Refuse what would be small bytes and large memory, by counting its items without making them."""
    if len(data) <= MAX_HEADS:
        return
    at = heads = 0
    while at < len(data):
        major, info = divmod(data[at], 32)
        at += 1
        if info >= 24:
            size = 1 << (info - 24)
            if size > 8:
                return  # an indefinite or reserved length: strict_loads says so
            info = int.from_bytes(data[at : at + size], "big")
            at += size
        if major in (2, 3):
            at += info
        heads += 1
        if heads > MAX_HEADS:
            raise DecodeError(f"more than {MAX_HEADS} items")
