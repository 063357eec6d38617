"""mypy and pyright see through `E` as users are promised."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REFUSED = {
    number
    for number, line in enumerate((HERE / "eventual_refused.py").read_text().splitlines(), 1)
    if "# refused" in line
}


def mypy(file: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(HERE / file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def pyright(file: str) -> str:
    found = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")
    if found is None:
        pytest.skip("pyright is not installed")
    command = [found, "--pythonpath", sys.executable, str(HERE / file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1):
        pytest.skip(f"pyright cannot run here: {run.stderr}")
    return run.stdout


def lines_with_errors(report: str, file: str) -> set[int]:
    return {int(number) for number in re.findall(rf"{file}:(\d+)[:\d]*(?: -)?:? error", report)}


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_sends_are_inferred(checker: object) -> None:
    report = checker("eventual_accepted.py")  # type: ignore[operator]
    assert lines_with_errors(report, "eventual_accepted.py") == set(), report


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_wrong_sends_are_refused(checker: object) -> None:
    report = checker("eventual_refused.py")  # type: ignore[operator]
    assert lines_with_errors(report, "eventual_refused.py") == REFUSED, report
