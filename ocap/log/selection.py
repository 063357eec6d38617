"""Which entries a reader asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from attrs import define, field

from ocap.kernel.effects import Event
from ocap.log.entry import Entry
from ocap.log.recent import Recent
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import ConfigError

CALLS = (deliveries.Message, syscalls.Send)
SETTLED = (deliveries.Notify, syscalls.Resolve)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@define
class Selection:
    """What entries must be like. An empty field asks for nothing.

    Attributes:
        vats: in or to one of these, by id or name.
        methods: a message of one of these methods, or what its answer settled to.
        refs: naming one of these, in krefs or vrefs.
        first, last: of cranks from `first` to `last`.
        since, until: in cranks that began then or between.
        slower: in cranks that took more seconds.
    """

    vats: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    refs: frozenset[str] = frozenset()
    first: int = 0
    last: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    slower: float | None = None
    _answers: Recent[str, bool] = field(factory=Recent, init=False, eq=False)

    @property
    def is_everything(self) -> bool:
        return self == Selection()

    def has(self, entry: Entry) -> bool:
        """Whether an entry was asked for. Entries are to be shown in their order."""
        # First of all, as it remembers which answers belong to the methods.
        if self.methods and not self._is_of_method(entry):
            return False
        if self.vats and entry.vat not in self.vats and entry.name not in self.vats:
            return False
        if self.refs and self.refs.isdisjoint(references(entry)):
            return False
        if entry.crank < self.first or (self.last is not None and entry.crank > self.last):
            return False
        if self.slower is not None and (entry.took is None or entry.took <= self.slower):
            return False
        return self._is_timely(entry)

    def _is_of_method(self, entry: Entry) -> bool:
        if entry.op in ("message", "send"):
            fields = entry.kernel or {}
            if fields.get("method") not in self.methods:
                return False
            if fields["result"] is not None:
                self._answers[fields["result"]] = True
            return True
        return any(it["promise"] in self._answers for it in entry.settlements())

    def _is_timely(self, entry: Entry) -> bool:
        if self.since is None and self.until is None:
            return True
        if entry.time is None:
            return False
        at = datetime.fromisoformat(entry.time)
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    def has_event(self, event: Event, name_of: Callable[[str], str]) -> bool:
        """Whether it has the entry of an event, told at a tenth of what the entry costs. It asks for no times."""
        if self.methods and not self._is_event_of_method(event):
            return False
        vat = event.vat
        if self.vats and vat not in self.vats and (vat is None or name_of(vat) not in self.vats):
            return False
        if self.refs and self.refs.isdisjoint(event_references(event)):
            return False
        return event.crank >= self.first and (self.last is None or event.crank <= self.last)

    def _is_event_of_method(self, event: Event) -> bool:
        operation = event.kernel
        if isinstance(operation, CALLS):
            if operation.method not in self.methods:
                return False
            if operation.result is not None:
                self._answers[operation.result] = True
            return True
        if isinstance(operation, SETTLED):
            for it in operation.settlements:  # not any(): this is done for every message
                if it.promise in self._answers:
                    return True
        return False


class Unseen:
    """Names that were asked for, and that no entry had so far."""

    def __init__(self, selection: Selection) -> None:
        self._names = {
            "vat": set(selection.vats),
            "method": set(selection.methods),
            "ref": set(selection.refs),
        }

    def look(self, entry: Entry) -> None:
        """Note what an entry names."""
        vats, methods, refs = self._names.values()
        if vats:
            vats -= {entry.vat, entry.name}
        if methods:
            methods -= {fields.get("method") for fields in entry.both_sides()}
        if refs:
            refs.difference_update(references(entry))

    def complaints(self) -> list[str]:
        """A line for each of them."""
        return [f"--{option}: {name}: not in the log" for option, its in self._names.items() for name in sorted(its)]


def references(entry: Entry) -> Iterator[str]:
    """Every reference an entry names, in krefs and in vrefs."""
    for fields in entry.both_sides():
        for key in ("target", "result", "promise", "to"):
            if isinstance(fields.get(key), str):
                yield fields[key]
        yield from fields.get("slots", ())
        yield from fields.get("refs", ())
        for settlement in fields.get("settlements", ()):
            yield settlement["promise"]
            yield from settlement["slots"]


def event_references(event: Event) -> Iterator[str]:
    """The same of the entry of an event."""
    for operation in (event.kernel, event.vat_side):
        match operation:
            case deliveries.Message() | syscalls.Send():
                yield operation.target
                yield from operation.args.slots
                if operation.result is not None:
                    yield operation.result
            case deliveries.Notify() | syscalls.Resolve():
                for settlement in operation.settlements:
                    yield settlement.promise
                    yield from settlement.data.slots
            case syscalls.Subscribe() | syscalls.Keep():
                yield operation.promise
            case syscalls.Forward():
                yield operation.promise
                yield operation.to
            case _:
                yield from getattr(operation, "vrefs", ())


def parse_cranks(text: str) -> tuple[int, int | None]:
    """The first and last of `A..B`, `A..`, `..B` or `A`.

    Raises:
        ConfigError: it is none of these.
    """
    found = re.fullmatch(r"(\d*)(\.\.)?(\d*)", text, re.ASCII)
    if not found or not (found[1] or found[3]):
        raise ConfigError("--crank", f"{text}: cranks are given as A..B, A.., ..B or A")
    first = int(found[1] or 0)
    last = (int(found[3]) if found[3] else None) if found[2] else first
    if last is not None and last < first:
        raise ConfigError("--crank", f"{text}: ends before it begins")
    return first, last


def parse_time(option: str, text: str, now: datetime | None = None) -> datetime:
    """A point of time: as ISO 8601, in local time unless it says otherwise; or 30s, 15m, 2h, 7d: so long ago.

    Raises:
        ConfigError: it is none of these.
    """
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text, re.ASCII)
    try:
        if ago:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        reason = "a time is given as 2026-01-31T12:00, or as 30s, 15m, 2h or 7d ago"
        raise ConfigError(option, f"{text}: {reason}") from None
