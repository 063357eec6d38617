"""Which entries `ocap log` shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ocap.log import Entry
from ocap.log.selection import Selection, parse_cranks, parse_time, references
from ocap.protocol.errors import ConfigError
from tests.log.made import entry, message, settled


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
    fields = message(1, 0, "v1", "greet", None).vatside
    fault = entry(1, 0, "fault", op="message", vatside=fields, text="too much")
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
