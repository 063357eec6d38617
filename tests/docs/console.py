"""Runs what the pages show of a terminal.

A fenced block whose first line begins with `$ ` is a console: commands, each with the output that follows it, where
`...` stands for any text. The commands of one page run in order in one folder, which has a copy of the examples.

    <!-- setup: COMMAND -->     runs a command that the page does not show
    <!-- not run: REASON -->    in the line before a console: that one is not executed

    python -m tests.docs.console PAGE...    writes the actual outputs into pages, where they have no `...`
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ocap.verify import verify
from tests.commands import ENVIRONMENT, REPOSITORY

PART = re.compile(
    r"^<!-- setup: (?P<setup>.*?) -->$"
    r"|^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?:console)?\n(?P<console>\$ .*?\n)```$",
    re.MULTILINE | re.DOTALL,
)
ENTRY = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
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


class Page:
    """A page, in a folder of its own."""

    def __init__(self, page: Path, folder: Path, runtime: Path) -> None:
        self._text = page.read_text()
        self._folder = folder
        shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        programs = folder / ".bin"
        programs.mkdir()
        for name, arguments in COMMANDS.items():
            (programs / name).write_text(f"#!/bin/sh\nexec '{sys.executable}' {arguments}\n")
            (programs / name).chmod(0o755)
        self._environment = ENVIRONMENT | {
            "PATH": f"{programs}:{ENVIRONMENT['PATH']}",
            "OCAP_RUNTIME_DIR": str(runtime),
            "PYTHONUNBUFFERED": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
            "COLUMNS": "100",
        }

    def run(self) -> Iterator[Shown]:
        """Run what it shows, in order."""
        for part in PART.finditer(self._text):
            if part["setup"] is not None:
                code, output = self.bash(part["setup"])
                assert code == 0, f"{part['setup']}\n{output}"
            elif part["reason"] is None:
                for command, expected in ENTRY.findall(part["console"]):
                    yield Shown(command, expected, self.bash(command)[1])

    def bash(self, command: str) -> tuple[int, str]:
        """Its exit code, and what it wrote."""
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            cwd=self._folder,
            env=self._environment,
        )
        return done.returncode, done.stdout


@contextmanager
def open_page(page: Path) -> Iterator[Page]:
    """A page whose commands can be run; it has to stop the daemons it starts, and to leave sound databases."""
    with tempfile.TemporaryDirectory(prefix="ocap-") as name:  # pytest's own make the paths of sockets too long
        folder, runtime = Path(name, "page"), Path(name, "run")
        folder.mkdir()
        opened = Page(page, folder, runtime)
        try:
            yield opened
            assert [] == list(runtime.glob("*.sock")), "a daemon was not stopped"
        finally:
            for told in runtime.glob("*.json"):
                opened.bash(f"ocap stop --db '{json.loads(told.read_text())['database']}'")
        for database in folder.glob("*.db"):
            assert [] == verify(database), database.name


def rewrite(page: Path) -> None:
    text = page.read_text()
    with open_page(page) as opened:
        for shown in opened.run():
            if "..." not in shown.expected:
                text = text.replace(f"$ {shown.command}\n{shown.expected}", f"$ {shown.command}\n{shown.actual}", 1)
            elif not shown.is_true:
                print(f"{page}: $ {shown.command}\n{shown.actual}")
    page.write_text(text)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
