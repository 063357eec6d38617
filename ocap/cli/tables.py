"""What the commands over the control socket print for people: tables, with everything from vats inert."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocap.daemon.attention import attention
from ocap.legible import as_text, safe_text, span
from ocap.store.marks import Age
from ocap.waiting import Waiting

_STATES = {"live": "green", "new": "cyan", "suspended": "yellow", "terminated": "red"}


def _print(table: Table) -> None:
    # In a pipe a table is as wide as it needs to be.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, emoji=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(value: Any, style: str = "") -> Text:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(safe_text(text), style)


def status(found: dict[str, Any]) -> None:
    """How a daemon is."""
    table = _table("", "")
    table.show_header = False
    head = "attention"
    for line in attention(found):
        table.add_row(Text(head, "bold yellow"), _cell(line))
        head = ""
    of_the_system = f" ({found['system_subclusters']} of the system)" if found["system_subclusters"] else ""
    rows = {
        "database": found["database"],
        "daemon": f"process {found['pid']}, for {span(time.time() - found['started'])}",
        "kernel": "idle" if found["idle"] else f"{found['run_queue']} items in the run queue",
        "subclusters": f"{found['subclusters']}{of_the_system}",
        "vats": f"{found['vats']}, {found['workers']} with a heap",
        "cranks": f"{found['cranks']} in {found['commits']} commits; the last is {found['last_crank']}",
        "waiting": f"service calls: {found['service_calls']}, answers: {found['unanswered']}",
        "dead letters": found["dead_letters"],
        "log": found["log"] or "none",
        "message log": found["log_json"] or "none",
        "panel": f"{found['panel']} (`ocap panel` prints a link)" if found["panel"] else "none",
        "metrics": found["metrics"] or "none",
    }
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), _cell(value))
    _print(table)


def subclusters(found: list[dict[str, Any]]) -> None:
    """Subclusters with their vats."""
    table = _table("SUBCLUSTER", "NAME", "VAT", "NAME", "STATE", "INCARNATION", "FAULTS", "SOURCE")
    for it in found:
        name = f"{it['name']}{' (system)' if it['is_system'] else ''}{' (launching)' if it['state'] == 'launching' else ''}"
        head = [_cell(it["id"]), _cell(name)]
        for vat in it["vats"]:
            table.add_row(*head, *_vat(vat))
            head = [Text(""), Text("")]
        if not it["vats"]:
            table.add_row(*head)
    if found:
        _print(table)
    else:
        print("no subclusters")


def _vat(vat: dict[str, Any]) -> list[Text]:
    because = f": {_short(vat['reason'])}" if vat["reason"] else ""
    state = _cell(f"{vat['state']}{because}", _STATES.get(vat["state"], ""))
    cells = [_cell(vat[key]) for key in ("incarnation", "faults", "source")]
    return [_cell(vat["id"]), _cell(vat["name"]), state, *cells]


def _short(text: str, limit: int = 40) -> str:
    """`ocap show` has the whole."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def vats(found: dict[str, Any]) -> None:
    """Vats alone."""
    table = _table("VAT", "NAME", "STATE", "INCARNATION", "FAULTS", "SOURCE")
    for vat in found["vats"]:
        table.add_row(*_vat(vat))
    _print(table)


def details(found: dict[str, Any]) -> None:
    """Everything about a subcluster or vat."""
    table = _table("", "")
    table.show_header = False
    for name, value in found.items():
        if name not in ("vats", "config") and value is not None:
            table.add_row(Text(name, "bold"), _cell(value))
    _print(table)
    if "config" in found:
        print(safe_text("config " + as_text(found["config"])))
        vats(found)


def launched(found: list[dict[str, Any]]) -> None:
    """What was launched, and what each bootstrap returned."""
    for it in found:
        print(f"{it['id']} {safe_text(it['name'])}: {as_text(it['result'])}")


def changes(found: dict[str, Any]) -> None:
    """What an update did."""
    _changes(
        found,
        {
            "added": "vat {} is created",
            "upgraded": "vat {} is upgraded",
            "adjusted": "vat {} has another",
            "removed": "vat {} is terminated",
        },
    )


def changes_to_come(found: dict[str, Any]) -> None:
    """What an update would do."""
    texts = {
        "added": "vat {} would be created",
        "upgraded": "vat {} would be upgraded: its durable state stays, its heap goes",
        "adjusted": "vat {} would have another",
        "removed": "vat {} would be terminated, with all it has stored",
    }
    _changes(found, texts)


_FAILED = {
    "added": "vat {} could not be created: {}",
    "upgraded": "vat {} could not be upgraded: {}; it goes on as it was",
}


def _changes(found: dict[str, Any], texts: dict[str, str]) -> None:
    lines = [
        texts[kind].format(name) if error is None else _FAILED[kind].format(name, error)
        for kind in ("added", "upgraded")
        for name, error in found[kind].items()
    ]
    lines += [f"{texts['adjusted'].format(name)} {', '.join(options)}" for name, options in found["adjusted"].items()]
    lines += [texts["removed"].format(name) for name in found["removed"]]
    lines += [f"left for `ocap reload`: {part}" for part in found["at_reload"]]
    for line in lines or ["no vat changes"]:
        print(safe_text(line))


def done(what: str) -> Callable[[dict[str, Any]], None]:
    """One line, that it was done."""
    return lambda found: print(f"{found['id']} is {what}")


def dead_letters(found: list[dict[str, Any]]) -> None:
    """Messages that faulted their vat."""
    table = _table("NUMBER", "CRANK", "VAT", "NAME", "TARGET", "METHOD", "ARGUMENTS", "REASON")
    for it in found:
        arguments = [*it["args"], *(f"{key}={as_text(value)}" for key, value in it["kwargs"].items())]
        values = [it["number"], it["crank"], it["vat"], it["name"], it["target"], it["method"], arguments, it["reason"]]
        table.add_row(*map(_cell, values))
    if found:
        _print(table)
        print("Who sent one is in the message log, if there is one: `ocap log --why CRANK`")
    else:
        print("no dead letters")


def promises(found: list[Waiting]) -> None:
    """Promises that are not settled."""
    table = _table("PROMISE", "AGE", "DECIDED BY", "HEARD BY", "MESSAGES", "ANSWERS")
    for it in found:
        heard, decider = " ".join(it.heard_by) or "-", it.decider or "-"
        values = [it.promise, str(Age(it.seconds, it.is_known)), decider, heard, it.messages, it.answer_to or "-"]
        table.add_row(*map(_cell, values))
    if found:
        _print(table)
    else:
        print("every promise is settled")
