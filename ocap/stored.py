"""What the rows of a vatstore say, for people: `vats.vatstore` has their layout.

References stay names. What was not written by liveslots, or is not as it ought to be, stays bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from ocap.legible import Shown, as_text, decoded, safe_text, shown
from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import OcapError
from vats.keys import decode_key
from vats.kinds import FIRST_CLASS_KIND, MAP, SET, WEAK_MAP, WEAK_SET

_BAGGAGE = 0
"""The number of the store that every vat has."""

_STORES = {MAP: "map", SET: "set", WEAK_MAP: "weak map", WEAK_SET: "weak set"}

_WRONG = (OcapError, ValueError, IndexError, KeyError, OverflowError, RecursionError)


@frozen
class Kind:
    """A durable class of a vat: its name, and its facets by index; none if it is no kit."""

    name: str
    facets: tuple[str, ...] = ()

    @classmethod
    def of_row(cls, row: bytes) -> Kind:
        name, *facets = row.decode(errors="replace").split("\n")
        return cls(name, tuple(facets))


Kinds = Mapping[int, Kind]


@frozen
class Saying:
    """A row as it is shown.

    Attributes:
        what: what it is about, in words.
        value: its value, decoded.
    """

    what: str
    value: str


def class_of(vref: str, kinds: Kinds) -> str | None:
    """What a vat's own durable object is, as its vref says; None if that says nothing."""
    if not refs.is_vat_allocated(vref) or not refs.is_durable(vref) or vref == refs.ROOT:
        return None
    number = refs.durable_parts(vref)[0]
    if number < FIRST_CLASS_KIND:
        return f"durable {_STORES[number]}" if number in _STORES else None
    kind, facet = kinds.get(number), refs.facet_of(vref)
    if kind is None:
        return None
    return kind.name if facet is None or facet >= len(kind.facets) else f"{kind.name}, facet {kind.facets[facet]}"


def interface_of(row: bytes) -> str | None:
    """Of what interface an import is, as its exporter said when it was stored: of the row `r VREF`."""
    text = row.partition(b" ")[2].decode(errors="replace")
    return text if text not in ("", "object") else None


def saying(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    """One row of a vatstore, for showing."""
    read = _LETTERS.get(key[:1])
    try:
        if read is not None:
            return read(key[1:], value, kinds)
    except _WRONG:
        pass
    return Saying("", raw(value))


def place_in(key: bytes, value: bytes, vref: str) -> str | None:
    """Where in the value of a row a reference stands, as `["links"][3]`, nothing if in its key; None: nowhere."""
    names: list[str] = []
    try:
        if key[:1] in (b"m", b"q"):
            decode_key(key.partition(b" ")[2], names.append)
            if vref in names:
                return ""
        head, separator, body = value.partition(b"\n")
        slots = tuple(head.decode().split(","))
        return _path(decoded(CapData(body, slots)), Shown(vref)) if separator and vref in slots else None
    except _WRONG:
        return None


def _path(value: Any, wanted: Shown) -> str | None:
    match value:
        case Shown():
            return "" if value == wanted else None
        case Mapping():
            parts = [(f"[{as_text(key)}]", it) for key, it in value.items()]
        case list() | tuple():
            parts = [(f"[{number}]", it) for number, it in enumerate(value)]
        case set() | frozenset():
            parts = [("", it) for it in value]
        case _:
            return None
    found = ((name, _path(it, wanted)) for name, it in parts)
    return next((f"{name}{rest}" for name, rest in found if rest is not None), None)


def raw(value: bytes) -> str:
    """Bytes as they are, those that are no plain characters as escapes."""
    return "".join(chr(it) if 32 <= it < 127 else f"\\x{it:02x}" for it in value)


def _name(vref: bytes, kinds: Kinds) -> str:
    """An object, with its class if that is known."""
    text = safe_text(vref.decode())
    found = class_of(text, kinds) if refs.is_well_formed_vref(text) else None
    return text if found is None else f"{text} ({found})"


def _data(row: bytes) -> str:
    head, separator, body = row.partition(b"\n")
    if not separator:
        raise ValueError("no slots")
    return as_text(shown(CapData(body, tuple(head.decode().split(",")) if head else ())))


def _store(number: bytes) -> str:
    return "baggage" if int(number) == _BAGGAGE else f"store {int(number)}"


def _counter(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    name = key.decode()
    what = {"o": "exports", "p": "promises", "k": "classes", "h": "watches", "d1": "stores"}.get(name)
    if what is None and name.startswith("d"):
        kind = kinds.get(int(name[1:]))
        what = f"instances of {kind.name}" if kind else None
    return Saying(f"numbers set aside for {what or name}", f"below {int(value)}")


def _kind(key: bytes, value: bytes, _: Kinds) -> Saying:
    kind = Kind.of_row(value)
    facets = f", with the facets {', '.join(kind.facets)}" if kind.facets else ""
    return Saying(f"durable class {int(key)}", f"{kind.name}{facets}")


def _fields(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    return Saying(f"fields of {_name(key, kinds)}", _data(value))


def _entry(key: bytes, value: bytes, _: Kinds) -> Saying:
    number, _space, encoded = key.partition(b" ")
    member = decode_key(encoded, Shown)
    return Saying(f"{_store(number)} [{as_text(member)}]", _data(value))


def _size(key: bytes, value: bytes, _: Kinds) -> Saying:
    return Saying(f"size of {_store(key)}", str(int(value)))


def _moved(key: bytes, value: bytes, _: Kinds) -> Saying:
    return Saying(f"where the entries of {_store(key)} are since it was cleared", f"m{int(value)}")


def _references(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    interface = interface_of(value)
    count = int(value.partition(b" ")[0])
    return Saying(
        f"rows that refer to {_name(key, kinds)}{f' ({safe_text(interface)})' if interface else ''}", str(count)
    )


def _exported(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    how = {b"r": "reaches it", b"s": "only recognises it"}[value]
    return Saying(f"export {_name(key, kinds)}", f"the kernel {how}")


def _on_heap(key: bytes, _value: bytes, kinds: Kinds) -> Saying:
    return Saying(f"{_name(key, kinds)} is held by the heap alone", "")


def _recognised(key: bytes, _value: bytes, kinds: Kinds) -> Saying:
    vref, _space, number = key.partition(b" ")
    return Saying(f"weak store {int(number)} has {_name(vref, kinds)} as a key", "")


def _dropped(key: bytes, _value: bytes, kinds: Kinds) -> Saying:
    return Saying(f"import {_name(key, kinds)} is dropped, but recognised", "")


def _rubbish(key: bytes, value: bytes, _: Kinds) -> Saying:
    return Saying(f"entries under {value.decode()}{int(key)} are to be swept", "")


def _watch(key: bytes, value: bytes, _: Kinds) -> Saying:
    vpid, _space, number = key.partition(b" ")
    return Saying(f"watch {int(number)} of promise {safe_text(vpid.decode())}", _data(value))


def _virtual(key: bytes, value: bytes, kinds: Kinds) -> Saying:
    incarnation, _space, rest = key.partition(b" ")
    found = saying(rest, value, kinds)
    if not found.what:
        raise ValueError("a row of no kind")
    return Saying(f"of incarnation {int(incarnation)}: {found.what}", found.value)


_LETTERS: dict[bytes, Callable[[bytes, bytes, Kinds], Saying]] = {
    b"c": _counter,
    b"k": _kind,
    b"s": _fields,
    b"m": _entry,
    b"q": _entry,
    b"n": _size,
    b"g": _moved,
    b"r": _references,
    b"x": _exported,
    b"u": _on_heap,
    b"w": _recognised,
    b"y": _dropped,
    b"z": _rubbish,
    b"h": _watch,
    b"v": _virtual,
}
