"""Long work says how far it is: at a terminal, on standard error, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ocap.takeover import check_upgrade
from ocap.verify import RULES, verify
from tests.cli.test_gc import store
from tests.commands import ocap

COMMANDS = [
    ("verify", ["verify", "{db}"], "all invariants hold"),
    ("gc", ["gc", "{db}", "--cycles"], "objects: "),
    ("check", ["upgrade", "a", "{source}", "--check", "--db", "{db}"], "the code can take over"),
]


def filled(arguments: list[str], db: Path) -> list[str]:
    return [it.format(db=db, source=db.parent / "peer.py") for it in arguments]


@pytest.mark.parametrize(("what", "arguments", "says"), COMMANDS)
def test_at_a_terminal_it_is_shown_and_taken_away(tmp_path: Path, what: str, arguments: list[str], says: str) -> None:
    db = store(tmp_path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ocap", *filled(arguments, db)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        seen += data
        if not data:
            break
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert says in out.decode()
    assert f"{what}: " in seen.decode()
    assert seen.decode().rstrip().endswith("\x1b[2K"), "the line is wiped"


def test_elsewhere_nothing_is_shown(tmp_path: Path) -> None:
    result = ocap("verify", str(store(tmp_path)))
    assert result.stdout == "all invariants hold\n"
    assert result.stderr == ""


def test_verify_tells_each_rule_as_it_comes(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    assert verify(store(tmp_path), lambda *it: told.append(it)) == []
    assert [(number, 1 + len(RULES)) for number in range(1 + len(RULES))] == [it[:2] for it in told]
    assert told[1][2].startswith(f"{RULES[0][0]} ")


def test_a_dry_run_of_an_upgrade_tells_the_rows_it_has_read(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    db = store(tmp_path)
    assert check_upgrade(db, "a", str(tmp_path / "peer.py"), lambda *it: told.append(it)) == []
    assert told
    assert all(0 <= done <= of for done, of, _ in told)
