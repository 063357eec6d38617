"""Entries are the documented JSON, and what is none is refused with a reason."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from jsonschema import Draft202012Validator

from ocap import DisconnectedError, E, Kernel, RevokedError
from ocap.kernel.effects import Event
from ocap.log import BadEntryError, Entry, event_line, from_event, from_json_line, to_json_line, to_line
from ocap.log.entry import KINDS, OPERATION_FIELDS, OPS
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.marshal import encode
from ocap.protocol.refs import VatId
from ocap.verify import verify
from tests.log.made import every_event
from tests.protocol.strategies import Thing
from tests.ring.clusters import launch

SCHEMA = json.loads((files("ocap.log") / "schema.json").read_text())
VALID = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
GOOD: dict[str, Any] = json.loads(to_json_line(from_event(every_event()[0], lambda _: "ann")))


def both(fields: dict[str, Any]) -> dict[str, Any]:
    return {"kernel": fields, "vatside": fields}


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["exchange", "patterns"])
def test_every_line_of_a_cluster_fits_the_schema(name: str, request: pytest.FixtureRequest) -> None:
    log: Path = request.getfixturevalue(f"{name}_log")
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        assert list(VALID.iter_errors(entry)) == []
        assert list(entry) == SCHEMA["required"]
        assert all(entry[field] is not None for field in ("time",))


@pytest.mark.parametrize("event", every_event(), ids=lambda it: f"{it.kind}-{type(it.kernel).__name__}")
def test_every_kind_of_entry_fits_the_schema_and_is_read_back(event: Any) -> None:
    entry = from_event(event, lambda _: "ann")
    line = to_json_line(entry)
    assert list(VALID.iter_errors(json.loads(line))) == []
    assert from_json_line(line) == entry
    assert event_line(event, lambda _: "ann") == line
    assert to_line(entry).startswith(f"7<3 {event.vat}:ann  " if event.vat else "0<0 kernel  note")


@pytest.mark.parametrize(("value", "ours", "theirs"), [("Ann", (), ()), (Thing("any"), ("ko2",), ("o-2",))])
def test_both_sides_show_their_own_references(value: Any, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    """A body that refers to nothing is decoded once for both; of one that does each side has its own."""
    body = encode([[value], {}])[0]
    sides = [deliveries.Message("ko1", "greet", CapData(body, slots)) for slots in (ours, theirs)]
    entry = from_event(Event(7, 3, "deliver", VatId("v1"), kernel=sides[0], vat_side=sides[1]), str)
    expected = [[[*(slots or ["Ann"])], {}] for slots in (ours, theirs)]
    assert expected == [fields["args"] for fields in entry.both_sides()]


def test_every_operation_has_a_name_and_is_tried_here() -> None:
    operations = {*get_args(deliveries.Delivery), *get_args(syscalls.Syscall)}
    assert OPS.keys() == operations == {type(event.kernel) for event in every_event() if event.kernel is not None}


def test_schema_reader_and_these_tests_know_the_same_kinds() -> None:
    assert set(SCHEMA["properties"]["kind"]["enum"]) == KINDS == {event.kind for event in every_event()}


async def test_whatever_a_kernel_tells_in_its_life_fits_the_schema(tmp_path: Path) -> None:
    """Every kind, as a kernel makes it, and most operations."""
    lines: list[str] = []
    async with Kernel(tmp_path / "k.db", log=lambda event: lines.append(event_line(event, kernel.vat_name))) as kernel:
        subcluster, a, b = await launch(kernel)
        vats = {name: vat.id for name, vat in subcluster.vats.items()}
        await E(a).log("says")
        for method, argument in (("fail", "no luck"), ("flood", 40_000_000)):
            with pytest.raises((LookupError, DisconnectedError)):
                await getattr(E(a), method)(argument)
        await kernel.suspend_vat(vats["b"])
        waiting = E(b).echo(1)
        await kernel.resume_vat(vats["b"])
        assert [1] == await waiting
        await kernel.restart_vat(vats["a"])
        await kernel.upgrade_vat(vats["a"])
        await kernel.ping_vat(vats["a"])
        counter = await E(a).get_counter()
        await E(b).keep("counter", counter)
        await E(b).keep("counter", await E(a).make_thing("of the heap"))
        del counter
        kernel.collect_garbage(cycles=True)
        await kernel.idle()
        await kernel.revoke(subcluster.root)
        with pytest.raises(RevokedError):
            await E(a).echo(2)
        await E(b).exit()
        await kernel.terminate_vat(vats["a"])
        await kernel.idle()
    entries = [json.loads(line) for line in lines]
    for line, entry in zip(lines, entries, strict=True):
        assert list(VALID.iter_errors(entry)) == [], line
        assert to_json_line(from_json_line(line)) == line
    assert {entry["kind"] for entry in entries} == KINDS
    rare = {"forward", "keep", "abandon_exports", "retire_exports", "retire_imports", "drop_imports", "drop_exports"}
    assert {entry["op"] for entry in entries} - {None} >= OPERATION_FIELDS.keys() - rare
    assert verify(tmp_path / "k.db") == []


def test_schema_reader_and_code_know_the_same_operations_and_fields() -> None:
    assert set(SCHEMA["properties"]["op"]["enum"]) - {None} == OPERATION_FIELDS.keys()
    assert [it.name for it in attrs.fields(Entry)] == SCHEMA["required"] == list(SCHEMA["properties"])
    for rule in SCHEMA["allOf"]:
        op = rule["if"]["properties"].get("op")
        if op is None:
            continue
        definition = SCHEMA["$defs"][rule["then"]["$ref"].rpartition("/")[2]]
        fields = SCHEMA["$defs"][definition["properties"]["kernel"]["$ref"].rpartition("/")[2]]["required"]
        for name in op.get("enum", [op.get("const")]):
            assert set(fields) == OPERATION_FIELDS[name].keys(), name


@pytest.mark.parametrize(
    "change",
    [
        {"crank": -1},
        {"crank": "1"},
        {"crank": True},
        {"kind": "gossip"},
        {"vat": 3},
        {"op": "shout"},
        {"op": None},
        {"kernel": None},
        {"kernel": []},
        {"kernel": {"target": "ko1"}},
        {"vatside": {**GOOD["vatside"], "slots": "ko1"}},
        {"vatside": {**GOOD["vatside"], "method": None}},
        {"time": 5},
        {"took": -1},
    ],
    ids=str,
)
def test_what_does_not_fit_the_schema_is_not_read(change: dict[str, Any]) -> None:
    bad = GOOD | change
    if change != {"crank": True}:  # which JSON Schema lets pass in some versions, and Python's bool is an int
        assert not VALID.is_valid(bad)
    with pytest.raises(BadEntryError):
        from_json_line(json.dumps(bad))


@pytest.mark.parametrize("field", list(GOOD))
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(BadEntryError, match=f"^no {field}$"):
        from_json_line(json.dumps({key: value for key, value in GOOD.items() if key != field}))


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b"NaN"], ids=range(8)
)
def test_garbage_is_no_entry(line: bytes) -> None:
    with pytest.raises(BadEntryError):
        from_json_line(line)


def test_unknown_fields_are_ignored() -> None:
    assert from_json_line(json.dumps(GOOD | {"later": 1})) == from_json_line(json.dumps(GOOD))


def test_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(BadEntryError, match="not a possible time"):
        from_json_line(json.dumps(GOOD | {"time": "2026-01-01T00:00:00"}))


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b1m", "\u202e", "\n", "\r", "\x00", "\u2028", "\ud800", "\x07", "\u200b"]
)
def test_what_a_vat_wrote_is_inert_in_a_line(text: str) -> None:
    call = {"target": text, "method": text, "args": [[text], {text: text}], "slots": [], "result": text}
    settled = {"settlements": [{"promise": text, "rejected": True, "data": text, "slots": []}]}
    hostile: list[dict[str, Any]] = [
        {"kernel": call, "vatside": call},
        {"op": "notify", "kernel": settled, "vatside": settled},
        {"op": "start", **both({"incarnation": 1, "parameters": [text]})},
        {"op": "exit", **both({"is_failure": True, "data": text})},
        {"op": "forward", **both({"promise": text, "to": text})},
        {"op": "subscribe", **both({"promise": text})},
        {"op": "keep", **both({"promise": text, "decision": False})},
        {"op": "drop_imports", **both({"refs": [text]})},
        {"kind": "log", "op": None, "kernel": None, "vatside": None, "text": text},
    ]
    for change in hostile:
        line = to_line(from_json_line(json.dumps(GOOD | {"vat": text, "name": text} | change)))
        assert text not in line
        assert all(char.isprintable() for char in line)


def test_value_nested_too_deep_is_shown_as_such() -> None:
    value: Any = []
    for _ in range(900):
        value = [value]
    line = json.dumps(GOOD | {"op": "exit", **both({"is_failure": True, "data": value})})
    assert len(to_line(from_json_line(line))) < 300
