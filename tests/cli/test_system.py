"""System subclusters that a file describes: there before the others ask for them, and as the file has them now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from ocap.cli.app import run_app
from ocap.daemon.protocol import RequestFailedError
from ocap.host.kernel import Kernel
from ocap.protocol.errors import ConfigError
from ocap.services.cluster_file import ClusterFile, Launches, load_cluster_file
from tests.commands import ocap
from tests.daemon.serving import Served, serving, toml, until

Capfd = pytest.CaptureFixture[str]

PRICES = """
from vats import DurableExo, E, Exo

class Asked(DurableExo):
    times: int = 0

    async def again(self):
        self.times += 1
        return self.times

class Prices(Exo):
    def __init__(self, powers, parameters, baggage):
        self.clock = powers.endowments["clock"]
        self.price = parameters["price"]
        self.asked = baggage.provide("asked", Asked)

    async def bootstrap(self, vats, services):
        if self.price < 0:
            raise ValueError("no such price")
        subclusters = await E(services["kernel"]).get_subclusters()
        return [it["name"] for it in subclusters]

    async def price_of(self, thing):
        assert await E(self.clock).now() > 0
        return [thing, self.price, await self.asked.again()]

def build_root_object(powers, parameters, baggage):
    return Prices(powers, parameters, baggage)
"""

SHOP = """
from vats import E, Exo

class Shop(Exo):
    async def bootstrap(self, vats, services):
        return await E(services["prices"]).price_of("tea")

def build_root_object(powers, parameters, baggage):
    return Shop()
"""

SYSTEM = """
[system.prices]
bootstrap = "prices"
services = ["kernel"]
[system.prices.vats.prices]
source = "prices.py"
endowments = ["clock"]
parameters = { price = 3 }
"""
CLUSTER = f"""
{SYSTEM}
[subclusters.shop]
bootstrap = "shop"
services = ["prices"]
[subclusters.shop.vats.shop]
source = "shop.py"
"""


@pytest.fixture
def file(folder: Path) -> Path:
    (folder / "prices.py").write_text(PRICES)
    (folder / "shop.py").write_text(SHOP)
    (folder / "s.toml").write_text(CLUSTER)
    return folder / "s.toml"


def test_run_gives_others_its_root_as_a_service(file: Path, capfd: Capfd) -> None:
    assert 0 == run_app(["run", str(file), "--json"])
    assert ('{"shop": ["tea", 3, 1]}\n', "") == capfd.readouterr()


def test_one_that_is_there_is_given_the_config_of_the_file_and_keeps_its_state(file: Path, capfd: Capfd) -> None:
    db = str(file.with_name("k.db"))
    assert 0 == run_app(["run", str(file), "--db", db])
    second = "[subclusters.second]" + CLUSTER.partition("[subclusters.shop]")[2].replace(".shop.", ".second.")
    file.write_text(CLUSTER.replace("price = 3", "price = 4") + second)
    assert 0 == run_app(["run", str(file), "--db", db])
    out = ['shop: ["tea", 3, 1]', 'shop: ["tea", 3, 1]', 'second: ["tea", 4, 2]']
    assert ("\n".join([*out, ""]), "") == capfd.readouterr()


def test_one_that_the_file_has_no_more_stays_with_those_who_have_it(file: Path) -> None:
    db = str(file.with_name("k.db"))
    for cluster in (file, file.with_name("c.toml")):
        assert 0 == run_app(["run", str(cluster), "--db", db])
    kernel = Kernel(db)
    assert {"prices": True, "shop": False, "c": False} == {it.name: it.is_system for it in kernel.get_subclusters()}
    kernel.close()


def test_one_that_fails_is_told_with_those_who_ask_for_it(file: Path, capfd: Capfd) -> None:
    file.write_text(CLUSTER.replace("price = 3", "price = -1"))
    assert 1 == run_app(["run", str(file)])
    reason = "bootstrap raised ValueError: no such price"
    assert ("", [f"ocap: prices: {reason}", f"ocap: shop: prices: {reason}"]) == (
        (said := capfd.readouterr()).out,
        sorted(said.err.splitlines()),
    )


def test_one_that_nobody_asks_for_is_there_too(file: Path, capfd: Capfd) -> None:
    file.write_text(SYSTEM)
    db = file.with_name("k.db")
    assert 0 == run_app(["run", str(file), "--db", str(db)])
    assert ("", "") == capfd.readouterr()
    kernel = Kernel(db)
    assert [("prices", True)] == [(it.name, it.is_system) for it in kernel.get_subclusters()]
    kernel.close()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("prices.py", "nope.py", "system.prices.vats.prices.source: {folder}/nope.py: no such file"),
        (
            '["clock"]',
            '["cloak"]',
            "system.prices.vats.prices.endowments: there is no service 'cloak'; provided here: ",
        ),
        ("price = 3 }", "price = 3 }\nprize = 1", "system.prices.vats.prices.prize: unknown key"),
        ('["kernel"]', '["prices"]', "system.prices: none could be launched first: prices asks for prices"),
        ("system.prices", "system.timer", "system.timer: is the name of a service that is there without it"),
        ("subclusters.shop", "subclusters.prices", "system.prices: there is a [subclusters.prices] too"),
        ('services = ["prices"]', 'services = ["clock"]', "subclusters.shop.services: there is no service 'clock'"),
        ('services = ["prices"]', 'services = ["kernel"]', "subclusters.shop.services: there is no service 'kernel'"),
    ],
)
def test_errors_name_the_place_in_the_file(file: Path, old: str, new: str, reason: str) -> None:
    file.write_text(CLUSTER.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_cluster_file(file)
    assert str(caught.value).startswith(f"{file}: {reason.format(folder=file.parent)}")


def test_those_that_ask_for_each_other_in_a_circle_are_named(file: Path) -> None:
    circle = SYSTEM.replace("prices", "one").replace("kernel", "two") + SYSTEM.replace("prices", "two").replace(
        "kernel", "one"
    )
    file.write_text(circle.replace("one.py", "prices.py").replace("two.py", "prices.py"))
    with pytest.raises(ConfigError, match=r"none could be launched first: (one asks for two asks for one|two.*two)$"):
        load_cluster_file(file)


# ---- in a daemon --------------------------------------------------------------------------------------


async def launched(it: Served, file: ClusterFile) -> dict[str, Any]:
    results: dict[str, Any] = {}
    launches = Launches(it.kernel, file, results.__setitem__, results.__setitem__)
    async with trio.open_nursery() as nursery:
        launches.start(nursery)
    return results


async def failure(it: Served, command: str, **arguments: Any) -> str:
    with pytest.raises(RequestFailedError) as caught:
        await it.client.call(command, **arguments)
    return caught.value.message


async def test_operators_see_update_and_launch_beside_it(file: Path) -> None:
    described = load_cluster_file(file)
    async with serving(file.with_name("k.db"), file=described) as it:
        assert {"shop": ["tea", 3, 1]} == await launched(it, described)
        told = {row["name"]: row["is_system"] for row in await it.client.call("subclusters")}
        assert {"prices": True, "shop": False} == told
        assert 1 == (await it.client.call("status"))["system_subclusters"]
        where = {"folder": it.folder}
        other = CLUSTER.replace("subclusters.shop", "subclusters.other")
        found = await it.client.call("launch", text=other, **where)
        assert [("other", ["tea", 3, 2])] == [(row["name"], row["result"]) for row in found]
        new = SYSTEM.replace("price = 3", "price = 5")
        assert ["prices"] == list((await it.client.call("update", subcluster="prices", text=new, **where))["upgraded"])
        answer = await it.client.call("send", target="prices", method="price_of", args=["rum"])
        assert {"answer": ["rum", 5, 3]} == answer
        wrong = new.replace("system.", "subclusters.").replace("kernel", "log").replace("clock", "log")
        assert "system: has to be one, [system.prices]" == await failure(
            it, "update", subcluster="prices", text=wrong, **where
        )
        way = "`ocap stop`, then `ocap start` with a file that has this table"
        for text, reason in [
            (toml() + SYSTEM, "system.prices: there is another system subcluster of this name; update it"),
            (
                toml() + new.replace("system.prices", "system.p"),
                f"system.p: is launched when the kernel starts: {way}",
            ),
            (new, "subclusters: at least one [subclusters.NAME] is needed"),
        ]:
            assert reason == await failure(it, "launch", text=text, **where)


async def test_launch_that_waits_is_said_to_be_the_systems(file: Path) -> None:
    source = PRICES.replace(
        "        if self.price < 0:\n", "        await make_promise_kit().promise\n        if True:\n"
    )
    (file.parent / "prices.py").write_text(source.replace("DurableExo, E, Exo", "DurableExo, E, Exo, make_promise_kit"))
    described = load_cluster_file(file)
    async with serving(file.with_name("k.db"), file=described) as it, trio.open_nursery() as nursery:
        failed: dict[str, str] = {}
        Launches(it.kernel, described, lambda *_: None, failed.__setitem__).start(nursery)
        await until(it.kernel.get_launches)
        (row,) = await it.client.call("subclusters")
        assert ("prices", True, "launching") == (row["name"], row["is_system"], row["state"])
        while len(failed) < 2:  # who asks for it tries it again
            for launch in it.kernel.get_launches():
                await it.client.call("terminate", what=launch.id)
            await it.kernel.idle()


def test_daemon_has_them_at_its_start_and_at_the_next_without_a_file(file: Path) -> None:
    db = file.with_name("k.db")
    done = ocap("start", file, "--db", db)
    assert (0, 'shop: ["tea", 3, 1]\n', "") == (done.returncode, done.stdout, done.stderr)
    assert "subclusters   2 (1 of the system)\n" in ocap("status").stdout
    assert " prices (system) " in ocap("list").stdout
    ocap("stop")
    assert 0 == ocap("start", "--db", db).returncode
    assert '["rum", 3, 2]\n' == ocap("send", "prices", "price_of", '"rum"').stdout
