"""The command line as tests run it: in a process of its own, never for longer than a minute."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def start_ocap(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command; whoever starts it ends it."""
    command = [*OCAP, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
