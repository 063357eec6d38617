"""The host program that the crash tests kill, and a server that starts and kills it cheaply.

`python -m tests.crash.teller DATABASE DURABILITY` reads a JSON line for each run, forks, and kills the
child as the line says: after some seconds or cranks, before or after its Nth commit, or instead of its
Nth operation on a file, which may also fail. The child opens the store only after the fork. On standard
output come, a JSON line each: what the child finds, every transfer it was told the end of, what
came out of the kernel, and how the child ended.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import apsw
import trio

from ocap import E, Kernel, StoreError, load_toml
from ocap.kernel.crank import Crank
from ocap.ring import scheduler
from ocap.store.sqlite import SqliteBackend
from tests.store.faulty import faulty

Program = Callable[[str, Any, dict[str, Any]], Awaitable[None]]
"""What is run and killed: it is given the database, the durability, and the line that says how."""

CONFIG = Path(__file__).parent / "bank.toml"
CLIENTS = 4


def say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


async def teller(path: str, durability: Any, run: dict[str, Any]) -> None:
    closing, transfers = run.get("closing", False), run.get("transfers", sys.maxsize)
    async with Kernel(path, durability=durability) as kernel:
        banks = kernel.get_subclusters()
        bank = banks[0] if banks else await kernel.launch_subcluster(load_toml(CONFIG)["bank"])
        branches = await E(bank.root).get_branches()
        if closing:
            for branch in branches:
                await E(branch).close()
            await kernel.idle()
        reports = [await E(branch).report() for branch in branches]
        say(reports=reports)
        if closing:
            return
        numbers = itertools.count(1 + max((number for report in reports for number in report["sent"]), default=0))

        async def client() -> None:
            for number in itertools.islice(numbers, transfers // CLIENTS):
                branch = branches[number % len(branches)]
                say(acknowledged=await E(branch).transfer(number, number % 5))

        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(client)


def die_at_commit(number: int, *, after: bool) -> None:
    commit = SqliteBackend.commit
    countdown = itertools.count(number, -1)

    def dying(self: SqliteBackend) -> None:
        is_last = self.connection.in_transaction and next(countdown) == 0
        if is_last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteBackend.commit = dying  # type: ignore[method-assign]  # dies at that commit


def die_at_crank(number: int) -> None:
    """Commits are small, so that much of what came before is kept, and something is always lost."""
    scheduler.GROUP_CRANKS = 16
    count = scheduler.Scheduler._count
    countdown = itertools.count(number, -1)

    def dying(self: scheduler.Scheduler, crank: Crank, began: float) -> None:
        if next(countdown) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count(self, crank, began)

    scheduler.Scheduler._count = dying  # type: ignore[method-assign]  # dies there


def fail_at_operation(number: int, how: str) -> AbstractContextManager[None]:
    """While it is entered: die instead of the Nth operation, or have it fail: `io` once, `full` from then on."""
    countdown = itertools.count(number, -1)

    def fault(operation: str) -> None:
        if operation == "read":
            return
        left = next(countdown)
        if how == "die" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "io" and left == 0:
            raise apsw.IOError("made to fail")
        if how == "full" and left <= 0 and operation != "open":
            raise apsw.FullError("made to fail")

    return faulty(fault)


def serve(program: Program, path: str, durability: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that it is not discarded
    for line in sys.stdin:
        run = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                if "commit" in run:
                    die_at_commit(run["commit"], after=run["after"])
                if "crank" in run:
                    die_at_crank(run["crank"])
                disk = fail_at_operation(run["operation"], run["how"]) if "operation" in run else nullcontext()
                with disk:
                    trio.run(program, path, durability, run)
                os._exit(0)
            except StoreError as error:
                say(failed=str(error))
                os._exit(3)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        if signal.sigtimedwait([signal.SIGCHLD], run.get("seconds", 30)) is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            signal.sigtimedwait([signal.SIGCHLD], 0)
            say(ended=-signal.SIGKILL)
        else:
            say(ended=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    serve(teller, *sys.argv[1:])
