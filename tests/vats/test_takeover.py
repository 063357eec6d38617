"""A dry run of an upgrade says what of the stored state new code cannot take over, and changes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import ClusterConfig, E, Kernel, VatConfig, VatNotFoundError
from ocap.takeover import check_upgrade
from ocap.verify import verify
from tests.stores import rows_of

HEAD = """
from typing import Any, ClassVar
import attrs
from vats import *
"""
FOOT = """
class Root(Exo):
    def __init__(self, baggage, parameters):
        self.baggage = baggage
        self.things = baggage.provide_map("things")
        assert parameters == {"currency": "CHF"}, parameters

    async def bootstrap(self, vats, services):
        for number in range(5):
            self.things[number] = Thing(francs=number)
        self.baggage["purse"] = Purse(balance=3).payee
        self.baggage["places"] = {Place(1): [Place(2)]}
        self.baggage["kit"] = make_durable_promise_kit()
        watch(self.baggage["kit"].promise, self.things[0])

def build_root_object(vat_powers, parameters, baggage):
    return Root(baggage, parameters)
"""
OLD = """
class Thing(DurableExo):
    francs: int
    async def on_fulfilled(self, value: Any) -> None: ...

class Purse(DurableExoKit):
    balance: int
    class Payee(Facet["Purse"]):
        pass
    payee = facet(Payee)

@passable
@attrs.frozen
class Place:
    number: int
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database; nobody has it open."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "old.py").write_text(HEAD + OLD + FOOT)

    async def make() -> None:
        config = VatConfig(str(folder / "old.py"), parameters={"currency": "CHF"})
        async with Kernel(folder / "k.db", durability="none") as kernel:
            await kernel.launch_subcluster(ClusterConfig("one", {"one": config, "two": config}))

    trio.run(make)
    return folder


@pytest.fixture
def db(made: Path) -> Iterator[Path]:
    path = made / "k.db"
    before = rows_of(path)
    yield path
    assert before == rows_of(path)
    assert verify(path) == []


def check(db: Path, tmp_path: Path, code: str, vat: str = "one", foot: str = FOOT) -> list[str]:
    source = tmp_path / "new.py"
    source.write_text(HEAD + textwrap.dedent(code) + foot)
    return [str(misfit) for misfit in check_upgrade(db, vat, str(source))]


def test_the_same_code_can_take_over(db: Path, tmp_path: Path) -> None:
    assert check(db, tmp_path, OLD) == []
    assert check(db, tmp_path, OLD, "v1") == []


HOOK = """
class Thing(DurableExo):
    schema_version: ClassVar[int] = 1
    cents: int
    colour: str = "red"
    note: Any = None
    @classmethod
    def migrate(cls, version, state):
        state["note"] = MapStore(durable=True)
        state["cents"] = 100 * state.pop("francs")
        return state
    async def on_fulfilled(self, value: Any) -> None: ...
"""


def test_a_migration_that_works_is_no_misfit_and_is_not_kept(db: Path, tmp_path: Path) -> None:
    assert check(db, tmp_path, HOOK + OLD[OLD.index("class Purse") :]) == []


def test_what_migrations_write_is_forgotten_one_by_one(db: Path, tmp_path: Path) -> None:
    """Together it would be more than one crank may write."""
    filling = HOOK.replace(
        """state["cents"]""", """[state["note"].__setitem__(n, b"x" * 2_000_000) for n in range(4)]; state["cents"]"""
    )
    assert check(db, tmp_path, filling + OLD[OLD.index("class Purse") :]) == []
    (found,) = check(db, tmp_path, filling.replace("range(4)", "range(20)") + OLD[OLD.index("class Purse") :])
    assert found.startswith("Thing (5 stored, such as o+d10/1): wrote more than 33554432 bytes")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("class Thing", "class Other", "Thing (5 stored, such as o+d10/1): stored objects are of class Thing, which"),
        ("francs: int", "francs: str", "Thing (5 stored, such as o+d10/1): Thing.francs as it is stored: expected str"),
        ("francs: int", "francs: int\n    colour: str", "Thing (5 stored, such as o+d10/1): Thing.colour is not stored and"),
        ("class Purse(DurableExoKit)", "class Purse(VirtualExoKit)", "Purse (1 stored, such as o+d11/1): stored objects"),
        ("    payee = facet(Payee)", "    taker = facet(Payee)", "Purse (1 stored, such as o+d11/1): stored objects of class Purse have a facet payee"),
        ("balance: int", "balance: list[int]", "Purse (1 stored, such as o+d11/1): Purse.balance as it is stored: expected list"),
        ("@passable", "", "entries of stores (1 stored, such as one of store 0): "),
        ("on_fulfilled", "heard", "watched promises (1 stored, such as p+"),
        (
            "    francs: int",
            "    schema_version: ClassVar[int] = 1\n    @classmethod\n    def migrate(cls, version, state):\n        return {}[version]",
            "Thing (5 stored, such as o+d10/1): Thing: stored with schema_version 0, now 1: migrate raised KeyError: 0",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_kind_with_an_example(
    db: Path, tmp_path: Path, old: str, new: str, text: str
) -> None:
    assert old in OLD
    found = check(db, tmp_path, OLD.replace(old, new))
    assert [text] == [line[: len(text)] for line in found]


def test_every_missing_class_is_told_and_not_only_the_first(db: Path, tmp_path: Path) -> None:
    found = check(db, tmp_path, "", foot=FOOT)
    assert [line.partition(" ")[0] for line in found] == ["Thing", "Purse", "entries"], found


@pytest.mark.parametrize(
    ("code", "foot", "text"),
    [
        (OLD, "raise ValueError('broken')", "the code cannot be loaded: ValueError: broken"),
        (OLD, FOOT.replace("CHF", "EUR"), "build_root_object raised AssertionError: {'currency': 'CHF'}"),
        (OLD + OLD, FOOT, "class Thing is declared twice"),
    ],
)
def test_code_that_does_not_start_is_told(db: Path, tmp_path: Path, code: str, foot: str, text: str) -> None:
    (found,) = check(db, tmp_path, code, foot=foot)
    assert text in found


def test_many_reasons_are_cut_short(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vats.takeover.REASONS", 2)
    hook = '    schema_version: ClassVar[int] = 1\n    @classmethod\n    def migrate(cls, version, state):\n        raise ValueError(state["francs"])'
    found = check(db, tmp_path, OLD.replace("    francs: int", hook))
    assert [line.rpartition(": ")[2] for line in found] == ["0", "1", "and for other reasons"]
    assert found[2].startswith("Thing (3 stored")


def test_a_vat_is_found_by_id_or_by_a_name_that_it_alone_has(made: Path, tmp_path: Path) -> None:
    with pytest.raises(VatNotFoundError, match="there is no vat v99"):
        check_upgrade(made / "k.db", "v99", "old.py")


async def test_a_database_in_use_is_checked_as_it_is(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    path.write_bytes((made / "k.db").read_bytes())
    async with Kernel(path, durability="none") as kernel:
        (cluster,) = kernel.get_subclusters()
        root: Any = cluster.root
        assert check(path, tmp_path, OLD) == []
        await E(root).bootstrap({}, {})
        assert check(path, tmp_path, OLD.replace("class Thing", "class Other"))[0].startswith("Thing (10 stored")
    assert verify(path) == []
