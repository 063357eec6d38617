"""Why a crank happened: the cranks that led to it, back to messages of the host.

Every entry names the crank that queued what its crank took up. That is the whole reason for a message. Of an answer
it is who settled the promise, which may have been long after the message whose answer it is, or outside, by a
service of the host program, whose cranks have no numbers. So from an answer two ways lead back: to who settled it,
and to who took up the message.

One file may have the entries of several kernels, one after the other: where crank numbers begin anew, so does the
chain. The log is gone through twice, so that of a long one only numbers and names of promises need to be remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from sys import intern

from attrs import define, field, frozen

from ocap.log.entry import Entry, Fields
from ocap.protocol.errors import OcapError

Log = Callable[[], Iterable[Entry]]


class NoSuchCrankError(OcapError, LookupError):
    """The log has no such crank; the asker's fault, or retention took it."""


@frozen
class Chain:
    """What led to a crank.

    Attributes:
        entries: the cranks, oldest first: before what each took up stand the syscalls that asked for it.
        missing: what also did, and is not in the log, in words.
    """

    entries: list[Entry]
    missing: list[str]


def chain_to(number: int, log: Log) -> Chain:
    """What led to a crank.

    Args:
        number: the crank. If several kernels in the log had one, the last kernel's is meant.
        log: gives the entries, from the first on, each time it is called.

    Raises:
        NoSuchCrankError: the log has no such crank.
    """
    generation, kernel = _kernel_of(number, log)
    numbers = kernel.ancestors(number)
    heads: dict[int, Entry] = {}
    asked = _Asked(kernel.promises_of(numbers))
    for its, entry in _generations(log()):
        if its == generation and (entry.crank in numbers or entry.crank == 0):
            if entry.crank:
                heads.setdefault(entry.crank, entry)
            if entry.kind == "syscall":
                asked.add(entry)
    entries: list[Entry] = []
    for crank in sorted(heads):
        head = heads[crank]
        entries += asked.for_message(head) if head.op == "message" else asked.for_notify(head, kernel.heard_by(crank))
        entries.append(head)
    return Chain(entries, list(kernel.missing(sorted(numbers))))


def _kernel_of(number: int, log: Log) -> tuple[int, _Kernel]:
    """Which kernel of the log had the crank last, and what the log says of it."""
    kernel, current = _Kernel(), 0
    found: tuple[int, _Kernel] | None = None
    for its, entry in _generations(log()):
        if its != current:
            kernel, current = _Kernel(), its
        kernel.add(entry)
        if entry.crank == number != 0:
            found = its, kernel
    if found is None:
        raise NoSuchCrankError(f"the log has no crank {number}")
    return found


@define
class _Kernel:
    """Which crank led to which, in the entries of one kernel. The host's are crank 0."""

    causes: dict[int, int] = field(factory=dict)
    heard: dict[int, str] = field(factory=dict)
    """By crank, the promise whose settlement it was to hear of."""
    sent: dict[str, int] = field(factory=dict)
    """By the promise of the answer: who sent the message."""
    taken: dict[str, int] = field(factory=dict)
    """The same: who took it up."""
    settled: dict[str, int] = field(factory=dict)
    followed: dict[str, tuple[int, str]] = field(factory=dict)
    """By a promise: who had it follow another, and which."""

    def add(self, entry: Entry) -> None:
        crank, ours = entry.crank, entry.kernel or {}
        if crank not in self.causes:
            self.causes[crank] = entry.cause
            if entry.op == "notify" and (settlements := entry.settlements()):
                self.heard[crank] = intern(settlements[0]["promise"])  # those after it only come along
        match entry.op:
            case "message" | "send" if ours.get("result") is not None:
                table = self.taken if entry.op == "message" else self.sent
                table[intern(ours["result"])] = crank
            case "resolve":
                for settlement in entry.settlements():
                    self.settled[intern(settlement["promise"])] = crank
            case "forward" if ours:
                self.followed[intern(ours["promise"])] = crank, intern(ours["to"])

    def heard_by(self, crank: int) -> list[str]:
        """The promise whose settlement a crank was to hear of, and those that it followed to get it."""
        found: dict[str, None] = {}
        promise = self.heard.get(crank)
        while promise is not None and promise not in found:
            found[promise] = None
            promise = self.followed.get(promise, (0, None))[1]
        return list(found)

    def promises_of(self, cranks: Iterable[int]) -> set[str]:
        return {promise for crank in cranks for promise in self.heard_by(crank)}

    def parents(self, crank: int) -> Iterator[int]:
        yield self.causes[crank]
        for promise in self.heard_by(crank):
            yield self.taken.get(promise) or self.sent.get(promise, 0)
            yield self.settled.get(promise, 0)
            yield self.followed.get(promise, (0, ""))[0]

    def ancestors(self, crank: int) -> set[int]:
        """The cranks that led to one, and itself."""
        found, unseen = {crank}, [crank]
        while unseen:
            for parent in self.parents(unseen.pop()):
                if parent not in found and parent in self.causes and parent != 0:
                    found.add(parent)
                    unseen.append(parent)
        return found

    def missing(self, cranks: Iterable[int]) -> Iterator[str]:
        """What led to these and is not in the log, which may begin too late for it."""
        begins_late = min(filter(None, self.causes)) > 1
        for crank in cranks:
            cause = self.causes[crank]
            if cause != 0 and cause not in self.causes:
                yield f"crank {cause}, which caused crank {crank}"
            elif cause == 0 and begins_late:
                answers = [it for it in self.heard_by(crank)[:1] if it not in self.taken and it not in self.sent]
                yield from (f"the message that {it} answers" for it in answers)


class _Asked:
    """The syscalls that asked for what cranks took up.

    Args:
        promises: whose settlements are wanted.
    """

    def __init__(self, promises: set[str]) -> None:
        self._promises = promises
        self._sent: dict[str, Entry] = {}
        self._sent_only: dict[int, list[Entry]] = {}
        self._settled: dict[str, list[Entry]] = {}
        self._subscribed: dict[tuple[int, str], Entry] = {}

    def add(self, entry: Entry) -> None:
        ours = entry.kernel or {}
        match entry.op:
            case "send" if ours["result"] is None:
                self._sent_only.setdefault(entry.crank, []).append(entry)
            case "send":
                self._sent[ours["result"]] = entry
            case "resolve":
                for settlement in entry.settlements():
                    if settlement["promise"] in self._promises:
                        self._settled.setdefault(settlement["promise"], []).append(entry)
            case "forward" if ours["promise"] in self._promises:
                self._settled.setdefault(ours["promise"], []).append(entry)
            case "subscribe" if ours["promise"] in self._promises:
                self._subscribed[entry.crank, ours["promise"]] = entry

    def for_message(self, head: Entry) -> list[Entry]:
        ours = head.kernel
        assert ours is not None
        if ours["result"] is not None:
            return [self._sent[ours["result"]]] if ours["result"] in self._sent else []
        sent = self._sent_only.get(head.cause, [])
        return [it for it in sent if _call(it.kernel or {}) == _call(ours)][-1:]

    def for_notify(self, head: Entry, promises: list[str]) -> list[Entry]:
        """Who settled the promise; and who subscribed to it, if that came after."""
        found = [entry for promise in promises for entry in self._settled.get(promise, ())]
        subscribed = self._subscribed.get((head.cause, promises[0])) if promises else None
        if subscribed is not None and all(it.crank != head.cause for it in found):
            found.append(subscribed)
        return found


def _call(fields: Fields) -> tuple[object, object]:
    return fields["method"], fields["args"]  # the target may have been a promise


def _generations(entries: Iterable[Entry]) -> Iterator[tuple[int, Entry]]:
    """Each entry with a count of the kernels before its own. What is asked between cranks goes with what follows."""
    generation = newest = 0
    between: list[Entry] = []
    for entry in entries:
        if entry.crank == 0:
            between.append(entry)
            continue
        if entry.crank < newest:
            generation += 1
        newest = entry.crank
        yield from ((generation, it) for it in between)
        between.clear()
        yield generation, entry
