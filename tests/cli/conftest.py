from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.verify import verify
from tests.commands import ENVIRONMENT, ocap
from tests.daemon.serving import VAT, toml


@pytest.fixture(autouse=True, scope="module")
def runtime() -> Iterator[Path]:
    """A private folder for sockets, for this process and those it starts."""
    folder = Path(tempfile.mkdtemp(prefix="ocap-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCAP_RUNTIME_DIR", str(folder / "run"))
        patch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(folder / "run"))
        yield folder / "run"
    shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with c.toml; whatever daemon runs on its k.db is stopped, and the database verified."""
    (tmp_path / "vat.py").write_text(VAT)
    (tmp_path / "c.toml").write_text(toml())
    yield tmp_path
    ocap("stop", "--db", tmp_path / "k.db")
    if (tmp_path / "k.db").exists():
        assert verify(tmp_path / "k.db") == []
