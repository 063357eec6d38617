from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify
from tests.runtime import runtime

__all__ = ["runtime"]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    """A database file, verified when the test is over."""
    path = tmp_path / "k.db"
    yield path
    if path.exists():
        assert verify(path) == []


@pytest.fixture(scope="session")
def browser_files() -> tuple[str, str]:
    """Chromium and its driver. In CI they have to be there, as whatever else a test needs."""
    found = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if None in found:
        pytest.skip("no Chromium with chromedriver: install the packages chromium and chromium-driver")
    return str(found[0]), str(found[1])
