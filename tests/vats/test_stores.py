"""Stores: order, ranges, types, changes during iteration, clearing; durable and not.

Long, as the four stores keep the same promises, and each is held to them here.
"""

from __future__ import annotations

import gc
import re
from decimal import Decimal
from itertools import count
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.protocol.deliveries import BringOutYourDead, Message
from ocap.protocol.errors import NotPassableError, OversizeError
from ocap.protocol.syscalls import Outcome
from tests.protocol.strategies import exact
from tests.vats.puppet_kernel import Obj, Puppet, Rows, data
from vats import (
    Baggage,
    DurableExo,
    Exo,
    MapStore,
    SetStore,
    VirtualExo,
    WeakMapStore,
    make_promise_kit,
    passable,
    running,
)
from vats.reaping import REAP_BUDGET
from vats.testing import keys as any_key
from vats.testing import passables


@passable
@attrs.frozen
class Place:
    row: int
    column: str


class Thing(VirtualExo):
    number: int


class Note(DurableExo):
    text: str = ""
    more: bytes = b""


class Root(Exo):
    """Runs what a test hands it, inside the vat."""

    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.kept: Any = None

    async def do(self) -> Any:
        return await ACTION[0](self)

    async def keep(self, thing: Any) -> None:
        self.baggage["elsewhere"] = thing


ACTION: list[Any] = [None]


@pytest.fixture
def vat() -> Puppet:
    return start()


def start() -> Puppet:
    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
    assert puppet.start().fault is None
    return puppet


def do(vat: Puppet, action: Any) -> Any:
    """Run a coroutine function of the root in a crank of its own."""
    ACTION[0] = action
    return vat.call("do")


def in_vat(action: Any) -> Any:
    """Run `action(baggage)` in a fresh vat, and return what it returns as it is."""
    vat = start()
    outer, running.vat = running.vat, vat.vat
    try:
        return action(vat.vat._baggage)
    finally:
        running.vat = outer
        vat.vat.close()


def reap(vat: Puppet) -> None:
    gc.collect()
    while vat.deliver(BringOutYourDead()).unfinished:
        pass


SORTED: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers() | st.integers(-(2**300), 2**300),
    "float": st.floats(allow_nan=False),
    "Decimal": st.decimals(allow_nan=False) | st.decimals(-10, 10, places=3),
    "str": st.text(st.characters(exclude_categories=["Cs"])) | st.text("\0\x01a\U0010ffff"),
    "bytes": st.binary() | st.binary(max_size=3),
    "tuple": st.lists(st.tuples(st.text("\0a", max_size=2), st.integers(-300, 300)), max_size=3).map(tuple),
    "bool": st.booleans(),
    "uuid": st.uuids(),
    "datetime": st.datetimes(),
}


@pytest.mark.parametrize("name", SORTED)
@pytest.mark.parametrize("durable", [True, False])
def test_order_ranges_and_reverse_are_those_of_python(name: str, durable: bool) -> None:
    @given(st.sets(SORTED[name], max_size=12), SORTED[name], SORTED[name])
    def check(members: set[Any], low: Any, high: Any) -> None:
        def run(_: Baggage) -> None:
            store: MapStore[Any, int] = MapStore(durable=durable)
            for index, key in enumerate(members):
                store[key] = index
            expected = sorted(members)
            assert list(store) == expected
            assert list(reversed(store)) == expected[::-1]
            assert list(store.range(low, high)) == [key for key in expected if low <= key < high]
            assert list(reversed(store.range(low))) == [key for key in reversed(expected) if low <= key]
            assert list(store.range(..., high).items()) == [(key, store[key]) for key in expected if key < high]
            assert len(store) == len(members)

        in_vat(run)

    check()


@given(st.sets(SORTED["str"], max_size=10), SORTED["str"])
def test_prefix_gives_what_begins_so(members: set[str], start: str) -> None:
    def run(_: Baggage) -> None:
        store: SetStore[Any] = SetStore(durable=True)
        for member in members:
            store.add(member)
            store.add(member.encode())
            store.add((member, 1))
        expected = sorted(member for member in members if member.startswith(start))
        assert list(store.prefix(start)) == expected
        assert list(store.prefix(start.encode())) == [member.encode() for member in expected]
        assert list(store.prefix((start,))) == [(start, 1)] * (start in members)
        assert list(reversed(store.prefix(start))) == expected[::-1]

    in_vat(run)


@given(any_key(), passables())
def test_any_key_and_any_value_come_back(key: Any, value: Any) -> None:
    def run(_: Baggage) -> None:
        store: MapStore[Any, Any] = MapStore(durable=True)
        store[key] = value
        ((back, read),) = store.items()
        assert exact(back) == exact(key) or back == key or "nan" in repr(key).lower(), "one zero, one NaN"
        assert type(back) is type(key)
        assert exact(read) == exact(value)
        assert key in store
        del store[key]
        assert len(store) == 0

    in_vat(run)


def test_records_and_frozensets_are_keys() -> None:
    def run(_: Baggage) -> None:
        store: SetStore[Any] = SetStore(durable=True)
        places = [Place(2, "a"), Place(1, "b"), Place(1, "a")]
        for place in places:
            store.add(place)
        store.add(frozenset({1, 2}))
        assert list(store) == [frozenset({1, 2}), Place(1, "a"), Place(1, "b"), Place(2, "a")]
        assert Place(1, "b") in store
        assert frozenset({2, 1}) in store

    in_vat(run)


def test_equal_decimals_are_one_key_and_types_are_apart() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[Any, str] = MapStore(durable=True)
        store[Decimal("1.50")] = "decimal"
        store[1.5] = "float"
        assert store[Decimal("1.5")] == "decimal"
        assert list(store) == [1.5, Decimal("1.5")]

    in_vat(run)


# Types


def test_types_are_checked_when_an_entry_is_made(vat: Puppet) -> None:
    async def typed(root: Root) -> None:
        store = root.baggage["store"] = MapStore[str, list[int]](durable=True)
        store["a"] = [1]
        with pytest.raises(TypeError, match=r"MapStore\[str, list\[int\]\]: key: expected str, came int"):
            store[1] = [1]  # type: ignore[index]
        with pytest.raises(TypeError, match=r"MapStore\[str, list\[int\]\]: value\[1\]: expected int, came str"):
            store["a"] = [1, "2"]  # type: ignore[list-item]
        assert dict(store) == {"a": [1]}
        members = SetStore(durable=True, key=int)
        with pytest.raises(TypeError, match=r"SetStore\[int\]: key: expected int, came str"):
            members.add("x")  # type: ignore[arg-type]

    async def redeclared(root: Root) -> None:
        store: MapStore[Any, Any] = root.baggage["store"]
        store[1] = "the types went with the incarnation"
        store.declare(int, str)
        with pytest.raises(TypeError, match="key: expected int"):
            store["b"] = "x"
        numbers = root.baggage.provide_map("numbers", key=int, value=MapStore[str, int])
        numbers[1] = MapStore(durable=True)
        with pytest.raises(TypeError, match=r"MapStore\[str, int\]: key: expected str"):
            numbers[1][3] = 3  # type: ignore[index]
        assert numbers.get("x") is None  # type: ignore[call-overload]
        assert "x" not in numbers  # type: ignore[comparison-overlap]
        with pytest.raises(TypeError, match=r"baggage\['numbers'\] is a MapStore, not a SetStore"):
            root.baggage.provide_set("numbers")

    do(vat, typed)
    vat.restart()
    do(vat, redeclared)


@pytest.mark.parametrize("key", [[1], {"a": 1}, object(), "\ud800", "x" * 5000, (1, [2]), Decimal("sNaN"), b"x" * 5000])
def test_what_is_no_key_is_refused_and_nothing_changes(key: Any) -> None:
    def run(_: Baggage) -> None:
        store: MapStore[Any, int] = MapStore(durable=True)
        with pytest.raises(NotPassableError):
            store[key] = 1
        assert len(store) == 0

    in_vat(run)


def test_what_cannot_be_stored_is_refused_and_nothing_changes() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[Any, Any] = MapStore(durable=True)
        store["k"] = "old"
        for value in (object(), Exo(), make_promise_kit().promise, Thing(number=1), MapStore(), {"deep": [Exo()]}):
            with pytest.raises(NotPassableError):
                store["k"] = value
        with pytest.raises(OversizeError):
            store["k"] = b"x" * 10_000_000
        with pytest.raises(NotPassableError, match="cannot be stored"):
            store[Exo()] = 1
        assert dict(store) == {"k": "old"}

    in_vat(run)


def test_ten_megabytes_are_refused_with_their_place_or_are_a_fault(vat: Puppet) -> None:
    big = b"x" * 10_000_000

    async def try_all(root: Root) -> None:
        store = root.baggage.provide_map("store")
        for place, use in (
            ("value", lambda: store.update({"k": {"a": [big]}})),
            ("key", lambda: store.update({big: 1})),
            ("key", lambda: root.baggage.provide_set("set").add(big.decode())),
            ("Note.text", lambda: setattr(root.kept, "text", big.decode())),
            ("Note.text", lambda: Note(text=big.decode())),
        ):
            with pytest.raises(NotPassableError, match=rf"^{re.escape(place)}: .* are over the limit of") as raised:
                use()
            assert len(str(raised.value)) < 200
        assert len(store) == 0

    async def hold(root: Root) -> None:
        root.kept = root.baggage["note"] = Note(text="small")

    async def fill(root: Root) -> None:
        for number in range(10):
            root.baggage[f"part {number}"] = b"x" * 4_000_000

    async def widen(root: Root) -> None:
        root.kept.text, root.kept.more = "x" * 3_000_000, b"y" * 3_000_000

    do(vat, hold)
    do(vat, try_all)
    for action, text in (
        (fill, "wrote more than 33554432 bytes"),
        (
            widen,
            "an object was changed in place, or grew, into what cannot be stored: Note: 6000021 bytes are over the limit",
        ),
    ):
        do(vat, hold)
        ACTION[0] = action
        fault = vat.send("o+0", "do").fault
        assert fault is not None
        assert fault.startswith(text)
        vat.restart()

    async def count(root: Root) -> list[str]:
        return list(root.baggage)

    assert do(vat, count) == ["note", "set", "store"]


def test_keys_with_nul_and_every_plane() -> None:
    def run(_: Baggage) -> None:
        store: SetStore[str] = SetStore(durable=True)
        texts = ["", "\0", "\0\0", "a", "a\0", "a\0\xff", *(chr(plane << 16 | 0xABCD) for plane in range(17))]
        for text in texts:
            store.add(text)
        assert list(store) == sorted(texts)

    in_vat(run)


# Sets


def test_a_set_is_a_set() -> None:
    def run(_: Baggage) -> None:
        store: SetStore[int] = SetStore(durable=True)
        store.add(3)
        store.add(3)
        store |= {1, 2}
        assert list(store) == [1, 2, 3]
        assert store & {2, 9} == {2}
        store.discard(9)
        with pytest.raises(KeyError):
            store.remove(9)
        store.remove(1)
        assert len(store) == 2
        assert store != {2, 3}, "a store is itself only"

    in_vat(run)


# Changes during iteration


def test_an_iteration_sees_what_comes_and_goes_ahead_of_it() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[int, int] = MapStore(durable=True)
        for n in range(0, 300, 2):
            store[n] = n
        seen = []
        for n in store:
            seen.append(n)
            if n % 4 == 0:
                store.pop(n + 2, None)  # ahead: gone
                store[n + 1] = 0  # ahead: seen
                store[n - 1] = 0  # behind: not seen
            del store[n]
        assert seen == [n for n in range(300) if n % 4 in (0, 1)]
        backwards = []
        for n in reversed(store):
            backwards.append(n)
            store.pop(n - 4, None)
        assert backwards == sorted(backwards, reverse=True)

    in_vat(run)


def test_an_iteration_goes_on_in_later_cranks_and_sees_their_changes(vat: Puppet) -> None:
    seen: list[int] = []

    async def walk(root: Root) -> None:
        for number in root.baggage["store"]:
            seen.append(number)
            await root.kept

    async def fill(root: Root) -> None:
        store = root.baggage.provide_map("store")
        for number in range(10):
            store[number] = 0

    async def change(root: Root) -> None:
        del root.baggage["store"][3]
        root.baggage["store"][2.5] = 0
        root.baggage["store"].pop(1, None)

    async def wait(root: Root) -> None:
        root.kept = make_promise_kit().promise

    do(vat, fill)
    do(vat, wait)
    kit: list[Any] = []

    async def hold(root: Root) -> None:
        kit.append(make_promise_kit())
        root.kept = kit[0].promise

    do(vat, hold)
    ACTION[0] = walk
    vat.send("o+0", "do", result=None)
    assert seen == [0]
    do(vat, change)

    async def settle(_: Root) -> None:
        kit[0].resolve(None)

    do(vat, settle)
    assert seen == [0, 2, 4, 5, 6, 7, 8, 9, 2.5]


CHANGES = st.lists(st.tuples(st.sampled_from(["put", "remove", "clear", "pop"]), st.integers(0, 12)), max_size=3)


@given(
    sort=st.sampled_from(["map", "set", "keys", "values", "items", "range", "prefix"]),
    durable=st.booleans(),
    backwards=st.booleans(),
    members=st.sets(st.integers(0, 12)),
    turns=st.lists(st.tuples(CHANGES, st.booleans()), max_size=14),
)
def test_any_change_during_an_iteration_is_seen_from_where_it_is(
    sort: str, durable: bool, backwards: bool, members: set[int], turns: list[tuple[Any, bool]]
) -> None:
    """The next key is the next one, in order, of those that are there when the next is asked for.

    Each turn makes changes, and then its crank may end.
    """

    def run(_: Baggage) -> None:
        store: Any = SetStore(durable=durable) if sort == "set" else MapStore(durable=durable)
        naive: dict[tuple[str, int], int] = {}
        versions = count()

        def change(what: str, number: int) -> None:
            key = ("k", number)
            if what == "clear":
                store.clear()
                naive.clear()
            elif what == "put":
                naive[key] = next(versions)
                if sort == "set":
                    store.add(key)
                else:
                    store[key] = naive[key]
            elif sort == "set":
                naive.pop(key, None)
                store.discard(key)
            elif what == "pop":
                assert store.pop(key, None) == naive.pop(key, None)
            elif key in naive:
                del naive[key], store[key]
            else:
                with pytest.raises(KeyError):
                    del store[key]

        def end_crank() -> None:
            assert running.vat is not None
            cast("Rows", running.vat.store._port).apply(Outcome((), running.vat.store.take_checkpoint()))

        for number in members:
            change("put", number)
        end_crank()
        views = {"keys": store.keys, "values": store.values, "items": store.items} if sort != "set" else {}
        views |= {"range": lambda: store.range(("k", 0)), "prefix": lambda: store.prefix(("k",))}
        view = views.get(sort, lambda: store)()
        iteration = reversed(view) if backwards else iter(view)
        at: tuple[str, int] | None = None
        for changes, crank_ends in [*turns, *([([], False)] * 20)]:
            ahead = [key for key in naive if at is None or (key < at if backwards else key > at)]
            found: Any = next(iteration, None)
            if not ahead:
                assert found is None
                break
            at = max(ahead) if backwards else min(ahead)
            assert found == (naive[at] if sort == "values" else (at, naive[at]) if sort == "items" else at)
            for step in changes:
                change(*step)
            if crank_ends:
                end_crank()
        assert list(store) == sorted(naive)
        assert len(store) == len(naive)

    in_vat(run)


def test_clear_during_an_iteration_ends_it_and_what_is_added_then_is_seen() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[int, int] = MapStore(durable=True)
        for n in range(200):
            store[n] = n
        seen = []
        for n in store:
            seen.append(n)
            if n == 70:
                store.clear()
                store[5] = store[300] = 0
        assert seen == [*range(71), 300]
        assert list(store) == [5, 300]
        assert len(store) == 2

    in_vat(run)


def test_values_that_are_read_are_copies() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[str, list[int]] = MapStore(durable=True)
        store["a"] = [1]
        store["a"].append(2)
        assert store["a"] == [1]

    in_vat(run)


def test_a_store_is_usable_only_while_its_vat_runs(vat: Puppet) -> None:
    stores: list[Any] = []

    async def take(root: Root) -> None:
        stores.append(root.baggage.provide_map("store"))
        stores.append(iter(root.baggage["store"]))

    do(vat, take)
    for use in (len, list, lambda store: store.clear()):
        with pytest.raises(RuntimeError, match="only while its vat runs"):
            use(stores[0])
    with pytest.raises(RuntimeError, match="only while its vat runs"):
        next(stores[1])
    with pytest.raises(RuntimeError, match="works only inside a vat"):
        MapStore()


def test_a_store_of_an_ended_incarnation_is_not_usable_in_the_next(vat: Puppet) -> None:
    """Vat code may leak one through something that outlives the incarnation; it is no way around it."""
    leaked: list[Any] = []

    async def leak(root: Root) -> None:
        store = root.baggage["store"] = MapStore[Any, Any](durable=True)
        store[1] = 1
        weak = root.baggage["weak"] = WeakMapStore[Any, Any](durable=True)
        note = root.baggage["note"] = Note(text="x")
        leaked[:] = [store, iter(store), SetStore(), weak, note]

    async def use(root: Root) -> int:
        store, iteration, virtual, weak, note = leaked
        uses: list[Any] = [
            lambda: store[1],
            lambda: store.update({2: 2}),
            lambda: len(store),
            store.clear,
            lambda: list(store.range(0).items()),
            lambda: next(iteration),
            lambda: virtual.add(3),
            lambda: 3 in virtual,
            lambda: weak.get(root),
            lambda: setattr(note, "text", "y"),
            lambda: root.baggage.update({"other": note}),
        ]
        for number, one in enumerate(uses):
            with pytest.raises((RuntimeError, NotPassableError), match=r"while its vat runs|of another vat"):
                raise AssertionError(number, one())
        return cast("int", root.baggage["store"][1])

    do(vat, leak)
    vat.restart()
    assert do(vat, use) == 1
    vat.vat.close()
    assert vat.deliver(Message("o+0", "do", data([[], {}]), None)).fault == "the incarnation is over"


# Clearing and ending


def test_clear_reads_nothing_and_its_rows_go_in_budgeted_cranks(vat: Puppet) -> None:
    async def fill(root: Root) -> None:
        store = root.baggage.provide_map("store")
        for number in range(3 * REAP_BUDGET):
            store[number] = number
        store[Note()] = None

    async def clear(root: Root) -> int:
        root.baggage["store"].clear()
        root.baggage["store"]["new"] = 1
        return len(root.baggage["store"])

    do(vat, fill)
    vat.rows.reads = 0
    assert do(vat, clear) == 1
    assert vat.rows.reads < 10
    outcome = vat.deliver(BringOutYourDead())
    sizes = [len(outcome.checkpoint)]
    while outcome.unfinished:
        outcome = vat.deliver(BringOutYourDead())
        sizes.append(len(outcome.checkpoint))
    assert max(sizes) < 2 * REAP_BUDGET
    assert len(sizes) > 3
    vat.restart()

    async def read(root: Root) -> Any:
        return list(root.baggage["store"].items())

    assert do(vat, read) == [("new", 1)]
    reap(vat)
    left = [key for key in vat.rows.rows if key.startswith((b"m", b"s", b"r", b"z"))]
    assert len(left) == 3, "the entry, the store in the baggage, and its count"


def virtual_rows(vat: Puppet) -> list[bytes]:
    return [key for key in vat.rows.rows if key.startswith(b"v")]


def test_virtual_stores_and_objects_leave_no_garbage(vat: Puppet) -> None:
    async def fill(root: Root) -> int:
        elsewhere = root.baggage["elsewhere"]
        store = root.kept = MapStore[int, Any]()
        for number in range(2 * REAP_BUDGET):
            store[number] = Thing(number=number)
        store[-1] = [Note(text="released"), elsewhere]
        members: SetStore[Any] = SetStore()
        members.add((elsewhere, root))
        store[-2] = members
        return sum(thing.number for thing in store.range(0).values())

    vat.deliver(Message("o+0", "keep", data([[Obj("o-5")], {}]), None))
    assert do(vat, fill) == sum(range(2 * REAP_BUDGET))
    assert len(virtual_rows(vat)) > 4 * REAP_BUDGET
    assert vat.rows.rows[b"ro-5"] == b"3 Thing"
    assert vat.restart().unfinished, "it asks to be reaped"
    reap(vat)
    assert virtual_rows(vat) == []
    assert vat.rows.rows[b"ro-5"] == b"1 Thing"
    assert not [key for key, row in vat.rows.rows.items() if b"released" in row]


def test_ten_incarnations_leave_no_more_than_one(vat: Puppet) -> None:
    async def fill(root: Root) -> None:
        root.kept = MapStore[int, Any]()
        root.kept[1] = Thing(number=1)
        root.baggage["note"] = Note(text="the same each time")

    sizes = []
    for _ in range(10):
        vat.restart()
        do(vat, fill)
        reap(vat)
        sizes.append(len(vat.rows.rows))
    assert [sizes[0]] * 10 == sizes


def test_a_dead_virtual_object_goes_before_the_incarnation_does(vat: Puppet) -> None:
    async def make(root: Root) -> None:
        root.kept = MapStore[int, Any]()
        root.kept[1] = Thing(number=1)

    async def drop(root: Root) -> None:
        del root.kept[1]

    async def forget(root: Root) -> None:
        root.kept = None

    do(vat, make)
    assert [key for key in virtual_rows(vat) if b" s" in key]
    do(vat, drop)
    reap(vat)
    assert not [key for key in virtual_rows(vat) if b" s" in key]
    do(vat, forget)
    reap(vat)
    assert virtual_rows(vat) == []


def test_scan_holds_no_more_than_it_looks_at(vat: Puppet) -> None:
    async def fill(root: Root) -> None:
        store = root.baggage.provide_map("store")
        for number in range(5000):
            store[number] = Note(text=str(number))

    async def scan(root: Root) -> int:
        total = 0
        for note in root.baggage["store"].values():
            total += len(note.text)
            largest[0] = max(largest[0], len(vat.vat.slots._objects))
        return total

    largest = [0]
    do(vat, fill)
    vat.restart()
    assert do(vat, scan) == 10 + 90 * 2 + 900 * 3 + 4000 * 4
    assert largest[0] < 1200
    assert len(vat.vat.slots.possibly_dead) < 2500


def test_stores_are_passed_and_nested(vat: Puppet) -> None:
    async def nest(root: Root) -> Any:
        inner = SetStore[int](durable=True)
        inner.add(7)
        root.baggage["outer"] = {"in": [inner]}
        return inner

    async def read(root: Root) -> list[int]:
        return list(root.baggage["outer"]["in"][0])

    assert do(vat, nest).interface == "SetStore"
    vat.restart()
    assert do(vat, read) == [7]


def test_views_of_ranges() -> None:
    def run(_: Baggage) -> None:
        store: MapStore[str, int] = MapStore(durable=True)
        for index, key in enumerate("abcde"):
            store[key] = index
        part = store.range("b", "e")
        assert list(part.keys()) == ["b", "c", "d"]
        assert list(part.values()) == [1, 2, 3]
        assert list(reversed(part.items())) == [("d", 3), ("c", 2), ("b", 1)]
        assert next(iter(reversed(store.items()))) == ("e", 4)
        assert list(reversed(store.values())) == [4, 3, 2, 1, 0]
        assert list(reversed(store.keys())) == list("edcba")
        with pytest.raises(TypeError, match="keys begin with a str, bytes or a tuple"):
            store.prefix(3)
        with pytest.raises(NotPassableError, match="was never stored"):
            list(store.range(Note()))  # type: ignore[arg-type]

    in_vat(run)
