"""Rows of the kernel as rows of SQL and back, one entry a table.

Owns the column order of every statement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from ocap.kernel.items import CreateVat, Item, Notify, Send, TerminateVat
from ocap.kernel.queue import QueueRow
from ocap.kernel.rows import ClistRow, DeadLetterRow, ObjectRow, PromiseRow, SubclusterRow, VatRow
from ocap.protocol.capdata import CapData

Values = tuple[Any, ...]


@frozen
class Mapping:
    """One table: its key and other columns, and both directions of the conversion."""

    table: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    to_values: Callable[[Any, Any], Values]
    to_row: Callable[[Values], Any]

    @property
    def upsert(self) -> str:
        marks = ",".join("?" * len(self.keys + self.columns))
        return f"INSERT OR REPLACE INTO {self.table} ({','.join(self.keys + self.columns)}) VALUES ({marks})"

    @property
    def delete(self) -> str:
        return f"DELETE FROM {self.table} WHERE {self._where}"

    @property
    def select(self) -> str:
        return f"SELECT {','.join(self.keys + self.columns)} FROM {self.table} WHERE {self._where}"

    @property
    def _where(self) -> str:
        return " AND ".join(f"{key} = ?" for key in self.keys)


def join(slots: tuple[str, ...]) -> str:
    return " ".join(slots)


def split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _capdata(body: bytes | None, slots: str | None) -> CapData | None:
    return None if body is None else CapData(body, split(slots or ""))


def _object_values(_: Any, row: ObjectRow) -> Values:
    return row.kref, row.owner, row.reachable, row.recognizable, row.gone


def _promise_values(_: Any, row: PromiseRow) -> Values:
    body, slots = (None, None) if row.data is None else (row.data.body, join(row.data.slots))
    return row.kref, row.state, row.decider, row.target, row.refs, body, slots


def _promise_row(values: Values) -> PromiseRow:
    kref, state, decider, target, refs, body, slots = values
    return PromiseRow(kref, decider, refs, state, _capdata(body, slots), target)


def _vat_values(_: Any, row: VatRow) -> Values:
    parameters = (row.parameters.body, join(row.parameters.slots))
    return (
        *(row.id, row.name, row.subcluster, row.source, *parameters, row.root),
        *(row.state, row.incarnation, int(row.ended), row.faults, row.next_import),
    )


def _vat_row(values: Values) -> VatRow:
    vat, name, subcluster, source, body, slots, root, state, incarnation, ended, faults, next_import = values
    parameters = CapData(body, split(slots))
    return VatRow(vat, name, subcluster, source, parameters, root, state, incarnation, bool(ended), faults, next_import)


def _subcluster_values(_: Any, row: SubclusterRow) -> Values:
    return row.id, row.name, row.config, row.bootstrap, row.result, row.state


def _queue_values(seq: int, row: QueueRow) -> Values:
    kind, vat, target, method, body, slots, result, reason = _item_values(row.item)
    return seq, row.place, kind, row.item.cause, vat, target, method, body, slots, result, reason


def _item_values(item: Item) -> Values:
    match item:
        case Send():
            return "send", None, item.target, item.method, item.args.body, join(item.args.slots), item.result, None
        case Notify():
            return "notify", item.vat, item.promise, None, None, None, None, None
        case CreateVat():
            return "create", item.vat, None, None, None, None, None, None
        case TerminateVat():
            return "terminate", item.vat, None, None, None, None, None, item.reason


def _queue_row(values: Values) -> QueueRow:
    return QueueRow(values[1], to_item(values))


def to_item(values: Values) -> Item:
    """The item of a whole row of `queue`."""
    _, _, kind, cause, vat, target, method, body, slots, result, reason = values
    match kind:
        case "send":
            return Send(target, method, CapData(body, split(slots)), result, cause)
        case "notify":
            return Notify(vat, target, cause)
        case "create":
            return CreateVat(vat, cause)
        case _:
            return TerminateVat(vat, reason, cause)


def _dead_letter_values(_: Any, row: DeadLetterRow) -> Values:
    return row.number, row.crank, row.vat, row.target, row.method, row.args.body, join(row.args.slots), row.reason


def _dead_letter_row(values: Values) -> DeadLetterRow:
    number, crank, vat, target, method, body, slots, reason = values
    return DeadLetterRow(number, crank, vat, target, method, CapData(body, split(slots)), reason)


def _clist_values(_: Any, row: ClistRow) -> Values:
    return row.vat, row.kref, row.vref, int(row.reachable), int(row.heard), int(row.decided)


def clist_row(values: Values) -> ClistRow:
    vat, kref, vref, reachable, heard, decided = values
    return ClistRow(vat, kref, vref, bool(reachable), bool(heard), bool(decided))


MAPPINGS = {
    mapping.table: mapping
    for mapping in (
        Mapping("counters", ("kind",), ("next",), lambda key, row: (key, row), lambda values: values[1]),
        Mapping(
            "subclusters",
            ("id",),
            ("name", "config", "bootstrap", "result", "state"),
            _subcluster_values,
            lambda values: SubclusterRow(*values),
        ),
        Mapping(
            "vats",
            ("id",),
            (
                *("name", "subcluster", "source", "parameters", "parameter_slots", "root"),
                *("state", "incarnation", "ended", "faults", "next_import"),
            ),
            _vat_values,
            _vat_row,
        ),
        Mapping(
            "objects",
            ("kref",),
            ("owner", "reachable", "recognizable", "gone"),
            _object_values,
            lambda values: ObjectRow(*values),
        ),
        Mapping(
            "promises",
            ("kref",),
            ("state", "decider", "target", "refs", "body", "slots"),
            _promise_values,
            _promise_row,
        ),
        Mapping("clist", ("vat", "kref"), ("vref", "reachable", "heard", "decided"), _clist_values, clist_row),
        Mapping(
            "queue",
            ("seq",),
            ("place", "kind", "cause", "vat", "target", "method", "body", "slots", "result", "reason"),
            _queue_values,
            _queue_row,
        ),
        Mapping("gc_actions", ("vat", "kind", "kref"), (), lambda key, _: key, lambda _: True),
        Mapping("vatstore", ("vat", "key"), ("value",), lambda key, row: (*key, row), lambda values: values[2]),
        Mapping("services", ("name",), ("kref",), lambda key, row: (key, row), lambda values: values[1]),
        Mapping(
            "dead_letters",
            ("number",),
            ("crank", "vat", "target", "method", "body", "slots", "reason"),
            _dead_letter_values,
            _dead_letter_row,
        ),
    )
}
