"""The queues: one FIFO run queue, and what is parked on a promise or at a suspended vat.

Owns the order of items. A place is "" for the run queue, else the kref or vat id that the items
wait at.

Invariants:

1. An item is in one place, and keeps its sequence number wherever it moves.
2. Sequence numbers only grow, and give the order within a place. So two messages of one sender to
   one target arrive in the order they were sent, also when only one of them had to wait.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable

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

    def push(self, item: Item) -> None:
        """A new item, at the end of the run queue."""
        seq = self._next
        self._next += 1
        self._rows.insert(seq, QueueRow(RUN_QUEUE, item))
        self._journal.note(self._run.pop)
        self._run.append((seq, item))

    def peek(self) -> Item | None:
        return self._run[0][1] if self._run else None

    def pop(self) -> Item:
        """The head of the run queue, taken out."""
        entry = self._take_head()
        self._rows.replace(entry[0], QueueRow(RUN_QUEUE, entry[1]), None)
        return entry[1]

    def park(self, place: str) -> None:
        """Let the head of the run queue wait at `place`."""
        entry = self._take_head()
        self._move(entry, RUN_QUEUE, place)
        entries = self._at(place)
        # Nearly always last: others that wait there came before it.
        index = bisect(entries, entry[0], key=_seq) if entries and entries[-1][0] > entry[0] else len(entries)
        self._journal.note(entries.__delitem__, index)
        entries.insert(index, entry)

    def release(self, place: str) -> None:
        """Put what waits at `place` back into the run queue, where it would be had it not waited."""
        entries = self._at(place)
        if not entries:
            return
        released = list(entries)
        self._journal.note(entries.extend, released)
        entries.clear()
        for entry in released:
            self._move(entry, place, RUN_QUEUE)
        run, older = self._run, []
        while run and run[0][0] < released[-1][0]:
            older.append(run.popleft())
        self._journal.note(_exchange, run, len(older) + len(released), older)
        run.extendleft(sorted(older + released, key=_seq, reverse=True))

    def _take_head(self) -> Entry:
        entry = self._run.popleft()
        self._journal.note(self._run.appendleft, entry)
        return entry

    def _move(self, entry: Entry, old: str, new: str) -> None:
        seq, item = entry
        self._rows.replace(seq, QueueRow(old, item), QueueRow(new, item))

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


def _seq(entry: Entry) -> int:
    return entry[0]


def _exchange(run: deque[Entry], count: int, older: list[Entry]) -> None:
    for _ in range(count):
        run.popleft()
    run.extendleft(reversed(older))
