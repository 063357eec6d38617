"""The anchors: what trio and the disk give by themselves, in the process and the minute of a measurement.

A rate by itself says more about the machine than about the kernel; a ratio to an anchor taken just
before says something on any machine.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter

import trio

ROUND_TRIPS = 10_000
"""Some 0.2 s: shorter ones scatter, longer ones are no longer just before."""

SYNCS = 100

BUFFER = 8
"""Items a channel holds. Rendezvous channels are slower, so they would flatter the kernel."""


async def trio_round_trips() -> float:
    """Round trips a second between two tasks over two buffered memory channels: one message each way."""
    requests, to_answer = trio.open_memory_channel[int](BUFFER)
    replies, answers = trio.open_memory_channel[int](BUFFER)

    async def echo() -> None:
        async for number in to_answer:
            await replies.send(number + 1)

    number = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        start = perf_counter()
        for _ in range(ROUND_TRIPS):
            await requests.send(number)
            number = await answers.receive()
        seconds = perf_counter() - start
        requests.close()
    assert number == ROUND_TRIPS
    return ROUND_TRIPS / seconds


def disk_syncs(folder: Path) -> float:
    """4 KB writes a second that are on the disk when they return. Far above 20,000 there is no disk behind it.

    They go to one place, as most of a write-ahead log's do: growing a file costs the disk more.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        number = file.fileno()
        os.pwrite(number, os.urandom(4096), 0)
        os.fsync(number)
        start = perf_counter()
        for _ in range(SYNCS):
            os.pwrite(number, os.urandom(4096), 0)
            os.fsync(number)
        return SYNCS / (perf_counter() - start)
