"""How the pages write what they show: times, names that lead to their pages, and text of vats, inert."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from ocap.legible import safe_lines, safe_text
from ocap.store.marks import span


def inert(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an answer, inert: it may quote a vat. The answer itself is for programs."""
    shown = {key: safe_lines(value) for key, value in said.items() if isinstance(value, str)}
    detail = {"detail": [safe_lines(line) for line in said["detail"]]} if "detail" in said else {}
    return {**said, **shown, **detail}


def clock(at: str) -> Markup:
    """The time of an entry of the log, to the millisecond; the date is told to who asks."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at, at, at[11:23])


def seconds(value: float) -> str:
    """A time that is added up of very short ones: `12 ms`, `1.4 s`, `3 min`."""
    if value >= 100:
        return span(value)
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def moment(at: float) -> str:
    """A time of the day, for who sits here; with the date, if it was not today."""
    then, today = datetime.fromtimestamp(at), datetime.now()  # noqa: DTZ005, DTZ006 - theirs
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def span_since(started: float) -> str:
    """How long ago that was, for people."""
    return span(max(0.0, time.time() - started))


def last_part(path: str) -> str:
    """The file of a path; the name of a module as it is."""
    return path.rpartition("/")[2]


_NAMES = re.compile(r"\b(?:(k[op]|[vs])([1-9]\d*))\b")
_PAGES = {"ko": "objects", "kp": "promises", "v": "vats", "s": "subclusters"}


def linked(text: str) -> Markup:
    """Text, in which the names of objects, promises, vats and subclusters lead to their pages."""
    text, parts, at = safe_text(text), [], 0
    for found in _NAMES.finditer(text):
        parts += [escape(text[at : found.start()]), f'<a href="/{_PAGES[found[1]]}/{found[0]}">{found[0]}</a>']
        at = found.end()
    return Markup("".join([*parts, escape(text[at:])]))  # noqa: S704 - what is not of the pattern is escaped


def visible(text: str) -> str:
    """TOML that says the same, with what would hide or turn text round as escapes of TOML's."""
    return "".join(char if char in "\n\t" or safe_text(char) == char else f"\\U{ord(char):08X}" for char in text)
