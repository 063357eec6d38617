"""A daemon and a client of different versions say so, in one line, whatever was to be asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap.cli.app import run_app
from ocap.daemon import commands
from ocap.daemon.client import Client
from ocap.daemon.commands import Commands, signatures
from ocap.daemon.protocol import VERSION, RequestFailedError, VersionError
from tests.commands import ENVIRONMENT, ocap
from tests.daemon.serving import Served, serving, toml

LANGUAGE = Path(__file__).with_name("language.json")


def older(patch: pytest.MonkeyPatch) -> str:
    patch.setattr(commands, "VERSION", VERSION - 1)
    return "an older"


def newer(patch: pytest.MonkeyPatch) -> str:
    patch.setattr(commands, "VERSION", VERSION + 1)
    return "a newer"


def from_before_versions(patch: pytest.MonkeyPatch) -> str:
    patch.delattr(Commands, "hello")
    patch.setattr(commands, "signatures", signatures.__wrapped__)
    return "an older"


@pytest.mark.parametrize("make", [older, newer, from_before_versions])
async def test_daemon_of_another_version_is_asked_for_nothing(
    make: Callable[[pytest.MonkeyPatch], str], db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = make(monkeypatch)
    async with serving(db) as it:
        for call in (
            it.client.call("status"),
            it.client.call("launch", text=toml(), folder=it.folder),
            anext(it.client.items("follow")),
        ):
            with pytest.raises(VersionError, match=f"process {os.getpid()}, is of {age} version than this program"):
                await call
        assert [] == it.kernel.get_subclusters()


COMMANDS: list[list[str]] = [
    ["status"],
    ["list"],
    ["show", "c"],
    ["send", "c", "echo"],
    ["launch", "c.toml"],
    ["dead-letters", "--retry", "1"],
    ["suspend", "c"],
    ["upgrade", "a"],
    ["panel"],
]


async def test_every_command_says_it_in_one_line_and_how_to_restart_the_daemon(
    db: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    older(monkeypatch)
    monkeypatch.chdir(db.parent)
    monkeypatch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", os.environ["OCAP_RUNTIME_DIR"])
    (db.parent / "c.toml").write_text(toml())
    async with serving(db) as it:
        it.path.with_suffix(".json").write_text(json.dumps({"database": str(db)}))
        line = (
            f"ocap: the daemon, process {os.getpid()}, is of an older version than this program; "
            f"restart it: `ocap stop --db {db}`, then `ocap start` as it was started\n"
        )
        for arguments in COMMANDS:
            assert 2 == await trio.to_thread.run_sync(run_app, arguments), arguments
            assert ("", line) == capfd.readouterr(), arguments
        panel = await trio.to_thread.run_sync(partial(ocap, "panel", "--port", "0"))
        assert (2, "", line) == (panel.returncode, panel.stdout, panel.stderr)


async def test_a_daemon_of_any_version_can_be_stopped(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_before_versions(monkeypatch)
    stopped = trio.Event()

    async def stop(_: Commands) -> None:
        stopped.set()

    monkeypatch.setattr(Commands, "stop", stop)
    async with serving(db) as it, await Client.connect(it.path) as client:
        await client.call("stop")
        assert stopped.is_set()


# ---- that the number is raised -----------------------------------------------------------------------


async def test_what_is_said_over_the_socket_is_what_its_version_says(db: Path) -> None:
    async with serving(db) as it:
        said = {"version": VERSION, "commands": _commands(), "answers": await _answers(it)}
    how = f"the language has changed: raise VERSION in ocap/daemon/protocol.py, and write this to {LANGUAGE.name}:\n"
    assert json.loads(LANGUAGE.read_text()) == said, how + json.dumps(said, indent=1, sort_keys=True)


def _commands() -> dict[str, dict[str, str]]:
    return {
        name: {argument: f"{kind}{'' if is_needed else ', or none'}" for argument, (kind, is_needed) in takes.items()}
        for name, takes in signatures().items()
    }


async def _answers(it: Served) -> dict[str, Any]:
    config = {"text": toml(), "folder": it.folder}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("hello", {}),
        ("check", config),
        ("launch", config),
        ("update", {"subcluster": "c", "dry": True, **config}),
        ("reload", {"subcluster": "c"}),
        ("send", {"target": "a", "method": "echo", "args": []}),
        ("target", {"target": "a"}),
        ("restart", {"what": "a"}),
        ("ping", {"what": "a"}),
        ("upgrade", {"vat": "a"}),
        ("collect", {}),
        ("stats", {}),
        ("spent", {"vats": ["v1"]}),
        ("panel_link", {}),
    ]
    found = {name: _shape(await it.client.call(name, **arguments)) for name, arguments in asked}
    with pytest.raises(RequestFailedError, match="vat faulted"):
        await it.client.call("send", target="a", method="burst", args=[])
    after: list[tuple[str, dict[str, Any]]] = [
        ("dead_letters", {}),
        ("suspend", {"what": "b"}),
        ("subclusters", {}),
        ("status", {}),
        ("show", {"what": "a"}),
        ("drop", {"number": 1}),
        ("resume", {"what": "b"}),
        ("terminate", {"what": "c"}),
    ]
    for name, arguments in after:
        found[name] = _shape(await it.client.call(name, **arguments))
    assert {"follow", "retry", "revoke", "stop"} == signatures().keys() - found.keys()
    return found


def _shape(value: Any) -> Any:
    """The names in an answer; lists by their first."""
    match value:
        case dict():
            return {key: _shape(it) for key, it in value.items()}
        case list():
            return [_shape(it) for it in value[:1]]
    return "..."
