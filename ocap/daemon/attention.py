"""What of a kernel needs somebody: what is suspended, and what was given up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUSPENDED = 5
"""Suspended vats that are named; of more, their number is told."""

STARTED, ENDED = "the daemon has started", "the daemon has ended"
"""The first and last words of a daemon in its log."""

UNFINISHED = "the daemon left no word of its end: it was killed, or the machine failed"

TAIL = 1_000_000
"""Bytes of a log's end in which they are looked for."""


def attention(status: Mapping[str, Any]) -> list[str]:
    """Lines for people on what the command `status` answered, each with what to do; none if all is well."""
    lines = [] if status["running"] else ["the kernel is stopping"]
    suspended = status["suspended"]
    for vat in suspended[:SUSPENDED]:
        because = f": {vat['reason']}" if vat["reason"] else ""
        lines.append(f"vat {vat['id']} {vat['name']} is suspended{because}; `ocap resume {vat['id']}`")
    if (more := len(suspended) - SUSPENDED) > 0:
        lines.append(f"{more} more vats are suspended; `ocap list`")
    if letters := status["dead_letters"]:
        lines.append(f"{letters} dead letter{'s' if letters > 1 else ''}; `ocap dead-letters`")
    return lines


def log_beside(database: Path) -> Path:
    """Where a daemon writes what becomes of it, unless it is told otherwise."""
    return database.with_name(f"{database.name}.log")


def last_end(log: Path) -> str | None:
    """How the last daemon that wrote to a log ended; None if it does not say, as there was none."""
    words = _last_words(log)
    return UNFINISHED if words is not None and words.startswith(STARTED) else words


def _last_words(log: Path) -> str | None:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    # By their whole beginning: vats are quoted elsewhere in a line, or in one that is set in.
    words = re.findall(rf"^[-\d]+ [\d:,]+ [A-Z]+ ocap\.daemon: ((?:{STARTED}|{ENDED}).*)", text, re.MULTILINE)
    return str(words[-1]) if words else None
