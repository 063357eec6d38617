"""The commands, and what becomes of their errors: one line, and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import App, Parameter

from ocap.cli import control
from ocap.cli.asking import NegativeAnswerError
from ocap.cli.inspect import collect, explain, list_promises
from ocap.cli.log import FOLLOWED, draw, explain_crank, log_of_daemon, show_log
from ocap.cli.repl import prompt_in
from ocap.cli.run import run_clusters
from ocap.cli.verify import verify_file
from ocap.legible import safe_text
from ocap.log.selection import Selection, parse_cranks, parse_time
from ocap.log.writing import parse_retention
from ocap.protocol.errors import ConfigError, OcapError
from ocap.reasons import reason as os_reason
from ocap.ring.watchdog import SLOW_CRANK
from ocap.services.cluster_file import ClusterFile, load_cluster_file


def _version() -> str:
    try:
        return version("ocap")
    except PackageNotFoundError:
        return "unknown: the package is not installed, only its source is there"


app = App(
    name="ocap",
    help="Run vats that talk by eventual messages and survive crashes.",
    version=_version,
    result_action="return_value",
)


@app.command
def run(
    cluster: Annotated[Path, Parameter(name="CLUSTER.toml")],
    /,
    *,
    db: Annotated[Path | None, Parameter(negative="")] = None,
    log: Annotated[bool, Parameter(negative="")] = False,
    log_json: Annotated[Path | None, Parameter(negative="")] = None,
    log_keep_size: str | None = None,
    log_keep_days: float | None = None,
    metrics: int | None = None,
    panel: Annotated[bool, Parameter(negative="")] = False,
    panel_port: int | None = None,
    otel: Annotated[bool, Parameter(negative="")] = False,
    slow_crank: float = SLOW_CRANK,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Launch the subclusters of a file, or resume them, and run until nothing is left to do.

    Prints what each subcluster's bootstrap returned. Ctrl-C stops cleanly; run it again with the
    same --db and it goes on where it was.

    Parameters
    ----------
    cluster
        The TOML file that describes the subclusters.
    db
        Keep everything in this database file; made if it does not exist. Without it, nothing outlives the run.
    log
        Show the message traffic on standard error, a line for each delivery and syscall.
    log_json
        Append the message traffic to this file as JSON lines.
    log_keep_size
        Keep no more than so much of that file, such as 500M; older parts of it are removed.
    log_keep_days
        Keep that file's lines for so many days; older parts of it are removed.
    metrics
        Serve metrics for Prometheus on this port of the loopback, 0 for a free one. Needs ocap[metrics].
    panel
        Serve the control panel to browsers on this machine, by a link on standard error, and run until Ctrl-C. Needs ocap[panel].
    panel_port
        The port of the loopback for --panel; by default one that is free.
    otel
        Send traces to OpenTelemetry, as the environment variables OTEL_* say. Needs ocap[otel].
    slow_crank
        Seconds in one crank or commit after which standard error, and the panel, tell what holds the kernel up; 0: never.
    json
        Print one line of JSON, {"NAME": RESULT, ...}.
    """
    retention = parse_retention(log_keep_size, log_keep_days)
    control.check_seconds("--slow-crank", slow_crank, ", or 0 for never")
    return run_clusters(
        cluster,
        db=db,
        log=log,
        log_json=log_json,
        retention=retention,
        wanted=control.wanted(metrics, panel=panel, panel_port=panel_port, otel=otel),
        slow_crank=slow_crank,
        as_json=json,
    )


@app.command
def repl(
    cluster: Annotated[Path | None, Parameter(name="CLUSTER.toml")] = None,
    /,
    *,
    db: Annotated[Path | None, Parameter(negative="")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """A Python prompt inside a kernel: `kernel`, `E` and `roots` are there, and `await` works.

    Lines from a pipe are run in the same way. Ctrl-C gives up what is awaited, Ctrl-D ends. Needs ocap[repl].

    Parameters
    ----------
    cluster
        Launch the subclusters of this TOML file first, or resume them.
    db
        Keep everything in this database file; made if it does not exist. Without it, nothing outlives the prompt.
    json
        Print each value as a line of JSON.
    """
    return prompt_in(db, ClusterFile() if cluster is None else load_cluster_file(cluster), as_json=json)


@app.command
def verify(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check every invariant of a database file, in use or not, without changing it.

    Exits with 0 if all hold, 1 with a line for each that is broken, 2 if the file cannot be checked.

    Parameters
    ----------
    file
        The database file.
    json
        Print one line of JSON, {"problems": [...]}.
    """
    return verify_file(file, as_json=json)


@app.command
def log(
    file: Annotated[Path | None, Parameter(name="FILE")] = None,
    /,
    *,
    db: Annotated[Path | None, Parameter(negative="")] = None,
    follow: Annotated[bool, Parameter(negative="")] = False,
    tail: int | Literal["all"] | None = None,
    vat: Annotated[list[str] | None, Parameter(negative="")] = None,
    method: Annotated[list[str] | None, Parameter(negative="")] = None,
    ref: Annotated[list[str] | None, Parameter(negative="")] = None,
    crank: str | None = None,
    since: str | None = None,
    until: str | None = None,
    slower: float | None = None,
    why: int | None = None,
    diagram: Literal["mermaid", "svg"] | None = None,
    times: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show the message traffic that --log-json of `ocap run` or `ocap start` wrote, a line for each entry.

    Options that select add up: an entry is shown if it fits each of them. Exits with 1 if --why asks for a
    crank, or --vat, --method or --ref for a name, that the log does not have.

    Parameters
    ----------
    file
        The log file; its rotated parts are shown too. Without it, the one that the running daemon writes.
    db
        The database of that daemon; needed if several run.
    follow
        Show the last entries, wait for more, and show it as it is written. Ctrl-C stops.
    tail
        Show so many of the entries there are, the last; by default all, and 10 with --follow. Also all.
    vat
        Only what happened in or to this vat, by id or name. May be given several times.
    method
        Only messages of this method and what their answers settled to. May be given several times.
    ref
        Only what names this reference, as ko7, kp3 or a vat's own o-2. May be given several times.
    crank
        Only cranks A..B, A.., ..B or A.
    since
        Only cranks that began at this time or later: 2026-01-31T12:00 in local time, or 30s, 15m, 2h, 7d ago.
    until
        Only cranks that began at this time or earlier.
    slower
        Only cranks that took longer than so many seconds.
    why
        Show what led to this crank, from the host's message on, and nothing else.
    diagram
        Print a sequence diagram of what was selected, as Mermaid text or as an SVG picture.
    times
        Put when its crank began and how long that took in front of each line.
    json
        Print each entry as a line of JSON.
    """
    first, last = (0, None) if crank is None else parse_cranks(crank)
    selection = Selection(
        frozenset(vat or ()),
        frozenset(method or ()),
        frozenset(ref or ()),
        first,
        last,
        None if since is None else parse_time("--since", since),
        None if until is None else parse_time("--until", until),
        slower,
    )
    control.check_seconds("--slower", slower)
    if tail is not None and tail != "all" and tail < 0:
        raise ConfigError("--tail", "is a number of entries, or all")
    if tail is not None and (why is not None or diagram is not None):
        raise ConfigError("--tail", "is for lines, not for --why and --diagram")
    if why is not None and (follow or not selection.is_everything):
        raise ConfigError("--why", "shows a whole chain: it cannot be followed or narrowed by other options")
    if file is not None and db is not None:
        raise ConfigError("--db", "is for the log of a daemon: FILE is named already")
    if diagram is not None and (follow or times):
        raise ConfigError("--diagram", "is a picture: it cannot be followed and has no times")
    file = log_of_daemon(db) if file is None else file
    if diagram is not None:
        return draw(file, selection, diagram, crank=why, as_json=json)
    if why is not None:
        return explain_crank(file, why, times=times, as_json=json)
    if tail is None and follow:
        tail = FOLLOWED
    return show_log(file, selection, follow=follow, tail=None if tail == "all" else tail, times=times, as_json=json)


class _Safe(logging.Formatter):
    """What is logged may quote a vat."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(map(safe_text, super().format(record).splitlines()))


@app.command
def why(
    file: Annotated[Path, Parameter(name="FILE")],
    kref: Annotated[str, Parameter(name="KREF")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say who keeps an object or promise: its holders, and theirs, up to what needs no holder.

    Exits with 0 if somebody does, 1 if nobody does.

    Parameters
    ----------
    file
        The database file, in use or not.
    kref
        The kernel's name for it, such as ko7 or kp3, as the message log shows it.
    json
        Print one line of JSON, {"kref": ..., "holders": [...]}.
    """
    return explain(file, kref, as_json=json)


@app.command
def promises(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say what waits for what, and since when: the promises that are not settled, oldest first.

    Parameters
    ----------
    file
        The database file, in use or not.
    json
        Print one line of JSON, {"promises": [...]}.
    """
    return list_promises(file, as_json=json)


@app.command
def gc(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    cycles: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Start every vat of a database, collect what nobody holds, and stop.

    No other kernel may have the database open.

    Parameters
    ----------
    file
        The database file.
    cycles
        Also find objects in several vats that only keep each other.
    json
        Print one line of JSON, {"before": {...}, "after": {...}}.
    """
    return collect(file, cycles=cycles, as_json=json)


control.register(app)
app.register_install_completion_command()


def run_app(arguments: list[str]) -> int:
    """Run a command line.

    Returns:
        The exit code, as `ocap.cli` says.
    """
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_Safe("ocap: %(message)s"))
    level = os.environ.get("OCAP_LOG_LEVEL", "WARNING")
    try:
        logging.basicConfig(level=level, handlers=[to_stderr])
    except ValueError as error:
        return _fail(f"OCAP_LOG_LEVEL={level}: {error}")
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BaseException as error:
        return _exit_code(error)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException) -> int:
    match error:
        case BaseExceptionGroup():
            return _exit_code(error.exceptions[0])  # a task group's; the first says what began it
        case cyclopts.CycloptsError():
            return _fail(f"{error} (see: {' '.join(('ocap', *(error.command_chain or ())))} --help)")
        case NegativeAnswerError():
            return _fail(str(error), 1)
        case OcapError():
            return _fail(str(error))
        case BrokenPipeError():
            # Who read our output has gone; so has the wish for more of it.
            _discard_output()
            return 1
        case OSError():
            _discard_output()
            return _fail(f"{error.filename or 'output could not be written'}: {os_reason(error)}")
        case KeyboardInterrupt():
            return 130
    raise error


def _discard_output() -> None:
    """So that the interpreter, as it ends, does not try what failed once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(reason: str, code: int = 2) -> int:
    print(f"ocap: {safe_text(' '.join(reason.split()))}", file=sys.stderr)
    return code
