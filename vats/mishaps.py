"""Exceptions of user code: where they were raised, what the log keeps, what must not stay in memory."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

_OURS = (str(Path(__file__).parent), str(Path(__file__).parent.parent / "ocap"))
MAX_TEXT = 64 * 1024
"""Characters of one traceback in the log; an exception's message may be of any length."""


def traceback_text(error: BaseException) -> str:
    """The whole traceback, for the log."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT // 2] + "\n...\n" + text[-MAX_TEXT // 2 :]


def describe(error: BaseException) -> str:
    """One line: class, message, and where in the vat's code it was raised, if there."""
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # a class's own __str__ may raise anything
        message = ""
    where = _place(error)
    return f"{type(error).__name__}{': ' if message else ''}{message}{f' ({where})' if where else ''}"


_FRAME = re.compile(r' *(?:\| *)*File "(.*)", line (\d+)')
_GROUP = re.compile(r" *\| (?!File )\S")


def headline(text: str) -> str:
    """What `describe` says, from what `traceback_text` said: the line of the exception, and where it was raised."""
    lines = text.splitlines()
    frames = [(number, found) for number, line in enumerate(lines) if (found := _FRAME.match(line))]
    places = [f"{it[1]}, line {it[2]}" for _, it in frames if not it[1].startswith((*_OURS, "<frozen"))]
    after = lines[frames[-1][0] + 1 if frames else 0 :]
    said = next((it for it in lines if _GROUP.match(it)), None) if "Exception Group Traceback" in text else None
    said = said or next((it for it in after if it and not it[0].isspace()), text[-200:])
    return f"{said.strip(' |')}{f' ({places[-1]})' if places else ''}"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*_OURS, "<frozen")):
            return f"{frame.filename}, line {frame.lineno}"
    return ""


def strip(error: BaseException) -> None:
    """Let go of the frames that `error` and those behind it hold: they hold the locals of every caller."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        pending += (one.__cause__, one.__context__)
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
