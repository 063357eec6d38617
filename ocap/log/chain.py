"""Why a crank happened: the cranks that led to it, back to a message of the host.

Every entry names the crank that queued what its crank took up. One file may have the entries of
several kernels, one after the other: where crank numbers begin anew, so does the chain. The log is
gone through twice, so that of a long one only the numbers need to be remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ocap.log.entry import Entry
from ocap.protocol.errors import OcapError

Log = Callable[[], Iterable[Entry]]


class NoSuchCrankError(OcapError, LookupError):
    """The log has no such crank; the asker's fault, or retention took it."""


def chain_to(number: int, log: Log) -> list[Entry]:
    """What led to a crank: by pairs, what was asked and the crank that took it up, oldest first.

    Args:
        number: the crank. If several kernels in the log had one, the last kernel's is meant.
        log: gives the entries, from the first on, each time it is called.

    Raises:
        NoSuchCrankError: the log has no such crank.
    """
    generation, numbers = _numbers(number, log)
    heads: dict[int, Entry] = {}
    asked: dict[int, list[Entry]] = {0: []}
    for its, entry in _generations(log()):
        if its == generation and (entry.crank in numbers or entry.crank == 0):
            if entry.crank:
                heads.setdefault(entry.crank, entry)
            if entry.kind == "syscall":
                asked.setdefault(entry.crank, []).append(entry)
    chain = []
    for crank in sorted(heads):
        head = heads[crank]
        chain += [it for it in reversed(asked.get(head.cause, ())) if _leads_to(it, head)][:1]
        chain.append(head)
    return chain


def _numbers(number: int, log: Log) -> tuple[int, set[int]]:
    """Which kernel of the log is meant, and the numbers of the cranks in the chain."""
    causes: dict[int, int] = {}
    found: dict[int, int] = {}
    generation = current = 0
    for its, entry in _generations(log()):
        if its != current:
            causes, current = {}, its
        causes.setdefault(entry.crank, entry.cause)
        if entry.crank == number:
            found, generation = causes, its
    if number not in found or number == 0:
        raise NoSuchCrankError(f"the log has no crank {number}")
    numbers = set()
    while number in found and number not in numbers and number != 0:
        numbers.add(number)
        number = found[number]
    return generation, numbers


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


def _leads_to(asked: Entry, head: Entry) -> bool:
    """Whether a syscall is what queued the item that a crank took up."""
    ours = asked.kernel or {}
    match asked.op, head.op:
        case "send", "message":
            if head.kernel is None:  # of the message that a vat faulted in only the vat's names are told
                return head.vatside is not None and bool(ours["method"] == head.vatside["method"])
            by = "result" if ours["result"] or head.kernel["result"] else "args"
            return (ours["method"], ours[by]) == (head.kernel["method"], head.kernel[by])
        case "resolve", "notify":
            settled = {it["promise"] for it in asked.settlements()}
            return not settled.isdisjoint(it["promise"] for it in head.settlements())
        case "subscribe", "notify":
            return any(it["promise"] == ours["promise"] for it in head.settlements())
    return False
