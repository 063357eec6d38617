"""Taking over: whether code fits what an earlier version of it has stored. Looks at every row, and keeps nothing.

What a start checks is that each stored kind has its class; objects are looked at when they are
first touched, maybe months later. Here all are looked at beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from ocap.protocol.deliveries import StartVat
from ocap.protocol.errors import DecodeError, NotPassableError
from vats import running
from vats.budget import CrankFaultError
from vats.keys import decode_key
from vats.kinds import MissingKindError
from vats.schema import SchemaError, adapt

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

REASONS = 20
"""Different reasons told of one kind: a reason may quote a value, and there may be millions."""

Looks = Iterator[tuple[str, Callable[[], None]]]
"""The names of what is stored, each with a look at it, which raises if it does not fit."""


@frozen
class Misfit:
    """Something stored that the code cannot take over.

    Attributes:
        kind: the class of the stored objects; `entries of stores` or `watched promises` for what is no object;
            empty for the code itself.
        reason: what is wrong, and what to do.
        count: how many there are.
        example: the first of them.
    """

    kind: str
    reason: str
    count: int = 1
    example: str = ""

    def __str__(self) -> str:
        if not self.kind:
            return self.reason
        return f"{self.kind} ({self.count:,} stored, such as {self.example}): {self.reason}"


def check_takeover(vat: Liveslots, start: StartVat) -> list[Misfit]:
    """What would fail if `vat`, an incarnation that is not started yet, took over the rows it is given.

    The incarnation is of no use afterwards. What it did and wrote is forgotten: nothing is changed. The code is run:
    its module, `build_root_object`, and the `migrate` of every object stored under another version.
    """
    fault = vat.deliver(start).fault
    found = list(misfits(vat)) if vat.is_loaded else []
    if fault is not None and all(misfit.reason not in fault for misfit in found):
        found.insert(0, Misfit("", fault))
    vat.close()
    return found


def misfits(vat: Liveslots) -> Iterator[Misfit]:
    """What of the rows of a vat does not fit its classes, which are loaded; what this writes is forgotten."""
    outer, running.vat = running.vat, vat
    try:
        for kind, name in vat.states.kinds.stored():
            yield from _told(vat, name, _objects(vat, kind))
        yield from _told(vat, "entries of stores", _entries(vat))
        yield from _told(vat, "watched promises", _watches(vat))
    finally:
        running.vat = outer


def _told(vat: Liveslots, kind: str, looks: Looks) -> Iterator[Misfit]:
    """Misfits by their reason."""
    found: dict[str, tuple[int, str]] = {}
    for example, look in looks:
        reason = _reason(vat, look)
        if reason is not None:
            if reason not in found and len(found) >= REASONS:
                reason = "and for other reasons"
            count, first = found.get(reason, (0, example))
            found[reason] = (count + 1, first)
    for reason, (count, first) in found.items():
        yield Misfit(kind, reason, count, first)


def _reason(vat: Liveslots, look: Callable[[], None]) -> str | None:
    try:
        look()
    except MissingKindError:  # in a reference: told of with the objects of that kind
        return None
    except (SchemaError, DecodeError, NotPassableError) as error:
        return str(error)
    except CrankFaultError as error:  # a `migrate` used up a budget
        vat.turns.fault = None
        return str(error)
    finally:
        vat.store.discard()  # what a `migrate` wrote, such as the store it made
    return None


def _objects(vat: Liveslots, kind: int) -> Looks:
    for key, row in vat.store.scan(b"so+d%d/" % kind):
        vref = key[1:].decode()
        yield vref, partial(_look_at_object, vat, vref, row)


def _look_at_object(vat: Liveslots, vref: str, row: bytes) -> None:
    try:
        cls = vat.states.kinds.class_of(vref)
    except MissingKindError as error:
        raise SchemaError(str(error)) from None
    state, _ = adapt(cls, vat.rows.from_row(row), vat.rows)
    lacking = [field.where for field in cls._ocap_fields.values() if field.name not in state and not field.has_default]
    if lacking:
        names = ", ".join(lacking)
        raise SchemaError(f"{names} is not stored and has no default: give it one, or add it in `migrate`")


def _entries(vat: Liveslots) -> Looks:
    for letter in (b"m", b"q"):
        for key, row in vat.store.scan(letter):
            place, _, encoded = key[1:].partition(b" ")
            yield f"one of store {place.decode()}", partial(_look_at_entry, vat, encoded, row)


def _look_at_entry(vat: Liveslots, key: bytes, row: bytes) -> None:
    decode_key(key, vat.slots.to_stored_object, vat.slots.registry)
    vat.rows.from_row(row)


def _watches(vat: Liveslots) -> Looks:
    for key, row in vat.store.scan(b"h"):
        yield key[1:].partition(b" ")[0].decode(), partial(_look_at_watch, vat, row)


def _look_at_watch(vat: Liveslots, row: bytes) -> None:
    watcher, fulfilled, rejected, _ = vat.rows.from_row(row)
    if not (hasattr(type(watcher), fulfilled) or hasattr(type(watcher), rejected)):
        name = type(watcher).__qualname__
        raise SchemaError(f"a {name} watches, and {name} has neither {fulfilled} nor {rejected} any more")
