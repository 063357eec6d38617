"""What holds for every command: it takes `--json`, its help names its options, shells complete it, bad input is one line."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path
from typing import Literal, get_args

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


def test_run_and_start_take_the_same_options_where_both_can() -> None:
    """A daemon has no terminal to show traffic on; a run has no log beside it, and is in the foreground."""
    run, start = set(options_of("run")), set(options_of("start"))
    assert ({"--log"}, {"--daemon-log", "--foreground"}) == (run - start, start - run)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell: Literal["bash", "zsh", "fish"]) -> None:
    script = app.generate_completion(shell=shell)
    for name in COMMANDS:
        assert name in script
        for option in options_of(name):
            assert (option.removeprefix("--") if shell == "fish" else option) in script, (name, option)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_not_take_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = app[name].assemble_argument_collection()
    places = ["1" for it in arguments if it.required and not it.name.startswith("--")]
    bad = [["--nope"], *([it.name, "x"] for it in arguments if {int, float} & {it.hint, *get_args(it.hint)})]
    if name != "send":  # which takes any number of arguments
        bad.append(["1"] * 9)
    if places:
        bad.append([])
    for words in bad:
        assert 2 == run_app([name, *(places if words[:1] != ["1"] and words else []), *words]), words
        out, error = capsys.readouterr()
        assert ("", 1) == (out, error.count("\n")), (words, error)
        assert error.startswith("ocap: ")
        assert f"(see: ocap {name} --help)" in error or name == "send"  # to which --nope is an argument of the message


def test_command_that_asks_a_daemon_says_that_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(toml())
    asking = [name for name in COMMANDS if name not in ("run", "start", "repl", "verify", "why", "promises", "gc")]
    for name in asking:
        needed = [it.name for it in app[name].assemble_argument_collection() if it.required]
        given = [str(tmp_path / "c.toml") if it == "CLUSTER.toml" else "1" for it in needed]
        assert (1 if name == "status" else 2) == run_app([name, *given])
        line = "ocap: no daemon is running; start one with `ocap start CLUSTER.toml --db FILE`\n"
        assert ("", line) == capsys.readouterr(), name


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
