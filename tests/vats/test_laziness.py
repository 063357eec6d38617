"""What is read when, what is written in which order, and how long an object is the same one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.vats.puppet_kernel import Obj, Puppet, Rows
from vats import Baggage, DurableExo, DurableExoKit, Exo, Facet, facet


class Logged(Rows):
    """A vatstore that notes what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.batches: list[int] = []

    def get(self, key: bytes) -> bytes | None:
        self.seen.append(key)
        return super().get(key)

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        rows = super().scan(start, end, limit, reverse=reverse)
        self.batches.append(limit)
        self.seen += [key for key, _ in rows]
        return rows

    def states(self) -> list[bytes]:
        """The states of objects that were read since this was last asked."""
        seen, self.seen = self.seen, []
        return [key for key in seen if key.startswith(b"s")]


class Node(DurableExo):
    number: int
    next: Any = None
    notes: Any = None


class Pair(DurableExoKit):
    number: int = 0

    class Left(Facet["Pair"]):
        async def twin(self) -> Any:
            return self.kit.right

    class Right(Facet["Pair"]):
        async def twin(self) -> Any:
            return self.kit.left

    left = facet(Left)
    right = facet(Right)


class Root(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage
        self.nodes = baggage.provide_map("nodes", key=int, value=Node)

    async def do(self) -> Any:
        return await ACTION[0](self)

    async def same(self, one: Any, other: Any) -> bool:
        return one is other


ACTION: list[Callable[[Root], Any]] = []
NODES = 200


@pytest.fixture
def rows() -> Logged:
    return Logged()


@pytest.fixture
def vat(rows: Logged) -> Puppet:
    """A vat with a chain of stored nodes, in its second incarnation."""

    async def fill(root: Root) -> None:
        last = None
        for number in range(NODES):
            last = root.nodes[number] = Node(number=number, next=last)

    puppet = Puppet(lambda _powers, _parameters, baggage: Root(baggage), rows)
    assert puppet.start().fault is None
    do(puppet, fill)
    puppet.restart()
    assert rows.states() == [], "a start reads no object"
    return puppet


def do(vat: Puppet, action: Callable[[Root], Any]) -> Any:
    ACTION[:] = [action]
    return vat.call("do")


def test_only_what_is_touched_is_read_and_once_while_in_use(vat: Puppet, rows: Logged) -> None:
    async def pass_by(root: Root) -> Any:
        return [root.nodes[7], root.nodes[8]]

    async def touch(root: Root) -> Any:
        node = root.nodes[7]
        assert node.number == node.number == 7
        return node.next.number

    async def scan(root: Root) -> int:
        return sum(node.number for node in root.nodes.range(10, 20).values())

    do(vat, pass_by)
    assert rows.states() == []
    assert do(vat, touch) == 6
    assert rows.states() == [b"so+d10/8", b"so+d10/7"]
    assert do(vat, scan) == sum(range(10, 20))
    assert rows.states() == [b"so+d10/%d" % (number + 1) for number in range(10, 20)]


def test_entries_are_read_in_batches_and_no_further_than_asked(vat: Puppet, rows: Logged) -> None:
    async def first(root: Root) -> int:
        return next(iter(root.nodes))

    async def every(root: Root) -> int:
        return len(list(root.nodes))

    async def count(root: Root) -> int:
        return len(root.nodes)

    def entries() -> int:
        seen, rows.seen = rows.seen, []
        return len([key for key in seen if key.startswith(b"m1 ")])

    assert do(vat, count) == NODES
    assert entries() == 0
    assert do(vat, first) == 0
    assert 0 < entries() <= 64
    assert do(vat, every) == NODES
    assert entries() == NODES
    assert max(rows.batches) <= 64


def test_changes_are_written_in_one_order_whatever_order_they_were_made_in(rows: Logged) -> None:
    """New objects get their names as what refers to them is written, so the names show the order."""
    outcomes = []
    for order in ((1, 2, 3), (3, 1, 2)):

        async def change(root: Root, order: tuple[int, ...] = order) -> None:
            nodes = {number: root.nodes[number] for number in (1, 2, 3)}
            for number in order:
                nodes[number].notes = [Node(number=100 + number)]

        async def fill(root: Root) -> None:
            for number in (1, 2, 3):
                root.nodes[number] = Node(number=number)

        vat = Puppet(lambda _powers, _parameters, baggage: Root(baggage))
        vat.start()
        do(vat, fill)
        do(vat, change)
        outcomes.append(vat.outcome.checkpoint)
        keys = [key for key, _ in vat.outcome.checkpoint]
        assert keys == sorted(keys)
    assert outcomes[0] == outcomes[1]
    assert dict(outcomes[0])[b"so+d10/4"] is not None


def test_there_is_one_object_a_name_at_a_time(vat: Puppet) -> None:
    async def identities(root: Root) -> list[bool]:
        node = root.nodes[5]
        root.baggage["again"] = [node]
        return [root.nodes[5] is node, root.nodes[6].next is node, root.baggage["again"][0] is node]

    async def drop_and_get(root: Root) -> list[bool]:
        serial = hash(root.nodes[5])
        gc.collect()
        return [hash(root.nodes[5]) != serial, root.nodes[5].number == 5]

    async def give(root: Root) -> Any:
        return root.nodes[5]

    assert do(vat, identities) == [True] * 3
    assert do(vat, drop_and_get) == [True] * 2, "nobody held it, so it was made anew"
    out = do(vat, give)
    assert out == Obj("o+d10/6")
    assert vat.call("same", out, out) is True


def test_facets_of_one_kit_are_the_same_after_a_round_trip(vat: Puppet) -> None:
    async def make(root: Root) -> Any:
        pair = root.baggage["pair"] = Pair().left
        return [pair, pair.kit.right]

    async def compare(root: Root) -> list[bool]:
        left = root.baggage["pair"]
        return [left.kit.left is left, left.kit.right.kit is left.kit]

    left, right = do(vat, make)
    vat.restart()
    assert do(vat, compare) == [True] * 2
    assert vat.call("twin", target=left.vref) == right
    assert vat.call("twin", target=right.vref) == left
