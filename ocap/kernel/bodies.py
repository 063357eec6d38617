"""The few bodies that the kernel itself writes and reads: bootstrap's arguments, and messages to its facets.

It knows none of the classes that vats register with `@passable`, so it passes their instances on as
they came.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import attrs

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import Decoder, PromiseLike, Remotable, encode
from ocap.protocol.passable import PASSABLE_NAME
from ocap.protocol.refs import Kref


class Named(Remotable):
    """Stands for an object."""

    __slots__ = ("kref", "name")

    def __init__(self, name: str, kref: Kref) -> None:
        self.name = name
        self.kref = kref

    def _interface_name(self) -> str:  # type: ignore[override]  # one name each, not one a class
        return self.name


class NamedPromise(PromiseLike):
    """Stands for a promise."""

    __slots__ = ("kref",)

    def __init__(self, kref: Kref) -> None:
        self.kref = kref


@lru_cache(maxsize=256)
def _record_class(name: str, fields: int) -> type[Any]:
    made: type[Any] = attrs.make_class("Record", [f"field_{index}" for index in range(fields)], frozen=True)
    setattr(made, PASSABLE_NAME, name)
    return made


@lru_cache(maxsize=256)
def _error_class(name: str) -> type[Exception]:
    return type("Error", (Exception,), {PASSABLE_NAME: name})


class _Reader(Decoder):
    def __init__(self, to_object: Callable[[str, str], Named]) -> None:
        super().__init__(to_object, lambda slot: NamedPromise(Kref(slot)))

    def _record(self, content: Any, _: bool) -> Any:
        match content:
            case [str(name), *values]:
                return _record_class(name, len(values))(*values)
        raise DecodeError("a malformed record")

    def _error(self, content: Any, is_tag: bool) -> Exception:
        match content:
            case [str(name), str(), list() | tuple() as args, None | str() as error_id] if "." in name:
                made = _error_class(name)(*args)
                if error_id is not None:
                    made.error_id = error_id  # type: ignore[attr-defined]  # noted on any exception
                return made
        return super()._error(content, is_tag)


_READER = _Reader(lambda slot, name: Named(name, Kref(slot)))
_NAMELESS = _Reader(lambda slot, _: Named("", Kref(slot)))


def write_body(value: Any) -> CapData:
    """`value`, whose references are `Named` and `NamedPromise`, in krefs."""
    body, references = encode(value)
    return CapData(body, tuple([reference.kref for reference in references]))


def read_body(data: CapData) -> Any:
    """The value of `data`.

    Raises:
        DecodeError: whoever made it is at fault.
    """
    return _READER.decode(data)


def are_alike(one: CapData, other: CapData) -> bool:
    """Whether two bodies have the same value, of the same types and in the same order.

    What a reference is called does not count: a host program may know its object by another name.
    """
    return one == other or write_body(_NAMELESS.decode(one)) == write_body(_NAMELESS.decode(other))


def find_promise(value: Any, where: str) -> str | None:
    """The path to a promise in a passable value, if there is one; `where` is what the value is called."""
    match value:
        case PromiseLike():
            return where
        case list() | tuple() | set() | frozenset():
            inside = ((f"{where}[{index}]", item) for index, item in enumerate(value))
        case dict():
            inside = ((f"{where}[{key!r:.40}]", part) for pair in value.items() for key in pair[:1] for part in pair)
        case Exception():
            inside = ((f"{where}.args[{index}]", item) for index, item in enumerate(value.args))
        case _ if attrs.has(type(value)):
            inside = ((f"{where}.{field.name}", getattr(value, field.name)) for field in attrs.fields(type(value)))
        case _:
            return None
    return next((found for place, part in inside if (found := find_promise(part, place)) is not None), None)
