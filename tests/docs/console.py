"""Runs what the pages show of a terminal.

A fenced block whose first line begins with `$ ` is a console: commands, each with the output that follows it.
The commands of one page run in order in one folder, which has a copy of the examples. `...` stands for any text.

    python -m tests.docs.console PAGE...    writes the actual outputs into pages, where they have no `...`
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from tests.commands import ENVIRONMENT, REPOSITORY

CONSOLE = re.compile(r"^```(?:console)?\n(\$ .*?\n)```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
COMMANDS = {"ocap": '-m ocap "$@"', "python": '"$@"'}


@frozen
class Shown:
    """A command on a page, the output shown there, and the output it has."""

    command: str
    expected: str
    actual: str

    @property
    def is_true(self) -> bool:
        pattern = re.escape(self.expected).replace(re.escape("..."), ".*")
        return re.fullmatch(pattern, self.actual, re.DOTALL) is not None


def make_folder(folder: Path) -> dict[str, str]:
    """Put the examples into `folder`; the environment in which commands run there."""
    for name in ("examples", "tests/clusters"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    programs = folder / ".bin"
    programs.mkdir()
    for name, arguments in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/sh\nexec '{sys.executable}' {arguments}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{ENVIRONMENT['PATH']}"
    return ENVIRONMENT | {
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }


def run_page(page: Path, folder: Path) -> list[Shown]:
    """Run every console of a page, in order."""
    environment = make_folder(folder)
    shown = []
    for block in CONSOLE.findall(page.read_text()):
        for command, expected in ENTRY.findall(block):
            if "jq " in command and shutil.which("jq") is None:
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False, cwd=folder, env=environment,
            )  # fmt: skip
            shown.append(Shown(command, expected, done.stdout))
    return shown


def rewrite(page: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = page.read_text()
        for entry in run_page(page, Path(folder)):
            if "..." not in entry.expected:
                text = text.replace(f"$ {entry.command}\n{entry.expected}", f"$ {entry.command}\n{entry.actual}", 1)
        page.write_text(text)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
