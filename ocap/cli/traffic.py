"""Entries of the message log for people: a plain line each; on a terminal with colours, and tracebacks over lines.

What vats wrote stays inert: every line of theirs is escaped, and none but the first of an entry begins at the margin.
"""

from __future__ import annotations

import zlib
from typing import TextIO

import attrs
from rich.console import Console
from rich.text import Text

from ocap.legible import safe_text
from ocap.log import Entry, to_line
from ocap.log.lines import vat_text

_VATS = ("cyan", "green", "blue", "magenta", "bright_cyan", "bright_green", "bright_blue", "bright_magenta")
_KINDS = {
    "deliver": "bold",
    "syscall": "dim",
    "log": "yellow",
    "error": "red",
    "fault": "bold red",
    "terminate": "red",
}


class Traffic:
    """Shows entries.

    Args:
        file: where. It is written to plainly if it is no terminal, or NO_COLOR is set.
        times: whether each line begins with when its crank began, and how long that took.
    """

    def __init__(self, file: TextIO, *, times: bool = False) -> None:
        console = Console(file=file, highlight=False, emoji=False, markup=False)
        self._console = console if console.is_terminal and not console.no_color else None
        self._file = file
        self._times = times

    def show(self, entry: Entry) -> None:
        """One entry."""
        took = "-" if entry.took is None else f"{entry.took * 1000:.3f} ms"
        time = f"{entry.time or '-':27} {took:>12}  " if self._times else ""
        if self._console is None:
            print(time + to_line(entry), file=self._file)
        else:
            self._console.print(_coloured(entry, time), soft_wrap=True)


def _coloured(entry: Entry, time: str) -> Text:
    # An operation has a text of one line, if any.
    first, *others = [entry.text] if entry.text is None else entry.text.rstrip("\n").split("\n")
    line = to_line(attrs.evolve(entry, text=first))
    number, vat = f"{entry.crank}<{entry.cause} ", vat_text(entry)
    text = Text.assemble(
        (time + number, "dim"),
        (vat, _VATS[zlib.crc32(vat.encode()) % len(_VATS)]),
        "  ",
        (entry.kind, _KINDS.get(entry.kind, "")),
        (line[len(number) + len(vat) + 2 + len(entry.kind) :], _style(entry)),
    )
    for other in filter(None, others):
        text.append(f"\n    {safe_text(other)}", "dim")
    return text


def _style(entry: Entry) -> str:
    if entry.kind in ("fault", "error"):
        return "red"
    return "red" if any(it["rejected"] for it in entry.settlements()) else ""
