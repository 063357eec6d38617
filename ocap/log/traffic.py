"""Message traffic as the steps of a sequence diagram: who told whom what, in order.

A message is one step, from who sent it to who got it, when it is delivered; so is a settlement, from who
settled the promise to who is notified. What nobody else settled the kernel did: the answers to messages that could
not be delivered. What a vat does to itself, and what becomes of it, is a note.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from attrs import define, field, frozen

from ocap.legible import safe_text
from ocap.log.entry import Entry, Fields
from ocap.log.lines import call_text, value_text
from ocap.protocol.refs import HOST, KERNEL

_PLACES: dict[str, int] = {
    HOST: 0,
    KERNEL: 2,
}  # what comes from outside stands at the left, what comes from nobody at the right

LABEL = 48
"""Characters of a step's text in a picture; the whole stands beside it where the form allows."""

MAX_STEPS = 500
"""Steps of one picture: beyond, nobody reads it."""


@frozen
class Step:
    """One step.

    Attributes:
        kind: message, fulfilled, rejected or note.
        crank: in which crank it arrived.
        source: a vat's id, HOST or KERNEL; of a note, whom it is about.
        target: a vat's id; of a note, the same.
        text: what was said, inert and on one line; cut where it is long.
        whole: the same, cut later.
    """

    kind: str
    crank: int
    source: str
    target: str
    text: str
    whole: str


@define
class Traffic:
    """The steps of a diagram.

    Attributes:
        names: by id, the names of those who take part, vats in the order in which they appear.
        steps: at most as many as were asked for.
        count: how many there would have been.
    """

    names: dict[str, str] = field(factory=dict)
    steps: list[Step] = field(factory=list)
    count: int = 0

    def newest(self, count: int) -> Traffic:
        """The last steps of it, and who takes part in these."""
        steps = self.steps[-count:]
        taking_part = {vat for step in steps for vat in (step.source, step.target)}
        return Traffic({vat: name for vat, name in self.names.items() if vat in taking_part}, steps, self.count)


def traffic_of(
    entries: Iterable[Entry],
    is_wanted: Callable[[Entry], bool] = lambda _: True,
    *,
    limit: int = MAX_STEPS,
    ran: Mapping[int, str] = MappingProxyType({}),
) -> Traffic:
    """The steps that entries tell of.

    Args:
        entries: the log, whole and in order: who sent a message stands before its delivery.
        is_wanted: which entries are to be seen.
        limit: steps at most.
        ran: of cranks that are not in the log, or not whole, the vats that ran in them.
    """
    traffic = Traffic()
    origins = _Origins(ran)
    names: dict[str, str] = {}
    for entry in entries:
        if entry.vat is not None:
            names[entry.vat] = entry.name or entry.vat
        wanted = is_wanted(entry)
        for step in origins.steps(entry):
            if not wanted:
                continue
            traffic.count += 1
            if len(traffic.steps) < limit:
                traffic.steps.append(step)
                for vat in (step.source, step.target):
                    traffic.names.setdefault(vat, names.get(vat, vat))
    traffic.names = dict(sorted(traffic.names.items(), key=lambda it: _PLACES.get(it[0], 1)))
    return traffic


_WORDS = {"suspend": "suspended", "resume": "resumed", "terminate": "terminated"}


class _Origins:
    """Who sent what, and who settled what, as far as the log was read."""

    def __init__(self, ran: Mapping[int, str]) -> None:
        self._ran = ran
        self._senders: dict[str, str] = {}  # by the promise of the answer
        self._unanswered: dict[tuple[int, str], deque[str]] = {}  # by crank and method
        self._settlers: dict[str, str] = {}
        self._follows: dict[str, str] = {}

    def steps(self, entry: Entry) -> Iterator[Step]:
        """The steps an entry is. All must be taken before the next entry is looked at."""
        ours, vat = entry.kernel, entry.vat
        match entry.kind:
            case "syscall" if ours is not None and vat is not None:
                self._remember(entry, ours, vat)
                if entry.op == "exit":
                    yield _note(entry, f"exits: {value_text(ours['data'])}")
            case "deliver" if ours is not None and vat is not None:
                yield from self._delivery(entry, ours, vat)
            case "fault" if vat is not None:
                if ours is not None:
                    yield from self._delivery(entry, ours, vat)
                yield _note(entry, f"fault: {entry.text}")
            case "suspend" | "resume" | "terminate" if vat is not None:
                yield _note(entry, f"{_WORDS[entry.kind]}: {entry.text}")
            case "log" if vat is not None:
                yield _note(entry, f"says: {entry.text}")
            case "error" if vat is not None:
                yield _note(entry, f"raised, see {(entry.text or '').partition(chr(10))[0]}")

    def _remember(self, entry: Entry, ours: Fields, vat: str) -> None:
        match entry.op:
            case "send" if ours["result"] is not None:
                self._senders[ours["result"]] = vat
            case "send":
                self._unanswered.setdefault((entry.crank, ours["method"]), deque()).append(vat)
            case "resolve":
                for settlement in entry.settlements():
                    self._settlers[settlement["promise"]] = vat
            case "forward":
                self._follows[ours["promise"]] = ours["to"]

    def _delivery(self, entry: Entry, ours: Fields, vat: str) -> Iterator[Step]:
        match entry.op:
            case "message":
                answer = f" → {ours['result']}" if ours["result"] is not None else ""
                whole = call_text(ours)
                text = f"{_cut(whole)}{safe_text(answer)}"
                yield Step("message", entry.crank, self._sender(entry, ours), vat, text, f"{whole}{safe_text(answer)}")
            case "notify":
                for settlement in entry.settlements():
                    kind = "rejected" if settlement["rejected"] else "fulfilled"
                    head = safe_text(f"{settlement['promise']}{' rejected' if settlement['rejected'] else ''}: ")
                    whole = value_text(settlement["data"])
                    settler = self._settler(entry, settlement["promise"])
                    yield Step(kind, entry.crank, settler, vat, f"{head}{_cut(whole)}", f"{head}{whole}")
            case "start":
                yield _note(entry, f"incarnation {ours['incarnation']}")

    def _sender(self, entry: Entry, ours: Fields) -> str:
        otherwise = HOST if entry.cause == 0 else self._ran.get(entry.cause, KERNEL)
        if ours["result"] is not None:
            return self._senders.pop(ours["result"], otherwise)
        senders = self._unanswered.get((entry.cause, ours["method"]))
        return senders.popleft() if senders else otherwise

    def _settler(self, entry: Entry, promise: str) -> str:
        seen = set()
        while promise not in self._settlers and promise in self._follows and promise not in seen:
            seen.add(promise)
            promise = self._follows[promise]
        return self._settlers.get(promise, self._ran.get(entry.cause, KERNEL))


def _note(entry: Entry, text: str) -> Step:
    whole = safe_text(text)
    vat = entry.vat or KERNEL
    return Step("note", entry.crank, vat, vat, _cut(whole), whole)


def _cut(text: str) -> str:
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"
