"""Starting a daemon and waiting until it is there; stopping one, in steps that each have an end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import trio
from attrs import asdict

from ocap.daemon.client import LOOK, Client
from ocap.daemon.place import NotRunningError, SocketError, info_path, read_info, socket_path
from ocap.daemon.process import Options, note_end
from ocap.daemon.protocol import RequestFailedError
from ocap.daemon.silence import killed_in, long_step, silence, way_out
from ocap.protocol.errors import OcapError
from ocap.reasons import reason as os_reason
from ocap.ring.watchdog import SlowStep
from ocap.store.owner import stranger

START_SECONDS = 60.0
"""How long `ocap start` waits for launches; the daemon goes on with them after that."""

STOP_SECONDS = 10.0
"""How long a daemon that was asked to stop may take."""

TERM_SECONDS = 5.0
"""How long it may take after SIGTERM; and the system, after SIGKILL."""

_CHILD = "import json, sys; o = json.loads(sys.stdin.readline()); sys.path[:] = o['path']; from ocap.daemon.process import main; sys.exit(main(o['options']))"


class StartError(OcapError, RuntimeError):
    """The daemon could not be started; it said why."""


class StopError(OcapError, RuntimeError):
    """The daemon's process did not end, not even when it was killed: the system holds it."""


def start(options: Options) -> Iterator[tuple[str, Any]]:
    """Start a daemon; gives what it reports, up to `done`, or `waiting` if launches take long.

    Raises:
        StartError: it did not start.
    """
    if (reason := stranger(Path(options.log))) is not None:
        raise StartError(f"{options.log}: {reason}")
    is_new = not os.path.lexists(options.log)
    try:
        log = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"{options.log}: {os_reason(error)}") from error
    try:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin as stdin:
        stdin.write(json.dumps({"path": sys.path, "options": asdict(options)}).encode() + b"\n")
    deadline = time.monotonic() + START_SECONDS
    with child.stdout as out:
        for kind, value in _reports(out, deadline, Path(options.database), child.pid):
            if kind == "refused":
                child.wait()
                if is_new and Path(options.log).stat().st_size == 0:
                    Path(options.log).unlink()
                raise StartError(value)
            yield kind, value
            if kind in ("done", "waiting"):
                return
    raise StartError(f"the daemon ended while it started, with code {child.wait()}; {options.log} says why")


def _reports(out: IO[bytes], deadline: float, database: Path, pid: int) -> Iterator[tuple[str, Any]]:
    begun, is_told = b"", False
    while True:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([out], [], [], max(0.0, min(left, LOOK)))
        if not ready and left <= 0:
            yield "waiting", None
            return
        if not ready:
            with suppress(SocketError):  # the daemon will say so
                path = socket_path(database)
                if not is_told and (step := long_step(path, pid)) is not None:
                    is_told = True
                    yield "slow", silence(path, pid, LOOK, step)
            continue
        data = os.read(out.fileno(), 65_536)
        if not data:
            return
        *lines, begun = (begun + data).split(b"\n")
        for line in lines:
            kind, value = json.loads(line)
            yield kind, value


async def stop(path: Path, say: Callable[[str], None] = lambda _: None) -> Mapping[str, Any]:
    """Stop the daemon at a socket: ask it, then SIGTERM, then SIGKILL.

    One whose kernel is held up hears of SIGTERM no more than of the request: that step is left out.

    Args:
        path: the socket.
        say: is told of each step that takes long, in words.

    Returns:
        Its `pid`, and `by`: what it took.

    Raises:
        NotRunningError: there is none.
        StopError: it is still there.
    """
    info = read_info(path)
    async with await Client.connect(path) as client:
        pid = client.pid
        process = os.pidfd_open(pid)  # so that no other process is meant, should this one end now
        try:
            if (step := long_step(path, pid)) is not None:
                say(f"{step}; it is given {STOP_SECONDS:g} s to end that, and is killed then")
            if await _asked(client) and await _has_ended(process, STOP_SECONDS):
                return {"pid": pid, "by": "request"}
            for number in (signal.SIGTERM, signal.SIGKILL):
                step = long_step(path, pid)
                if step is not None and number == signal.SIGTERM:
                    continue
                say(f"process {pid} has not ended; it is sent {number.name}")
                signal.pidfd_send_signal(process, number)
                if await _has_ended(process, TERM_SECONDS):
                    if number == signal.SIGKILL:
                        _after_kill(path, info, step)
                        if step is not None:
                            say(way_out(step, info.get("database", "FILE")))
                    return {"pid": pid, "by": number.name}
        except ProcessLookupError:
            return {"pid": pid, "by": "request"}
        finally:
            os.close(process)
    raise StopError(f"process {pid} does not end; the system holds it, perhaps in a disk that does not answer")


async def _asked(client: Client) -> bool:
    with trio.move_on_after(STOP_SECONDS):
        try:
            await client.call("stop")
        except NotRunningError:
            return True  # it ended before it could answer
        except RequestFailedError:
            return False
        return True
    return False


async def _has_ended(process: int, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await trio.lowlevel.wait_readable(process)
        return True
    return False


def _after_kill(path: Path, info: Mapping[str, Any], step: SlowStep | None) -> None:
    """What a process that was killed could not do itself. In what, the next one will tell as well."""
    text = ": it neither answered nor heeded SIGTERM"
    if step is not None:
        text = f" {killed_in(step)}; {way_out(step, info.get('database', 'FILE'))}"
    if log := info.get("log"):
        note_end(Path(log), f"killed by `ocap stop`{text}")
    path.unlink(missing_ok=True)
    info_path(path).unlink(missing_ok=True)
