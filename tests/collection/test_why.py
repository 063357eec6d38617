"""`ocap why`: the chain of holders, read from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap.why import why
from tests.collection.live import Live
from vats import Baggage, DurableExo, E, Exo, field


class Thing(DurableExo):
    note: str = ""


class Desk(DurableExo):
    links: list[Any] = field(factory=list)


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.kept: list[Any] = []

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.other = vats["b"]

    async def make(self) -> Thing:
        return Thing()

    async def store_theirs(self) -> None:
        self.baggage["thing"] = await E(self.other).make()

    async def store_theirs_deep(self) -> None:
        thing = await E(self.other).make()
        self.baggage["desk"] = Desk(links=["o-1", {"first": thing}])
        stock = self.baggage.provide_map("stock")
        for number in range(3):
            stock[("thing", number)] = [thing]
        self.baggage.provide_set("seen").add(thing)

    async def keep_theirs(self) -> Any:
        self.kept.append(await E(self.other).make())
        return self.kept[-1]


@pytest.fixture
def live(tmp_path: Path) -> Live:
    def build(_powers: Any, _parameters: Any, baggage: Baggage) -> Root:
        return Root(baggage)

    return Live({"a": build, "b": build}, tmp_path / "store.db")


def texts(live: Live, kref: str) -> list[str]:
    assert live.path is not None
    return [str(holder) for holder in why(live.path, kref)]


def test_a_root_needs_no_holder(live: Live) -> None:
    root = live.core.state.vats[live.id_of("b")].root
    assert root is not None
    assert "<- it is the root of v2 b" in texts(live, root)
    live.close()


def test_an_import_names_the_vat_and_its_durable_rows(live: Live) -> None:
    live.ask("a", "store_theirs")
    (kref,) = [kref for kref in live.backend.clist_rows("v2", "exports", -1) if "o+d" in str(live_vref(live, kref))]
    (line,) = texts(live, kref)
    assert line.startswith("<- v1 a holds it as o-")
    assert line.endswith(' (Thing), in baggage ["thing"]')
    live.close()


def test_durable_rows_are_named_by_where_they_are(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.ask("a", "store_theirs_deep")
    (kref,) = [kref for kref in live.backend.clist_rows("v2", "exports", -1) if "o+d" in str(live_vref(live, kref))]
    (line,) = texts(live, kref)
    vref = line.partition(" as ")[2].partition(" ")[0]
    stock = ", ".join(f'store 1 [["thing", {number}]][0]' for number in range(3))
    places = f'{stock}, store 2 ["{vref}"], fields of o+d10/1 ({__name__}.Desk)["links"][1]["first"]'
    assert line == f"<- v1 a holds it as {vref} (Thing), in {places}"
    monkeypatch.setattr("ocap.why.PLACES", 1)
    (line,) = texts(live, kref)
    assert line.endswith(' (Thing), in store 1 [["thing", 0]][0] and 4 more of its durable rows')
    live.close()


def live_vref(live: Live, kref: str) -> str:
    row = live.core.state.clist("v2").by_kref(kref)
    assert row is not None
    return row.vref


def test_the_host_is_a_holder_until_it_lets_go(live: Live) -> None:
    kref = live.ask("a", "keep_theirs")
    assert any(line.startswith("<- the host program holds it") for line in texts(live, kref))
    live.let_go()
    live.run()
    assert [line.split(" as ")[0] for line in texts(live, kref)] == ["<- v1 a holds it"]
    live.close()


def test_what_waits_in_a_queue_is_named_with_its_place(live: Live) -> None:
    kref = live.ask("a", "keep_theirs")
    live.core.between_cranks(lambda: live.core.lifecycle.suspend(live.core.state.vats["v2"], "for the test"))
    with pytest.raises(KeyError):  # nobody answers while the vat is suspended
        live.ask_kref(kref, "anything")
    assert any("parked at v2: send anything, as its target" in line for line in texts(live, kref))
    live.close()


def test_an_unknown_name_is_refused(live: Live) -> None:
    assert live.path is not None
    for name in ("ko999", "kp999", "nonsense", "", "\udcff"):
        with pytest.raises(LookupError, match="there is no object or promise"):
            why(live.path, name)
    live.close()
