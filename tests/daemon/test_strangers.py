"""Another user of the machine, who can put files into shared folders and connect to the loopback, gets nothing."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import socket
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from ocap import Kernel
from ocap.daemon import client, process
from ocap.daemon.attention import ENDED, STARTED, UNFINISHED, last_end
from ocap.daemon.client import Client, find_socket
from ocap.daemon.place import SocketError, clear_stale, make_runtime_folder, socket_path
from ocap.daemon.private import keep_private
from ocap.log.writing import LogFile
from ocap.protocol.errors import ConfigError, StoreError
from ocap.verify import verify
from tests.commands import ENVIRONMENT, ocap
from tests.daemon.serving import VAT, serving, toml, until
from tests.strangers import STRANGER, as_stranger, become_stranger, in_process, public, root, tried

__all__ = ["public", "root"]

needs_root = pytest.mark.usefixtures("root")
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
REQUEST = b'{"id": 1, "command": "subclusters", "arguments": {}}\n'


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as it:
        it.settimeout(5)
        it.connect(str(path))
        try:
            it.sendall(REQUEST)
            return it.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            return b""


# ---- the socket -----------------------------------------------------------------------------------------


@needs_root
async def test_stranger_cannot_reach_the_socket(public: Path) -> None:
    async with serving(public / "k.db") as it:
        acts: list[Callable[[], object]] = [lambda: ask(it.path), lambda: list(it.path.parent.iterdir()), it.path.stat]
        for act in acts:
            assert "PermissionError" == await trio.to_thread.run_sync(tried, act)
    assert verify(public / "k.db") == []


@needs_root
async def test_stranger_who_reaches_the_socket_is_refused_by_who_he_is(public: Path) -> None:
    async with serving(public / "k.db") as it:
        it.path.parent.chmod(0o755)
        it.path.chmod(0o777)
        assert b"" == await trio.to_thread.run_sync(as_stranger, lambda: ask(it.path))
        assert b'"result": []' in await trio.to_thread.run_sync(in_process, lambda: ask(it.path))
        it.path.parent.chmod(0o700)
    assert verify(public / "k.db") == []


@needs_root
async def test_stranger_cannot_replace_the_socket(public: Path) -> None:
    async with serving(public / "k.db") as it:
        folder = it.path.parent
        acts: list[Callable[[], object]] = [
            it.path.unlink,
            folder.rmdir,
            lambda: folder.rename(public / "away"),
            lambda: it.path.symlink_to(public / "mine"),
            lambda: socket.socket(socket.AF_UNIX).bind(str(folder / "other.sock")),
        ]
        for act in acts:
            assert "PermissionError" == await trio.to_thread.run_sync(tried, act)
        assert (await it.client.call("status"))["running"]


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_folder_that_a_stranger_made_before_us_is_refused(public: Path, mode: int) -> None:
    def make() -> None:
        (public / "run").mkdir()
        (public / "run").chmod(mode)

    as_stranger(make)
    for use in (make_runtime_folder, lambda: find_socket(None)):
        with pytest.raises(SocketError, match=rf"belongs to another user \(uid {STRANGER}\)"):
            use()


@needs_root
def test_link_that_a_stranger_put_in_the_place_of_the_folder_is_refused(public: Path) -> None:
    (public / "ours").mkdir(mode=0o700)
    as_stranger(lambda: (public / "run").symlink_to(public / "ours"))
    with pytest.raises(SocketError, match="is a link"):
        make_runtime_folder()
    assert [] == list((public / "ours").iterdir())


@needs_root
def test_socket_that_a_stranger_left_is_neither_used_nor_removed(public: Path) -> None:
    path = public / "x.sock"
    as_stranger(lambda: socket.socket(socket.AF_UNIX).bind(str(path)))
    with pytest.raises(SocketError, match=f"uid {STRANGER}"):
        clear_stale(path)
    assert path.exists()


@needs_root
async def test_client_tells_a_strangers_daemon_by_its_process(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = public / "x.sock"

    def impostor() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o777)
            listener.listen()
            listener.settimeout(5)
            listener.accept()

    # The folder is checked first; here it is not, as if it had been exchanged since.
    monkeypatch.setattr(client, "check_folder", lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, as_stranger, impostor)
        await until(lambda: path.exists() and path.stat().st_mode & stat.S_IWOTH)
        with pytest.raises(SocketError, match=f"belongs to a process of another user \\(uid {STRANGER}\\)"):
            await Client.connect(path)


@needs_root
async def test_folder_exchanged_for_a_strangers_is_noticed(public: Path) -> None:
    public.chmod(0o777)  # without the sticky bit, whoever may write to a folder may rename what is in it
    async with serving(public / "k.db") as it:
        folder = it.path.parent

        def exchange() -> None:
            folder.rename(public / "away")
            folder.mkdir()

        await trio.to_thread.run_sync(as_stranger, exchange)
        with pytest.raises(SocketError, match="belongs to another user"):
            await Client.connect(it.path)
        folder.rmdir()
        (public / "away").rename(folder)


# ---- files ------------------------------------------------------------------------------------------------


@needs_root
def test_stranger_can_read_none_of_a_daemons_files(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(public / "run"))
    (public / "vat.py").write_text(VAT)
    (public / "c.toml").write_text(toml())
    mine = {public / "vat.py", public / "c.toml"}
    db = public / "k.db"
    mask = os.umask(0o022)
    try:
        started = ocap("start", public / "c.toml", "--db", db, "--log-json", public / "log.jsonl")
    finally:
        os.umask(mask)
    assert 0 == started.returncode, started.stderr
    try:
        made = {path for path in public.rglob("*") if path.is_file()} - mine
        info = socket_path(db).with_suffix(".json")
        expected = {"k.db", "k.db-wal", "k.db-shm", "k.db.lock", "k.db.log", "log.jsonl", info.name}
        assert expected == {path.name for path in made}
        for path in made:
            assert "PermissionError" == tried(path.read_bytes), path
            assert "PermissionError" == tried(partial(path.open, "ab")), path
            assert 0o600 == stat.S_IMODE(path.stat().st_mode), path
        assert "done" == tried((public / "vat.py").read_bytes)  # the folder itself is open
    finally:
        assert 0 == ocap("stop", "--db", db).returncode
    assert verify(db) == []


def test_database_is_its_users_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        store = Kernel(tmp_path / "k.db")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(mask)
    assert {"k.db", "k.db-wal", "k.db.lock"} <= modes.keys()
    assert {0o600} == set(modes.values())


def test_mode_of_a_database_that_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "k.db").touch(mode=0o640)
    Kernel(tmp_path / "k.db").close()
    assert 0o640 == stat.S_IMODE((tmp_path / "k.db").stat().st_mode)


@needs_root
@pytest.mark.parametrize("part", ["", "-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_file_that_a_stranger_laid_in_the_database_place_is_refused(public: Path, part: str, kind: str) -> None:
    path, victim = public / f"k.db{part}", public / "victim"
    victim.write_text("precious")

    def lay() -> None:
        if kind == "link":
            path.symlink_to(victim)
        else:
            path.touch(mode=0o666)

    as_stranger(lay)
    with pytest.raises(StoreError, match=rf"belongs to another user \(uid {STRANGER}\).*use one of your own"):
        Kernel(public / "k.db")
    assert "precious" == victim.read_text()


@needs_root
def test_log_that_a_stranger_laid_is_refused(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(public / "run"))
    victim = public / "victim"
    victim.write_text("precious")
    as_stranger(lambda: (public / "k.db.log").symlink_to(victim))
    done = ocap("start", "--db", public / "k.db")
    assert 2 == done.returncode
    assert "belongs to another user" in done.stderr
    as_stranger(lambda: (public / "log.jsonl").touch(mode=0o666))
    with pytest.raises(ConfigError, match="belongs to another user"):
        LogFile(public / "log.jsonl")
    assert "precious" == victim.read_text()


@needs_root
def test_file_of_another_user_in_a_folder_of_ones_own_is_used(tmp_path: Path) -> None:
    """As a container's root does with its host's files."""
    Kernel(tmp_path / "k.db").close()
    os.chown(tmp_path / "k.db", STRANGER, STRANGER)
    Kernel(tmp_path / "k.db").close()


# ---- memory -----------------------------------------------------------------------------------------------


def test_memory_is_closed_to_other_processes_of_the_same_user() -> None:
    """Of nobody's, if we are root, who may look everywhere."""

    def be_same_user() -> None:
        if os.geteuid() == 0:
            become_stranger()

    def look(pid: int) -> list[str]:
        found = []
        for name in ("mem", "environ", "maps"):
            try:
                Path(f"/proc/{pid}/{name}").open("rb").close()
                found.append(name)
            except PermissionError:
                pass
        return found

    def looked_at(is_private: bool) -> list[str]:
        be_same_user()
        if is_private:
            keep_private()
        else:
            # To become another user makes a process private too.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        victim = os.getpid()

        def spy() -> list[str]:
            return look(victim)

        return in_process(spy)

    assert {"environ", "maps"} <= set(in_process(lambda: looked_at(is_private=False)))  # of mem the system may say no
    assert [] == in_process(lambda: looked_at(is_private=True))


def test_private_process_leaves_no_core() -> None:
    def limits() -> tuple[tuple[int, int], int]:
        keep_private()
        return resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)

    assert ((0, 0), 0) == in_process(limits)


def test_daemon_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(runtime))
    db = tmp_path / "k.db"
    assert 0 == ocap("start", "--db", db).returncode
    try:
        pid = json.loads(ocap("status", "--json").stdout)["pid"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert ["0", "0"] == next(line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core"))
        assert "Umask:\t0077" in Path(f"/proc/{pid}/status").read_text()
    finally:
        ocap("stop", "--db", db)
    assert verify(db) == []


def test_log_that_is_begun_anew_is_its_users_alone(tmp_path: Path) -> None:
    def rotate() -> list[int]:
        keep_private()
        process.LOG_SIZE = 1000
        process._open_log(tmp_path / "d.log")
        for _ in range(50):
            logging.getLogger("x").warning("y" * 100)
        return [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()]

    modes = in_process(rotate)
    assert len(modes) == 4
    assert {0o600} == set(modes)


def test_vat_cannot_forge_the_word_about_the_end(tmp_path: Path) -> None:
    log, stamp = tmp_path / "d.log", time.strftime("%Y-%m-%d %H:%M:%S,000")
    start = f"{stamp} INFO ocap.daemon: {STARTED}, process 1, on k.db\n"
    end = f"{stamp} INFO ocap.daemon: {ENDED}: the command stop\n"
    said = f"{stamp} ERROR ocap.host: vat v1 faulted in crank 1: {{}}\n    {stamp} INFO ocap.daemon: {{}}\n"
    for text, is_cut in [
        (start, True),
        (start + end, False),
        (start + said.format(ENDED, ENDED), True),
        (start + end + said.format(STARTED, STARTED), False),
    ]:
        log.write_text(text)
        assert is_cut == (last_end(log) == UNFINISHED)
