"""The command line as tests run it: in a process of its own, never for longer than a minute."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path

from ocap.cli.app import run_app

REPOSITORY = Path(__file__).parents[1]
OCAP = (sys.executable, "-m", "ocap")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def ocap(
    *arguments: str | Path, cwd: Path | None = None, within: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its process first does `within`, to limit itself."""
    return subprocess.run(
        [*OCAP, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
        cwd=cwd,
        preexec_fn=within,
    )


def ocap_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, for what a command prints: to start one takes longer than most commands do."""
    out, error = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    words = [*map(str, arguments)]
    with chdir(cwd), redirect_stdout(out), redirect_stderr(error):
        code = run_app(words)
    found = [it.buffer.getvalue().decode() for it in (out, error)]
    return subprocess.CompletedProcess(words, code, *found)


def start_ocap(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command; whoever starts it ends it."""
    command = [*OCAP, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
