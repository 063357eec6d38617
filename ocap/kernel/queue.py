"""The queues: one FIFO run queue, and what is parked on a promise or at a suspended vat.

Owns the order of items. A place is "" for the run queue, else the kref or vat id that the items
wait at.

Invariants:

1. An item is in one place. Moving keeps the items' order among themselves.
2. Sequence numbers only grow, and give the order within a place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import frozen

from ocap.kernel.items import Item
from ocap.kernel.journal import Journal
from ocap.kernel.tables import RUN_QUEUE, Table


@frozen
class QueueRow:
    place: str
    item: Item


Entry = tuple[int, Item]


class Queue:
    """Items by place."""

    def __init__(
        self, journal: Journal, rows: Table[int, QueueRow], load: Callable[[str], list[Entry]], next_seq: int
    ) -> None:
        self._journal = journal
        self._rows = rows
        self._load = load
        self._next = next_seq
        self._places: dict[str, deque[Entry]] = {RUN_QUEUE: deque(load(RUN_QUEUE))}
        self._run = self._places[RUN_QUEUE]

    @property
    def next_seq(self) -> int:
        return self._next

    def __len__(self) -> int:
        """How many items the run queue holds."""
        return len(self._run)

    def push(self, item: Item, place: str = RUN_QUEUE) -> None:
        seq = self._next
        self._next += 1
        entries = self._run if place == RUN_QUEUE else self._at(place)
        self._rows.insert(seq, QueueRow(place, item))
        self._journal.note(_unpush, entries)
        entries.append((seq, item))

    def peek(self) -> Item | None:
        return self._run[0][1] if self._run else None

    def pop(self) -> Item:
        """The head of the run queue, taken out."""
        entry = self._run.popleft()
        self._journal.note(self._run.appendleft, entry)
        self._rows.put(entry[0], None)
        return entry[1]

    def take(self, place: str) -> list[Item]:
        """All that waits at `place`, taken out in order."""
        entries = self._at(place)
        if not entries:
            return []
        taken = list(entries)
        self._journal.note(entries.extend, taken)
        entries.clear()
        for seq, _ in taken:
            self._rows.put(seq, None)
        return [item for _, item in taken]

    def waiting_at(self, place: str) -> int:
        return len(self._at(place))

    def born(self, place: str) -> None:
        """A new promise: nothing can be parked on it in the store."""
        self._places[place] = deque()
        self._journal.note(self._places.pop, place)

    def forget(self, place: str) -> None:
        """The promise is gone; nothing waits there."""
        entries = self._places.pop(place, None)
        if entries is not None:
            self._journal.note(self._places.__setitem__, place, entries)

    def clear_parked(self) -> None:
        """Between cranks, with nothing dirty: what is parked can be read again."""
        self._places = {RUN_QUEUE: self._run}

    def _at(self, place: str) -> deque[Entry]:
        entries = self._places.get(place)
        if entries is None:
            entries = self._places[place] = deque(self._load(place))
        return entries


def _unpush(entries: deque[Any]) -> None:
    entries.pop()
