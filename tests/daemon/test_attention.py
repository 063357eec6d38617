"""What of a kernel needs somebody is said in lines, each with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap.daemon.attention import SUSPENDED, attention, last_end


def suspended(count: int, reason: str | None = None) -> list[dict[str, Any]]:
    return [{"id": f"v{number}", "name": "a", "reason": reason} for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        ({}, []),
        ({"running": False}, ["the kernel is stopping"]),
        ({"suspended": suspended(1)}, ["vat v1 a is suspended; `ocap resume v1`"]),
        ({"suspended": suspended(1, "it faulted: no")}, ["vat v1 a is suspended: it faulted: no; `ocap resume v1`"]),
        ({"dead_letters": 1}, ["1 dead letter; `ocap dead-letters`"]),
        ({"dead_letters": 12}, ["12 dead letters; `ocap dead-letters`"]),
    ],
)
def test_each_has_its_line(status: dict[str, Any], lines: list[str]) -> None:
    assert lines == attention({"running": True, "suspended": [], "dead_letters": 0, **status})


def test_of_many_suspended_vats_a_few_are_named() -> None:
    *named, more = attention({"running": True, "suspended": suspended(SUSPENDED + 7), "dead_letters": 0})
    assert (SUSPENDED, "7 more vats are suspended; `ocap list`") == (len(named), more)


def test_no_log_says_nothing_of_an_end(tmp_path: Path) -> None:
    assert last_end(tmp_path / "none") is None
    (tmp_path / "log").write_text("something else\n")
    assert last_end(tmp_path / "log") is None
