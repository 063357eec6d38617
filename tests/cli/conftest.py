from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify
from tests.commands import ocap
from tests.daemon.serving import VAT, toml
from tests.runtime import runtime

__all__ = ["runtime"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with c.toml; whatever daemon runs on its k.db is stopped, and the database verified."""
    (tmp_path / "vat.py").write_text(VAT)
    (tmp_path / "c.toml").write_text(toml())
    yield tmp_path
    ocap("stop", "--db", tmp_path / "k.db")
    if (tmp_path / "k.db").exists():
        assert verify(tmp_path / "k.db") == []
