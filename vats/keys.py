"""Keys of stores as bytes whose order is the order of the keys.

Types come in blocks: None, bool, int, float, Decimal, str, bytes, datetime, UUID, references, tuples,
frozensets, `@passable` records. Within a block the order is that of Python; datetimes sort naive ones
first, then by instant, references by name, tuples item by item, frozensets as tuples of their members
in order, records by class, then field by field. `1`, `1.0`, `Decimal(1)` and `True` are four
different keys, unlike in a dict, for each must come back as the type it was; `-0.0` is `0.0`, and
`Decimal("1.50")` is `Decimal("1.5")`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import EllipsisType
from typing import Any, cast
from uuid import UUID

import attrs

from ocap.protocol.errors import DecodeError, NotPassableError
from ocap.protocol.marshal import Remotable
from ocap.protocol.passable import Registry, stored_name
from vats.vatstore import after_prefix

MAX_KEY = 4096
"""Bytes of one encoded key: a key is part of an index, where long ones make every look-up slow."""

_END = b"\x00"  # below every tag, so a tuple sorts before the tuples that it begins
(
    _NONE, _FALSE, _TRUE, _NEGATIVE, _POSITIVE, _FLOAT, _DECIMAL, _STR, _BYTES, _NAIVE, _AWARE, _UUID, REFERENCE,
    _TUPLE, _FROZENSET, _RECORD,
) = (bytes([tag]) for tag in range(0x10, 0x20))  # fmt: skip
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what naive datetimes are counted from
_COMPLEMENT = bytes(255 - byte for byte in range(256))


def encode_key(key: Any, name_of: Callable[[Any], str]) -> bytes:
    """The bytes of `key`; `name_of` gives the vref of a reference in it.

    Raises:
        NotPassableError: of a type that is no key, or too long; the caller's fault.
    """
    try:
        encoded = _encode(key, name_of)
    except (UnicodeEncodeError, RecursionError) as error:
        raise NotPassableError("key", f"cannot be encoded: {error}") from error
    if len(encoded) > MAX_KEY:
        raise NotPassableError("key", f"{len(encoded)} bytes are over the limit of {MAX_KEY}")
    return encoded


def _encode(key: Any, name_of: Callable[[Any], str]) -> bytes:
    kind = type(key)
    if kind is str:
        return _STR + _escaped(key.encode())
    if key is None:
        return _NONE
    if kind is bool:
        return _TRUE if key else _FALSE
    if kind is int:
        return _encode_int(key)
    if kind is bytes:
        return _BYTES + _escaped(key)
    if kind is float:
        (bits,) = struct.unpack(">Q", struct.pack(">d", key + 0.0))  # -0.0 + 0.0 is 0.0
        return _FLOAT + struct.pack(">Q", bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63))
    if kind is UUID:
        return _UUID + bytes(key.bytes)
    if kind is datetime:
        naive = key if key.tzinfo is None else key.astimezone(UTC).replace(tzinfo=None)
        since = naive - _EPOCH
        instant = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        tag = _NAIVE if key.tzinfo is None else _AWARE
        return tag + struct.pack(">QB", instant + (1 << 63), key.fold) + _escaped(key.isoformat().encode())
    if kind is tuple:
        return _TUPLE + b"".join([_encode(part, name_of) for part in key]) + _END
    if kind is Decimal:
        return _DECIMAL + _encode_decimal(key)
    if kind is frozenset:
        return _FROZENSET + b"".join(sorted([_encode(part, name_of) for part in key])) + _END
    if isinstance(key, Remotable):
        return encode_reference(name_of(key))
    name = stored_name(kind)
    if name is not None and attrs.has(kind):
        fields = [_encode(getattr(key, field.name), name_of) for field in attrs.fields(kind)]
        return _RECORD + _escaped(name.encode()) + b"".join(fields) + _END
    raise NotPassableError(
        "key", f"a {kind.__name__} cannot be a key; use scalars, references, and tuples, frozensets and records of them"
    )


def encode_reference(vref: str) -> bytes:
    """The key that a reference of that name is."""
    return REFERENCE + _escaped(vref.encode())


def _encode_decimal(number: Decimal) -> bytes:
    """A class byte, then for finite ones the exponent of the first digit and the digits, without zeros at the end."""
    if number.is_snan():
        raise NotPassableError("key", "a signaling NaN cannot be a key")
    if not number.is_finite():
        return b"\x05" if number.is_nan() else b"\x04" if number > 0 else b"\x00"
    sign, digits, _ = number.as_tuple()
    text = "".join(map(str, digits)).strip("0")
    if not text:
        return b"\x02"
    magnitude = _encode_int(number.adjusted()) + text.encode() + _END
    return b"\x01" + magnitude.translate(_COMPLEMENT) if sign else b"\x03" + magnitude


def _decode_decimal(encoded: bytes, at: int) -> tuple[Decimal, int]:
    sort, at = encoded[at], at + 1
    if sort not in (1, 3):
        return Decimal({0: "-Infinity", 2: "0", 4: "Infinity", 5: "NaN"}[sort]), at
    rest = encoded[at:].translate(_COMPLEMENT) if sort == 1 else encoded[at:]
    first, start = _decode_int(rest, 1, rest[:1] == _NEGATIVE)
    end = rest.index(_END, start)
    digits = tuple(map(int, rest[start:end].decode()))
    return Decimal((sort == 1, digits, first - len(digits) + 1)), at + end + 1


def _encode_int(number: int) -> bytes:
    size = abs(number)
    magnitude = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = len(magnitude)
    head = bytes([length]) if length < 255 else b"\xff" + length.to_bytes(4, "big")
    return _POSITIVE + head + magnitude if number >= 0 else _NEGATIVE + (head + magnitude).translate(_COMPLEMENT)


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\x00", b"\x00\xff") + _END


def decode_key(encoded: bytes, to_object: Callable[[str], Any], registry: Registry | None = None) -> Any:
    """The key of bytes that `encode_key` made.

    Args:
        encoded: the bytes.
        to_object: gives the object of a vref.
        registry: the classes of records; without it a record comes as the tuple of its fields.

    Raises:
        DecodeError: the registry lacks the class of a record; the fault of the vat's author.
    """
    return _decode(encoded, 0, to_object, registry)[0]


def _decode(encoded: bytes, at: int, to_object: Callable[[str], Any], registry: Registry | None) -> tuple[Any, int]:
    tag, at = encoded[at : at + 1], at + 1
    if tag == _STR:
        text, at = _unescaped(encoded, at)
        return text.decode(), at
    if tag == _NONE:
        return None, at
    if tag in (_FALSE, _TRUE):
        return tag == _TRUE, at
    if tag in (_NEGATIVE, _POSITIVE):
        return _decode_int(encoded, at, tag == _NEGATIVE)
    if tag == _BYTES:
        return _unescaped(encoded, at)
    if tag == _FLOAT:
        (bits,) = struct.unpack_from(">Q", encoded, at)
        bits ^= 1 << 63 if bits >> 63 else 0xFFFF_FFFF_FFFF_FFFF
        return struct.unpack(">d", struct.pack(">Q", bits))[0], at + 8
    if tag == _UUID:
        return UUID(bytes=encoded[at : at + 16]), at + 16
    if tag in (_NAIVE, _AWARE):
        text, after = _unescaped(encoded, at + 9)
        return datetime.fromisoformat(text.decode()).replace(fold=encoded[at + 8]), after
    if tag == REFERENCE:
        text, at = _unescaped(encoded, at)
        return to_object(text.decode()), at
    if tag == _DECIMAL:
        return _decode_decimal(encoded, at)
    cls: type[Any] | None = None
    if tag == _RECORD:
        text, at = _unescaped(encoded, at)
        cls = None if registry is None else registry.find_stored(text.decode())
        if cls is None and registry is not None:
            raise DecodeError(f"a stored key is of class {text.decode()}, which is not registered with @passable here")
    parts = []
    while encoded[at : at + 1] != _END:
        part, at = _decode(encoded, at, to_object, registry)
        parts.append(part)
    made = frozenset(parts) if tag == _FROZENSET else tuple(parts) if cls is None else cls(*parts)
    return made, at + 1


def bounds_of(low: Any, high: Any) -> tuple[bytes, bytes | None]:
    """The encoded bounds of low <= key < high, where `...` is no bound."""
    return (
        b"" if isinstance(low, EllipsisType) else encode_key(low, _name_in_bound),
        None if isinstance(high, EllipsisType) else encode_key(high, _name_in_bound),
    )


def prefix_bounds_of(start: Any) -> tuple[bytes, bytes]:
    """The encoded bounds of the keys that begin with `start`.

    Raises:
        TypeError: it is neither str, bytes nor tuple; the caller's fault.
    """
    if not isinstance(start, str | bytes | tuple):
        raise TypeError(f"keys begin with a str, bytes or a tuple, not with a {type(start).__name__}")
    encoded = encode_key(start, _name_in_bound)[: -len(_END)]
    # Behind a whole member comes a tag; what goes on in \xff is an escape, of a longer member.
    return encoded, encoded + b"\xff" if isinstance(start, tuple) else after_prefix(encoded)


def _name_in_bound(reference: Any) -> str:
    vref = getattr(reference, "_ocap_vref", None)
    if vref is None:
        raise NotPassableError(
            "bound", f"a {type(reference).__name__} that was never stored is before and behind nothing"
        )
    return cast("str", vref)


def _decode_int(encoded: bytes, at: int, is_negative: bool) -> tuple[int, int]:
    rest = encoded[at:].translate(_COMPLEMENT) if is_negative else encoded[at:]
    length, start = (rest[0], 1) if rest[0] < 255 else (int.from_bytes(rest[1:5], "big"), 5)
    number = int.from_bytes(rest[start : start + length], "big")
    return -number if is_negative else number, at + start + length


def _unescaped(encoded: bytes, at: int) -> tuple[bytes, int]:
    end = encoded.index(_END, at)
    while encoded[end + 1 : end + 2] == b"\xff":
        end = encoded.index(_END, end + 1)
    return encoded[at:end].replace(b"\x00\xff", b"\x00"), end + 1
