"""`ocap run`: launch or resume the subclusters of a file, until nothing is left to do."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from ocap.cli.asking import say
from ocap.cli.traffic import Traffic
from ocap.daemon.beside import Beside, Wanted, open_beside
from ocap.daemon.client import naming_the_daemon
from ocap.daemon.commands import Commands
from ocap.daemon.server import open_control
from ocap.daemon.silence import stack_at_signal
from ocap.daemon.tap import Tap
from ocap.host.kernel import Kernel
from ocap.kernel.effects import Event
from ocap.legible import as_text, safe_text, to_json
from ocap.log import event_line, from_event
from ocap.log.writing import LogFile, Retention, check_apart, check_log
from ocap.protocol.errors import ConfigError
from ocap.services.cluster_file import DIFFERS, ClusterFile, Launches, load_cluster_file, wake_system
from ocap.services.standard import LATER


def run_clusters(
    path: Path,
    *,
    db: Path | None,
    log: bool,
    log_json: Path | None,
    retention: Retention,
    wanted: Wanted,
    slow_crank: float,
    as_json: bool,
) -> int:
    """Run the subclusters of `path`; 1 if one of them failed.

    Raises:
        ConfigError: the file is wrong; nothing was changed.
        StoreError: the database cannot be used.
        PortError, MissingExtraError: what is wanted beside cannot be had; nothing was changed.
    """
    file = load_cluster_file(path)
    if log_json is None and retention != Retention():
        raise ConfigError("--log-keep-size, --log-keep-days", "there is nothing to keep without --log-json FILE")
    with ExitStack() as stack:
        beside = stack.enter_context(open_beside(wanted))
        if wanted.panel is not None and db is None:
            # The panel reads a file. One of our own is as good as memory, and goes with us.
            db = Path(stack.enter_context(TemporaryDirectory(prefix="ocap-")), "kernel.db")
        check_apart({"--db": db, "--log-json": log_json})
        if log_json is not None:
            check_log(log_json, retention)  # before a database is made
        with naming_the_daemon(db):
            kernel = file.open_kernel(db, also=LATER if beside.has_panel else (), slow_crank=slow_crank)
        stack.callback(kernel.close)
        sink = None if log_json is None else stack.enter_context(closing(LogFile(log_json, retention)))
        trace = stack.enter_context(beside.tracing(kernel))
        tap = Tap(kernel, _Log(kernel, sink, trace, everything=log), messages=bool(log or sink or trace))
        about = {
            "pid": os.getpid(),
            "started": time.time(),
            "database": None if db is None else str(db.absolute()),
            "folder": str(path.absolute().parent),
            "log": None,
            "log_json": None if log_json is None else str(log_json.absolute()),
        }
        commands = Commands(kernel, tap, about, beside, options=file.options)
        return trio.run(_run, kernel, file, as_json, beside, commands, tap)


class _Log:
    """Writes entries where they were asked for."""

    def __init__(
        self, kernel: Kernel, sink: LogFile | None, trace: Callable[[Event], None] | None, *, everything: bool
    ) -> None:
        self._name_of = kernel.vat_name
        self._traffic = Traffic(sys.stderr)
        self._sink = sink
        self._trace = trace
        self._everything = everything

    def __call__(self, event: Event) -> None:
        if self._everything or event.kind == "log":
            self._traffic.show(from_event(event, self._name_of))
        if self._sink is not None:
            self._sink.write(event_line(event, self._name_of))
        if self._trace is not None:
            self._trace(event)


class Run:
    """One run: which subclusters answered, which failed, which are awaited."""

    def __init__(self, kernel: Kernel, file: ClusterFile, report: Callable[[str, Any], None]) -> None:
        self._kernel = kernel
        self._launches = Launches(kernel, file, report, self.fail)
        self.failed = False

    def launch_all(self, nursery: trio.Nursery) -> None:
        for name in self._launches.differing():
            say(f"{name} {DIFFERS}")
        self._launches.start(nursery)

    def fail(self, name: str, reason: str) -> None:
        self.failed = True
        print(f"ocap: {safe_text(name)}: {safe_text(' '.join(reason.split()))}", file=sys.stderr)

    async def until_done(self) -> None:
        """Wait until the kernel is idle and nothing outside can wake it."""
        while True:
            await self._kernel.idle(services=True)
            status = self._kernel.status()
            if status["idle"] and not status["service_calls"]:
                if not self._launches.awaited:
                    return
                if status["unanswered"]:
                    for name in sorted(self._launches.awaited):
                        self.fail(name, "bootstrap waits for an answer that nobody can give; the launch is undone")
                    return
            # Who was just answered has not run yet.
            await trio.lowlevel.checkpoint()


async def dump_on_signal(kernel: Kernel) -> None:
    """At each SIGUSR1, say on standard error what the kernel is doing."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals, stack_at_signal(sys.stderr):
        async for _ in signals:
            print(kernel.dump(), file=sys.stderr, flush=True)


async def _be_controlled(commands: Commands, tap: Tap, database: Path, task_status: trio.TaskStatus[None]) -> None:
    """By the panel, as a daemon is."""
    async with open_control(commands, database):
        task_status.started()
        await tap.run()


def announce(link: str) -> None:
    """Show a link to the panel to whoever has this process's terminal."""
    print(f"ocap: control panel at {link}", file=sys.stderr, flush=True)


async def _run(
    kernel: Kernel,
    file: ClusterFile,
    as_json: bool,
    beside: Beside,
    commands: Commands,
    tap: Tap,
) -> int:
    results: dict[str, Any] = {}

    def report(name: str, result: Any) -> None:
        results[name] = to_json(result)
        if not as_json:
            print(f"{safe_text(name)}: {as_text(result)}", flush=True)

    interrupted = False
    async with kernel:
        async with trio.open_nursery() as nursery:
            work = Run(kernel, file, report)

            async def watch_for_interrupt() -> None:
                nonlocal interrupted
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        interrupted = True
                        nursery.cancel_scope.cancel()
                        return

            nursery.start_soon(watch_for_interrupt)
            nursery.start_soon(wake_system, kernel)
            nursery.start_soon(dump_on_signal, kernel)
            database = None
            if beside.has_panel:
                database = Path(commands.database)
                await nursery.start(_be_controlled, commands, tap, database)
            await beside.start(nursery, kernel, database, announce)
            if at := beside.addresses["metrics"]:
                print(f"ocap: metrics at {at}", file=sys.stderr)
            work.launch_all(nursery)
            await work.until_done()
            if database is not None:
                await trio.sleep_forever()  # its operator can wake the kernel
            nursery.cancel_scope.cancel()
        if not interrupted:
            await kernel.idle()  # what is left of launches that were given up goes
    if as_json:
        print(json.dumps(results))
    if interrupted:
        advice = "run the same command again to go on" if kernel.status()["path"] else "without --db nothing is kept"
        print(f"ocap: stopped; {advice}", file=sys.stderr)
        return 130
    return 1 if work.failed else 0
