"""The dry run of an upgrade, in a process of its own: it runs the code that it looks at."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import trio

from ocap.protocol.errors import OcapError
from ocap.takeover import check_upgrade

MAX_SECONDS = 120
"""A million objects take about a minute; code that never ends takes longer."""

_CHILD = (
    "import json, sys; o = json.loads(sys.stdin.readline()); sys.path[:] = o.pop('path'); "
    "from ocap.panel.checking import main; main(**o)"
)


class CheckError(OcapError, RuntimeError):
    """The code could not be looked at, which this error quotes. Its author's fault, or the asker's."""


async def misfits(database: Path, vat: str, source: str) -> list[str]:
    """What of the stored state of a vat the code at `source` cannot take over, a line each.

    Raises:
        CheckError: it could not be looked at, or takes too long.
    """
    order = {"path": sys.path, "database": str(database), "vat": vat, "source": source}
    with trio.move_on_after(MAX_SECONDS):
        done = await trio.run_process(
            [sys.executable, "-c", _CHILD],
            stdin=json.dumps(order).encode() + b"\n",
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise CheckError(f"the process that looked at it ended with {done.returncode}") from None
        if "error" in found:
            raise CheckError(found["error"])
        return list(found["misfits"])
    raise CheckError(f"it was given up after {MAX_SECONDS} s")


def main(database: str, vat: str, source: str) -> None:
    """Be that process: the answer is a line of JSON, whatever the code prints."""
    answer: dict[str, object]
    try:
        with redirect_stdout(sys.stderr):
            answer = {"misfits": [str(it) for it in check_upgrade(database, vat, source)]}
    except Exception as error:  # the code is anybody's
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
