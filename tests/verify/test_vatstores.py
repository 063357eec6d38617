"""V16: each corruption of what a vat stores is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from ocap.verify import verify_connection
from tests.collection.live import Live
from vats import Baggage, DurableExo, DurableExoKit, E, Exo, Facet, MapStore, SetStore, VirtualExo, WeakMapStore, facet


class Leaf(DurableExo):
    number: int = 0


class Branch(DurableExo):
    leaf: Any
    more: Any = None


class Passing(VirtualExo):
    leaf: Any


class Side(Facet["Pair"]):
    pass


class Pair(DurableExoKit):
    left = facet(Side)
    right = facet(Side)


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.passing: Any = None

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.peer = vats["b"]

    async def fill(self) -> None:
        leaf, pair = Leaf(), Pair()
        self.baggage["peer"] = self.peer
        self.baggage["branch"] = Branch(leaf=leaf, more=[leaf, self.peer])
        self.baggage["pair"] = [pair.left, pair.right, leaf]
        by_key: SetStore[Any] = SetStore(durable=True)
        by_key.add((leaf, "x", self.peer))
        by_value: MapStore[str, Any] = MapStore(durable=True)
        by_value["leaf"] = leaf
        weak: WeakMapStore[Any, Any] = WeakMapStore(durable=True)
        weak[leaf] = self.peer
        self.baggage["stores"] = [by_key, by_value, weak]
        self.passing = Passing(leaf=[leaf, self])
        await E(self.peer).keep(self.passing)

    async def keep(self, thing: Any) -> None:
        self.passing = thing


def build(_powers: Any, _parameters: Any, baggage: Baggage) -> Root:
    return Root(baggage)


@pytest.fixture(scope="module")
def store() -> Iterator[apsw.Connection]:
    live = Live({"a": build, "b": build})
    live.ask("a", "fill")
    live.core.commit()
    yield live.backend.connection
    live.close()


CORRUPTIONS = [
    "UPDATE vatstore SET value = CAST('9' AS BLOB) WHERE CAST(key AS TEXT) GLOB 'ro+d*'",
    "UPDATE vatstore SET value = CAST('1 Root' AS BLOB) WHERE CAST(key AS TEXT) GLOB 'ro-*'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'ro+d*'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'ro-*'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'so+d*'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'm* *'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'q* *'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'v0 s*'",
    "DELETE FROM vatstore WHERE CAST(key AS TEXT) GLOB 'k1?'",
    "INSERT INTO vatstore VALUES ('v1', CAST('ro+d10/77' AS BLOB), CAST('1' AS BLOB))",
    "INSERT INTO vatstore VALUES ('v1', CAST('so+d10/77' AS BLOB), CAST('o+d10/99' || x'0a' AS BLOB))",
    "INSERT INTO vatstore VALUES ('v1', CAST('ro-77' AS BLOB), CAST('2 Root' AS BLOB))",
]


def test_a_healthy_vatstore_has_no_findings(store: apsw.Connection) -> None:
    assert [] == list(map(str, verify_connection(store)))


@pytest.mark.parametrize("script", CORRUPTIONS)
def test_a_corrupted_vatstore_is_found(store: apsw.Connection, script: str) -> None:
    store.execute("BEGIN")
    try:
        changed = store.total_changes()
        store.execute(script)
        assert store.total_changes() > changed, "corrupts nothing"
        assert {problem.rule for problem in verify_connection(store)} == {"V16"}
    finally:
        store.execute("ROLLBACK")
