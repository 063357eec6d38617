"""Which entries `ocap log` shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from ocap.log import Entry, from_event
from ocap.log.recent import Recent
from ocap.log.selection import Selection, event_references, parse_cranks, parse_time, references
from ocap.protocol.errors import ConfigError
from tests.log.made import entry, every_event, message, settled


def chosen(selection: Selection, entries: list[Entry]) -> list[Entry]:
    return [it for it in entries if selection.has(it)]


def test_vat_is_chosen_by_id_or_name(exchange: list[Entry]) -> None:
    by_id = chosen(Selection(vats=frozenset({"v4"})), exchange)
    assert by_id == chosen(Selection(vats=frozenset({"alice"})), exchange)
    assert {it.name for it in by_id} == {"alice"}
    assert len(by_id) == sum(it.vat == "v4" for it in exchange) > 5


def test_method_brings_its_answers(exchange: list[Entry]) -> None:
    found = chosen(Selection(methods=frozenset({"make_purse"})), exchange)
    assert {it.op for it in found} == {"send", "message", "resolve", "notify"}
    results = {it.kernel["result"] for it in found if it.kernel and it.op == "message"}
    for it in found:
        assert it.kernel is not None
        if it.op in ("send", "message"):
            assert it.kernel["method"] == "make_purse"
        else:
            assert results & {one["promise"] for one in it.settlements()}


def test_method_brings_the_fault_it_ended_in() -> None:
    fields = message(1, 0, "v1", "greet", None).kernel
    fault = entry(1, 0, "fault", op="message", kernel=fields, vatside=fields, text="too much")
    assert chosen(Selection(methods=frozenset({"greet"})), [fault]) == [fault]
    assert chosen(Selection(methods=frozenset({"other"})), [fault]) == []


def test_reference_is_found_wherever_it_stands(exchange: list[Entry]) -> None:
    found = chosen(Selection(refs=frozenset({"ko7"})), exchange)
    assert found == [it for it in exchange if "ko7" in references(it)]
    assert {it.op for it in found} >= {"resolve", "notify", "send", "message"}
    assert "p-1" in set(references(settled(2, 1, "v1", "p-1")))


def test_cranks_are_chosen_by_number(exchange: list[Entry]) -> None:
    assert {it.crank for it in chosen(Selection(first=7, last=9), exchange)} == {7, 8, 9}


def test_time_is_that_of_the_crank() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    entries = [entry(number, time=(at + timedelta(seconds=number)).isoformat()) for number in range(5)]
    assert chosen(Selection(since=at + timedelta(seconds=2)), entries) == entries[2:]
    assert chosen(Selection(until=at + timedelta(seconds=2)), entries) == entries[:3]
    assert chosen(Selection(since=at), [entry()]) == []  # of no known time


SELECTIONS = [
    Selection(),
    Selection(vats=frozenset({"v1"})),
    Selection(vats=frozenset({"alice", "kernel"})),
    Selection(methods=frozenset({"greet"})),
    Selection(methods=frozenset({"make_purse", "get"}), vats=frozenset({"v2", "v4"})),
    *(Selection(refs=frozenset({ref})) for ref in ("ko1", "o+0", "kp1", "p-1", "kp2", "p-2", "kp9", "p+9", "o+d1/1")),
    Selection(refs=frozenset({"ko7"}), first=3),
    Selection(first=4, last=9),
]


@pytest.mark.parametrize("number", range(len(SELECTIONS)))
def test_events_are_chosen_as_their_entries_are(number: int) -> None:
    """One of each kind and operation, and again: which answers belong to a method is remembered alike."""
    one, other = (attrs.evolve(SELECTIONS[number]) for _ in range(2))
    name_of = {"v1": "alice", "kernel": "kernel"}.__getitem__
    for event in every_event() * 2:
        assert one.has(from_event(event, name_of)) == other.has_event(event, name_of), event
        assert set(references(from_event(event, name_of))) == set(event_references(event))


def test_recent_forgets_the_oldest_and_never_the_latest() -> None:
    table: Recent[int, str] = Recent(10)
    for number in range(95):
        table[number] = str(number)
        assert all(table.get(it) == str(it) for it in range(max(0, number - 9), number + 1))
        assert (number - 20 in table) is False
    table[94] = "anew"
    assert "anew" == table.get(94)


def test_conditions_add_up(exchange: list[Entry]) -> None:
    both = Selection(vats=frozenset({"alice"}), methods=frozenset({"receive"}), first=1, last=20)
    assert chosen(both, exchange) == [
        it for it in exchange if it.vat == "v4" and it in chosen(Selection(methods=frozenset({"receive"})), exchange)
        if it.crank <= 20
    ]  # fmt: skip


def test_nothing_asked_is_everything(exchange: list[Entry]) -> None:
    assert Selection().is_everything
    assert chosen(Selection(), exchange) == exchange


@pytest.mark.parametrize(
    ("text", "cranks"), [("3..5", (3, 5)), ("3..", (3, None)), ("..5", (0, 5)), ("4", (4, 4)), ("0..0", (0, 0))]
)
def test_cranks_are_parsed(text: str, cranks: tuple[int, int | None]) -> None:
    assert parse_cranks(text) == cranks


@pytest.mark.parametrize("text", ["", "..", "5..3", "a", "1...2", "-1", "1..b", "٣"])
def test_what_is_no_range_of_cranks_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--crank: "):
        parse_cranks(text)


def test_time_is_parsed() -> None:
    now = datetime(2026, 1, 8, tzinfo=UTC)
    assert parse_time("--since", "7d", now) == datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_time("--since", "90s", now) == now - timedelta(seconds=90)
    assert parse_time("--since", "2026-01-08T02:00+02:00") == now
    assert parse_time("--since", "2026-01-08T00:00Z") == now
    local = datetime(2026, 1, 8, 12).astimezone()
    assert parse_time("--since", "2026-01-08T12:00") == local


@pytest.mark.parametrize("text", ["", "yesterday", "5x", "999999999d", "0001-01-01T00:00+23:59"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--until: "):
        parse_time("--until", text)
