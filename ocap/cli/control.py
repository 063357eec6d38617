"""The commands that start a daemon, ask it, and stop it."""

from __future__ import annotations

import json as json_text
import math
import os
import sys
import webbrowser
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import App, Parameter

from ocap.cli import tables
from ocap.cli.asking import (
    Database,
    Flag,
    Json,
    Name,
    NegativeAnswerError,
    What,
    ask,
    asks,
    command,
    commands,
    say,
    show,
    talk,
)
from ocap.cli.inspect import suspend_at_rest
from ocap.cli.upgrade import check as check_code
from ocap.config import read_toml
from ocap.daemon.attention import last_end, log_beside
from ocap.daemon.beside import Wanted
from ocap.daemon.client import Client, find_socket
from ocap.daemon.place import NotAnsweringError, NotRunningError
from ocap.daemon.process import Options, run_daemon
from ocap.daemon.starting import start as start_daemon
from ocap.daemon.starting import stop as stop_daemon
from ocap.legible import as_text, safe_text
from ocap.log.writing import Retention, parse_retention
from ocap.protocol.errors import ConfigError
from ocap.ring.watchdog import SLOW_CRANK
from ocap.services.cluster_file import DIFFERS


def register(app: App) -> None:
    """Add the commands of this module."""
    for name, function in commands.items():
        app.command(function, name=name)


# ---- the daemon -----------------------------------------------------------------------------------


@command
def start(
    cluster: Annotated[Path | None, Parameter(name="CLUSTER.toml")] = None,
    /,
    *,
    db: Path,
    log_json: Path | None = None,
    log_keep_size: str | None = None,
    log_keep_days: float | None = None,
    daemon_log: Path | None = None,
    metrics: int | None = None,
    panel: Flag = False,
    panel_port: int | None = None,
    otel: Flag = False,
    slow_crank: float = SLOW_CRANK,
    foreground: Flag = False,
    json: Flag = False,
) -> int:
    """Run a kernel as a daemon: launch or resume the subclusters of a file, and those of the database.

    Prints what each bootstrap returned, as `run` does, and leaves the daemon running. It can be used by its user
    alone, over a socket in a private folder. Exits with 1 if a launch failed; the daemon runs even so.

    Parameters
    ----------
    cluster
        The TOML file that describes the subclusters. Without it, those of the database are resumed.
    db
        The database file; made if it does not exist.
    log_json
        Append the message traffic to this file as JSON lines.
    log_keep_size
        Keep no more than so much of that file, such as 500M; older parts of it are removed.
    log_keep_days
        Keep that file's lines for so many days; older parts of it are removed.
    daemon_log
        Where the daemon writes what becomes of it; FILE.log beside the database by default.
    metrics
        Serve metrics for Prometheus on this port of the loopback, 0 for a free one. Needs ocap[metrics].
    panel
        Serve the control panel to browsers on this machine, by a link on standard error. Needs ocap[panel].
    panel_port
        The port of the loopback for --panel; by default one that is free.
    otel
        Send traces to OpenTelemetry, as the environment variables OTEL_* say. Needs ocap[otel].
    slow_crank
        Seconds in one crank or commit after which the log, and whoever asks, is told what holds the kernel up; 0: never.
    foreground
        Do not leave: run in this process, for service managers.
    json
        Print one line of JSON, {"launched": {NAME: RESULT}, "failed": {NAME: REASON}, "metrics": URL, "panel": LINK}.
    """
    if db.is_dir():  # which may have no name to put the log's beside
        raise ConfigError("--db", f"{db}: is a folder; name a file")
    if not db.parent.is_dir():
        raise ConfigError("--db", f"{db}: its folder is not there")
    db = db.parent.resolve() / db.name
    check_seconds("--slow-crank", slow_crank, ", or 0 for never")
    if log_json is None and parse_retention(log_keep_size, log_keep_days) != Retention():
        raise ConfigError("--log-keep-size, --log-keep-days", "there is nothing to keep without --log-json FILE")
    options = Options(
        str(db),
        str(Path.cwd() if cluster is None else cluster.absolute().parent),
        str((daemon_log or log_beside(db)).absolute()),
        None if cluster is None else str(cluster),
        None if log_json is None else str(log_json.absolute()),
        log_keep_size,
        log_keep_days,
        wanted(metrics, panel=panel, panel_port=panel_port, otel=otel),
        slow_crank,
    )
    told = _Told(as_json=json)
    if foreground:
        return run_daemon(options, told.report)
    for kind, value in start_daemon(options):
        told.report(kind, value)
    return 1 if told.failed else 0


class _Told:
    """What `start` prints."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._launched: dict[str, Any] = {}
        self._beside: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def report(self, kind: str, value: Any) -> None:
        match kind, value:
            case "launched", [name, result]:
                self._launched[name] = result
                if not self._as_json:
                    print(f"{safe_text(name)}: {as_text(result)}", flush=True)
            case "failed", [name, reason]:
                self.failed[name] = reason
                print(f"ocap: {safe_text(name)}: {safe_text(' '.join(reason.split()))}", file=sys.stderr)
            case (("metrics" | "panel"), str(address)):
                self._beside[kind] = address
                if not self._as_json:
                    print(f"ocap: {_WHAT[kind]} at {address}", file=sys.stderr, flush=True)
            case (("slow" | "killed" | "blind" | "attention"), str(text)):
                say(text)
            case "differs", str(name):
                say(f"{name} {DIFFERS}; `ocap update` gives it that")
            case "done", {"pid": int(pid), "subclusters": int(subclusters), "vats": int(vats)}:
                if self.failed or not (self._launched or self._as_json):
                    say(f"the daemon runs, process {pid}; subclusters: {subclusters}, vats: {vats}")
            case "waiting", _:
                print("ocap: launches go on; `ocap list` tells how far they are", file=sys.stderr)
        if kind in ("done", "waiting") and self._as_json:
            print(json_text.dumps({"launched": self._launched, "failed": self.failed, **self._beside}), flush=True)


_WHAT = {"metrics": "metrics", "panel": "control panel"}


def check_seconds(option: str, seconds: float | None, also: str = "") -> None:
    """Raises `ConfigError` for a number that is no length of time."""
    if seconds is not None and not seconds >= 0:
        raise ConfigError(option, f"{seconds}: must be a number of seconds{also}")


def wanted(metrics: int | None, *, panel: bool, panel_port: int | None, otel: bool) -> Wanted:
    """What is to run beside a kernel, from the options.

    Raises:
        ConfigError: they do not go together.
        MissingExtraError: the panel is not installed.
    """
    if panel:
        import ocap.panel  # noqa: F401, PLC0415 - an extra
    elif panel_port is not None:
        raise ConfigError("--panel-port", "there is no panel without --panel")
    return Wanted(metrics, (panel_port or 0) if panel else None, otel)


@command
def stop(*, db: Database = None, json: Flag = False) -> int:
    """Stop a daemon: ask it; if that does not help SIGTERM, then SIGKILL. Each step has its time, and is told.

    A vat that holds the kernel up is killed with it. That crank then never happened, and what it was given is given to
    it again at the next start: `ocap suspend` before holds that back.

    Parameters
    ----------
    json
        Print one line of JSON, {"pid": ..., "by": "request" | "SIGTERM" | "SIGKILL"}.
    """
    done = trio.run(stop_daemon, find_socket(db), say)
    if json:
        print(json_text.dumps(done))
    else:
        print("stopped" if done["by"] == "request" else f"stopped by {done['by']}: it did not answer")
    return 0


@command
def status(*, db: Database = None, json: Json = False) -> int:
    """Tell how a daemon and its kernel are. Exits with 1 if there is none, or something holds its kernel up."""
    try:
        found = ask(db, "status")
    except NotRunningError as error:
        log = None if db is None else log_beside(db)
        end = None if log is None else last_end(log)
        if json:
            print(json_text.dumps({"running": False, "end": end}))
        else:
            say(str(error))
            if end is not None:
                say(f"{log}: {end}")
        return 1
    except NotAnsweringError as error:
        if json:
            print(json_text.dumps({"running": True, "answering": False, "pid": error.pid, "slow": error.slow}))
        else:
            say(str(error))
        return 1
    show(found, tables.status, as_json=json)
    return 0


@command
def panel(
    *,
    db: Database = None,
    port: int | None = None,
    browser: Flag = False,
    json: Flag = False,
) -> int:
    """Print a link to the control panel of a running daemon. It lets one browser on this machine in, once.

    If the daemon has no panel (`ocap start --panel`), this command serves one until Ctrl-C, and prints another link
    each time one was used. Needs ocap[panel].

    Parameters
    ----------
    port
        Serve a panel on this port of the loopback, whether the daemon has one or not; 0 for a free port.
    browser
        Open the first link in this machine's browser.
    json
        Print each link as a line of JSON, {"link": ...}.
    """
    from ocap.panel.serving import run_panel  # noqa: PLC0415 - an extra

    is_first = True

    def announce(link: str) -> None:
        nonlocal is_first
        print(json_text.dumps({"link": link}) if json else link, flush=True)
        if is_first and browser:
            webbrowser.open(link)
        is_first = False

    if port is None and (link := ask(db, "panel_link")["link"]) is not None:
        announce(link)
        return 0
    run_panel(db, port or 0, announce)
    return 130


# ---- subclusters ----------------------------------------------------------------------------------


def _read(cluster: Path) -> dict[str, str]:
    return {"text": read_toml(cluster), "folder": str(cluster.absolute().parent)}


@asks("launch", tables.launched)
def launch(cluster: Annotated[Path, Parameter(name="CLUSTER.toml")], /) -> dict[str, Any]:
    """Launch the subclusters of a file in a running kernel. Exits with 1 if a launch failed.

    Parameters
    ----------
    cluster
        The TOML file that describes the subclusters; none may have a name that is in use.
    """
    return _read(cluster)


@command
def update(
    subcluster: Name,
    cluster: Annotated[Path, Parameter(name="CLUSTER.toml")],
    /,
    *,
    dry_run: Flag = False,
    db: Database = None,
    json: Json = False,
) -> int:
    """Give a subcluster the config that a file has under its name, and do what follows from that.

    New vats are created, vats that are in it no more are ended, changed ones are upgraded. Exits with 1 if one
    could not be created, or upgraded; it goes on as it was.

    Parameters
    ----------
    cluster
        The TOML file.
    dry_run
        Only say what would be done.
    """
    done = ask(db, "update", subcluster=subcluster, dry=dry_run, **_read(cluster))
    show(done, tables.changes_to_come if dry_run else tables.changes, as_json=json)
    return 1 if any(done["added"].values()) or any(done["upgraded"].values()) else 0


@asks("reload", lambda it: tables.launched([it]))
def reload(subcluster: Name, /) -> dict[str, Any]:
    """Launch a subcluster anew from its config: a clean slate, under a new id.

    The old one ends when the new one's bootstrap has answered; if that fails it goes on, and the exit code is 1.
    """
    return {"subcluster": subcluster}


# ---- subclusters and vats -------------------------------------------------------------------------


@asks("subclusters", tables.subclusters)
def list_() -> dict[str, Any]:
    """List the subclusters and their vats."""
    return {}


@asks("show", tables.details)
def show_(what: What, /) -> dict[str, Any]:
    """Show a subcluster or vat in full."""
    return {"what": what}


@asks("restart", tables.done("restarted"))
def restart(what: What, /) -> dict[str, Any]:
    """Pause and resume a subcluster or vat: heaps are given up, ids and durable state stay."""
    return {"what": what}


@command
def suspend(what: What, /, *, db: Database = None, json: Json = False) -> int:
    """Hold the messages of a vat, or of all vats of a subcluster, back until it is resumed.

    With --db also while no daemon runs: so that a vat that holds the kernel up does not get the same message again.
    """
    try:
        found = ask(db, "suspend", what=what)
    except NotRunningError:
        if db is None or not db.is_file():
            raise
        found = suspend_at_rest(db, what)
    return show(found, tables.vats, as_json=json)


@asks("resume", tables.vats)
def resume(what: What, /) -> dict[str, Any]:
    """Let a suspended vat, or all of a subcluster, have what was held back."""
    return {"what": what}


@asks("ping", tables.vats)
def ping(what: What, /) -> dict[str, Any]:
    """Wait until a vat, or each of a subcluster, has taken a delivery. Exits with 1 if one does not."""
    return {"what": what}


@command
def terminate(
    what: What,
    /,
    *,
    reason: str = "the operator terminated it",
    yes: Flag = False,
    db: Database = None,
    json: Json = False,
) -> int:
    """End a subcluster or vat for good, with all it has stored. On a terminal it asks first.

    Parameters
    ----------
    reason
        What the message log is to say; for vats.
    yes
        Do not ask.
    """
    if sys.stdin.isatty() and not yes:
        found = ask(db, "show", what=what)
        print(f"{found['kind']} {found['id']} {safe_text(found['name'])} ends for good, with all it has stored.")
        if input("Terminate it? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    return show(ask(db, "terminate", what=what, reason=reason), tables.done("terminated"), as_json=json)


@command
def upgrade(
    vat: Annotated[str, Parameter(name="VAT")],
    source: Annotated[str | None, Parameter(name="SOURCE")] = None,
    /,
    *,
    parameters: str | None = None,
    check: Flag = False,
    db: Database = None,
    json: Flag = False,
) -> int:
    """Replace a vat's code, its parameters, or both; its durable state stays. Exits with 1 if that fails.

    If the new code fails in any way the vat goes on as it was. With --check nothing is changed: the code is run, as
    if the vat were started with it, and every stored object is looked at.

    Parameters
    ----------
    vat
        Its id or name.
    source
        The new code: a Python file, or a dotted module path. Without it, the one it has, whose text may have changed.
    parameters
        The new parameters, as JSON. Without them it keeps those it has.
    check
        Only say whether the code can take over what is stored; exits with 1, and a line for each kind, if not.
    db
        The database; needed if several daemons run, or, with --check, if none does.
    json
        Print one line of JSON; with --check {"misfits": [...]}.
    """
    if source is not None and (source.endswith(".py") or os.sep in source):
        source = str(Path(source).absolute())
    if check:
        if source is None or parameters is not None:
            raise ConfigError("--check", "needs SOURCE, and looks at it with the parameters the vat has")
        if db is None:
            db = Path(ask(None, "status")["database"])
        return check_code(db, vat, source, as_json=json)
    given = None if parameters is None else _json("--parameters", parameters)
    if given is not None and not isinstance(given, dict):
        raise ConfigError("--parameters", "must be a JSON object")
    found = ask(db, "upgrade", vat=vat, source=source, parameters=given)
    return show({"vats": [found]}, tables.vats, as_json=json)


# ---- objects --------------------------------------------------------------------------------------


def _json(where: str, text: str) -> Any:
    try:
        return json_text.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(where, f"""{text}: is not JSON; text is written '"like this"'""") from None


@command
def send(
    ref: Annotated[str, Parameter(name="REF")],
    method: Annotated[str, Parameter(name="METHOD")],
    values: Annotated[list[str] | None, Parameter(name="ARG", allow_leading_hyphen=True)] = None,
    /,
    *,
    timeout: float | None = None,
    db: Database = None,
    json: Flag = False,
) -> int:
    """Send a message and print its answer, as JSON. Exits with 1 if it is answered with an error.

    References in the answer are shown as krefs, which can be sent to for as long as the daemon runs (the last
    thousand of them).

    Parameters
    ----------
    ref
        An object's kref, such as ko7; or a vat or subcluster, by id or name, for its root.
    method
        The name of the method.
    values
        The arguments, each as JSON: 3, '"text"', '{"a": [1, 2]}'; '{"@ref": "ko7"}' is a reference.
    timeout
        Seconds to wait for the answer; by default for ever. The message stays sent.
    json
        Print one line of JSON, {"answer": ...}.
    """
    check_seconds("--timeout", timeout)
    arguments = [_json(f"argument {number}", text) for number, text in enumerate(values or [], 1)]

    async def sent(client: Client) -> Any:
        vat = (await client.call("target", target=ref))["vat"]
        if vat is not None:
            _warn_if_suspended(vat)
        return await _within(timeout, client.call("send", target=ref, method=method, args=arguments))

    return show(talk(db, sent), _answer, as_json=json)


def _warn_if_suspended(vat: dict[str, Any]) -> None:
    if vat["state"] == "suspended":
        because = f" ({safe_text(vat['reason'])})" if vat["reason"] else ""
        text = f"is suspended{because}; the message waits until `ocap resume {vat['id']}`"
        print(f"ocap: vat {safe_text(vat['name'])} ({vat['id']}) {text}", file=sys.stderr, flush=True)


async def _within(seconds: float | None, answer: Awaitable[Any]) -> Any:
    with trio.move_on_after(math.inf if seconds is None else seconds):
        return await answer
    raise NegativeAnswerError("TimeoutError", f"no answer within {seconds:g} seconds; the message stays sent")


def _answer(found: dict[str, Any]) -> None:
    print(as_text(found["answer"]))


@asks("revoke", lambda it: print(f"{it['kref']} is revoked"))
def revoke(ref: Annotated[str, Parameter(name="REF")], /) -> dict[str, Any]:
    """Let no message to an object through any more, whoever holds it, for good.

    Parameters
    ----------
    ref
        The object's kref, such as ko7.
    """
    return {"target": ref}


@command
def dead_letters(
    *,
    retry: int | None = None,
    drop: int | None = None,
    timeout: float | None = None,
    db: Database = None,
    json: Json = False,
) -> int:
    """List the messages whose delivery faulted their vat; send one again, or forget it.

    Parameters
    ----------
    retry
        Send the dead letter of this number again and print its answer; exits with 1 if that is an error.
    drop
        Forget the dead letter of this number.
    timeout
        Seconds to wait for the answer to --retry; by default for ever. The message stays sent.
    """
    if retry is not None and drop is not None:
        raise ConfigError("--retry, --drop", "one of them at a time")
    check_seconds("--timeout", timeout)
    if timeout is not None and retry is None:
        raise ConfigError("--timeout", "there is no answer to wait for without --retry")

    async def sent(client: Client) -> Any:
        vats = [it["vat"] for it in await client.call("dead_letters") if it["number"] == retry]
        for found in await client.call("subclusters") if vats else []:
            for vat in found["vats"]:
                if vat["id"] in vats:
                    _warn_if_suspended(vat)
        return await _within(timeout, client.call("retry", number=retry))

    if retry is not None:
        return show(talk(db, sent), _answer, as_json=json)
    if drop is not None:
        return show(
            ask(db, "drop", number=drop), lambda it: print(f"dead letter {it['number']} is dropped"), as_json=json
        )
    return show(ask(db, "dead_letters"), tables.dead_letters, as_json=json)
