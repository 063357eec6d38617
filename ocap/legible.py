"""Values and text from vats, made fit to be shown: as JSON, and safe on a terminal.

Nothing a vat says may move a cursor, forge a line or hide itself: control, format and bidirectional
characters are written as escapes.
"""

from __future__ import annotations

import base64
import json
import math
import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import Decoder

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

_PLAIN = frozenset({type(None), bool, int, str})
"""What JSON has too, and most members are."""


@attrs.frozen
class Shown:
    """A reference, as text: its slot."""

    slot: str


def safe_text(text: str) -> str:
    """`text` on one line, with everything but ordinary characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if unicodedata.category(char) not in _UNSAFE else f"\\u{ord(char):04x}" for char in text)


def to_json(value: Any) -> Any:
    """A passable value as JSON can say it: what JSON lacks becomes text, a reference its kref."""
    if type(value) in _PLAIN:
        return value
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case list() | tuple():
            return [item if type(item) in _PLAIN else to_json(item) for item in value]
        case set() | frozenset():
            return sorted((to_json(item) for item in value), key=repr)
        case dict():
            return {key if isinstance(key, str) else as_text(key): to_json(item) for key, item in value.items()}
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Shown(slot):
            return slot
        case Exception():
            return f"{type(value).__name__}: {value}"
    if attrs.has(type(value)):
        return {field.name: to_json(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return getattr(value, "kref", None) or repr(value)


def as_text(value: Any) -> str:
    """A passable value on one line."""
    return safe_text(json.dumps(to_json(value), ensure_ascii=False))


class _Lenient(Decoder):
    """Decodes for showing only: references stand for themselves, records for their fields."""

    def __init__(self) -> None:
        super().__init__(lambda slot, _: Shown(slot), Shown)

    def _record(self, content: Any, _: bool) -> Any:
        match content:
            case [str(name), *values]:
                return {name: values}
        raise DecodeError("a malformed record")


_lenient = _Lenient()


def decoded(data: CapData) -> Any:
    """The value of `data`, references as `Shown`, records as their fields. Raises `DecodeError`."""
    return _lenient.decode(data)


def shown(data: CapData) -> Any:
    """The value of `data` for people: JSON, references as their slots."""
    try:
        return to_json(_lenient.decode(data))
    except (DecodeError, RecursionError, TypeError) as error:
        return f"<{len(data.body)} bytes: {error}>"
