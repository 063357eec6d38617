"""What a panel that is open and follows the traffic costs the kernel: python -m benchmarks.panel

A kernel in this process plays ping-pong; its panel is a process of its own, as always. In turn, there is none, and
there is one and somebody looks at it, in a third process, as a browser with the page of the traffic does: it reads
the stream of events, and fetches diagram and page again once a second. The ratio is that of neighbouring
repetitions, the median of all: of the time on the clock, and of the processor's time that the kernel's process took.
The first needs a processor that is free for the others; the second tells what the kernel itself has to do.

So for each of the ways in which traffic is shown: all of it, as far as that is cheap; with a filter for a method that
is one in a hundred messages; and from the log file that the kernel writes, with and without a panel.

With `--hostile`: what crowds cost. There is a panel all the time, and in turn nobody at it, or a thousand connections that
each begin a request and go on with a byte a second, or that say nothing; and the same at the port of the metrics and the
control socket, which are the kernel's own. Those that are ended are opened anew, within a second. Meanwhile, and while
nobody is there, each processor has a process that spins: what processes that share one, or its caches, take from each
other is in both halves so, and the ratio of the processor's time is of what the kernel does for the crowd. That by
the clock says nothing here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from benchmarks.cases import PingPong
from ocap import E, Kernel, metrics
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

BEGUN = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: a"
"""What never becomes a request."""

CROWDS = {
    "slow requests to the panel": ("panel", BEGUN),
    "silent connections to the panel": ("panel", ""),
    "slow requests to the metrics": ("metrics", BEGUN),
    "silent connections to the control socket": ("socket", ""),
}
"""Who crowds: where, and what each says before it goes on as slowly as can be."""

CROWD = 1_000
"""Connections."""

Rate = tuple[float, float]
"""Round trips a second, by the clock and by this process's processor time."""


class NobodyLookedError(RuntimeError):
    """The one who was to look saw nothing: the numbers mean nothing."""


class NobodyCameError(RuntimeError):
    """There was no crowd: the numbers mean nothing."""


async def main(pairs: int, size: int, folder: Path, ways: Sequence[str] = tuple(WAYS)) -> dict[str, Any]:
    """Measure; by way or crowd the rates of each pair, the median of their ratios, and how many lines or connections there were."""
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
            async with open_control(Commands(kernel, tap, about), database) as control:
                case = PingPong(kernel)
                await case.prepare()
                await case.work(size // 4)
                async with _beside(way, kernel, database, control) as beside:
                    found = [await _pair(case, size, beside) for _ in range(pairs)]
            nursery.cancel_scope.cancel()
    rates = [(alone, beside) for alone, beside, _ in found]
    count = median(count for _, _, count in found)
    return {"pairs": rates, "clock": _spread(rates, 0), "processor": _spread(rates, 1), "count": count}


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


Beside = Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[int]]]]
"""What there is beside the kernel in half of the repetitions; gives what ends it and says how much it was."""


@asynccontextmanager
async def _spinning() -> AsyncIterator[None]:
    """Every processor has something to do."""
    command = [sys.executable, "-c", "while True: pass"]
    spinners = [await trio.lowlevel.open_process(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            with trio.CancelScope(shield=True):
                await spinner.wait()


@asynccontextmanager
async def _beside(way: str, kernel: Kernel, database: Path, control: Path) -> AsyncIterator[Beside]:
    if way in WAYS:
        yield partial(_looked_at, database, WAYS[way])
        return
    async with _spinning(), _panel(database) as links, trio.open_nursery() as nursery:
        pages = await nursery.start(metrics.serve, kernel, 0)
        ports = {"panel": urlsplit(links[0]).port, "metrics": urlsplit(pages).port, "socket": control}
        place, head = CROWDS[way]
        yield partial(_crowded, str(ports[place]), head)
        nursery.cancel_scope.cancel()


async def _pair(case: PingPong, size: int, beside: Beside) -> tuple[Rate, Rate, int]:
    """Without it, and with it; and how much it was."""
    alone = await _rate(case, size)
    async with beside() as end:
        rate = await _rate(case, size)
        count = await end()
    await trio.sleep(0.5)  # until the kernel knows that nobody is there any more
    return alone, rate, count


@asynccontextmanager
async def _looked_at(database: Path, method: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A panel, and somebody who looks at it; the end gives how many lines they saw."""
    async with _panel(database) as links:
        looker, said = await _started("benchmarks.panel", "--look", links[-1], "--method", method)
        assert said == b"looking"

        async def end() -> int:
            await trio.sleep(0.5)  # until the last news is there
            lines = int(await _ended(looker))
            if lines < 10:
                raise NobodyLookedError(f"only {lines} lines were seen")
            return lines

        yield end


@asynccontextmanager
async def _crowded(address: str, head: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A crowd; the end gives how many connections there were."""
    crowd, said = await _started("benchmarks.crowd", address, str(CROWD), "30", head, "--again")

    async def end() -> int:
        came = json.loads(await _ended(crowd))["begun"]
        assert isinstance(came, int)
        if json.loads(said)["begun"] < CROWD:
            raise NobodyCameError(f"only {said.decode()} of {CROWD} connections")
        return came

    yield end


async def _started(module: str, *arguments: str) -> tuple[trio.Process, bytes]:
    """A process of ours, and the first that it says."""
    command = [sys.executable, "-m", module, *arguments]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, bytes(await process.stdout.receive_some())


async def _ended(process: trio.Process) -> bytes:
    """The last that it says, when its input is over."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    said = b"".join([data async for data in process.stdout])
    await process.wait()
    return said


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
    parser.add_argument(
        "--way", choices=[*WAYS, *CROWDS], action="append", help="only this one; may be given several times"
    )
    parser.add_argument("--hostile", action="store_true", help="crowds, instead of somebody who looks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--look", metavar="LINK", help=argparse.SUPPRESS)
    parser.add_argument("--method", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.look:
        trio.run(look, chosen.look, chosen.method)
        sys.exit()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    ways = chosen.way or tuple(CROWDS if chosen.hostile else WAYS)
    result = trio.run(main, chosen.pairs, chosen.size, chosen.folder, ways)
    if chosen.json:
        print(json.dumps(result))
    else:
        for way, found in result.items():
            what = "lines seen" if way in WAYS else "connections"
            print(f"{way}: {found['count']:.0f} {what} in each {chosen.size} round trips")
            for alone, beside in found["pairs"]:
                print(f"  {alone[0]:8.0f} round trips/s alone, {beside[0]:8.0f} with it")
            for kind in ("clock", "processor"):
                it = found[kind]
                print(f"  ratio by the {kind}: {it['median']:.3f} [{it['least']:.3f}-{it['greatest']:.3f}]")
