"""What a panel that is open and follows the traffic costs the kernel: python -m benchmarks.panel

A kernel in this process plays ping-pong; its panel is a process of its own, as always. In turn, there is none, and
there is one and somebody looks at it, in a third process, as a browser with the page of the traffic does: it reads
the stream of events, and fetches diagram and page again once a second. The ratio is that of neighbouring
repetitions, the median of all: of the time on the clock, and of the processor's time that the kernel's process took.
The first needs a processor that is free for the others; the second tells what the kernel itself has to do.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import httpx
import trio

from benchmarks.cases import PingPong
from ocap import Kernel
from ocap.daemon.commands import Commands
from ocap.daemon.server import open_control
from ocap.daemon.tap import Tap

SIZE = 4_000
"""Round trips of one repetition."""


Rate = tuple[float, float]
"""Round trips a second, by the clock and by this process's processor time."""


class NobodyLookedError(RuntimeError):
    """The one who was to look saw nothing: the numbers mean nothing."""


async def main(pairs: int, size: int, folder: Path) -> dict[str, Any]:
    """Measure; the rates of each pair, and the median of their ratios."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="panel-") as place:
        database = Path(place, "kernel.db").absolute()  # noqa: ASYNC240 - nobody waits
        async with Kernel(database) as kernel, trio.open_nursery() as nursery:
            tap = Tap(kernel)
            nursery.start_soon(tap.run)
            about = {"database": str(database), "folder": place}
            async with open_control(Commands(kernel, tap, about), database):
                case = PingPong(kernel)
                await case.prepare()
                await case.work(size // 4)
                rates = [await _pair(case, size, database) for _ in range(pairs)]
            nursery.cancel_scope.cancel()
    return {"pairs": rates, "clock": _spread(rates, 0), "processor": _spread(rates, 1)}


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


async def _pair(case: PingPong, size: int, database: Path) -> tuple[Rate, Rate]:
    """Without a panel, and with one that is looked at."""
    alone = await _rate(case, size)
    async with _panel(database) as links:
        command = [sys.executable, "-m", "benchmarks.panel", "--look", links[-1]]
        looker = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert looker.stdin is not None
        assert looker.stdout is not None
        said = await looker.stdout.receive_some()
        assert said == b"looking"
        rate = await _rate(case, size)
        await looker.stdin.aclose()
        lines = int(b"".join([data async for data in looker.stdout]))
        await looker.wait()
    if lines < 10:
        raise NobodyLookedError(f"only {lines} lines were seen")
    await trio.sleep(0.5)  # until the kernel knows that nobody looks any more
    return alone, rate


async def _rate(case: PingPong, size: int) -> Rate:
    clock, processor = perf_counter(), process_time()
    await case.work(size)
    return size / (perf_counter() - clock), size / (process_time() - processor)


async def look(link: str) -> None:
    """Look as a browser does until standard input ends; then say how many lines were seen."""
    looker = Looker()
    async with trio.open_nursery() as nursery:
        await nursery.start(looker.look, [link])
        print("looking", end="", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
    print(looker.lines, flush=True)


class Looker:
    """A browser with the page of the traffic, as far as the kernel can tell."""

    def __init__(self) -> None:
        self.lines = 0

    async def look(self, links: list[str], task_status: trio.TaskStatus[None]) -> None:
        base, _, code = links[-1].partition("/#")
        async with httpx.AsyncClient(base_url=base, timeout=30) as client:
            (await client.post("/login", json={"code": code}, headers={"origin": base})).raise_for_status()
            found = re.search('name="token" content="([^"]+)"', (await client.get("/traffic")).text)
            assert found
            headers = {"origin": base, "x-ocap-token": found[1]}
            async with (
                trio.open_nursery() as nursery,
                client.stream("POST", "/events", json={"traffic": True}, headers=headers) as stream,
            ):
                nursery.start_soon(_fetch_pages, client)
                task_status.started()
                async for line in stream.aiter_lines():
                    if line.startswith("data: "):
                        self.lines += len(json.loads(line[6:]).get("lines", ()))


async def _fetch_pages(client: httpx.AsyncClient) -> None:
    while True:
        for path in ("/traffic/diagram.svg", "/traffic"):
            (await client.get(path)).raise_for_status()
        await trio.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--size", type=int, default=SIZE, help="round trips of one repetition")
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="where the database is made")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--look", metavar="LINK", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.look:
        trio.run(look, chosen.look)
        sys.exit()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    result = trio.run(main, chosen.pairs, chosen.size, chosen.folder)
    if chosen.json:
        print(json.dumps(result))
    else:
        for alone, seen in result["pairs"]:
            print(f"{alone[0]:8.0f} round trips/s alone, {seen[0]:8.0f} with a panel that follows")
        for kind in ("clock", "processor"):
            it = result[kind]
            print(f"ratio by the {kind}: {it['median']:.3f} [{it['least']:.3f}-{it['greatest']:.3f}]")
