"""The daemon: a kernel that runs until it is stopped, and leaves a word about why it ended.

Causes of an end, each of which has its line in the daemon's log: the command stop, a signal, a critical vat, a
store that fails, a mistake of ours (with its traceback), a crash of the interpreter (faulthandler). Of a `kill -9`
and a loss of power the next start tells.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

import trio
from attrs import field, frozen

from ocap.daemon.attention import ENDED, STARTED, UNFINISHED, attention, last_end
from ocap.daemon.beside import Beside, Wanted, open_beside
from ocap.daemon.client import naming_the_daemon
from ocap.daemon.commands import Commands
from ocap.daemon.place import info_path, make_runtime_folder, read_info, socket_path
from ocap.daemon.private import keep_private
from ocap.daemon.server import open_control
from ocap.daemon.silence import killed_in, stack_at_signal, stack_when_mute, take_last_step, way_out
from ocap.daemon.tap import Tap
from ocap.host.kernel import Kernel
from ocap.kernel.effects import Event
from ocap.legible import safe_text, to_json
from ocap.log import event_line
from ocap.log.writing import LogFile, check_apart, check_log, open_to_check, parse_retention
from ocap.protocol.errors import ConfigError, OcapError
from ocap.reasons import reason as os_reason
from ocap.ring.watchdog import SLOW_CRANK
from ocap.services.cluster_file import DIFFERS, ClusterFile, Launches, load_cluster_file, wake_system
from ocap.services.standard import LATER

logger = logging.getLogger("ocap.daemon")

LOG_SIZE = 1_000_000
"""Bytes of the daemon's own log, after which it is begun anew; three older ones are kept."""


@frozen
class Options:
    """What a daemon is started with.

    Attributes:
        database: made if it does not exist.
        cluster: a TOML file of subclusters to launch or resume; None: those of the database.
        folder: what relative sources in configs given later are relative to.
        log: the daemon's own log.
        log_json: the message log; None: none is written.
        keep_size, keep_days: as `ocap run --log-keep-size` and `--log-keep-days`.
        wanted: what is to run beside the kernel.
        slow_crank: as of `Kernel`.
    """

    database: str
    folder: str
    log: str
    cluster: str | None = None
    log_json: str | None = None
    keep_size: str | None = None
    keep_days: float | None = None
    wanted: Wanted = field(factory=Wanted)
    slow_crank: float = SLOW_CRANK


Report = Callable[[str, Any], None]
"""Is told how the start goes: `ready` with the socket, `metrics` with the address and `panel` with a link where there
are, `launched` and `failed` with name and text, `attention` with what needs somebody, `done` with the process and how many subclusters and vats there are; and `differs` with the name of a subcluster that has not the file's config,
`killed` with what the run before was killed in, `blind` if it wrote a message log and this one does not."""


def run_daemon(options: Options, report: Report) -> int:
    """Run until stopped.

    Returns:
        0 after a stop or signal, 1 after anything else.

    Raises:
        OcapError: it could not start; nothing was changed.
    """
    keep_private()
    file = ClusterFile() if options.cluster is None else load_cluster_file(Path(options.cluster))
    retention = parse_retention(options.keep_size, options.keep_days)
    with ExitStack() as stack:
        beside = stack.enter_context(open_beside(options.wanted))
        # Before a database is made.
        log_json = None if options.log_json is None else Path(options.log_json)
        check_apart({"--db": Path(options.database), "--log-json": log_json, "--daemon-log": Path(options.log)})
        if log_json is not None:
            check_log(log_json, retention)
        _check_own_log(Path(options.log))
        make_runtime_folder()
        socket_path(Path(options.database))
        with naming_the_daemon(Path(options.database)):
            kernel = file.open_kernel(  # takes the lock
                Path(options.database), also=LATER, slow_crank=options.slow_crank
            )
        stack.callback(kernel.close)
        crashes = _open_log(Path(options.log))
        stack.enter_context(stack_when_mute(crashes))
        daemon: _Daemon | None = None
        cause, level = "of a mistake", logging.INFO
        try:
            sink = None
            if log_json is not None:
                sink = stack.enter_context(closing(LogFile(log_json, retention)))
            trace = stack.enter_context(beside.tracing(kernel))
            logger.info("%s, process %d, on %s", STARTED, os.getpid(), options.database)
            last = take_last_step(socket_path(Path(options.database)))
            if last is not None:
                text = f"the run before was killed {killed_in(last)}; {way_out(last, options.database)}"
                logger.warning(text)
                report("killed", text)
            before = read_info(socket_path(Path(options.database))).get("log_json")
            if before is not None and options.log_json is None:
                text = f"the run before wrote the message log {before}; this one writes none: --log-json {before}"
                logger.warning(text)
                report("blind", text)
            daemon = _Daemon(kernel, options, file, sink, trace, beside, report, crashes)
            cause = trio.run(daemon.run)
        except BaseException as error:
            only = _only(error)
            cause, level = f"because of {only!r}", logging.CRITICAL
            if isinstance(only, OcapError) and (daemon is None or not daemon.is_ready):
                raise only from None
            logger.critical("the kernel stopped", exc_info=error)
            return 1
        else:
            return 0
        finally:
            stack.close()
            logger.log(level, "%s: %s", ENDED, cause)


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _Daemon:
    def __init__(
        self,
        kernel: Kernel,
        options: Options,
        file: ClusterFile,
        sink: LogFile | None,
        trace: Callable[[Event], None] | None,
        beside: Beside,
        report: Report,
        crashes: IO[str],
    ) -> None:
        self._kernel = kernel
        self._options = options
        self._file = file
        self._report = report
        self._crashes = crashes
        self._ended = trio.Event()
        self._cause = ""
        self.is_ready = False
        self._beside = beside
        self._takers = [] if trace is None else [trace]
        if sink is not None:
            self._takers.append(lambda event: sink.write(event_line(event, kernel.vat_name)))
        self._tap = Tap(kernel, self._write if self._takers else None)

    def _write(self, event: Event) -> None:
        for take in self._takers:
            take(event)

    def stop(self, cause: str) -> None:
        self._cause = self._cause or cause
        self._ended.set()

    async def run(self) -> str:
        database = Path(self._options.database)
        about = {
            "pid": os.getpid(),
            "started": time.time(),
            "database": str(database),
            "folder": self._options.folder,
            "log": self._options.log,
            "log_json": self._options.log_json,
        }
        commands = self._commands = Commands(
            self._kernel, self._tap, about, self._beside, lambda: self.stop("the command stop"), self._file.options
        )
        async with self._kernel, open_control(commands, database) as path, trio.open_nursery() as nursery:
            info = info_path(path)
            info.write_text(json.dumps(about))
            try:
                nursery.start_soon(self._tap.run)
                await nursery.start(self._watch_signals)
                await nursery.start(self._watch_for_dump)
                await self._beside.start(nursery, self._kernel, database, lambda _: None)
                self.is_ready = True
                self._report("ready", str(path))
                for kind, address in (("metrics", self._beside.addresses["metrics"]), ("panel", self._beside.link)):
                    if address is not None:
                        self._report(kind, address)
                nursery.start_soon(wake_system, self._kernel)
                nursery.start_soon(self._launch_all)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
            finally:
                info.unlink(missing_ok=True)
        return self._cause

    async def _watch_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                self.stop(f"the signal {signal.Signals(number).name}")

    async def _watch_for_dump(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGUSR1) as signals, stack_at_signal(self._crashes):
            task_status.started()
            async for _ in signals:
                logger.info("SIGUSR1 asks for this:\n%s", self._kernel.dump())

    async def _launch_all(self) -> None:
        launches = Launches(self._kernel, self._file, self._launched, self._failed)
        for name in launches.differing():
            logger.warning("%s %s", name, DIFFERS)
            self._report("differs", name)
        async with trio.open_nursery() as nursery:
            launches.start(nursery)
        status = await self._commands.status()
        for line in attention(status):
            self._report("attention", line)
        self._report("done", {name: status[name] for name in ("pid", "subclusters", "vats")})

    def _launched(self, name: str, result: Any) -> None:
        self._report("launched", [name, to_json(result)])

    def _failed(self, name: str, reason: str) -> None:
        logger.error("%s was not launched: %s", name, reason)
        self._report("failed", [name, reason])


# ---- the log --------------------------------------------------------------------------------------


class _Line(logging.Formatter):
    """What is logged may quote a vat."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(map(safe_text, super().format(record).splitlines()))


def _check_own_log(path: Path) -> None:
    if (fd := open_to_check("--daemon-log", path)) is not None:
        os.close(fd)


def _open_log(path: Path) -> IO[str]:
    """Send what is logged, and whatever else this process says, to a file of its own; gives what stacks go to."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        end = last_end(path)
        crashes = path.open("a")
        handler = RotatingFileHandler(path, maxBytes=LOG_SIZE, backupCount=3, encoding="utf-8")
    except OSError as error:
        raise ConfigError("--daemon-log", f"{path}: {os_reason(error)}") from error

    def rotate(source: str, target: str) -> None:
        Path(source).replace(target)
        fresh = os.open(source, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(fresh, crashes.fileno())
        os.close(fresh)

    handler.rotator = rotate
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = os.environ.get("OCAP_LOG_LEVEL", "INFO")
    logging.basicConfig(level=level, handlers=[handler], force=True)
    faulthandler.enable(crashes)  # which keeps the file open
    if end == UNFINISHED:
        logger.warning("the run before: %s", UNFINISHED)
    return crashes


def note_end(log: Path, text: str) -> None:
    """Write to a daemon's log how it was ended, on behalf of one that could not."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with log.open("a") as file:
        file.write(f"{stamp} WARNING ocap.daemon: {ENDED}: {safe_text(text)}\n")


# ---- as a child of `ocap start` -------------------------------------------------------------------


def main(options: Mapping[str, Any]) -> int:
    """Run as the child of `ocap start`, which reads from our standard output how the start goes."""
    out = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)

    def report(kind: str, value: Any) -> None:
        if not out.closed:
            try:
                print(json.dumps([kind, value]), file=out, flush=True)
                if kind == "done":
                    out.close()
            except OSError:  # whoever started us has gone, and wants to know nothing more
                _silence(out)

    try:
        return run_daemon(Options(**{**options, "wanted": Wanted(**options["wanted"])}), report)
    except OcapError as error:
        report("refused", str(error))
        return 2


def _silence(out: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


if __name__ == "__main__":
    sys.exit("ocap start starts a daemon")
