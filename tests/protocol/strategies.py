"""Hypothesis strategies for passable values, and equality that sees types, signs and NaN."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st

from ocap.protocol.errors import RemoteError
from ocap.protocol.marshal import PromiseLike, Remotable
from ocap.protocol.passable import passable


class Thing(Remotable):
    """Stands for an object on both sides: `slot` names it."""

    def __init__(self, slot: str) -> None:
        self.slot = slot

    def __repr__(self) -> str:
        return f"<{self.slot}>"


class Pending(PromiseLike):
    """Stands for a promise on both sides."""

    def __init__(self, slot: str) -> None:
        self.slot = slot

    def __repr__(self) -> str:
        return f"<{self.slot}>"


@passable
@attrs.frozen
class Point:
    x: Any
    y: Any = 0


def exact(value: Any) -> Any:
    """`value` in a form whose equality sees what `==` hides: the type, the sign of zero, NaN, fold."""
    match value:
        case float():
            return "float", "nan" if value != value else struct.pack(">d", value)  # noqa: PLR0124 - only NaN differs
        case Decimal():
            return "Decimal", str(value)
        case datetime():
            return "datetime", value.isoformat(), value.fold
        case list() | tuple():
            return type(value), [exact(item) for item in value]
        case set() | frozenset():
            return type(value), sorted((exact(item) for item in value), key=repr)
        case dict():
            return dict, [(exact(key), exact(item)) for key, item in value.items()]
        case RemoteError():
            return RemoteError, value.name, value.message, value.error_id
        case Exception():
            return type(value), [exact(item) for item in value.args]
        case Thing() | Pending():
            return type(value), value.slot
        case Point():
            return Point, exact(value.x), exact(value.y)
    return type(value), value


_zones = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats()
    | _text
    | st.binary(max_size=12)
)
hashable_leaves = (
    scalars
    | st.decimals().filter(lambda number: not number.is_snan())  # it cannot be hashed
    | st.uuids()
    | st.builds(lambda when, fold: when.replace(fold=fold), st.datetimes(timezones=_zones), st.integers(0, 1))
)
keys = st.recursive(
    hashable_leaves,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
_leaves = (
    hashable_leaves
    | st.integers(1, 9).map(lambda number: Thing(f"o-{number}"))
    | st.integers(1, 9).map(lambda number: Pending(f"p-{number}"))
    | st.builds(RemoteError, _text, _text, st.none() | _text)
)
passables = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(_text, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.builds(Point, inner, inner)
        | st.lists(inner, max_size=3).map(lambda args: ValueError(*args))
    ),
    max_leaves=20,
)
"""Any passable value, up to a few dozen leaves."""
