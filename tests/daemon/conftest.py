from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private folder for sockets; pytest's own would make their paths too long."""
    folder = Path(tempfile.mkdtemp(prefix="ocap-"))
    monkeypatch.setenv("OCAP_RUNTIME_DIR", str(folder / "run"))
    yield folder / "run"
    shutil.rmtree(folder)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    """A database file, verified when the test is over."""
    path = tmp_path / "k.db"
    yield path
    if path.exists():
        assert verify(path) == []
