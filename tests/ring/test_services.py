"""Kernel services: objects of the host program, whose methods may take as long as they like under trio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import ConfigError, DisconnectedError, E, Kernel, KernelClosedError
from tests.ring.clusters import launch, peers


class Desk:
    """A service of every kind of method."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.given: list[Any] = []
        self.cancelled = False

    async def wait(self) -> str:
        try:
            await self.event.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        return "waited"

    def at_once(self, x: int, *, y: int = 0) -> int:
        return x + y

    async def fail(self) -> None:
        raise LookupError("no such thing")

    async def give(self, thing: Any) -> str:
        self.given.append(thing)
        name: str = await E(thing).get_name()
        return name

    async def take(self) -> Any:
        return self.given[-1]

    async def relay(self, thing: Any) -> Any:
        return E(thing).get_name()

    async def unpassable(self) -> Any:
        return object()

    async def group(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fail)

    not_a_method = 3


def open_kernel(path: Path | None = None, desk: Desk | None = None) -> Kernel:
    kernel = Kernel(path)
    kernel.provide("desk", desk or Desk())
    return kernel


async def client(kernel: Kernel) -> Any:
    return (await kernel.launch_subcluster(peers("ab", services=["desk"]))).root


async def test_methods_plain_and_async_answer() -> None:
    desk = Desk()
    async with open_kernel(desk=desk) as kernel:
        a = await client(kernel)
        waiting = E(a).ask("desk", "wait")
        assert await E(a).ask("desk", "at_once", 3) == 3
        assert repr(waiting) == "<Promise pending>"
        assert kernel.status()["service_calls"] == 1
        desk.event.set()
        assert await waiting == "waited"


async def test_errors_cross_with_their_class() -> None:
    async with open_kernel() as kernel:
        a = await client(kernel)
        with pytest.raises(LookupError, match="no such thing"):
            await E(a).ask("desk", "fail")
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            await E(a).ask("desk", "at_once")
        with pytest.raises(TypeError, match="not passable"):
            await E(a).ask("desk", "unpassable")
        with pytest.raises(Exception, match="Exceptions from Trio nursery"):
            await E(a).ask("desk", "group")
        assert await E(a).ask("desk", "at_once", 1) == 1


@pytest.mark.parametrize("method", ["nope", "not_a_method", "_private"])
async def test_only_public_methods_are_there(method: str) -> None:
    async with open_kernel() as kernel:
        a = await client(kernel)
        with pytest.raises(AttributeError, match=method):
            await E(a).ask("desk", method)


async def test_references_cross_both_ways() -> None:
    desk = Desk()
    async with open_kernel(desk=desk) as kernel:
        a = await client(kernel)
        thing = await E(a).get_thing()
        assert await E(a).ask("desk", "give", thing) == "thing"
        assert desk.given == [thing]
        assert await E(a).is_thing(await E(a).ask("desk", "take"))


async def test_promises_cross_both_ways() -> None:
    async with open_kernel() as kernel:
        a = await client(kernel)
        later = E(a).later("k")
        name = E(a).ask("desk", "give", later)  # the service sends to it before it is settled
        relayed = E(a).ask("desk", "relay", later)  # its answer is a promise
        await E(a).settle("k", await E(a).make_thing("t"))
        assert await name == "t"
        assert await relayed == "t"


async def test_service_passes_between_vats_and_through_the_host() -> None:
    async with open_kernel() as kernel:
        a = await client(kernel)
        b = await E(a).get("b")
        service = await E(a).get("desk")
        assert await E(b).call(service, "at_once", 4) == 4
        assert await E(service).at_once(1, y=2) == 3
        assert await E(E(a).get("desk")).at_once(5) == 5


async def test_service_has_the_same_reference_in_the_next_run(path: Path) -> None:
    async with open_kernel(path) as kernel:
        await client(kernel)
    async with open_kernel(path) as kernel:
        (subcluster,) = kernel.get_subclusters()
        assert await E(subcluster.root).ask("desk", "at_once", 3) == 3


async def test_service_that_the_next_run_lacks_is_missed_at_the_call(path: Path) -> None:
    async with open_kernel(path) as kernel:
        await client(kernel)
    async with Kernel(path) as kernel:
        (subcluster,) = kernel.get_subclusters()
        with pytest.raises(DisconnectedError, match="does not provide this service"):
            await E(subcluster.root).ask("desk", "at_once", 3)
    async with open_kernel(path) as kernel:  # and is there again when it is provided again
        assert await E(kernel.get_subclusters()[0].root).ask("desk", "at_once", 3) == 3


async def test_call_under_way_when_the_kernel_is_left_is_cancelled_and_rejected_in_the_next_run(path: Path) -> None:
    desk = Desk()
    async with open_kernel(path, desk) as kernel:
        a = await client(kernel)
        await E(a).keep("answer", None)
        E.send_only(a).ask("desk", "wait")
        await kernel.idle()
        assert kernel.status()["service_calls"] == 1
    assert desk.cancelled
    async with open_kernel(path) as kernel:
        await kernel.idle()
        assert kernel.verify() == []
        assert await E(kernel.get_subclusters()[0].root).ask("desk", "at_once", 3) == 3


async def test_call_queued_when_the_kernel_is_left_is_made_in_the_next_run(path: Path) -> None:
    desk = Desk()
    desk.event.set()
    async with open_kernel(path, desk) as kernel:
        a = await client(kernel)
        thing = await E(a).get_counter()
        await kernel.idle()
        E.send_only(a).ask("desk", "give", thing)
    again = Desk()
    async with open_kernel(path, again) as kernel:
        await kernel.idle()
        while kernel.status()["service_calls"]:
            await trio.lowlevel.checkpoint()
    assert len(desk.given) + len(again.given) == 1


async def test_idle_does_not_wait_for_services() -> None:
    async with open_kernel() as kernel:
        a = await client(kernel)
        E.send_only(a).ask("desk", "wait")
        with trio.fail_after(10):
            await kernel.idle()
        assert kernel.status() | {"idle": True, "service_calls": 1} == kernel.status()


async def test_base_exception_of_a_service_comes_out_of_the_kernel() -> None:
    class Stop(BaseException):
        pass

    class Bad:
        def stop(self) -> None:
            raise Stop

    kernel = Kernel()
    kernel.provide("desk", Bad())
    with pytest.raises(Stop):
        async with kernel:
            a = await client(kernel)
            await E(a).ask("desk", "stop")


async def test_config_names_only_what_is_provided() -> None:
    kernel = Kernel()
    kernel.provide("desk", Desk())
    kernel.provide("secret", Desk(), system_only=True)
    async with kernel:
        for name in ("timer", "secret"):
            with pytest.raises(ConfigError, match=f"services: there is no service '{name}'; provided here: desk"):
                await kernel.launch_subcluster(peers(services=[name]))


async def test_names_of_services_are_checked() -> None:
    kernel = Kernel()
    kernel.provide("desk", Desk())
    with pytest.raises(ValueError, match="provided already"):
        kernel.provide("desk", Desk())
    for name in ("", "a b", "a/b", "a\nb"):
        with pytest.raises(ValueError, match="no name for a service"):
            kernel.provide(name, Desk())
    kernel.close()
    with pytest.raises(KernelClosedError):
        kernel.provide("other", Desk())


async def test_subcluster_without_the_service_has_no_way_to_it() -> None:
    async with open_kernel() as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(KeyError):
            await E(a).ask("desk", "at_once", 1)


class Register:
    """Notes in which order its calls begin."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    async def enter(self, number: int) -> None:
        self.begun.append(number)


async def test_calls_begin_in_the_order_of_their_messages() -> None:
    register = Register()
    kernel = Kernel()
    kernel.provide("register", register)
    async with kernel:
        cluster = await kernel.launch_subcluster(peers("a", services=["register"]))
        service = await E(cluster.root).get("register")
        for number in range(50):
            E.send_only(service).enter(number)
        await kernel.idle(services=True)
    assert list(range(50)) == register.begun
