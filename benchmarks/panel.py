"""What a panel that is open and follows the traffic costs the kernel: python -m benchmarks.panel

A kernel in this process plays ping-pong; its panel is a process of its own, as always. In turn, there is none, and
there is one and somebody looks at it, in a third process, as a browser with the page of the traffic does: it reads
the stream of events, and fetches diagram and page again once a second. The ratio is that of neighbouring
repetitions, the median of all: of the time on the clock, and of the processor's time that the kernel's process took.
The first needs a processor that is free for the others; the second tells what the kernel itself has to do.

So for each of the ways in which traffic is shown: all of it, as far as that is cheap; with a filter for a method that
is one in a hundred messages; and from the log file that the kernel writes, with and without a panel.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import httpx
import trio

from benchmarks.cases import PingPong
from ocap import E, Kernel
from ocap.daemon.commands import Commands
from ocap.daemon.server import open_control
from ocap.daemon.tap import Tap
from ocap.log import event_line
from ocap.log.writing import LogFile

SIZE = 4_000
"""Round trips of one repetition."""

SLICES = 40
"""Parts of a repetition; after each there is a round trip by a method of its own, with eight entries of the log."""

WAYS = {"everything": "", "a method": "weigh", "the log file": ""}
"""How somebody looks: the method that is asked for."""

Rate = tuple[float, float]
"""Round trips a second, by the clock and by this process's processor time."""


class NobodyLookedError(RuntimeError):
    """The one who was to look saw nothing: the numbers mean nothing."""


async def main(pairs: int, size: int, folder: Path, ways: Sequence[str] = tuple(WAYS)) -> dict[str, Any]:
    """Measure; by way the rates of each pair, the median of their ratios, and how many lines were seen."""
    return {way: await _measure(way, pairs, size, folder) for way in ways}


async def _measure(way: str, pairs: int, size: int, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="panel-") as place, ExitStack() as stack:
        database = Path(place, "kernel.db").absolute()  # noqa: ASYNC240 - nobody waits
        log = database.with_name("log.jsonl") if way == "the log file" else None
        sink = None if log is None else stack.enter_context(closing(LogFile(log)))
        async with Kernel(database) as kernel, trio.open_nursery() as nursery:
            write = None if sink is None else lambda event: sink.write(event_line(event, kernel.vat_name))
            tap = Tap(kernel, write)
            nursery.start_soon(tap.run)
            about = {"database": str(database), "folder": place, "log_json": log and str(log)}
            async with open_control(Commands(kernel, tap, about), database):
                case = PingPong(kernel)
                await case.prepare()
                await case.work(size // 4)
                found = [await _pair(case, size, database, WAYS[way]) for _ in range(pairs)]
            nursery.cancel_scope.cancel()
    rates = [(alone, seen) for alone, seen, _ in found]
    lines = median(lines for _, _, lines in found)
    return {"pairs": rates, "clock": _spread(rates, 0), "processor": _spread(rates, 1), "lines": lines}


def _spread(rates: list[tuple[Rate, Rate]], which: int) -> dict[str, float]:
    ratios = [seen[which] / alone[which] for alone, seen in rates]
    return {"median": median(ratios), "least": min(ratios), "greatest": max(ratios)}


@asynccontextmanager
async def _panel(database: Path) -> AsyncIterator[list[str]]:
    """The panel's process; gives its links, newest last."""
    links: list[str] = []
    command = [sys.executable, "-m", "ocap", "panel", "--db", str(database)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout

    async def read() -> None:
        begun = b""
        async for data in out:
            *lines, begun = (begun + data).split(b"\n")
            links.extend(line.decode() for line in lines)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        while not links:  # noqa: ASYNC110 - it takes a second
            await trio.sleep(0.05)
        yield links
        process.terminate()
        await process.wait()
        nursery.cancel_scope.cancel()


async def _pair(case: PingPong, size: int, database: Path, method: str) -> tuple[Rate, Rate, int]:
    """Without a panel, and with one that is looked at; and how many lines were seen there."""
    alone = await _rate(case, size)
    async with _panel(database) as links:
        command = [sys.executable, "-m", "benchmarks.panel", "--look", links[-1], "--method", method]
        looker = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert looker.stdin is not None
        assert looker.stdout is not None
        said = await looker.stdout.receive_some()
        assert said == b"looking"
        rate = await _rate(case, size)
        await trio.sleep(0.5)  # until the last news is there
        await looker.stdin.aclose()
        lines = int(b"".join([data async for data in looker.stdout]))
        await looker.wait()
    if lines < 10:
        raise NobodyLookedError(f"only {lines} lines were seen")
    await trio.sleep(0.5)  # until the kernel knows that nobody looks any more
    return alone, rate, lines


async def _rate(case: PingPong, size: int) -> Rate:
    await case.work(size // 10)  # other processes were started, or it slept: the caches are cold
    clock, processor = perf_counter(), process_time()
    for _ in range(SLICES):
        await case.work(size // SLICES)
        case.done = await E(case.root).weigh(case.done, 1, False)
    return size / (perf_counter() - clock), size / (process_time() - processor)


async def look(link: str, method: str) -> None:
    """Look as a browser does until standard input ends; then say how many lines were seen."""
    looker = Looker(method)
    async with trio.open_nursery() as nursery:
        await nursery.start(looker.look, link)
        print("looking", end="", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
    print(looker.lines, flush=True)


class Looker:
    """A browser with the page of the traffic, as far as the kernel can tell."""

    def __init__(self, method: str) -> None:
        self.lines = 0
        self._asked = {"method": method}

    async def look(self, link: str, task_status: trio.TaskStatus[None]) -> None:
        base, _, code = link.partition("/#")
        async with httpx.AsyncClient(base_url=base, timeout=30) as client:
            (await client.post("/login", json={"code": code}, headers={"origin": base})).raise_for_status()
            page = (await client.get("/traffic", params=self._asked)).text
            token, since = re.search('name="token" content="([^"]+)"', page), re.search('data-since="([^"]+)"', page)
            assert token
            assert since
            headers = {"origin": base, "x-ocap-token": token[1]}
            asked = {"traffic": True, "since": int(since[1]), **self._asked}
            async with (
                trio.open_nursery() as nursery,
                client.stream("POST", "/events", json=asked, headers=headers) as stream,
            ):
                nursery.start_soon(self._fetch_pages, client)
                async for line in stream.aiter_lines():
                    if line.startswith("data: "):
                        news = json.loads(line[6:])
                        self.lines += len(news.get("lines", ()))
                        if news.get("said", "").startswith("Everything"):
                            task_status.started()
                            task_status = trio.TASK_STATUS_IGNORED

    async def _fetch_pages(self, client: httpx.AsyncClient) -> None:
        while True:
            for path in ("/traffic/diagram.svg", "/traffic"):
                (await client.get(path, params=self._asked)).raise_for_status()
            await trio.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--size", type=int, default=SIZE, help="round trips of one repetition")
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the database is made")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one; may be given several times")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--look", metavar="LINK", help=argparse.SUPPRESS)
    parser.add_argument("--method", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.look:
        trio.run(look, chosen.look, chosen.method)
        sys.exit()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    result = trio.run(main, chosen.pairs, chosen.size, chosen.folder, chosen.way or tuple(WAYS))
    if chosen.json:
        print(json.dumps(result))
    else:
        for way, found in result.items():
            print(f"{way}: {found['lines']:.0f} lines seen of each {chosen.size} round trips")
            for alone, seen in found["pairs"]:
                print(f"  {alone[0]:8.0f} round trips/s alone, {seen[0]:8.0f} with a panel that follows")
            for kind in ("clock", "processor"):
                it = found[kind]
                print(f"  ratio by the {kind}: {it['median']:.3f} [{it['least']:.3f}-{it['greatest']:.3f}]")
