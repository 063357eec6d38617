"""Rows of the kernel as rows of SQL and back, one entry a table.

Owns the column order of every statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen

from ocap.kernel.items import CreateVat, Item, Notify, PingVat, Send, TerminateVat, UpgradeVat
from ocap.kernel.options import DEFAULT_OPTIONS, VatOptions
from ocap.kernel.queue import QueueRow
from ocap.kernel.rows import ClistRow, DeadLetterRow, FacetRow, ObjectRow, PromiseRow, SubclusterRow, VatRow
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
        *(_options_text(row.options), row.done, row.epoch, row.reason),
    )


def _vat_row(values: Values) -> VatRow:
    vat, name, subcluster, source, body, slots, root, *counted, options, done, epoch, reason = values
    state, incarnation, ended, faults, next_import = counted
    parameters = CapData(body, split(slots))
    begun = (state, incarnation, bool(ended), faults, next_import)
    return VatRow(vat, name, subcluster, source, parameters, root, *begun, _to_options(options), done, epoch, reason)


def _options_text(options: VatOptions) -> str:
    """What differs from the defaults: for nearly every vat, nothing."""
    if options is DEFAULT_OPTIONS or options == DEFAULT_OPTIONS:
        return "{}"
    return json.dumps({k: v for k, v in attrs.asdict(options).items() if v != getattr(DEFAULT_OPTIONS, k)})


def _to_options(text: str) -> VatOptions:
    if text == "{}":
        return DEFAULT_OPTIONS
    found = json.loads(text)
    if found.get("imports") is not None:
        found["imports"] = tuple(found["imports"])
    found["endowments"] = tuple((name, kref) for name, kref in found.get("endowments", ()))
    return VatOptions(**found)


def _subcluster_values(_: Any, row: SubclusterRow) -> Values:
    config = (row.config.body, join(row.config.slots))
    return row.id, row.name, *config, row.bootstrap, row.result, row.state, int(row.is_system), row.replaces


def _subcluster_row(values: Values) -> SubclusterRow:
    name, title, body, slots, bootstrap, result, state, is_system, replaces = values
    config = CapData(body, split(slots))
    return SubclusterRow(name, title, config, bootstrap, result, state, bool(is_system), replaces)


def _queue_values(seq: int, row: QueueRow) -> Values:
    kind, *values = _item_values(row.item)
    return seq, row.place, kind, row.item.cause, *values


def _item_values(item: Item) -> Values:
    """Kind, vat, target, method, body, slots, result, source, options, reason."""
    match item:
        case Send():
            args = (item.args.body, join(item.args.slots))
            return "send", None, item.target, item.method, *args, item.result, None, None, None
        case Notify():
            return "notify", item.vat, item.promise, *_NOTHING
        case CreateVat():
            return "create", item.vat, *_NOTHING[:4], item.result, None, None, None
        case UpgradeVat():
            options = None if item.options is None else _options_text(item.options)
            body = _maybe(item.parameters)
            return "upgrade", item.vat, None, None, *body, item.result, item.source, options, None
        case PingVat():
            return "ping", item.vat, *_NOTHING[:4], item.result, None, None, None
        case TerminateVat():
            return "terminate", item.vat, None, None, *_maybe(item.detail), None, None, None, item.reason


_NOTHING = (None,) * 7


def _maybe(data: CapData | None) -> Values:
    return (None, None) if data is None else (data.body, join(data.slots))


def _queue_row(values: Values) -> QueueRow:
    return QueueRow(values[1], to_item(values))


def to_item(values: Values) -> Item:
    """The item of a whole row of `queue`."""
    _, _, kind, cause, vat, target, method, body, slots, result, source, options, reason = values
    match kind:
        case "send":
            return Send(target, method, CapData(body, split(slots)), result, cause)
        case "notify":
            return Notify(vat, target, cause)
        case "create":
            return CreateVat(vat, cause, result)
        case "upgrade":
            brought = None if options is None else _to_options(options)
            return UpgradeVat(vat, source, _capdata(body, slots), result, cause, brought)
        case "ping":
            return PingVat(vat, result, cause)
        case _:
            return TerminateVat(vat, reason, cause, _capdata(body, slots))


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
            ("name", "config", "config_slots", "bootstrap", "result", "state", "is_system", "replaces"),
            _subcluster_values,
            _subcluster_row,
        ),
        Mapping(
            "vats",
            ("id",),
            (
                *("name", "subcluster", "source", "parameters", "parameter_slots", "root"),
                *("state", "incarnation", "ended", "faults", "next_import", "options", "done", "epoch", "reason"),
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
            (
                *("place", "kind", "cause", "vat", "target", "method", "body", "slots", "result"),
                *("source", "options", "reason"),
            ),
            _queue_values,
            _queue_row,
        ),
        Mapping("gc_actions", ("vat", "kind", "kref"), (), lambda key, _: key, lambda _: True),
        Mapping("vatstore", ("vat", "key"), ("value",), lambda key, row: (*key, row), lambda values: values[2]),
        Mapping("services", ("name",), ("kref",), lambda key, row: (key, row), lambda values: values[1]),
        Mapping("pins", ("kref",), (), lambda key, _: (key,), lambda _: True),
        Mapping("events", ("key",), ("epoch",), lambda key, row: (key, row), lambda values: values[1]),
        Mapping(
            "facets",
            ("kref",),
            ("kind", "subject", "done"),
            lambda _, row: (row.kref, row.kind, row.subject, row.done),
            lambda values: FacetRow(*values),
        ),
        Mapping(
            "dead_letters",
            ("number",),
            ("crank", "vat", "target", "method", "body", "slots", "reason"),
            _dead_letter_values,
            _dead_letter_row,
        ),
    )
}
