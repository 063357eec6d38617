"""A fixture of the tests that start daemons: their sockets are apart from everybody's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT


@pytest.fixture(autouse=True, scope="module")
def runtime() -> Iterator[Path]:
    """A private folder for sockets, for this process and those it starts."""
    folder = Path(tempfile.mkdtemp(prefix="ocap-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCAP_RUNTIME_DIR", str(folder / "run"))
        patch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(folder / "run"))
        yield folder / "run"
    shutil.rmtree(folder)
