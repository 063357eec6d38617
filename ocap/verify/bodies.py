"""V14: the bodies stored anywhere, and their slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apsw

from ocap.protocol.capdata import TAG_OBJECT, TAG_PROMISE
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import MAX_BODY, MAX_SLOTS, NO_TAGS, strict_loads
from ocap.protocol.refs import is_promise_kref, is_well_formed_kref
from ocap.verify.finding import Finding

_OWN_TAGS = range(TAG_OBJECT, TAG_OBJECT + 16)


def slots_are_krefs(db: apsw.Connection) -> Iterator[Finding]:
    """No vat's names are stored: each slot is a kref."""
    for holder, key, kref in db.execute("SELECT holder, id, kref FROM temp.slot"):
        if not is_well_formed_kref(kref):
            yield f"{holder} {key}", "a kref in its slots", repr(kref)


def bodies_keep_to_their_slots(db: apsw.Connection) -> Iterator[Finding]:
    """Each body decodes under the strict profile and mentions its own slots only, by their kind.

    The kernel reads no bodies, so that a vat can store a bad one without breaking a rule of the
    kernel; it fails in whoever receives it. Stores of vats that use liveslots have none.
    """
    query = """
        SELECT 'item ' || seq, body, slots FROM queue WHERE body IS NOT NULL
        UNION ALL SELECT kref, body, slots FROM promises WHERE body IS NOT NULL
        UNION ALL SELECT 'parameters of ' || id, parameters, parameter_slots FROM vats
        UNION ALL SELECT 'config of ' || id, config, config_slots FROM subclusters
        UNION ALL SELECT 'dead letter ' || number, body, slots FROM dead_letters
    """
    outline = _Outline()
    for key, body, slots in db.execute(query):
        names = (slots or "").split()
        if len(body) > MAX_BODY or len(names) > MAX_SLOTS:
            yield key, "a body within the limits", f"{len(body)} bytes and {len(names)} slots"
            continue
        try:
            outline.check(body, names)
        except DecodeError as error:
            yield key, "a body of our encoder's", error


class _Outline:
    """Decodes bodies as far as their references: what the values are is not looked at."""

    def __init__(self) -> None:
        self._slots: list[str] = []
        self._tags: dict[int, Callable[..., Any]] = {tag: NO_TAGS[tag] for tag in NO_TAGS if tag not in (2, 3)}
        self._tags |= dict.fromkeys(_OWN_TAGS, lambda *_: None)
        self._tags[TAG_OBJECT] = self._object
        self._tags[TAG_PROMISE] = self._promise

    def check(self, body: bytes, slots: list[str]) -> None:
        self._slots = slots
        strict_loads(body, self._tags)

    def _object(self, content: Any, _: bool) -> None:
        match content:
            case [index, str()]:
                self._slot(index, promise=False)
            case _:
                raise DecodeError("a malformed object reference")

    def _promise(self, content: Any, _: bool) -> None:
        self._slot(content, promise=True)

    def _slot(self, index: Any, promise: bool) -> None:
        if type(index) is not int or not 0 <= index < len(self._slots):
            raise DecodeError(f"no slot {index!r} among {len(self._slots)}")
        if is_promise_kref(self._slots[index]) is not promise:
            raise DecodeError(
                f"slot {index} is {self._slots[index]}, declared as {'a promise' if promise else 'an object'}"
            )
