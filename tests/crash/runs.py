"""What the crash tests share: the program they kill, and what must be true of it afterwards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from ocap.protocol.errors import StoreError
from ocap.verify import Problem, verify
from tests.commands import ENVIRONMENT, REPOSITORY

SEED = int(os.environ.get("OCAP_CRASH_SEED", random.randrange(2**32)))


class Teller:
    """The program under test, at the other end of two pipes."""

    def __init__(self, path: Path, durability: str, program: str = "teller") -> None:
        command = [sys.executable, "-m", f"tests.crash.{program}", str(path), durability]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=REPOSITORY
        )

    def run(self, **how: Any) -> list[dict[str, Any]]:
        """One run, to its end; what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            said.append(json.loads(line))
            if "ended" in said[-1]:
                return said
        raise AssertionError("the server of runs died")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def problems_of(db: Path, *, is_new: bool) -> list[Problem]:
    try:
        return verify(db)
    except StoreError:
        assert is_new  # killed before it had made the file, or the tables in it
        return []


def check(reports: list[dict[str, Any]], acknowledged: set[int]) -> None:
    received = {number: times for report in reports for number, times in report["received"].items()}
    assert [report["wrong"] for report in reports] == [[], [], []]
    assert set(received.values()) <= {1}
    lost = acknowledged - set(map(int, received))
    assert not lost


class Ledger:
    """What the parent has been told of, through all runs."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.found = 0

    def enter(self, said: list[dict[str, Any]]) -> None:
        """Compare what a run said with what earlier ones acknowledged."""
        for message in said:
            if "acknowledged" in message:
                assert message["acknowledged"] not in self.acknowledged
                self.acknowledged.add(message["acknowledged"])
            if "reports" in message:  # before this run asked for anything
                check(message["reports"], self.acknowledged)
                self.found += 1

    def close(self, teller: Teller, db: Path) -> None:
        """Let all work end; then every coin must be there."""
        final, end = teller.run(closing=True)
        assert end == {"ended": 0}
        reports = final["reports"]
        check(reports, self.acknowledged)
        assert sum(report["balance"] for report in reports) == 3000
        sent = {number for report in reports for number in report["sent"]}
        assert sent == {number for report in reports for number in report["received"]}
        assert verify(db) == []
