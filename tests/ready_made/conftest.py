from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A database file, verified when the test is over."""
    path = tmp_path / "k.db"
    yield path
    if path.exists():
        assert verify(path) == []
