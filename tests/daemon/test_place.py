"""A socket lies in a folder of its user's alone, and is never taken from a daemon that lives."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.daemon.client import Client, find_socket
from ocap.daemon.place import (
    NotRunningError,
    SocketError,
    clear_stale,
    info_path,
    make_runtime_folder,
    runtime_folder,
    socket_path,
)
from tests.daemon.serving import serving


@pytest.fixture
def listener(runtime: Path) -> Iterator[socket.socket]:
    make_runtime_folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime / "x.sock"))
        yield listener


def test_folder_is_made_for_its_owner_alone(runtime: Path) -> None:
    assert runtime == make_runtime_folder()
    assert 0o700 == stat.S_IMODE(runtime.stat().st_mode)


def test_folder_is_where_the_session_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCAP_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert Path("/run/user/7/ocap") == runtime_folder()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Path(f"/tmp/ocap-{os.getuid()}") == runtime_folder()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707, 0o711])
def test_folder_that_others_may_enter_is_refused(runtime: Path, mode: int) -> None:
    runtime.mkdir()
    runtime.chmod(mode)
    with pytest.raises(SocketError, match="open to other users; chmod 700"):
        make_runtime_folder()


def test_folder_of_another_user_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runtime_folder()
    monkeypatch.setattr("os.getuid", lambda: 4711)
    with pytest.raises(SocketError, match="belongs to another user"):
        make_runtime_folder()


def test_link_to_a_folder_is_refused(runtime: Path) -> None:
    (runtime.parent / "real").mkdir(mode=0o700)
    runtime.symlink_to(runtime.parent / "real")
    with pytest.raises(SocketError, match="is a link"):
        make_runtime_folder()


def test_file_in_the_place_of_the_folder_is_refused(runtime: Path) -> None:
    runtime.write_text("")
    with pytest.raises(SocketError, match="file exists"):
        make_runtime_folder()


def test_too_long_path_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OCAP_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(SocketError, match=r"longer than the 107 bytes.*set OCAP_RUNTIME_DIR"):
        socket_path(tmp_path / "k.db")


def test_every_name_of_a_database_has_one_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "k.db")
    monkeypatch.chdir(tmp_path)
    assert len({socket_path(Path(name)) for name in ("k.db", "./k.db", "link.db", str(tmp_path / "k.db"))}) == 1
    assert socket_path(Path("k.db")) != socket_path(Path("other.db"))


@pytest.mark.parametrize("name", ["a\0b"[0], "ü.db", "a b\n.db", "-rf", "x" * 200 + ".db"])
def test_any_name_makes_a_plain_socket(name: str, tmp_path: Path) -> None:
    path = socket_path(tmp_path / name)
    assert path.name.isascii()
    assert " " not in path.name
    assert "\n" not in path.name


def test_stale_socket_is_removed(runtime: Path, listener: socket.socket) -> None:
    listener.close()
    clear_stale(runtime / "x.sock")
    assert not (runtime / "x.sock").exists()


def test_socket_that_somebody_listens_at_is_left(runtime: Path, listener: socket.socket) -> None:
    listener.listen(0)
    crowd = []
    for _ in range(4):  # more than may wait
        crowd.append(one := socket.socket(socket.AF_UNIX))
        one.setblocking(False)
        one.connect_ex(str(runtime / "x.sock"))
        with pytest.raises(SocketError, match="another daemon listens here"):
            clear_stale(runtime / "x.sock")
    for one in crowd:
        one.close()


def test_what_is_no_socket_is_left(runtime: Path) -> None:
    make_runtime_folder()
    (runtime / "x.sock").write_text("mine")
    with pytest.raises(SocketError, match="is no socket; remove it"):
        clear_stale(runtime / "x.sock")
    assert (runtime / "x.sock").read_text() == "mine"


def test_link_to_a_socket_is_left(runtime: Path, listener: socket.socket) -> None:
    listener.listen()
    (runtime / "y.sock").symlink_to(runtime / "x.sock")
    with pytest.raises(SocketError, match="is no socket"):
        clear_stale(runtime / "y.sock")


async def test_socket_is_for_its_owner_alone(db: Path) -> None:
    async with serving(db) as it:
        assert 0o700 == stat.S_IMODE(it.path.stat().st_mode)
        assert 0o700 == stat.S_IMODE(it.path.parent.stat().st_mode)
    assert not it.path.exists()


async def test_client_refuses_a_daemon_of_another_user(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(db) as it:
        monkeypatch.setattr("ocap.daemon.client.peer_of", lambda _: (1, os.getuid() + 1))
        with pytest.raises(SocketError, match="belongs to a process of another user"):
            await Client.connect(it.path)


async def test_without_a_database_the_only_daemon_is_meant(db: Path, runtime: Path) -> None:
    with pytest.raises(NotRunningError, match="no daemon is running"):
        find_socket(None)
    async with serving(db) as one:
        assert one.path == find_socket(None)
        other = db.with_name("other.db")
        async with serving(other) as two:
            for it, database in ((one, db), (two, other)):
                info_path(it.path).write_text(json.dumps({"database": str(database)}))
            with pytest.raises(NotRunningError, match="2 daemons are running; say which with --db") as caught:
                find_socket(None)
            listed = str(caught.value).rpartition("FILE: ")[2].split(", ")
            assert sorted(map(str, (db, other))) == sorted(listed)
            for it in (one, two):
                info_path(it.path).unlink()


async def test_stale_socket_means_that_no_daemon_runs(runtime: Path, listener: socket.socket) -> None:
    listener.close()
    with pytest.raises(NotRunningError, match="no daemon is running"):
        await Client.connect(runtime / "x.sock")
