"""What SQLite does for a kernel, counted: the same on every machine, however busy."""

from __future__ import annotations

from typing import Any

import apsw


class Effort:
    """Statements, and steps of SQLite's machine, of the connections that are watched."""

    def __init__(self) -> None:
        self.statements = 0
        self.steps = 0

    def watch(self, db: apsw.Connection) -> None:
        db.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count)

    def _count(self, event: dict[str, Any]) -> None:
        self.statements += 1
        self.steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
