"""Whatever crowds the ports, the kernel goes on, and what they take is bounded. At the scale of real attacks."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import define, field

from ocap import metrics
from ocap.daemon.client import Client
from ocap.daemon.place import socket_path
from ocap.daemon.server import MAX_CONNECTIONS
from ocap.panel.serving import MAX_FILES
from ocap.verify import verify
from tests.commands import ocap, start_ocap
from tests.daemon.serving import VAT, toml

CROWD = 10_000
ROUNDS = 1_000
MB = 1_000_000


@define
class Site:
    """A daemon with metrics, a panel, and an operator who has logged in."""

    db: Path
    kernel: int
    panel: int
    metrics: int
    client: httpx.Client
    port: int
    token: str

    def rounds(self) -> float:
        """Seconds of the kernel's own processor time that some rounds of messages between two vats take, at best."""
        found = []
        for _ in range(3):
            before = spent(self.kernel)
            assert {"answer": ROUNDS} == trio.run(
                self.call, "send", {"target": "a", "method": "ask_other", "args": [ROUNDS]}
            )
            found.append(spent(self.kernel) - before)
        return min(found)

    async def call(self, command: str, arguments: dict[str, Any]) -> Any:
        async with await Client.connect(socket_path(self.db)) as client:
            return await client.call(command, **arguments)

    @property
    def head(self) -> str:
        cookie = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        base = f"http://127.0.0.1:{self.port}"
        return f"POST /do/check HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nOrigin: {base}\r\nCookie: {cookie}\r\nX-Ocap-Token: {self.token}\r\nContent-Type: application/json\r\n"


def spent(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@define
class Share:
    """What part of a processor a process takes, from here on.

    With nothing else to do it is what others make it do, and so what they would take from its cranks: the threat
    model lets them have a tenth.
    """

    pid: int
    spent: float = field(init=False)
    began: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.spent = spent(self.pid)

    def __call__(self) -> float:
        return (spent(self.pid) - self.spent) / (time.monotonic() - self.began)


def share_of(pid: int, seconds: float) -> float:
    share = Share(pid)
    time.sleep(seconds)  # what is measured is a time
    return share()


def resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("load")
    (folder / "vat.py").write_text(VAT)
    (folder / "c.toml").write_text(toml())
    db = folder / "k.db"
    assert 0 == ocap("start", folder / "c.toml", "--db", db, "--metrics", "0").returncode
    status = json.loads(ocap("status", "--json", "--db", db).stdout)
    panel = start_ocap("panel", "--db", db)
    assert panel.stdout is not None
    base, _, code = panel.stdout.readline().strip().partition("/#")
    with httpx.Client(base_url=base, timeout=30) as client:
        assert 200 == client.post("/login", json={"code": code}, headers={"origin": base}).status_code
        found = re.search('name="token" content="([^"]+)"', client.get("/").text)
        assert found
        port = int(base.rpartition(":")[2])
        scraped = int(status["metrics"].rpartition(":")[2].partition("/")[0])
        yield Site(db, status["pid"], panel.pid, scraped, client, port, found[1])
    panel.terminate()
    _, error = panel.communicate(timeout=20)
    assert 0 == ocap("stop", "--db", db).returncode
    assert "" == error
    assert [] == verify(db)


@contextmanager
def crowd(address: int | str, count: int = CROWD, seconds: float = 60, head: str = "") -> Iterator[dict[str, int]]:
    """So many connections, of as many processes as it takes."""
    each = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 50)
    command = [sys.executable, "-m", "benchmarks.crowd", str(address)]
    sizes = [min(each, count - start) for start in range(0, count, each)]
    processes = [
        subprocess.Popen(
            [*command, str(size), str(seconds), head], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for size in sizes
    ]
    try:
        found: Counter[str] = Counter()
        for process in processes:
            assert process.stdout is not None
            found.update(json.loads(process.stdout.readline()))
        yield found
    finally:
        for process in processes:
            process.communicate(timeout=30)


def test_ten_thousand_idle_connections_to_the_panel(site: Site) -> None:
    alone, before, coming = site.rounds(), resident(site.panel), Share(site.kernel)
    with crowd(site.port) as found:
        flood, idle = coming(), share_of(site.kernel, 3)
        assert CROWD == found["opened"] + found["refused"]
        crowded = site.rounds()
        assert 200 == site.client.get("/").status_code
        assert files(site.panel) <= MAX_FILES
        assert resident(site.panel) - before < 64 * MB
    told("panel", alone, crowded, (flood, idle), found)
    assert max(flood, idle) < 0.1
    assert crowded < 2 * alone


def test_thousand_beginnings_of_requests_keep_nobody_out(site: Site) -> None:
    with crowd(site.port, 1_000, head=f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nX-Slow: ") as found:
        assert 1_000 == found["opened"] + found["refused"]
        assert 200 == site.client.get("/vats").status_code
        assert files(site.panel) <= MAX_FILES


def test_ten_thousand_connections_to_the_metrics(site: Site) -> None:
    alone, before, coming = site.rounds(), files(site.kernel), Share(site.kernel)
    with crowd(site.metrics, seconds=5) as found:
        flood, idle = coming(), share_of(site.kernel, 3)
        crowded = site.rounds()
        assert files(site.kernel) <= before + metrics.MAX_CONNECTIONS + 2
    told("metrics", alone, crowded, (flood, idle), found)
    assert max(flood, idle) < 0.1
    assert crowded < 2 * alone
    assert 200 == httpx.get(f"http://127.0.0.1:{site.metrics}/metrics", timeout=30).status_code


def test_ten_thousand_connections_to_the_control_socket(site: Site) -> None:
    before = files(site.kernel)
    with crowd(str(socket_path(site.db))) as found:
        assert CROWD == found["opened"] + found["refused"]
        assert files(site.kernel) <= before + MAX_CONNECTIONS + 2
    deadline = time.monotonic() + 20
    while (done := ocap("status", "--db", site.db)).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("framing", ["declared", "chunked", "undeclared"])
def test_hundred_megabytes_of_body_are_refused_before_they_are_taken(site: Site, framing: str) -> None:
    before = resident(site.panel)
    length = {"declared": f"Content-Length: {100 * MB}\r\n", "chunked": "Transfer-Encoding: chunked\r\n"}
    piece = b"x" * MB if framing != "chunked" else b"f4240\r\n" + b"x" * MB + b"\r\n"
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as stream:
        try:
            stream.sendall(f"{site.head}{length.get(framing, '')}\r\n".encode())
            for _ in range(100):
                stream.sendall(piece)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        with suppress(ConnectionResetError):  # the end of a connection with bytes unread; the answer may be lost
            answer = stream.recv(1000)
    assert sent < 100
    assert answer == b"" or answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
    assert resident(site.panel) - before < 24 * MB
    assert 200 == site.client.get("/").status_code


def test_hundred_megabytes_of_a_command_are_refused_before_they_are_taken(site: Site) -> None:
    before, sent = resident(site.kernel), 0
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(str(socket_path(site.db)))
        try:
            for _ in range(100):
                stream.sendall(b"x" * MB)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 100
    assert resident(site.kernel) - before < 24 * MB
    assert 0 == ocap("status", "--db", site.db).returncode


def told(what: str, alone: float, crowded: float, shares: tuple[float, float], found: dict[str, int]) -> None:
    ratio = f"{crowded / alone:.2f}"
    print(
        f"{what}: {found}; kernel's time for {ROUNDS} rounds: {alone:.2f} s alone, {crowded:.2f} s crowded, x{ratio};",
        end=" ",
    )
    print(f"its share of a processor for them: {shares[0]:.3f} as they came, {shares[1]:.3f} as they stayed")
