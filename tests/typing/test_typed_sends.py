"""mypy and pyright see through `E` as users are promised."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = [
    str(HERE / name)
    for name in ("eventual_accepted.py", "eventual_refused.py", "off_heap_accepted.py", "off_heap_refused.py")
]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_mypy_infers_and_refuses() -> None:
    outcome = run([sys.executable, "-m", "mypy", "--strict", *FILES])
    # The whole import graph is checked; only these files are this test's business.
    assert [line for line in outcome.stdout.splitlines() if line.startswith("tests/typing/")] == []
    assert "Success" in outcome.stdout or "Found" in outcome.stdout, outcome.stderr


@pytest.mark.slow
def test_pyright_infers_and_refuses() -> None:
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")
    assert pyright is not None, "pyright is not installed: pip install '.[dev]'"
    outcome = run([pyright, "--pythonpath", sys.executable, *FILES])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
