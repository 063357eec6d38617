"""Keys of stores as bytes whose order is the order of the keys.

Types come in blocks: None, bool, int, float, str, bytes, datetime, UUID, references, tuples. Within
a block the order is that of Python; datetimes sort naive ones first, then by instant, references by
name, tuples item by item. `1`, `1.0` and `True` are three different keys, unlike in a dict, for each
must come back as the type it was; `-0.0` is `0.0`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ocap.protocol.errors import NotPassableError
from ocap.protocol.marshal import Remotable

MAX_KEY = 4096
"""Bytes of one encoded key: a key is part of an index, where long ones make every look-up slow."""

_END = b"\x00"  # below every tag, so a tuple sorts before the tuples that it begins
_NONE, _FALSE, _TRUE, _NEGATIVE, _POSITIVE, _FLOAT, _STR, _BYTES, _NAIVE, _AWARE, _UUID, _REFERENCE, _TUPLE = (
    bytes([tag]) for tag in range(0x10, 0x1D)
)
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
    if isinstance(key, Remotable):
        return _REFERENCE + _escaped(name_of(key).encode())
    raise NotPassableError("key", f"a {kind.__name__} cannot be a key; use scalars, references and tuples of them")


def _encode_int(number: int) -> bytes:
    size = abs(number)
    magnitude = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = len(magnitude)
    head = bytes([length]) if length < 255 else b"\xff" + length.to_bytes(4, "big")
    return _POSITIVE + head + magnitude if number >= 0 else _NEGATIVE + (head + magnitude).translate(_COMPLEMENT)


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\x00", b"\x00\xff") + _END


def decode_key(encoded: bytes, to_object: Callable[[str], Any]) -> Any:
    """The key of bytes that `encode_key` made; `to_object` gives the object of a vref."""
    return _decode(encoded, 0, to_object)[0]


def _decode(encoded: bytes, at: int, to_object: Callable[[str], Any]) -> tuple[Any, int]:
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
    if tag == _REFERENCE:
        text, at = _unescaped(encoded, at)
        return to_object(text.decode()), at
    parts = []
    while encoded[at : at + 1] != _END:
        part, at = _decode(encoded, at, to_object)
        parts.append(part)
    return tuple(parts), at + 1


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
