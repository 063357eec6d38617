"""`ocap log`: what a log file says, filtered, explained or drawn."""

from __future__ import annotations

import json
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from ocap.cli.asking import ask
from ocap.cli.traffic import Traffic
from ocap.daemon.client import find_socket
from ocap.daemon.place import read_info
from ocap.legible import safe_text
from ocap.log import BadEntryError, Entry, from_json_line, to_json_line
from ocap.log.chain import Chain, Log, NoSuchCrankError, chain_to
from ocap.log.mermaid import to_mermaid
from ocap.log.reading import POLL_SECONDS, Line, parts_of, read_lines
from ocap.log.selection import Selection, Unseen
from ocap.log.svg import to_svg
from ocap.log.traffic import MAX_STEPS, traffic_of
from ocap.protocol.errors import ConfigError
from ocap.reasons import reason as os_reason

FOLLOWED = 10
"""Entries that are shown before those to come, as `tail -f` does."""


def log_of_daemon(database: Path | None) -> Path:
    """The message log that the daemon on `database` writes, or the only daemon. It need not answer for that.

    Raises:
        NotRunningError: there is none, or there are several and no database was named.
        ConfigError: it writes none.
    """
    path = find_socket(database)
    about = read_info(path) or ask(database, "status")  # a run with a panel tells only who asks
    if about["log_json"] is None:
        raise ConfigError("FILE", "the daemon writes no message log; `ocap start --log-json FILE` has it write one")
    return Path(about["log_json"])


def show_log(path: Path, selection: Selection, *, follow: bool, tail: int | None, times: bool, as_json: bool) -> int:
    """Print the entries that were asked for, a line each; 1 if the log lacks a name that was asked for.

    Args:
        path: the log.
        selection: which entries are shown.
        follow: go on with those to come.
        tail: how many are shown of those there are; None: all.
        times: put when each began, and how long its crank took, in front of it.
        as_json: print them as they are in the file.

    Raises:
        ConfigError: the file cannot be read.
    """
    show = _shown(times=times, as_json=as_json)
    recent: deque[Entry | Line] = deque(maxlen=None if tail is None else min(tail, sys.maxsize))
    unseen = Unseen(selection)
    is_live = tail is None

    def catch_up() -> None:
        nonlocal is_live
        is_live = True
        for it in recent:
            for entry in [it] if isinstance(it, Entry) else _parsed([it]):
                show(entry)
        recent.clear()

    def wait() -> None:
        if not is_live:
            catch_up()
        sys.stdout.flush()
        time.sleep(POLL_SECONDS)

    for line in _lines(path, follow=follow, wait=wait):
        if not is_live and selection.is_everything:
            recent.append(line)  # to read but the last is a tenth of the work
            continue
        for entry in _parsed([line]):
            unseen.look(entry)
            if selection.has(entry):
                if is_live:
                    show(entry)
                else:
                    recent.append(entry)
    catch_up()
    for complaint in unseen.complaints():
        print(f"ocap: {safe_text(complaint)}", file=sys.stderr)
    return 1 if unseen.complaints() else 0


def explain_crank(path: Path, crank: int, *, times: bool, as_json: bool) -> int:
    """Print what led to a crank, a line each; 1 if the log does not have it.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        chain = _chain(_again_and_again(path), crank)
    except NoSuchCrankError as error:
        print(f"ocap: {error}", file=sys.stderr)
        return 1
    show = _shown(times=times, as_json=as_json)
    for entry in chain.entries:
        show(entry)
    return 0


def draw(path: Path, selection: Selection, form: str, *, crank: int | None, as_json: bool) -> int:
    """Print a sequence diagram of the entries that were asked for; 1 if the log lacks the crank to be explained.

    Args:
        path: the log.
        selection: which entries are drawn.
        form: mermaid or svg.
        crank: draw what led to this crank, and nothing else.
        as_json: print the steps instead.

    Raises:
        ConfigError: the file cannot be read.
    """
    log = _again_and_again(path)
    if crank is None:
        traffic = traffic_of(log(), selection.has)
        part, advice = "first", "; narrow it with --crank, --vat or --method"
    else:
        try:
            chain = _chain(log, crank)
        except NoSuchCrankError as error:
            print(f"ocap: {error}", file=sys.stderr)
            return 1
        traffic = traffic_of(chain.entries, limit=sys.maxsize).newest(MAX_STEPS)
        part, advice = "last", ""
    if traffic.count > MAX_STEPS:
        text = f"the diagram has the {part} {MAX_STEPS} of {traffic.count} steps{advice}"
        print(f"ocap: {text}", file=sys.stderr)
    if as_json:
        print(json.dumps({"participants": traffic.names, "steps": [attrs.asdict(step) for step in traffic.steps]}))
    else:
        print({"mermaid": to_mermaid, "svg": to_svg}[form](traffic), end="")
    return 0


def _chain(log: Log, crank: int) -> Chain:
    chain = chain_to(crank, log)
    if chain.missing:
        first, more = chain.missing[0], len(chain.missing) - 1
        also = f", and {more} more" if more else ""
        print(f"ocap: the log does not go back to {first}{also}", file=sys.stderr)
    return chain


def _again_and_again(path: Path) -> Log:
    """The log, as often as it is asked for; complaints are made once."""
    if not _is_regular(path):
        entries = list(_entries(path))
        return lambda: entries
    calls = 0

    def read() -> Iterable[Entry]:
        nonlocal calls
        calls += 1
        return _entries(path, complain=calls == 1)

    return read


def _is_regular(path: Path) -> bool:
    return bool(parts_of(path)) or (path.exists() and stat.S_ISREG(path.stat().st_mode))


def _entries(path: Path, *, complain: bool = True) -> Iterator[Entry]:
    """The entries of a log, from its first to its last."""
    return _parsed(_lines(path), complain=complain)


def _lines(path: Path, *, follow: bool = False, wait: Callable[[], None] | None = None) -> Iterator[Line]:
    try:
        yield from read_lines(path, follow=follow, wait=wait)
    except OSError as error:
        if error.filename is None:
            raise
        raise ConfigError(str(error.filename), os_reason(error)) from error


def _parsed(lines: Iterable[Line], *, complain: bool = True) -> Iterator[Entry]:
    """The entries that lines hold; what is none is told on standard error, and passed over."""
    for line in lines:
        try:
            yield from_json_line(line.text)
        except BadEntryError as error:
            if complain:
                print(f"ocap: {safe_text(line.place)}: passed over, {safe_text(str(error))}", file=sys.stderr)


def _shown(*, times: bool, as_json: bool) -> Callable[[Entry], None]:
    """What shows an entry on standard output."""
    return (lambda entry: print(to_json_line(entry))) if as_json else Traffic(sys.stdout, times=times).show
