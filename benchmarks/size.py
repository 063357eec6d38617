"""`python -m benchmarks.size OBJECTS ENTRIES`: what a vat costs that keeps so many durable objects and map entries.

A store is made, and a fresh process opens it for each question: how long the answer takes, how many
rows of the vatstore are read for it, and how much memory at most. The same is asked of a store with
ten objects and ten entries; what counts is the difference.

A vat that makes millions of objects takes minutes. So it makes only the first ones; their rows are
compared byte by byte with what `rows_of_things` and `rows_of_entries` say, and these say the rest.
`--honest` has the vat make all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import apsw
import cbor2
import trio
from attrs import asdict, frozen

from benchmarks.cases import WrongResultError
from benchmarks.measure import MeasuringError
from ocap import ClusterConfig, E, Kernel, VatConfig
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify
from vats.keys import encode_key
from vats.vatstore import after_prefix

FEW = 10
SAMPLE = 1000
"""Of each sort the vat makes so many itself, in one crank, in a store of more."""

_HOARDER = "benchmarks.vats.hoarder"
_CLASS = b"\xd9\xca\x00\x82\x00eThing"  # the body of a reference to a Thing

Row = tuple[bytes, bytes]


def _no_name(reference: Any) -> str:
    raise TypeError(reference)


def rows_of_things(numbers: range) -> Iterator[Row]:
    """What the vatstore holds of things and of their places in the map, which is store 1."""
    for number in numbers:
        vref = b"o+d10/%d" % (number + 1)
        yield b"m1 " + encode_key(number, _no_name), vref + b"\n" + _CLASS
        yield b"r" + vref, b"1 "
        yield b"s" + vref, b"\n\xa1fnumber" + cbor2.dumps(number)


def rows_of_entries(numbers: range) -> Iterator[Row]:
    """What it holds of entries, in store 2."""
    for number in numbers:
        yield b"m2 " + encode_key(number, _no_name), b"\n" + cbor2.dumps(number)


async def _launch(path: Path, things: int, entries: int) -> None:
    async with Kernel(path, durability="none") as kernel:
        root = (await kernel.launch_subcluster(ClusterConfig("hoarder", {"hoarder": VatConfig(_HOARDER)}))).root
        for start in range(0, things, SAMPLE):
            await E(root).add_things(start, min(SAMPLE, things - start))
        for start in range(0, entries, SAMPLE):
            await E(root).add_entries(start, min(SAMPLE, entries - start))


def make(path: Path, things: int, entries: int, *, honest: bool = False) -> None:
    """Make a store whose one vat keeps so many.

    Raises:
        WrongResultError: the vat's rows are not as this module says.
    """
    made = (things, entries) if honest else (min(things, SAMPLE), min(entries, SAMPLE))
    trio.run(_launch, path, *made)
    db = apsw.Connection(str(path))
    try:
        db.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN")
        sorts = (("things", rows_of_things), ("entries", rows_of_entries))
        for (sort, rows_of), there, wanted in zip(sorts, made, (things, entries), strict=True):
            if there < wanted:
                _compare(db, sort, rows_of(range(there)))
                rows = rows_of(range(there, wanted))
                db.executemany("INSERT INTO vatstore (vat, key, value) VALUES ('v1', ?, ?)", rows)
        counters = {b"n1": things, b"n2": entries, b"cd10": things + 1001}
        for key, number in counters.items():
            db.execute("UPDATE vatstore SET value = ? WHERE key = ?", (b"%d" % number, key))
        db.execute("COMMIT")
    finally:
        db.close()


def _compare(db: apsw.Connection, sort: str, expected: Iterator[Row]) -> None:
    prefixes = {"things": (b"m1 ", b"ro+d10/", b"so+d10/"), "entries": (b"m2 ",)}[sort]
    query = "SELECT key, value FROM vatstore WHERE key >= ? AND key < ?"
    found = [row for prefix in prefixes for row in db.execute(query, (prefix, after_prefix(prefix)))]
    if sorted(expected) != sorted(found):
        raise WrongResultError(f"the vat keeps {sort} otherwise than this benchmark does")


# ---- questions ------------------------------------------------------------------------------------


@frozen
class Answer:
    """What one question took, in a process of its own.

    Attributes:
        seconds: from opening the store to the answer.
        rows: of the vatstore, read from the file meanwhile.
        memory: bytes by which the process grew at most; None where the system does not tell.
    """

    seconds: float
    rows: int
    memory: int | None


Question = Callable[[Kernel, Any, int, int], Coroutine[Any, Any, None]]


def _check(expected: Any, actual: Any) -> None:
    if expected != actual:
        raise WrongResultError(f"expected {expected!r:.200}, got {actual!r:.200}")


async def start(_: Kernel, root: Any, things: int, entries: int) -> None:
    """The vat starts and gives one object and one entry from the middle."""
    number = min(things or entries, entries or things) // 2
    _check((number * bool(things), number * bool(entries)), await E(root).get(number))
    _check((things, entries), await E(root).count())


async def scan_things(_: Kernel, root: Any, things: int, __: int) -> None:
    """One crank looks at every object."""
    _check(sum(range(things)), await E(root).scan_things())


async def scan_entries(_: Kernel, root: Any, __: int, entries: int) -> None:
    """One crank looks at every entry."""
    _check(sum(range(entries)), await E(root).scan_entries())


async def last(_: Kernel, root: Any, __: int, entries: int) -> None:
    """The last five entries, backwards."""
    _check([*range(entries - 1, entries - 6, -1)], await E(root).last_entries(entries - 5))


async def clear(_: Kernel, root: Any, __: int, ___: int) -> None:
    """Everything is removed; the rows are deleted later."""
    await E(root).clear()
    _check((0, 0), await E(root).count())


async def sweep(kernel: Kernel, root: Any, things: int, entries: int) -> None:
    """What was cleared is deleted, in budgeted cranks."""
    await clear(kernel, root, things, entries)
    kernel.collect_garbage()
    await kernel.idle()
    if kernel.census()["vatstore"] > 20:
        raise WrongResultError(f"{kernel.census()['vatstore']} rows are left of what was cleared")


QUESTIONS: dict[str, Question] = {it.__name__: it for it in (start, scan_things, scan_entries, last, clear, sweep)}


def _most() -> int | None:
    """Bytes of memory that the process has held at most since `_forget_most`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _forget_most() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def _ask(path: Path, question: Question, things: int, entries: int) -> None:
    async with Kernel(path, durability="none") as kernel:
        (cluster,) = kernel.get_subclusters()
        await question(kernel, cluster.root, things, entries)


def _report(path: Path, name: str, things: int, entries: int, sender: Connection[Any, Any]) -> None:
    read = [0]
    scan, load = SqliteBackend.scan_vatstore, SqliteBackend.read_vatstore

    def counting_scan(*args: Any, **kwargs: Any) -> Any:
        rows = scan(*args, **kwargs)
        read[0] += len(rows)
        return rows

    def counting_load(backend: SqliteBackend, vat: str, key: bytes) -> bytes | None:
        read[0] += 1
        return load(backend, vat, key)

    SqliteBackend.scan_vatstore = counting_scan  # type: ignore[method-assign]  # counted here
    SqliteBackend.read_vatstore = counting_load  # type: ignore[method-assign, assignment]  # a function of the class
    with sender:
        _forget_most()
        before, clock = _most(), perf_counter()
        trio.run(partial(_ask, path, QUESTIONS[name], things, entries))
        seconds, after = perf_counter() - clock, _most()
        sender.send(Answer(seconds, read[0], None if before is None or after is None else after - before))


def ask(path: Path, name: str, things: int, entries: int) -> Answer:
    """Ask one of `QUESTIONS` of a store that `make` made.

    Raises:
        MeasuringError: the answer was wrong.
    """
    context = multiprocessing.get_context("spawn")
    news, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(path, name, things, entries, sender))
    process.start()
    sender.close()
    try:
        answer: Answer = news.recv()
    except EOFError:
        raise MeasuringError(f"{name} of {things:,} objects and {entries:,} entries failed; see above") from None
    finally:
        news.close()
        process.join()
    return answer


def grown(many: Answer, few: Answer) -> int | None:
    """Bytes of memory that one took more than the other."""
    return None if many.memory is None or few.memory is None else many.memory - few.memory


# ---- the command ----------------------------------------------------------------------------------


def _line(name: str, answer: Answer, few: Answer) -> str:
    more = grown(answer, few)
    memory = "?" if more is None else f"{more / 2**20:.1f}"
    return f"{name:<13} {answer.seconds:>9.3f} s {few.seconds:>9.3f} s {answer.rows:>12,} {few.rows:>6,} {memory:>8} MB"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.size", description="What a vat costs that keeps many objects and entries."
    )
    parser.add_argument("objects", metavar="OBJECTS", type=int, nargs="?", default=1_000_000)
    parser.add_argument("entries", metavar="ENTRIES", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--only", metavar="QUESTION", action="append", choices=QUESTIONS, help="repeatable")
    parser.add_argument("--honest", action="store_true", help="let the vat make everything itself")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the stores are made (default .run)")
    arguments = parser.parse_args(given)
    things, entries = arguments.objects, arguments.entries
    if min(things, entries) < FEW:
        parser.error(f"at least {FEW} of each")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    answers: dict[str, tuple[Answer, Answer]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="size-") as folder:
        many, few = Path(folder, "many.db"), Path(folder, "few.db")
        clock = perf_counter()
        make(many, things, entries, honest=arguments.honest)
        make(few, FEW, FEW)
        seconds, size = perf_counter() - clock, many.stat().st_size
        if not arguments.json:
            print(f"{things:,} objects and {entries:,} entries: {size / 2**20:,.0f} MB, made in {seconds:.0f} s")
            print(f"{'question':<13} {'time':>11} {f'of {FEW}':>11} {'rows':>12} {f'of {FEW}':>6} {'memory above':>11}")
        for name in QUESTIONS:  # in this order: the last ones leave nothing
            if name in (arguments.only or QUESTIONS):
                answers[name] = ask(many, name, things, entries), ask(few, name, FEW, FEW)
                if not arguments.json:
                    print(_line(name, *answers[name]), flush=True)
        problems = verify(many)
    if arguments.json:
        found = {name: {"many": asdict(most), "few": asdict(least)} for name, (most, least) in answers.items()}
        print(json.dumps({"objects": things, "entries": entries, "bytes": size, "seconds": seconds, "answers": found}))
    for problem in problems:
        print(f"verify: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
