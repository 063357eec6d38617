"""Random numbers, the log, and the kernel as services: through a kernel, as vats use them."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio

from ocap import (
    BacklogError,
    ClusterConfig,
    ConfigError,
    E,
    Kernel,
    Ref,
    SubclusterNotFoundError,
    VatConfig,
    VatNotFoundError,
)
from ocap.host import services
from ocap.services import KernelFacet, Log, Random
from ocap.services.log import MAX_LINE
from ocap.services.random import MAX_BYTES
from ocap.verify import verify

CLIENT = str(Path(__file__).with_name("client.py"))


async def client(kernel: Kernel, *services: str) -> Ref[Any]:
    config = ClusterConfig("client", {"client": VatConfig(CLIENT)}, services=services)
    return (await kernel.launch_subcluster(config)).root


async def test_random_draws_what_it_says() -> None:
    kernel = Kernel()
    kernel.provide("random", Random())
    async with kernel:
        root = await client(kernel, "random")

        async def draw(method: str, *args: Any) -> Any:
            return await E(root).use("random", method, *args)

        assert len({await draw("bytes", 16) for _ in range(20)}) == 20
        assert {await draw("integer", 1, 3) for _ in range(60)} == {1, 2, 3}
        assert 0 <= await draw("number") < 1
        assert await draw("choice", ["a"]) == "a"
        assert sorted(await draw("shuffle", list(range(9)))) == list(range(9))
        assert isinstance(await draw("uuid"), UUID)
        assert (await draw("uuid")).version == 4
        for method, args in [("bytes", (-1,)), ("bytes", (MAX_BYTES + 1,)), ("integer", (2, 1))]:
            with pytest.raises(ValueError, match=method):
                await draw(method, *args)
        with pytest.raises(IndexError):
            await draw("choice", [])


def test_random_can_be_foreseen_in_tests() -> None:
    first, second = (Random(random.Random(7)) for _ in range(2))
    assert [first.integer(0, 99) for _ in range(9)] == [second.integer(0, 99) for _ in range(9)]
    assert first.uuid() == second.uuid()


async def test_log_passes_on_one_line_that_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    kernel = Kernel()
    kernel.provide("log", Log("bank"))
    async with kernel:
        root = await client(kernel, "log")
        with caplog.at_level(logging.DEBUG, "bank"):
            for level in ("debug", "info", "warning", "error"):
                await E(root).use("log", level, "100 %s", 3, "a\nb\x1b")
            await E(root).use("log", "info", "x" * 2 * MAX_LINE)
    *short, long = [(it.name, it.levelname, it.getMessage()) for it in caplog.records if it.name == "bank"]
    text = "100 %s 3 a\\u000ab\\u001b"
    assert [("bank", level, text) for level in ("DEBUG", "INFO", "WARNING", "ERROR")] == short
    assert len(long[2]) == MAX_LINE + 3


async def test_the_kernel_facet_does_what_the_host_program_can() -> None:
    kernel = Kernel()
    kernel.provide("kernel", KernelFacet(kernel), system_only=True)
    kernel.declare("warden", ClusterConfig("warden", {"warden": VatConfig(CLIENT)}, services=["kernel"]))
    async with kernel:
        warden = kernel.get_system_subcluster("warden")

        async def do(method: str, *args: Any) -> Any:
            return await E(warden.root).use("kernel", method, *args)

        config = {"bootstrap": "a", "vats": {"a": {"source": CLIENT, "parameters": {"friend": warden.root}}}}
        made = await do("launch_subcluster", config, "one")
        assert (made["name"], made["result"], made["is_system"]) == ("one", "ready", False)
        assert await E(made["root"]).get_kept() == []
        (vat,) = made["vats"].values()
        assert [it["name"] for it in await do("get_subclusters")] == ["warden", "one"]
        assert [it["name"] for it in await do("get_vats")] == ["warden", "a"]
        await do("ping_vat", vat)
        await do("restart_vat", vat)
        await do("ping_vat", vat)
        found = await do("get_vat", vat)
        assert (found["state"], found["incarnation"], found["subcluster"]) == ("live", 1, made["id"])
        await do("suspend_vat", vat)
        assert (await do("get_vat", vat))["state"] == "suspended"
        await do("resume_vat", vat)
        await do("restart_subcluster", made["id"])
        again = await do("reload_subcluster", made["id"])
        assert again["id"] != made["id"]
        assert (await do("get_subcluster", again["id"]))["vats"] == again["vats"]
        (vat,) = again["vats"].values()
        await do("terminate_vat", vat)
        with pytest.raises(VatNotFoundError):
            await do("get_vat", vat)
        await do("terminate_subcluster", again["id"])
        with pytest.raises(SubclusterNotFoundError):
            await do("terminate_subcluster", again["id"])
        with pytest.raises(ConfigError, match=r"vats\.a\.sauce: unknown key"):
            await do("launch_subcluster", {"bootstrap": "a", "vats": {"a": {"sauce": "x"}}})
        assert (await do("get_status"))["running"]
        assert kernel.verify() == []


async def test_system_services_are_for_system_subclusters() -> None:
    kernel = Kernel()
    kernel.provide("kernel", KernelFacet(kernel), system_only=True)
    async with kernel:
        with pytest.raises(ConfigError, match="there is no service 'kernel'"):
            await client(kernel, "kernel")


async def test_system_subclusters_are_declared_once_and_before() -> None:
    kernel = Kernel()
    config = ClusterConfig("a", {"a": VatConfig(CLIENT)})
    kernel.declare("a", config)
    with pytest.raises(ValueError, match="declared already"):
        kernel.declare("a", config)
    async with kernel:
        with pytest.raises(RuntimeError, match="before entering"):
            kernel.declare("b", config)


async def test_system_subcluster_that_is_offered_is_there_when_first_asked_for(path: Path) -> None:
    offered = ClusterConfig("a", {"a": VatConfig(CLIENT)})
    asking = ClusterConfig("b", {"b": VatConfig(CLIENT), "c": VatConfig(CLIENT, endowments=["x"])}, services=["x"])
    for round_ in range(2):
        kernel = Kernel(path)
        kernel.offer("x", offered)
        with pytest.raises(ValueError, match="declared already"):
            kernel.offer("x", offered)
        assert "x" in kernel.service_names()
        async with kernel:
            assert round_ == len(kernel.get_subclusters())
            if round_ == 0:
                with pytest.raises(ConfigError):
                    await kernel.launch_subcluster(ClusterConfig("b", {"b": VatConfig("nowhere.py")}, services=["x"]))
                assert [] == kernel.get_subclusters()
                async with trio.open_nursery() as nursery:  # at once: it is launched once
                    nursery.start_soon(kernel.launch_subcluster, asking)
                    nursery.start_soon(kernel.launch_subcluster, asking)
                assert ["x"] == [it.name for it in kernel.get_subclusters() if it.is_system]
                for it in kernel.get_subclusters():
                    if not it.is_system:
                        await kernel.terminate_subcluster(it.id)
            with pytest.raises(RuntimeError, match="before entering"):
                kernel.offer("y", offered)
    async with Kernel(path) as kernel:  # offers nothing: it stays
        assert "x" == kernel.get_system_subcluster("x").name
    async with Kernel(path, system={}) as kernel:  # declares that there is nothing
        assert [] == kernel.get_subclusters()
    assert [] == verify(path)


async def test_dry_run_of_an_update_does_not_launch_what_is_offered() -> None:
    kernel = Kernel()
    kernel.offer("x", ClusterConfig("a", {"a": VatConfig(CLIENT)}))
    async with kernel:
        made = await kernel.launch_subcluster(ClusterConfig("b", {"b": VatConfig(CLIENT)}))
        new = ClusterConfig("b", {"b": VatConfig(CLIENT, endowments=["x"])})
        assert {"b": None} == (await kernel.update_subcluster(made.id, new, dry_run=True)).upgraded
        assert [made.id] == [it.id for it in kernel.get_subclusters()]
        assert {"b": None} == (await kernel.update_subcluster(made.id, new)).upgraded
        assert "x" == kernel.get_system_subcluster("x").name


async def test_a_program_that_declares_none_leaves_system_subclusters_as_they_are(path: Path) -> None:
    config = ClusterConfig("a", {"a": VatConfig(CLIENT)})
    async with Kernel(path, system={"a": config}) as kernel:
        made = kernel.get_system_subcluster("a").id
    async with Kernel(path) as kernel:
        assert kernel.get_system_subcluster("a").id == made
    async with Kernel(path, system={}) as kernel:
        with pytest.raises(SubclusterNotFoundError):
            kernel.get_system_subcluster("a")


async def test_idle_waits_for_services_when_asked(path: Path) -> None:
    kernel = Kernel(path)
    kernel.provide("log", _Slow())
    async with kernel:
        root = await client(kernel, "log")
        answer = E(root).use("log", "wait")
        await kernel.idle(services=True)
        assert repr(answer) == "<Promise fulfilled>"


class _Slow:
    async def wait(self) -> None:
        import trio  # noqa: PLC0415

        for _ in range(3):
            await trio.sleep(0.01)


class Waiting:
    """A service that answers when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer = trio.Event()

    async def wait(self, _: str) -> int:
        self.begun += 1
        await self.may_answer.wait()
        return self.begun


@pytest.mark.parametrize(("limit", "number"), [("MAX_CALLS", 3), ("MAX_CALL_BYTES", 3_500)])
async def test_calls_beyond_a_bound_are_answered_at_once_and_never_begun(
    limit: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vat that asks for ever takes no memory for ever."""
    monkeypatch.setattr(services, limit, number)
    kernel, waiting = Kernel(), Waiting()
    kernel.provide("waiting", waiting)
    async with kernel:
        root = await client(kernel, "waiting")
        answers = [E(root).use("waiting", "wait", 1000 * "x") for _ in range(5)]
        for answer in answers[3:]:
            with pytest.raises(BacklogError, match="3 calls of services are under way"):
                await answer
        waiting.may_answer.set()
        for answer in answers[:3]:
            assert await answer <= 3
        assert waiting.begun == 3
        assert await E(root).use("waiting", "wait", "") == 4, "there is room again"
