"""What a database holds, for tests that say what must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from ocap.protocol.refs import HOST
from ocap.store.rowmap import MAPPINGS


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, but for what opening the store changes: counters and the host's own incarnation."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        tables = {name: sorted(db.execute(f"SELECT * FROM {name}"), key=repr) for name in (*MAPPINGS, "subscribers")}
    finally:
        db.close()
    del tables["counters"]
    tables["vats"] = [row for row in tables["vats"] if row[0] != HOST]
    return tables
