"""One entry of the message log: from an event of the kernel, to JSON, and back from a line of a file.

`schema.json`, beside this file, describes the JSON for others. What is read may be damaged, or forged:
every field is checked before it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Any

import attrs
from attrs import frozen

from ocap.kernel.effects import Event
from ocap.legible import shown
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.errors import OcapError

Operation = deliveries.Delivery | syscalls.Syscall
Fields = dict[str, Any]

KINDS = frozenset({"deliver", "syscall", "log", "error", "fault", "suspend", "resume", "terminate", "note"})

OPS = {
    deliveries.StartVat: "start",
    deliveries.Message: "message",
    deliveries.Notify: "notify",
    deliveries.DropExports: "drop_exports",
    deliveries.RetireExports: "retire_exports",
    deliveries.RetireImports: "retire_imports",
    deliveries.BringOutYourDead: "bring_out_your_dead",
    deliveries.ReportEdges: "report_edges",
    deliveries.Ping: "ping",
    syscalls.Send: "send",
    syscalls.Subscribe: "subscribe",
    syscalls.Resolve: "resolve",
    syscalls.Forward: "forward",
    syscalls.Keep: "keep",
    syscalls.DropImports: "drop_imports",
    syscalls.RetireImports: "retire_imports",
    syscalls.RetireExports: "retire_exports",
    syscalls.AbandonExports: "abandon_exports",
    syscalls.Exit: "exit",
}


class BadEntryError(OcapError, ValueError):
    """A line is no entry of the message log; whoever wrote or damaged it is at fault."""


@frozen
class Entry:
    """One entry of the message log. `docs/reference/message-log.md` says what each field means."""

    crank: int
    cause: int
    kind: str
    vat: str | None
    name: str | None
    op: str | None
    kernel: Fields | None
    vatside: Fields | None
    text: str | None
    time: str | None
    took: float | None

    def both_sides(self) -> tuple[Fields, ...]:
        """The fields of its operation, in krefs and in vrefs, where it has them."""
        return tuple(fields for fields in (self.kernel, self.vatside) if fields is not None)

    def settlements(self) -> list[Fields]:
        """What a notify or resolve settles, in krefs; empty for others."""
        settled: list[Fields] = (self.kernel or {}).get("settlements", [])
        return settled


_FIELDS = tuple(it.name for it in attrs.fields(Entry))


def from_event(event: Event, name_of: Callable[[str], str]) -> Entry:
    """The entry that tells of an event.

    Args:
        event: as the kernel tells it.
        name_of: the name of a vat, from its id.
    """
    return Entry(**_told(event, name_of))


def to_json_line(entry: Entry) -> str:
    """One entry as one line of JSON, without its newline."""
    return _encode({name: getattr(entry, name) for name in _FIELDS})


def event_line(event: Event, name_of: Callable[[str], str], largest: float = inf) -> str:
    """What `to_json_line` says of `from_event`, in half the time.

    Args:
        event: as the kernel tells it.
        name_of: the name of a vat, from its id.
        largest: bytes of a body beyond which only its size is told.
    """
    return _encode(_told(event, name_of, largest))


_encode = json.JSONEncoder(check_circular=False).encode


def _told(event: Event, name_of: Callable[[str], str], largest: float = inf) -> Fields:
    """The fields of an entry, in their order."""
    kernel, vat_side = event.kernel, event.vat_side
    operation = kernel or vat_side
    bodies = _Bodies(largest)
    return {
        "crank": event.crank,
        "cause": event.cause,
        "kind": event.kind,
        "vat": event.vat,
        "name": None if event.vat is None else name_of(event.vat),
        "op": None if operation is None else OPS[type(operation)],
        "kernel": None if kernel is None else _fields(kernel, bodies.shown),
        "vatside": None if vat_side is None else _fields(vat_side, bodies.shown),
        "text": event.text,
        "time": None if event.time is None else _time(event.time),
        "took": None if event.took is None else round(event.took, 6),
    }


class _Bodies:
    """What bodies say. Both sides of an operation have the same, and without references in it it says the same."""

    def __init__(self, largest: float) -> None:
        self._largest = largest
        self._shown: dict[bytes, Any] = {}

    def shown(self, data: CapData) -> Any:
        if len(data.body) > self._largest:
            return f"<{len(data.body)} bytes>"
        if data.slots:
            return shown(data)
        if data.body not in self._shown:
            self._shown[data.body] = shown(data)
        return self._shown[data.body]


@lru_cache(maxsize=8)  # all entries of a crank have the same
def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _fields(operation: Operation, show: Callable[[CapData], Any]) -> Fields:
    match operation:
        case deliveries.Message() | syscalls.Send():
            return {
                "target": operation.target,
                "method": operation.method,
                "args": show(operation.args),
                "slots": list(operation.args.slots),
                "result": operation.result,
            }
        case deliveries.Notify() | syscalls.Resolve():
            return {"settlements": [_settlement(it, show) for it in operation.settlements]}
        case deliveries.StartVat():
            return {"incarnation": operation.incarnation, "parameters": show(operation.parameters)}
        case syscalls.Subscribe():
            return {"promise": operation.promise}
        case syscalls.Forward():
            return {"promise": operation.promise, "to": operation.to}
        case syscalls.Keep():
            return {"promise": operation.promise, "decision": operation.decision}
        case syscalls.Exit():
            return {"is_failure": operation.is_failure, "data": show(operation.data)}
    return {"refs": list(getattr(operation, "vrefs", ()))}


def _settlement(settlement: Settlement, show: Callable[[CapData], Any]) -> Fields:
    return {
        "promise": settlement.promise,
        "rejected": settlement.rejected,
        "data": show(settlement.data),
        "slots": list(settlement.data.slots),
    }


# ---- reading --------------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_anything(_: Any) -> bool:
    return True


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_list_of_settlements(value: Any) -> bool:
    return isinstance(value, list) and all(_wrong_field(it, _SETTLEMENT) is None for it in value)


def _is_seconds_or_null(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and value >= 0)


def _is_time_or_null(value: Any) -> bool:
    if value is None:
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


_SETTLEMENT: dict[str, Check] = {
    "promise": _is_text,
    "rejected": _is_flag,
    "data": _is_anything,
    "slots": _is_list_of_text,
}
_MESSAGE: dict[str, Check] = {
    "target": _is_text,
    "method": _is_text,
    "args": _is_anything,
    "slots": _is_list_of_text,
    "result": _is_text_or_null,
}
_SETTLED: dict[str, Check] = {"settlements": _is_list_of_settlements}
_REFS: dict[str, Check] = {"refs": _is_list_of_text}
OPERATION_FIELDS: dict[str, dict[str, Check]] = dict.fromkeys(OPS.values(), _REFS) | {
    "message": _MESSAGE,
    "send": _MESSAGE,
    "notify": _SETTLED,
    "resolve": _SETTLED,
    "start": {"incarnation": _is_count, "parameters": _is_anything},
    "subscribe": {"promise": _is_text},
    "forward": {"promise": _is_text, "to": _is_text},
    "keep": {"promise": _is_text, "decision": _is_flag},
    "exit": {"is_failure": _is_flag, "data": _is_anything},
}
_ENTRY: dict[str, Check] = {
    "crank": _is_count,
    "cause": _is_count,
    "kind": lambda value: isinstance(value, str) and value in KINDS,
    "vat": _is_text_or_null,
    "name": _is_text_or_null,
    "op": lambda value: value is None or (isinstance(value, str) and value in OPERATION_FIELDS),
    "kernel": _is_anything,  # looked into below, when the operation is known
    "vatside": _is_anything,
    "text": _is_text_or_null,
    "time": _is_time_or_null,
    "took": _is_seconds_or_null,
}


def from_json_line(line: str | bytes) -> Entry:
    """The entry that a line of a log file holds. Fields this version does not know are ignored.

    Raises:
        BadEntryError: it holds none, with the reason.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadEntryError(f"not JSON: {error}") from None
    wrong = _wrong_field(value, _ENTRY)
    if wrong is not None:
        raise BadEntryError(wrong)
    entry = Entry(*(value[name] for name in _FIELDS))
    operation = OPERATION_FIELDS.get(entry.op or "")
    sides = [("kernel", entry.kernel), ("vatside", entry.vatside)]
    for name, fields in sides:
        if fields is None:
            continue
        if operation is None:
            raise BadEntryError(f"{name} without an op")
        wrong = _wrong_field(fields, operation)
        if wrong is not None:
            raise BadEntryError(f"{name}: {wrong}")
    # A fault of an early version has its delivery in vrefs alone.
    if (entry.kind in ("deliver", "syscall")) > (None not in (entry.kernel, entry.vatside)):
        raise BadEntryError(f"a {entry.kind} without both kernel and vatside")
    return entry


def _wrong_field(value: Any, checks: dict[str, Check]) -> str | None:
    """What is wrong with a JSON object; None if nothing is."""
    if not isinstance(value, dict):
        return "not a JSON object"
    for name, check in checks.items():
        if name not in value:
            return f"no {name}"
        if not check(value[name]):
            return f"not a possible {name}: {json.dumps(value[name])[:80]}"
    return None
