"""What the test command does where something is not there: Chromium is installed or missed out loud, and in CI nothing is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT, REPOSITORY

pytestmark = pytest.mark.slow

# ---- skips ------------------------------------------------------------------------------------------------

SKIPS_ITSELF = "import pytest\n\n\ndef test_of_what_is_not_there():\n    pytest.skip('it is not there')\n"
SKIPS_ITS_FILE = "import pytest\n\npytest.skip('it is not there', allow_module_level=True)\n"
FAILS_AS_EXPECTED = "import pytest\n\n\n@pytest.mark.xfail\ndef test_of_what_is_wrong():\n    raise LookupError\n"


@pytest.mark.parametrize(
    ("test", "is_ci", "code"),
    [
        (SKIPS_ITSELF, False, pytest.ExitCode.OK),
        (SKIPS_ITSELF, True, pytest.ExitCode.TESTS_FAILED),
        (SKIPS_ITS_FILE, False, pytest.ExitCode.NO_TESTS_COLLECTED),
        (SKIPS_ITS_FILE, True, pytest.ExitCode.INTERRUPTED),
        (FAILS_AS_EXPECTED, True, pytest.ExitCode.OK),
    ],
)
def test_skip_is_a_failure_in_ci_and_only_there(test: str, is_ci: bool, code: pytest.ExitCode, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", os.devnull]
    environment = {**ENVIRONMENT, "CI": "true" if is_ci else ""}
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert code == done.returncode, done.stdout
    assert ("which is a failure in CI" in done.stdout) is (code in (1, 2))


# ---- Chromium ---------------------------------------------------------------------------------------------

Make = Callable[..., tuple[str, str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs `make chromium` where there are just these programs; what it said, and what apt-get was asked for."""

    def run(*programs: str, uid: int = 0, apt_get: int = 0) -> tuple[str, str]:
        asked, folder = tmp_path / "asked", tmp_path / "bin"
        texts = {"id": f"echo {uid}", "apt-get": f"echo $DEBIAN_FRONTEND $* >> {asked}; exit {apt_get}"}
        folder.mkdir()
        asked.touch()
        for name in ("id", *programs):
            (folder / name).write_text(f"#!/bin/sh\n{texts.get(name, '')}\n")
            (folder / name).chmod(0o755)
        command = [str(shutil.which("make")), "--no-print-directory", "chromium"]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60, check=False
        )
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout, asked.read_text()

    return run


@pytest.mark.parametrize("name", ["chromium", "chromium-browser"])
def test_chromium_that_is_there_is_taken(make: Make, name: str) -> None:
    assert ("", "") == make(name, "chromedriver", "apt-get")


def test_chromium_is_installed_where_it_can_be(make: Make) -> None:
    said, asked = make("chromium", "apt-get")  # its driver is missing
    assert "installing Chromium for the tests of the control panel\n" == said
    assert "update -q\nnoninteractive install -yq chromium chromium-driver\n" == asked


@pytest.mark.parametrize(("programs", "uid", "apt_get"), [((), 0, 0), (("apt-get",), 1000, 0), (("apt-get",), 0, 100)])
def test_chromium_that_cannot_be_had_is_said_plainly(
    make: Make, programs: tuple[str, ...], uid: int, apt_get: int
) -> None:
    said, asked = make(*programs, uid=uid, apt_get=apt_get)
    assert "Chromium with chromedriver is not there and cannot be installed here" in said
    assert (
        "the tests of the control panel in a browser will not run; in CI, where the variable CI is set, they fail."
        in said
    )
    assert ("install" in asked) is False
