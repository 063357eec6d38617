"""Values and text from vats, made fit to be shown: as JSON, and safe on a terminal.

Nothing a vat says may move a cursor, forge a line or hide itself: control, format and bidirectional characters,
and whatever else would show nothing or something else than it is, are written as escapes.
"""

from __future__ import annotations

import base64
import json
import math
import re
import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import Decoder

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_MARKS = frozenset({"Mn", "Me"})

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and a symbol that show nothing."""

_SELECTORS = re.compile("[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors: marks that show nothing by themselves, and can carry hidden text."""

MAX_MARKS = 4
"""Marks upon one character that are shown: no language needs more, and more would cover other lines."""

_PLAIN = frozenset({type(None), bool, int, str})
"""What JSON has too, and most members are."""


@attrs.frozen
class Shown:
    """A reference, as text: its slot."""

    slot: str


def span(seconds: float) -> str:
    """A duration, in whole seconds: `1 h 5 s`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def safe_text(text: str) -> str:
    """`text` on one line, with everything but ordinary characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    parts, marks = [], 0
    for char in text:
        kind = unicodedata.category(char)
        marks = marks + 1 if kind in _MARKS else 0
        hides = kind in _UNSAFE and char != " "
        parts.append(_escape(char) if hides or marks > MAX_MARKS or char in _BLANK or _SELECTORS.match(char) else char)
    return "".join(parts)


def safe_lines(text: str) -> str:
    """The same, with the lines that `text` has."""
    return "\n".join(map(safe_text, text.split("\n")))


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


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
