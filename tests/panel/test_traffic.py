"""The page of the traffic shows all of it, from the log file or from the kernel, or says that it does not."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from ocap.daemon import tap
from ocap.log import Entry, to_json_line
from ocap.log.traffic import traffic_of
from ocap.log.writing import MIN_SIZE, LogFile, Retention
from ocap.panel import feeds
from ocap.panel.app import LINES, _lines
from ocap.panel.feeds import FEEDS, Feed, Feeds, Filter, Shown
from tests.daemon.serving import until
from tests.log.made import message, settled
from tests.panel.visiting import Visit, visiting


@pytest.fixture
def log(db: Path) -> Iterator[LogFile]:
    found = LogFile(db.with_name("log.jsonl"), Retention(size=MIN_SIZE * 100))
    yield found
    found.close()


@define
class Page:
    """What a page of the traffic has been told."""

    said: str = ""
    lines: list[str] = field(factory=list)

    def has(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    @property
    def cranks(self) -> list[int]:
        """Those of the lines, in order, without what was between cranks."""
        found = (re.match("([1-9][0-9]*)<", line) for line in self.lines)
        return list(dict.fromkeys(int(it[1]) for it in found if it))


@asynccontextmanager
async def looking(visit: Visit, **asked: str) -> AsyncIterator[Page]:
    """One who follows the traffic, from where its page began."""
    page = Page()
    text = unescape((await visit.client.get("/traffic", params=asked)).text)
    page.lines += [re.sub("<[^>]+>", "", line) for line in re.findall(r"<li class=.*</li>", text)]
    found = re.search(r'data-since="(\d+)"', text)
    assert found
    body = {"traffic": True, "since": int(found[1]), **asked}

    async def listen() -> None:
        async with visit.client.stream("POST", "/events", json=body, headers=visit.headers) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    news = json.loads(line[6:])
                    page.said = news.get("said", page.said)
                    page.lines += [it["text"] for it in news.get("lines", ())]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await until(lambda: page.said not in ("", "Nothing is followed yet."))
        yield page
        nursery.cancel_scope.cancel()


# ---- from the log file ----------------------------------------------------------------------------


async def test_log_file_is_shown_whole_also_from_before_and_costs_the_kernel_nothing(db: Path, log: LogFile) -> None:
    async with visiting(db, log=log) as visit:
        await visit.do("send", target="b", method="echo", args='["before the page"]')
        async with looking(visit) as page:
            assert f"Everything, from the log file {log.path}." == page.said
            await until(lambda: page.has("before the page"))
            await visit.do("send", target="a", method="ask_other", args="[30]")
            log._rotate()
            await visit.do("send", target="b", method="echo", args='["after a rotation"]')
            await until(lambda: page.has("notify kp") and page.has('"after a rotation"'))
            assert visit.served.tap._followers == {}
            await visit.served.kernel.idle()
            last = visit.served.kernel.stats()["last_crank"]
            await until(lambda: page.cranks[-1] == last)
            assert page.cranks == sorted(page.cranks)
            assert set(range(page.cranks[0], last + 1)) == set(page.cranks)
            assert not page.has("passed over")


async def test_filter_chooses_from_the_log_file(db: Path, log: LogFile) -> None:
    async with visiting(db, log=log) as visit, looking(visit, method="echo", vat="b") as page:
        assert f"Everything that fits, from the log file {log.path}." == page.said
        await visit.do("send", target="a", method="ask_other", args="[20]")
        await until(lambda: sum(".echo(" in line for line in page.lines) == 20)
        assert not page.has("ask_other")
        picture = (await visit.client.get("/traffic/diagram.svg?method=echo&vat=b")).text
        assert "not seen" not in picture  # who sent them is known, though that was not asked for


async def test_what_led_to_a_crank_is_found_in_the_log_file(db: Path, log: LogFile) -> None:
    async with visiting(db, log=log) as visit:
        await visit.do("send", target="a", method="ask_other", args="[3]")
        last = visit.served.kernel.stats()["last_crank"]
        text = (await visit.client.get(f"/traffic/why/{last}")).text
        assert ".ask_other(3)" in unescape(text)  # which nobody looked at as it happened
        assert "not among what" in (await visit.client.get(f"/traffic/why/{last + 9}")).text


async def test_log_that_cannot_be_read_is_no_log(db: Path, log: LogFile) -> None:
    async with visiting(db, log=log) as visit:
        log.path.unlink()
        async with looking(visit) as page:
            assert page.said.startswith("Everything since ")
            await visit.do("send", target="b", method="echo", args='["from the kernel"]')
            await until(lambda: page.has("from the kernel"))


def test_what_is_large_in_a_line_is_kept_by_its_size() -> None:
    large = "x" * feeds.LARGE
    for entry in (message(7, 3, "v1", "greet", None), settled(7, 3, "v1", "kp1", data=large)):
        fields: Any = entry.kernel
        if entry.op == "message":
            fields["args"] = [[large], {}]
        kept = feeds._entry(to_json_line(entry).encode())
        assert kept is not None
        assert len(to_json_line(kept)) < 1000
        assert kept.op == entry.op
        size = len(json.dumps([[large], {}] if entry.op == "message" else large))
        assert f"<{size} characters>" in to_json_line(kept)
    assert feeds._entry(b"not an entry") is None


# ---- from the kernel ------------------------------------------------------------------------------


async def test_all_is_shown_and_said_so_while_it_is_cheap(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "SHARE", 1e6)
    async with visiting(db) as visit, looking(visit) as page:
        assert page.said.startswith("Everything since ")
        await visit.do("send", target="a", method="ask_other", args="[50]")
        await visit.served.kernel.idle()
        last = visit.served.kernel.stats()["last_crank"]
        await until(lambda: page.cranks and page.cranks[-1] == last)
        assert list(range(page.cranks[0], last + 1)) == page.cranks
        assert page.said.startswith("Everything since ")


async def test_busy_kernel_is_sampled_and_said_so(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with visiting(db) as visit:
        visit.served.tap._left = 0.0
        monkeypatch.setattr(tap, "SHARE", 0.0)
        async with looking(visit) as page:
            await visit.do("send", target="a", method="ask_other", args="[50]")
            monkeypatch.setattr(tap, "SHARE", 1.0)
            await until(lambda: page.has("cranks passed over"))
            assert re.fullmatch(
                r"A sample, as the kernel is busy: \d+ cranks were passed over in the last 10 s\.", page.said
            )


async def test_each_filter_is_chosen_by_the_kernel(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "SHARE", 1e6)
    async with visiting(db) as visit, looking(visit, vat="b") as of_b, looking(visit, method="ask_other") as of_method:
        assert of_b.said.startswith("Everything that fits since ")
        await visit.do("send", target="a", method="ask_other", args="[5]")
        await until(lambda: sum(".echo(" in line for line in of_b.lines) == 5)
        await until(lambda: of_method.has(".ask_other(5)"))
        assert not of_b.has("v1:a")
        assert not of_method.has(".echo(")
        selections = {frozenset(it.selection.vats | it.selection.methods) for it in visit.served.tap._followers}
        assert {frozenset({"b"}), frozenset({"ask_other"})} == selections
        picture = (await visit.client.get("/traffic/diagram.svg?vat=b")).text
        assert "not seen" not in picture


async def test_nobody_is_followed_when_nobody_looks(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LINGER", 0.0)
    monkeypatch.setattr(feeds, "AGAIN", 0.01)
    async with visiting(db) as visit:
        await visit.client.get("/")  # which shows rates, and no traffic
        assert visit.served.tap._followers == {}
        async with looking(visit):
            assert len(visit.served.tap._followers) == 1
        await until(lambda: not visit.served.tap._followers)
        assert visit.served.kernel._core.traced is False


# ---- feeds ----------------------------------------------------------------------------------------


async def test_feeds_are_bounded_and_those_that_are_looked_at_stay(tmp_path: Path) -> None:
    found = Feeds(tmp_path / "none.sock", lambda: None)
    first = found.find(Filter(vat="v0"))
    with first.looking():
        for number in range(3 * FEEDS):
            found.find(Filter(vat=f"v{number}"))
        assert FEEDS == len(found._feeds)
        assert found.find(Filter(vat="v0")) is first


def test_ring_is_bounded_and_tells_what_came_after() -> None:
    feed = Feed(Filter())
    for number in range(1, feeds.RING + 100):
        feed.ring.append(Shown(number, None))
    assert feeds.RING == len(feed.ring)
    assert [feeds.RING + 98, feeds.RING + 99] == [it.number for it in feed.after(feeds.RING + 97)]
    assert [] == feed.after(feeds.RING + 99)


def test_more_lines_than_can_be_shown_are_counted() -> None:
    shown = [Shown(number, message(number, 0, "v1", "greet", None)) for number in range(1, LINES + 8)]
    lines = _lines(shown)
    assert "7 lines more than can be shown at once" == lines[0]["text"]
    assert [8, LINES + 7] == [lines[1]["crank"], lines[-1]["crank"]]
    assert LINES == len(_lines(shown[:LINES]))


def test_sender_that_is_not_in_the_log_is_told_by_who_ran_in_the_crank() -> None:
    entries: list[Entry] = [
        message(5, 3, "v1", "greet", "kp1"),
        settled(7, 6, "v1", "kp2"),
        message(8, 4, "v1", "a", None),
    ]
    assert ["v2", "v3", "kernel"] == [step.source for step in traffic_of(entries, ran={3: "v2", 6: "v3"}).steps]
