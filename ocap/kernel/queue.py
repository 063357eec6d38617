"""The queues: one FIFO run queue, and what is parked on a promise or at a suspended vat.

Owns the order of items. A place is "" for the run queue, else the kref or vat id that the items
wait at.

Invariants:

1. An item is in one place, and keeps its sequence number wherever it moves.
2. Sequence numbers only grow, and give the order within a place. So two messages of one sender to
   one target arrive in the order they were sent, also when only one of them had to wait.
3. After something was released the head is not looked at before the unit of work is over.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush, merge

from attrs import frozen

from ocap.kernel.items import Item, Send
from ocap.kernel.journal import Journal
from ocap.kernel.tables import RUN_QUEUE, Table


@frozen
class QueueRow:
    place: str
    item: Item


Entry = tuple[int, Item]


def weight_of(item: Item) -> int:
    """About how many bytes an item takes."""
    return 100 + len(item.args.body) if type(item) is Send else 100


class _Place:
    """What waits at one place."""

    __slots__ = ("entries", "weight")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = deque(entries)
        self.weight = sum(weight_of(item) for _, item in entries)


class Queue:
    """Items by place."""

    def __init__(
        self, journal: Journal, rows: Table[int, QueueRow], load: Callable[[str], list[Entry]], next_seq: int
    ) -> None:
        self._journal = journal
        self._rows = rows
        self._load = load
        self._next = next_seq
        self._run = _Place(load(RUN_QUEUE))
        self._older: list[Entry] = []  # of the run queue what waited elsewhere, as a heap
        self._returned: list[Entry] = []  # the same, since the head was last looked at
        self._has_older = False  # whether there may be any of both; nearly never, and asked at each crank
        self._places: dict[str, _Place | None] = {RUN_QUEUE: self._run}  # None: known to be empty

    @property
    def next_seq(self) -> int:
        return self._next

    def __len__(self) -> int:
        """How many items the run queue holds."""
        count = len(self._run.entries)
        return count + len(self._older) + len(self._returned) if self._has_older else count

    @property
    def weight(self) -> int:
        """About how many bytes the run queue holds."""
        return self._run.weight

    def __iter__(self) -> Iterator[Item]:
        """The items of the run queue, in order."""
        return (item for _, item in merge(sorted(self._older + self._returned), self._run.entries))

    def push(self, item: Item) -> None:
        """A new item, at the end of the run queue."""
        seq = self._next
        self._next += 1
        self._rows.insert(seq, QueueRow(RUN_QUEUE, item))
        self._journal.note(self._unpush)
        self._run.entries.append((seq, item))
        self._run.weight += weight_of(item)

    def _unpush(self) -> None:
        self._run.weight -= weight_of(self._run.entries.pop()[1])

    def peek(self) -> Item | None:
        front = self._front() if self._has_older else self._run.entries
        return front[0][1] if front else None

    def _front(self) -> Sequence[Entry]:
        """Where the head is: the first entry there."""
        while self._returned:
            heappush(self._older, self._returned.pop())
        run, older = self._run.entries, self._older
        self._has_older = bool(older)
        return older if older and (not run or older[0] < run[0]) else run

    def pop(self) -> Item:
        """The head of the run queue, taken out."""
        entry = self._take_head()
        self._rows.replace(entry[0], QueueRow(RUN_QUEUE, entry[1]), None)
        return entry[1]

    def park(self, where: str) -> None:
        """Let the head of the run queue wait at the place `where`."""
        entry = self._take_head()
        self._move(entry, RUN_QUEUE, where)
        place = self._at(where)
        entries = place.entries
        # Nearly always last: others that wait there came before it.
        index = bisect(entries, entry[0], key=_seq) if entries and entries[-1][0] > entry[0] else len(entries)
        self._journal.note(self._unpark, place, index)
        entries.insert(index, entry)
        place.weight += weight_of(entry[1])

    @staticmethod
    def _unpark(place: _Place, index: int) -> None:
        place.weight -= weight_of(place.entries[index][1])
        del place.entries[index]

    def release(self, where: str) -> None:
        """Put what waits at a place back into the run queue, where it would be had it not waited."""
        if self._places.get(where, self) is None:
            return  # nearly always
        place = self._at(where)
        if not place.entries:
            return
        for entry in place.entries:
            self._move(entry, where, RUN_QUEUE)
        self._journal.note(self._unrelease, place, len(place.entries))
        self._returned += place.entries
        self._has_older = True
        self._run.weight += place.weight
        place.entries.clear()
        place.weight = 0

    def _unrelease(self, place: _Place, count: int) -> None:
        place.entries.extend(self._returned[-count:])
        del self._returned[-count:]
        place.weight = sum(weight_of(item) for _, item in place.entries)
        self._run.weight -= place.weight

    def _take_head(self) -> Entry:
        is_older = self._has_older and self._front() is self._older
        entry = heappop(self._older) if is_older else self._run.entries.popleft()
        self._run.weight -= weight_of(entry[1])
        self._journal.note(self._untake, entry)
        return entry

    def _untake(self, entry: Entry) -> None:
        heappush(self._older, entry)
        self._has_older = True
        self._run.weight += weight_of(entry[1])

    def _move(self, entry: Entry, old: str, new: str) -> None:
        seq, item = entry
        self._rows.replace(seq, QueueRow(old, item), QueueRow(new, item))

    def waiting_at(self, where: str) -> int:
        return len(self._at(where).entries)

    def weight_at(self, where: str) -> int:
        return self._at(where).weight

    def born(self, where: str) -> None:
        """A new promise: nothing can be parked on it in the store."""
        self._places[where] = None
        self._journal.note(self._places.pop, where)

    def forget(self, where: str) -> None:
        """The promise or vat is gone; nothing waits there."""
        if where in self._places:
            self._journal.note(self._places.__setitem__, where, self._places.pop(where))

    def clear_parked(self) -> None:
        """Between cranks, with nothing dirty: what is parked can be read again."""
        self._places = {RUN_QUEUE: self._run}

    def _at(self, where: str) -> _Place:
        place = self._places.get(where)
        if place is None:
            place = self._places[where] = _Place([] if where in self._places else self._load(where))
        return place


def _seq(entry: Entry) -> int:
    return entry[0]
