"""What holds for every command: it takes `--json`, its help names its options, shells complete it."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from ocap.cli.app import app, run_app
from tests.commands import ocap
from tests.daemon.serving import toml

COMMANDS = {name: app[name].default_command for name in app if not name.startswith("-")}


def options_of(name: str) -> list[str]:
    command = COMMANDS[name]
    assert command is not None
    parameters = inspect.signature(command).parameters.values()
    return [f"--{it.name.replace('_', '-')}" for it in parameters if it.kind is it.KEYWORD_ONLY]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_of_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in options_of(name)
    assert 0 == run_app([name, "--help"])
    text = capsys.readouterr().out
    assert [] == [option for option in options_of(name) if f" {option} " not in text]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell: Literal["bash", "zsh", "fish"]) -> None:
    script = app.generate_completion(shell=shell)
    for name in COMMANDS:
        assert name in script
        for option in options_of(name):
            assert (option.removeprefix("--") if shell == "fish" else option) in script, (name, option)


def test_json_of_every_command_is_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands in an order in which each has something to say; all but those that go on until Ctrl-C."""
    c, db, log = str(folder / "c.toml"), str(folder / "k.db"), str(folder / "log.jsonl")
    (folder / "d.toml").write_text(toml("d"))
    started = ocap("start", c, "--db", db, "--log-json", log, "--panel", "--json")
    assert {"launched", "failed", "panel"} == json.loads(started.stdout).keys()
    said = {"run": c, "start": c, "repl": ""}  # those that are run otherwise than in this process
    for name, arguments in [
        ("status", []),
        ("launch", [str(folder / "d.toml")]),
        ("update", ["d", str(folder / "d.toml"), "--dry-run"]),
        ("list", []),
        ("show", ["d"]),
        ("restart", ["d"]),
        ("suspend", ["d"]),
        ("resume", ["d"]),
        ("ping", ["d"]),
        ("upgrade", ["v1"]),
        ("reload", ["d"]),
        ("send", ["c", "echo", "1"]),
        ("revoke", ["ko5"]),
        ("dead-letters", []),
        ("panel", []),
        ("terminate", ["d", "--yes"]),
        ("stop", []),
        ("log", [log]),
        ("verify", [db]),
        ("why", [db, "ko4"]),
        ("promises", [db]),
        ("gc", [db]),
    ]:
        code = run_app([name, *arguments, "--json"])
        captured = capsys.readouterr()
        assert (0, "") == (code, captured.err), name
        lines = captured.out.splitlines()
        assert len(lines) == 1 or name == "log"
        assert all(isinstance(json.loads(line), dict | list) for line in lines)
        said[name] = captured.out
    assert {"c": "ok"} == json.loads(ocap("run", c, "--json").stdout)
    assert COMMANDS.keys() == said.keys()


@pytest.mark.parametrize(
    ("words", "expected"), [(["st"], "start stop status"), (["start", "--pa"], "--panel --panel-port")]
)
def test_bash_completes(words: list[str], expected: str, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(app.generate_completion(shell="bash"))
    line = " ".join(words)
    code = f"source {script}; COMP_WORDS=(ocap {line}); COMP_CWORD={len(words)}; _ocap; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert expected.split() == done.stdout.split()
