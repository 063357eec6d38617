"""The log at a terminal: colours, tracebacks over lines of their own, and nothing of a vat's that acts."""

from __future__ import annotations

import io
import re

import attrs
import pytest

from ocap.cli.traffic import Traffic
from ocap.log import Entry, to_line

ERROR = Entry(7, 3, "error", "v1", "a", None, None, None, "error:1\nTraceback:\n  File x\nValueError: no\n", None, None)
HOSTILE = "one\n8<0 v2:forged  log  \x1b[31m\u202e[bold]x[/bold]\r\x07"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(file: io.StringIO, entry: Entry, *, times: bool = False) -> str:
    Traffic(file, times=times).show(entry)
    return file.getvalue()


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_pipe_gets_plain_lines() -> None:
    assert f"{to_line(ERROR)}\n" == shown(io.StringIO(), ERROR)


def test_no_color_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert f"{to_line(ERROR)}\n" == shown(Terminal(), ERROR)


def test_terminal_gets_colours_and_tracebacks_over_lines() -> None:
    text = shown(Terminal(), ERROR)
    assert "\x1b[31merror\x1b[0m" in text
    expected = ["7<3 v1:a  error  error:1", "    Traceback:", "      File x", "    ValueError: no"]
    assert expected == without_colours(text).splitlines()
    text = shown(Terminal(), attrs.evolve(ERROR, time="2026-01-31T12:00:00Z", took=0.0125), times=True)
    assert without_colours(text).startswith("2026-01-31T12:00:00Z           12.500 ms  7<3 v1:a  error")


def test_vats_have_colours_of_their_own() -> None:
    def colour(vat: str) -> str:
        found = re.search(r"(\x1b\[[0-9;]*m)v", shown(Terminal(), attrs.evolve(ERROR, vat=vat, name="x")))
        assert found
        return found[1]

    assert len({colour(f"v{number}") for number in range(20)}) > 4
    assert colour("v1") == colour("v1")


@pytest.mark.parametrize("kind", ["log", "error", "fault", "terminate"])
def test_what_vats_say_is_inert(kind: str) -> None:
    text = shown(Terminal(), attrs.evolve(ERROR, kind=kind, name="\x1b[2J\n[red]", text=HOSTILE))
    first, *others = without_colours(text).splitlines()
    assert all(line.isprintable() for line in (first, *others))
    assert "\\u001b[2J\\u000a[red]" in first
    assert ["    8<0 v2:forged  log  \\u001b[31m\\u202e[bold]x[/bold]\\u000d\\u0007"] == others


def test_long_line_is_not_cut() -> None:
    assert "x" * 500 in shown(Terminal(), attrs.evolve(ERROR, kind="log", text="x" * 500)).replace("\n", "|")
