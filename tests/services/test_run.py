"""`ocap run` provides what a file asks for, and ends when nothing outside can wake it any more."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from ocap.verify import verify
from tests.commands import ocap, start_ocap

VAT = """
from typing import Any
from vats import E, Exo, VatPowers, spawn


class Root(Exo):
    def __init__(self, powers):
        self.powers = powers

    async def bootstrap(self, vats: dict, services: dict) -> Any:
        timer = services["timer"]
        before = await E(timer).now()
        after = await E(timer).delay(0.2)
        spawn(self.later(timer))
        return {"slept": after - before >= 0.2, "dice": await E(services["random"]).integer(6, 6)}

    async def later(self, timer):
        await E(timer).delay(SECONDS)
        print("late")

    async def wake(self, time: float) -> None:
        print("woken")


def build_root_object(powers, parameters, baggage):
    return Root(powers)
"""

CLUSTER = """
[subclusters.a]
bootstrap = "a"
services = ["timer", "random", "log"]

[subclusters.a.vats.a]
source = "a.py"
"""


def write(folder: Path, seconds: float, cluster: str = CLUSTER, vat: str = VAT) -> Path:
    (folder / "a.py").write_text(vat.replace("SECONDS", str(seconds)))
    (folder / "a.toml").write_text(cluster)
    return folder / "a.toml"


def test_it_waits_for_a_pending_timer_and_no_longer(tmp_path: Path, path: Path) -> None:
    for _ in range(2):
        done = ocap("run", write(tmp_path, 0.5), "--json", "--db", path)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"a": {"slept": True, "dice": 6}})
    assert "late" not in done.stderr  # that was in the first run: it waited


def test_a_timer_goes_on_in_the_next_run(tmp_path: Path, path: Path) -> None:
    vat = VAT.replace("spawn(self.later(timer))", "await E(timer).set_wakeup(after + SECONDS, self)")
    cluster = write(tmp_path, 3, vat=vat)
    started = start_ocap("run", cluster, "--db", path)
    assert started.stdout is not None
    assert started.stdout.readline() == 'a: {"slept": true, "dice": 6}\n'
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "woken" not in errors
    done = ocap("run", cluster, "--db", path)
    assert done.returncode == 0
    assert "woken" in done.stderr
    assert verify(path) == []


BAD = [
    ('["clock"]', "", "subclusters.a.services: there is no service 'clock'; provided here: http, log, random, timer"),
    ('["http"]', "", "services.http.hosts: is needed"),
    ('["http"]', '[services.http]\nhosts = ["x/y"]', "services.http.hosts: 'x/y' is no host"),
    ("[]", "[services.http]\nhosts = 3", "services.http.hosts: 3 will not do"),
    ("[]", "[services.http]\nhosts = []\nhost = 3", "services.http.host: unknown key; known here: hosts, max_bytes"),
    ("[]", "[services.log]\nlevel = 3", "services.log: has no options"),
    ("[]", "[[services]]\nhosts = 3", "services: must be a table"),
]


@pytest.mark.parametrize(("services", "more", "reason"), BAD)
def test_what_a_file_asks_in_vain(tmp_path: Path, services: str, more: str, reason: str) -> None:
    cluster = CLUSTER.replace('["timer", "random", "log"]', services)
    path = write(tmp_path, 0, f"{cluster}\n{more}\n")
    done = ocap("run", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ocap: {path}: {reason}")
