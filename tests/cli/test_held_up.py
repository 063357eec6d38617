"""A daemon whose kernel a vat holds up: who asks is told what it is in, and how to get out of it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
import trio
from attrs import evolve

from ocap.daemon import starting
from ocap.daemon.client import QUICK, Client, find_socket
from ocap.daemon.place import NotAnsweringError, socket_path
from ocap.daemon.silence import SilenceFile, long_step, silence_path, take_last_step
from ocap.ring.watchdog import SlowStep
from tests.commands import ocap, start_ocap
from tests.daemon.serving import toml

VAT = """
import time
from pathlib import Path

from vats import E, Exo

class Root(Exo):
    def __init__(self, parameters, baggage):
        self.parameters = parameters
        self.baggage = baggage

    async def bootstrap(self, vats, services):
        if "hangs" in self.parameters:
            while True:
                time.sleep(0.01)  # as below
        self.baggage["b"] = vats["b"]
        return "ok"

    async def echo(self, value):
        return value

    async def hold(self, path):
        while not Path(path).exists():
            time.sleep(0.01)  # which holds the kernel up as a busy loop does, and is kinder to the machine

    async def relay(self, path):
        E.send_only(self.baggage["b"]).pause(self, path)

    async def pause(self, back, path):
        time.sleep(0.1)  # so long that what was done is committed
        E.send_only(back).go(path)

    async def go(self, path):
        E.send_only(self.baggage["b"]).hold(path)

def build_root_object(vat_powers, parameters, baggage):
    return Root(parameters, baggage)
"""
IN_HOLD = r"the kernel has been in vat v\d [ab], method hold, for \d+ s \(crank \d+, at .*/vat\.py:\d+\)"
SAYS = rf"process \d+ does not answer: {IN_HOLD}; nothing else runs meanwhile\. Wait, or end it with `ocap stop`"
SAYS_SO = rf"ocap: {SAYS}\n"


@pytest.fixture
def held(folder: Path) -> Iterator[Path]:
    """The folder of a daemon that is told of after 0.3 s; its vats may look for files."""
    (folder / "vat.py").write_text(VAT)
    text = toml().replace('source = "vat.py"', 'source = "vat.py"\nimports = ["*"]')
    (folder / "c.toml").write_text(text)
    yield folder
    (folder / "gate").touch()


def start(folder: Path) -> str:
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db", "--slow-crank", "0.3")
    assert ('c: "ok"\n', 0) == (done.stdout, done.returncode)
    return done.stderr


def wait_for(is_so: Callable[[], object]) -> None:
    for _ in range(1500):
        if is_so():
            return
        time.sleep(0.02)  # other processes do it, which tell nobody
    pytest.fail("it did not come about")


def held_up_by(folder: Path, method: str = "hold") -> Popen[str]:
    sender = start_ocap("send", "a", method, json.dumps(str(folder / "gate")))
    wait_for(silence_path(socket_path(folder / "k.db")).exists)
    return sender


def log(folder: Path) -> str:
    return (folder / "k.db.log").read_text()


def test_run_says_it_too_as_it_is_told_when(held: Path) -> None:
    (held / "vat.py").write_text(
        VAT.replace('if "hangs" in self.parameters:', "for _ in range(60):").replace(
            "            while True:\n                time", "            time", 1
        )
    )
    for seconds, is_said in [("0.2", True), ("0", False)]:
        done = ocap("run", held / "c.toml", "--slow-crank", seconds)
        assert (0, 'c: "ok"\n') == (done.returncode, done.stdout)
        assert is_said == bool(re.search(r"the kernel has been in vat v1 a, method bootstrap, for ", done.stderr))
    for seconds in ("-1.0", "nan"):
        done = ocap("run", held / "c.toml", f"--slow-crank={seconds}")
        line = f"ocap: --slow-crank: {seconds}: must be a number of seconds, or 0 for never\n"
        assert (2, line) == (done.returncode, done.stderr)


async def test_commands_say_what_holds_the_kernel_up_and_go_on_when_it_is_over(held: Path) -> None:
    start(held)
    sender = held_up_by(held)
    async with await Client.connect(socket_path(held / "k.db")) as client:
        for command in ("stats", "subclusters"):
            assert command in QUICK
            with pytest.raises(NotAnsweringError, match=SAYS):
                await client.call(command)
    done = ocap("list")
    assert (2, "") == (done.returncode, done.stdout)
    assert re.fullmatch(SAYS_SO, done.stderr), done.stderr
    done = ocap("status", "--json")
    found = json.loads(done.stdout)
    assert (1, True, False) == (done.returncode, found["running"], found["answering"])
    assert ("v1", "a", "method hold") == tuple(found["slow"][name] for name in ("vat", "name", "doing"))
    waiting = start_ocap("ping", "b")
    assert waiting.stderr is not None
    assert re.fullmatch(SAYS_SO, waiting.stderr.readline())
    os.kill(found["pid"], signal.SIGUSR1)
    wait_for(lambda: re.search(r"Stack \(most recent call first\):\n(?:  File .*\n)*?  File .* in hold\n", log(held)))
    (held / "gate").touch()
    answer, said = sender.communicate(timeout=30)
    assert "null\n" == answer
    assert re.fullmatch(SAYS_SO, said)
    assert 0 == waiting.wait(30)
    waiting.communicate()
    wait_for(lambda: "the kernel goes on: it was in vat v1 a, method hold, for " in log(held))
    assert not silence_path(socket_path(held / "k.db")).exists()
    os.kill(found["pid"], signal.SIGUSR1)  # the dump of a kernel that gets on is there as ever
    wait_for(lambda: "SIGUSR1 asks for this" in log(held))


async def test_stop_says_what_it_kills_and_so_does_the_next_start(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(held)
    sender = held_up_by(held)
    monkeypatch.setattr(starting, "STOP_SECONDS", 0.3)
    said: list[str] = []
    done = await starting.stop(find_socket(held / "k.db"), said.append)
    assert "SIGKILL" == done["by"]
    assert re.fullmatch(rf"{IN_HOLD}; it is given 0.3 s to end that, and is killed then", said[0])
    assert f"process {done['pid']} has not ended; it is sent SIGKILL" == said[1]
    way_out = f"`ocap suspend v1 --db {held / 'k.db'}` before a start holds it back, or mend the vat's source"
    assert said[2].startswith("that crank never happened; what vat v1 was given is given to it again")
    assert said[2].endswith(way_out)
    past = IN_HOLD.replace("has been", "had been")
    assert re.search(rf"the daemon has ended: killed by `ocap stop` when {past}; that crank never .*\n$", log(held))
    await trio.to_thread.run_sync(sender.communicate)
    warning = start(held)
    assert re.fullmatch(rf"ocap: the run before was killed when {past}; that crank never happened; .*\n", warning)
    assert warning.endswith(f"{way_out}\n")
    assert re.search(rf"WARNING ocap.daemon: the run before was killed when {past}; ", log(held))
    ocap("stop")
    assert "" == start(held)  # it is told once


def test_vat_that_holds_the_kernel_up_at_every_start_is_suspended_at_rest(held: Path) -> None:
    start(held)
    sender = held_up_by(held, "relay")
    wait_for(lambda: "the kernel has been in vat v2 b, method hold" in log(held))
    found = json.loads(ocap("status", "--json").stdout)
    assert "v2" == found["slow"]["vat"]
    os.kill(found["pid"], signal.SIGKILL)
    sender.communicate(timeout=30)
    before = len(log(held))
    again = start_ocap("start", "--db", held / "k.db", "--slow-crank", "0.3")
    assert again.stderr is not None
    wait_for(lambda: "the kernel has been in vat v2 b, method hold" in log(held)[before:])
    found = json.loads(ocap("status", "--json").stdout)
    assert "v2" == found["slow"]["vat"]
    os.kill(found["pid"], signal.SIGKILL)
    again.communicate(timeout=30)
    done = ocap("suspend", "b", "--db", held / "k.db", "--json")
    assert ["suspended"] == [it["state"] for it in json.loads(done.stdout)["vats"]]
    nobody = ocap("suspend", "nobody", "--db", held / "k.db")
    assert (2, "ocap: there is no subcluster or vat nobody\n") == (nobody.returncode, nobody.stderr)
    start(held)
    assert "1\n" == ocap("send", "a", "echo", "1").stdout
    (held / "vat.py").write_text(VAT.replace("while not Path(path).exists():", "for _ in ():"))
    assert 0 == ocap("resume", "b").returncode
    assert "2\n" == ocap("send", "b", "echo", "2").stdout


def test_start_says_what_it_waits_for(held: Path) -> None:
    text = (held / "c.toml").read_text().replace("parameters = {  }", "parameters = { hangs = true }")
    (held / "c.toml").write_text(text)
    starter = start_ocap("start", held / "c.toml", "--db", held / "k.db", "--slow-crank", "0.3")
    assert starter.stderr is not None
    said = starter.stderr.readline()
    assert re.fullmatch(SAYS_SO.replace("hold", "bootstrap"), said)
    os.kill(int(said.split()[2]), signal.SIGKILL)
    starter.communicate(timeout=30)
    assert starter.returncode


STEP = SlowStep(3, "v1", "a", "method hold", "vat.py:7", time.time() - 5, 5.0)


def test_only_the_daemon_itself_is_believed(runtime: Path) -> None:
    runtime.mkdir(mode=0o700, exist_ok=True)
    path = runtime / "x.sock"
    tell = SilenceFile(path)
    tell(STEP)
    assert 0o600 == silence_path(path).stat().st_mode & 0o777
    found = long_step(path, os.getpid())
    assert found is not None
    assert found.seconds > 5
    assert STEP == evolve(found, seconds=5.0)
    assert long_step(path, os.getpid() + 1) is None
    tell(None)
    tell(None)
    assert long_step(path, os.getpid()) is None
    tell(STEP)
    assert take_last_step(path) == STEP
    assert take_last_step(path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": null}', "null", '{"pid": 1, "crank": 1, "x": 2}']
)
def test_broken_file_says_nothing(runtime: Path, text: str) -> None:
    runtime.mkdir(mode=0o700, exist_ok=True)
    path = runtime / "x.sock"
    silence_path(path).write_text(text)
    assert long_step(path, 1) is None
    assert take_last_step(path) is None
