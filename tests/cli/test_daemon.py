"""`ocap start`, what is asked of the daemon, and how it ends; in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import httpx
import pytest
import trio

from ocap import Kernel
from ocap.cli.app import run_app
from ocap.daemon import starting
from ocap.daemon.client import find_socket
from ocap.daemon.place import info_path, socket_path
from ocap.daemon.silence import silence_path
from ocap.log.writing import LogFile
from tests.commands import ENVIRONMENT, ocap, start_ocap
from tests.daemon.serving import toml


@pytest.fixture
def daemon(folder: Path) -> Path:
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db")
    assert ('c: "ok"\n', "", 0) == (done.stdout, done.stderr, done.returncode)
    return folder


def pid_of(folder: Path) -> int:
    found = json.loads(ocap("status", "--db", folder / "k.db", "--json").stdout)
    assert isinstance(found["pid"], int)
    return found["pid"]


def wait_for_end(pid: int) -> None:
    for _ in range(500):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} goes on")


def last_words(folder: Path) -> str:
    return (folder / "k.db.log").read_text().splitlines()[-1].partition(" ocap.daemon: ")[2]


def test_daemon_lives_from_start_to_stop(daemon: Path) -> None:
    status = ocap("status")
    assert (0, "") == (status.returncode, status.stderr)
    assert "subclusters   1\n" in status.stdout
    assert '[["x", 3], {}]\n' == ocap("send", "a", "echo", '"x"', "3").stdout
    assert (0o600, 0o700) == (
        (daemon / "k.db.log").stat().st_mode & 0o777,
        socket_path(daemon / "k.db").parent.stat().st_mode & 0o777,
    )
    assert ("stopped\n", 0) == ((done := ocap("stop")).stdout, done.returncode)
    assert "the daemon has ended: the command stop" == last_words(daemon)
    gone = ocap("status")
    assert (1, "") == (gone.returncode, gone.stdout)
    assert "ocap: no daemon is running; start one with `ocap start CLUSTER.toml --db FILE`\n" == gone.stderr
    assert ('{"running": false, "end": null}\n', 1) == ((said := ocap("status", "--json")).stdout, said.returncode)


def test_start_resumes_what_the_database_has(daemon: Path) -> None:
    note = json.loads(ocap("send", "a", "note", '"kept"').stdout)
    ocap("stop")
    for cluster in ([daemon / "c.toml"], []):
        done = ocap("start", *cluster, "--db", daemon / "k.db", "--json")
        assert {"launched": {"c": "ok"} if cluster else {}, "failed": {}} == json.loads(done.stdout)
        assert '"kept"\n' == ocap("send", note, "read").stdout
        ocap("stop")


def test_second_daemon_on_a_database_is_refused(daemon: Path) -> None:
    pid = pid_of(daemon)
    done = ocap("start", daemon / "c.toml", "--db", daemon / "k.db")
    assert (2, "") == (done.returncode, done.stdout)
    way = f"a daemon, process {pid}, has this database open; `ocap stop --db {daemon / 'k.db'}` ends it"
    assert f"ocap: {daemon / 'k.db'}: {way}\n" == done.stderr
    for others in (("run", daemon / "c.toml", "--db"), ("gc",)):
        assert f"ocap: {daemon / 'k.db'}: {way}\n" == ocap(*others, daemon / "k.db").stderr
    instead = (
        "The prompt runs a kernel of its own; in the daemon's, `ocap send`, `ocap show` and `ocap panel` do as much"
    )
    assert f"ocap: {daemon / 'k.db'}: {way}. {instead}\n" == ocap("repl", "--db", daemon / "k.db").stderr
    assert pid == pid_of(daemon)


def test_bad_config_starts_nothing(folder: Path) -> None:
    (folder / "c.toml").write_text(toml().replace("vat.py", "nope.py"))
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db")
    assert (2, "") == (done.returncode, done.stdout)
    assert "nope.py: no such file" in done.stderr
    assert 1 == ocap("status").returncode


REFUSED = [
    (("bad.toml", "--db", "new.db"), "subclusters.c.vats.a.source"),
    (("c.toml", "--db", "new.db", "--log-json", "none/log"), "none/log: no such file"),
    (("c.toml", "--db", "new.db", "--log-json", "taken.jsonl", "--log-keep-size", "1M"), "another program writes to"),
    (("c.toml", "--db", "new.db", "--daemon-log", "none/log"), "none/log: no such file"),
    (("c.toml", "--db", "new.db", "--metrics", "PORT"), "address already in use"),
    (("c.toml", "--db", "none/new.db"), "none/new.db"),
    (("c.toml", "--db", "vat.py"), "not a database"),
    (("c.toml", "--db", "newer.db"), "newer.db: written by a newer version"),
    (("c.toml", "--db", "used.db"), "used.db: another kernel has this database open"),
]


@pytest.fixture
def refusing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which much is in the way of a start."""
    monkeypatch.chdir(folder)
    (folder / "bad.toml").write_text(toml().replace("vat.py", "nope.py"))
    Kernel(folder / "newer.db").close()
    (folder / "newer.db.lock").unlink()
    db = apsw.Connection(str(folder / "newer.db"))
    db.pragma("user_version", 1_000)
    db.close()
    used, log = Kernel(folder / "used.db"), LogFile(folder / "taken.jsonl")
    yield folder
    log.close()
    used.close()


@pytest.mark.parametrize(
    ("how", "arguments", "line"),
    [
        *((("start",), *case) for case in REFUSED),
        *((("start", "--foreground"), *case) for case in REFUSED if {"none/log", "newer.db"} & {*case[0]}),
        *((("run",), *case) for case in REFUSED if "--daemon-log" not in case[0]),
    ],
)
def test_start_that_is_refused_leaves_nothing_behind(
    refusing: Path,
    how: tuple[str, ...],
    arguments: tuple[str, ...],
    line: str,
    runtime: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sorted(refusing.rglob("*"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [*how, *(str(other.getsockname()[1]) if it == "PORT" else it for it in arguments)]
        if how == ("run",):
            code, (out, error) = run_app(command), capfd.readouterr()
        else:  # which makes a process of its own private
            done = ocap(*command)
            code, out, error = done.returncode, done.stdout, done.stderr
    assert (2, "") == (code, out)
    (said,) = error.splitlines()
    assert said.startswith("ocap: ")
    assert line in said
    assert before == sorted(refusing.rglob("*"))
    assert [] == list(runtime.glob("*"))


def test_start_that_may_not_have_its_socket_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o777)
    monkeypatch.setitem(ENVIRONMENT, "OCAP_RUNTIME_DIR", str(public))
    before = sorted(folder.rglob("*"))
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db")
    assert (2, f"ocap: {public}: is open to other users") == (done.returncode, done.stderr.partition(";")[0])
    assert before == sorted(folder.rglob("*"))


def test_launch_that_fails_is_1_and_the_daemon_runs(folder: Path) -> None:
    (folder / "c.toml").write_text(toml(parameters="fails = true") + toml("d"))
    done = ocap("start", folder / "c.toml", "--db", folder / "k.db")
    assert (1, 'd: "ok"\n') == (done.returncode, done.stdout)
    reason, runs = done.stderr.splitlines()
    assert "ocap: c: bootstrap raised ValueError: as it was told to" == reason
    assert f"ocap: the daemon runs, process {pid_of(folder)}; subclusters: 1, vats: 2" == runs


def test_start_of_what_is_there_tells_what_runs(daemon: Path) -> None:
    ocap("stop")
    done = ocap("start", "--db", daemon / "k.db")
    said = f"ocap: the daemon runs, process {pid_of(daemon)}; subclusters: 1, vats: 2\n"
    assert (0, "", said) == (done.returncode, done.stdout, done.stderr)
    ocap("stop")
    (daemon / "c.toml").write_text(toml(parameters="x = 1"))
    done = ocap("start", daemon / "c.toml", "--db", daemon / "k.db")
    differs = (
        "c is resumed with the config it was launched with, which differs from the file's; `ocap update` gives it that"
    )
    assert (0, 'c: "ok"\n', f"ocap: {differs}\n") == (done.returncode, done.stdout, done.stderr)


def test_start_after_a_crash_tells_that_the_message_log_stops(folder: Path) -> None:
    ocap("start", folder / "c.toml", "--db", folder / "k.db", "--log-json", folder / "k.jsonl")
    pid = pid_of(folder)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    done = ocap("start", "--db", folder / "k.db")
    log = folder / "k.jsonl"
    text = f"the run before wrote the message log {log}; this one writes none: --log-json {log}"
    assert f"ocap: {text}" == done.stderr.splitlines()[0]
    assert f"WARNING ocap.daemon: {text}\n" in (folder / "k.db.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_it_cleanly_and_is_named(daemon: Path, number: signal.Signals) -> None:
    pid = pid_of(daemon)
    os.kill(pid, number)
    wait_for_end(pid)
    assert f"the daemon has ended: the signal {number.name}" == last_words(daemon)
    assert not socket_path(daemon / "k.db").exists()


def test_kill_leaves_a_stale_socket_that_the_next_start_takes_over(daemon: Path) -> None:
    pid = pid_of(daemon)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    assert socket_path(daemon / "k.db").exists()
    found = ocap("status", "--db", daemon / "k.db", "--json")
    end = "the daemon left no word of its end: it was killed, or the machine failed"
    assert (1, {"running": False, "end": end}) == (found.returncode, json.loads(found.stdout))
    assert 0 == ocap("start", "--db", daemon / "k.db").returncode
    assert "the run before: the daemon left no word of its end: it was killed" in (daemon / "k.db.log").read_text()
    assert pid != pid_of(daemon)


def test_what_stops_the_kernel_is_the_last_word(folder: Path) -> None:
    """A vat whose faults stop the kernel: the log says which and why."""
    (folder / "c.toml").write_text(
        toml().replace('source = "vat.py"', 'source = "vat.py"\non_fault = "panic"\nfault_limit = 1')
    )
    ocap("start", folder / "c.toml", "--db", folder / "k.db")
    pid = pid_of(folder)
    done = ocap("send", "a", "flood")
    assert done.returncode in (1, 2)
    wait_for_end(pid)
    assert last_words(folder).startswith("the daemon has ended: because of CriticalVatError('vat a (v1):")
    assert " CRITICAL " in (folder / "k.db.log").read_text().splitlines()[-1]
    none, why = ocap("status", "--db", folder / "k.db").stderr.splitlines()
    assert none.startswith("ocap: no daemon is running on ")
    assert f"ocap: {folder / 'k.db.log'}: {last_words(folder)}" == why


async def test_daemon_that_hangs_is_killed_in_bounded_steps(daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(starting, "TERM_SECONDS", 0.5)
    pid = pid_of(daemon)
    sender = start_ocap("send", "a", "spin")
    with trio.fail_after(30):
        while not silence_path(socket_path(daemon / "k.db")).exists():  # noqa: ASYNC110 - another process makes it
            await trio.sleep(0.05)
    began = time.monotonic()
    done = await starting.stop(find_socket(daemon / "k.db"))
    assert {"pid": pid, "by": "SIGKILL"} == done
    assert time.monotonic() - began < 5
    assert last_words(daemon).startswith("the daemon has ended: killed by `ocap stop`")
    assert not info_path(socket_path(daemon / "k.db")).exists()
    _, error = sender.communicate(timeout=20)
    assert f"ocap: the daemon ended before it answered; {daemon / 'k.db.log'} says why\n" == error
    assert 0 == ocap("start", "--db", daemon / "k.db").returncode


def test_foreground_is_for_service_managers(folder: Path) -> None:
    process = start_ocap("start", folder / "c.toml", "--db", folder / "k.db", "--foreground")
    assert process.stdout is not None
    assert 'c: "ok"\n' == process.stdout.readline()
    assert process.pid == pid_of(folder)
    ocap("stop")
    assert 0 == process.wait(20)
    process.communicate()


def test_signal_makes_it_write_what_it_is_doing(daemon: Path) -> None:
    os.kill(pid_of(daemon), signal.SIGUSR1)
    for _ in range(100):
        if "SIGUSR1 asks for this" in (text := (daemon / "k.db.log").read_text()):
            break
        time.sleep(0.05)
    assert "v1" in text.partition("SIGUSR1 asks for this")[2]
    assert 0 == ocap("status").returncode


def test_message_log_is_written_whole(folder: Path) -> None:
    ocap("start", folder / "c.toml", "--db", folder / "k.db", "--log-json", folder / "log.jsonl")
    ocap("send", "a", "echo", "1")
    ocap("stop")
    methods = [line for line in (folder / "log.jsonl").read_text().splitlines() if '"method": "echo"' in line]
    assert 2 == len(methods)  # sent by the host, delivered to the vat


# ---- services ---------------------------------------------------------------------------------------

WAKES = """
from vats import DurableExo, E, Exo

class Waker(DurableExo):
    woken: int = 0

    async def wake(self, time):
        self.woken += 1

    async def count(self):
        return self.woken

class Root(Exo):
    def __init__(self, baggage):
        self.baggage = baggage

    async def bootstrap(self, vats, services):
        waker = self.baggage["waker"] = Waker()
        await E(services["timer"]).set_wakeup(await E(services["timer"]).now() + SECONDS, waker)
        return "set"

    async def woken(self):
        return await E(self.baggage["waker"]).count()

def build_root_object(vat_powers, parameters, baggage):
    return Root(baggage)
"""


def test_timer_is_there_for_what_is_launched_later(daemon: Path) -> None:
    """Also after a restart, when nobody but the clock wakes it; and for `ocap run` on the same database."""
    assert [False] == [it["is_system"] for it in json.loads(ocap("list", "--json").stdout)]
    (daemon / "wakes.py").write_text(WAKES.replace("SECONDS", "8"))
    clock = '[subclusters.w]\nbootstrap = "w"\nservices = ["timer", "random", "log"]\nvats.w.source = "wakes.py"\n'
    (daemon / "w.toml").write_text(clock)
    done = ocap("launch", daemon / "w.toml")
    assert ("", 0) == (done.stderr, done.returncode)
    assert done.stdout.endswith(' w: "set"\n')
    assert ["c", "timer", "w"] == [it["name"] for it in json.loads(ocap("list", "--json").stdout)]
    ocap("stop")
    assert 0 == ocap("start", "--db", daemon / "k.db").returncode
    for _ in range(100):
        if "1\n" == ocap("send", "w", "woken").stdout:
            break
        time.sleep(0.2)
    else:
        pytest.fail("nobody was woken")
    ocap("stop")
    done = ocap("run", daemon / "w.toml", "--db", daemon / "k.db")
    assert ('w: "set"\n', 0) == (done.stdout, done.returncode)


def test_http_is_there_for_what_is_launched_later_if_the_start_had_its_options(folder: Path) -> None:
    http = '[services.http]\nhosts = ["api.example.org"]\n'
    (folder / "http.toml").write_text(http)
    done = ocap("start", folder / "http.toml", "--db", folder / "k.db")
    assert (0, "") == (done.returncode, done.stdout), done.stderr
    asks = toml().replace('"a"\n', '"a"\nservices = ["http"]\n', 1)
    for name, more in [("d", ""), ("e", http)]:
        (folder / "c.toml").write_text(asks.replace("subclusters.c", f"subclusters.{name}") + more)
        done = ocap("launch", folder / "c.toml")
        assert ("", 0) == (done.stderr, done.returncode)
    (folder / "c.toml").write_text(asks + http.replace("api", "www"))
    done = ocap("launch", folder / "c.toml")
    way = "`ocap stop`, then `ocap start` with a file that has this table"
    assert (f"ocap: services.http: the kernel was started with others: {way}\n", 2) == (done.stderr, done.returncode)


# ---- the commands -----------------------------------------------------------------------------------


def test_commands_over_the_socket(daemon: Path) -> None:
    (daemon / "d.toml").write_text(toml("d"))
    (daemon / "new.toml").write_text(toml("d").replace("vats.b]", "vats.z]"))
    expected = {
        ("launch", str(daemon / "d.toml")): 's2 d: "ok"\n',
        (
            "update",
            "d",
            str(daemon / "new.toml"),
            "--dry-run",
        ): "vat z would be created\nvat b would be terminated, with all it has stored\n",
        ("update", "d", str(daemon / "new.toml")): "vat z is created\nvat b is terminated\n",
        ("restart", "d"): "s2 is restarted\n",
        ("reload", "s2"): 's3 d: "ok"\n',
        ("terminate", "d"): "s3 is terminated\n",
        ("dead-letters",): "no dead letters\n",
    }
    for arguments, out in expected.items():
        done = ocap(*arguments)
        assert (out, "", 0) == (done.stdout, done.stderr, done.returncode), arguments
    for arguments in [("suspend", "b"), ("resume", "b"), ("ping", "b"), ("upgrade", "b"), ("show", "b"), ("list",)]:
        done = ocap(*arguments, "--json")
        assert (0, "") == (done.returncode, done.stderr), arguments
        assert isinstance(json.loads(done.stdout), dict | list)
        assert "b" in ocap(*arguments).stdout
    assert "SUBCLUSTER  NAME  VAT  NAME  STATE  INCARNATION" in ocap("list").stdout


def test_send_to_a_suspended_vat_says_that_it_waits(daemon: Path) -> None:
    ocap("suspend", "b")
    done = ocap("send", "b", "echo", "1", "--timeout", "0.5")
    line = "ocap: vat b (v2) is suspended (the host asked for it); the message waits until `ocap resume v2`\n"
    end = "ocap: no answer within 0.5 seconds; the message stays sent\n"
    assert (1, "", line + end) == (done.returncode, done.stdout, done.stderr)
    assert "suspended: the host asked for it" in ocap("list").stdout
    ocap("resume", "b")
    done = ocap("send", "b", "echo", "2", "--timeout", "20")
    assert (0, "[[2], {}]\n", "") == (done.returncode, done.stdout, done.stderr)


def test_retry_to_a_suspended_vat_says_that_it_waits(daemon: Path) -> None:
    assert 1 == ocap("send", "a", "burst").returncode
    ocap("suspend", "a")
    (letter,) = json.loads(ocap("dead-letters", "--json").stdout)
    done = ocap("dead-letters", "--retry", str(letter["number"]), "--timeout", "0.5")
    assert 1 == done.returncode
    assert "ocap: vat a (v1) is suspended" in done.stderr
    assert done.stderr.endswith("ocap: no answer within 0.5 seconds; the message stays sent\n")


def test_what_needs_attention_comes_first_and_at_the_start_too(daemon: Path) -> None:
    assert 1 == ocap("send", "a", "burst").returncode
    ocap("suspend", "b")
    lines = ["vat v2 b is suspended: the host asked for it; `ocap resume v2`", "1 dead letter; `ocap dead-letters`"]
    first, second, third, *_ = ocap("status").stdout.splitlines()
    assert [f"attention     {lines[0]}", f"              {lines[1]}"] == [first, second]
    assert third.startswith("database ")
    ocap("stop")
    done = ocap("start", "--db", daemon / "k.db")
    *said, runs = done.stderr.splitlines()
    assert [f"ocap: {line}" for line in lines] == said
    assert runs.startswith("ocap: the daemon runs, process ")


def test_what_vats_say_is_inert_on_a_terminal(daemon: Path) -> None:
    hostile = "\x1b[31m\u202e\x07[bold]x[/bold]\r\n"
    done = ocap("send", "a", "echo", json.dumps(hostile))
    (line,) = done.stdout.splitlines()
    assert line.isprintable()
    (daemon / "d.toml").write_text(toml(json.dumps("\u202e[red]").replace("\\u202e", "\\u202E")))
    assert 0 == ocap("launch", daemon / "d.toml").returncode
    assert "\\u202e[red]" in ocap("list").stdout


def test_run_with_a_panel_goes_on_until_it_is_stopped(folder: Path) -> None:
    run = start_ocap("run", folder / "c.toml", "--panel")
    assert run.stdout is not None
    assert run.stderr is not None
    assert 'c: "ok"\n' == run.stdout.readline()
    link = run.stderr.readline().removeprefix("ocap: control panel at ").strip()
    base, _, code = link.partition("/#")
    with httpx.Client(base_url=base) as client:
        assert 200 == client.post("/login", json={"code": code}, headers={"origin": base}).status_code
        assert "v1" in client.get("/vats").text
    assert None is run.poll()
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=20)
    assert 130 == run.returncode
    assert "ocap: stopped" in error
    assert not [line for line in error.splitlines() if not line.startswith("ocap: ")]
    with pytest.raises(httpx.ConnectError):
        httpx.get(base)
