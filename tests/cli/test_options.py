"""What options do that no other test has need of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pexpect
import pytest

from ocap.cli.app import run_app
from tests.commands import ENVIRONMENT, OCAP, ocap

CapFd = pytest.CaptureFixture[str]


def said(capfd: CapFd, *arguments: str | Path, code: int = 0) -> str:
    assert code == run_app([*map(str, arguments)])
    out, error = capfd.readouterr()
    assert "" == error
    return out


def start(folder: Path, *options: str | Path) -> None:
    assert 0 == ocap("start", folder / "c.toml", "--db", folder / "k.db", *options).returncode


def test_daemon_log_is_where_it_is_wanted(folder: Path) -> None:
    start(folder, "--daemon-log", folder / "its.log")
    assert "the daemon has started" in (folder / "its.log").read_text()
    assert not (folder / "k.db.log").exists()
    assert json.loads(ocap("status", "--json").stdout)["log"] == str(folder / "its.log")


def test_log_without_a_file_is_that_of_the_daemon(folder: Path, capfd: CapFd) -> None:
    assert 2 == run_app(["log"])
    assert capfd.readouterr().err.startswith("ocap: no daemon is running; ")
    log = folder / "log.jsonl"
    start(folder, "--log-json", log)
    said(capfd, "send", "b", "echo", "1")
    lines = said(capfd, "log", log)
    assert ".echo(1)" in lines
    assert lines == said(capfd, "log") == said(capfd, "log", "--db", folder / "k.db")
    assert 0 < said(capfd, "log", "--vat", "b", "--json").count("\n") < lines.count("\n")
    assert 2 == run_app(["log", str(log), "--db", str(folder / "k.db")])
    assert "ocap: --db: is for the log of a daemon: FILE is named already\n" == capfd.readouterr().err
    said(capfd, "stop")
    start(folder)
    assert 2 == run_app(["log", "--follow"])
    text = "the daemon writes no message log; `ocap start --log-json FILE` has it write one"
    assert f"ocap: FILE: {text}\n" == capfd.readouterr().err


def test_reason_of_an_end_is_in_the_log(folder: Path, capfd: CapFd) -> None:
    start(folder, "--log-json", folder / "log.jsonl")
    said(capfd, "terminate", "b", "--reason", "enough of it")
    said(capfd, "stop")
    entries = [
        json.loads(line) for line in said(capfd, "log", folder / "log.jsonl", "--vat", "b", "--json").splitlines()
    ]
    assert ["enough of it"] == [it["text"] for it in entries if it["kind"] == "terminate"]


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, ["a", "b"]), ("", 1, ["a", "b"]), ("y", 0, ["a"])])
def test_who_ends_something_at_a_terminal_is_asked(folder: Path, answer: str, code: int, left: list[str]) -> None:
    start(folder)
    child = pexpect.spawn(OCAP[0], [*OCAP[1:], "terminate", "b"], env=ENVIRONMENT, timeout=30, encoding="utf-8")
    child.expect_exact("vat v2 b ends for good, with all it has stored.")
    child.expect_exact("Terminate it? [y/N] ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert code == child.exitstatus
    (found,) = json.loads(ocap("list", "--json").stdout)
    assert left == [vat["name"] for vat in found["vats"] if vat["state"] != "terminated"]


def test_parameters_are_taken_and_dead_letters_dropped(folder: Path, capfd: CapFd) -> None:
    start(folder)
    said(capfd, "upgrade", "a", "--parameters", '{"x": [1, 2]}')
    assert "[1, 2]\n" == said(capfd, "send", "a", "parameter", '"x"', "--timeout", "20")
    assert 1 == run_app(["send", "a", "flood"])
    capfd.readouterr()
    (letter,) = json.loads(said(capfd, "dead-letters", "--json"))
    assert f"dead letter {letter['number']} is dropped\n" == said(
        capfd, "dead-letters", "--drop", str(letter["number"])
    )
    assert "no dead letters\n" == said(capfd, "dead-letters")


def test_browser_is_opened_at_the_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {folder}/opened\n')
    browser.chmod(0o755)
    start(folder, "--panel")
    monkeypatch.setitem(ENVIRONMENT, "BROWSER", f"{browser} %s")
    done = ocap("panel", "--browser", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    assert f"{json.loads(done.stdout)['link']}\n" == (folder / "opened").read_text()


def test_version_is_one_line(capfd: CapFd) -> None:
    (line,) = said(capfd, "--version").splitlines()
    assert line


def test_completion_is_installed(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").touch()
    done = subprocess.run(
        [*OCAP, "--install-completion", "--shell", "bash"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT | {"HOME": str(tmp_path)},
    )
    assert 0 == done.returncode, done.stderr
    line = "COMP_WORDS=(ocap st); COMP_CWORD=1; _ocap; echo ${COMPREPLY[@]}"
    shell = subprocess.run(
        ["bash", "--norc", "-c", f". {tmp_path}/.bashrc; {line}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ["start", "stop", "status"] == shell.stdout.split()
