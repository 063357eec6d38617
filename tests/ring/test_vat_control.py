"""Restart, suspend, resume, terminate: what the host can do to a vat, and what becomes of its messages."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ocap import (
    ClusterConfig,
    DisconnectedError,
    E,
    Kernel,
    Subcluster,
    VatConfig,
    VatNotFoundError,
    VatTerminatedError,
)

SOURCE = """
from vats import Baggage, E, Exo, make_promise_kit


class Counter(Exo):
    def __init__(self, baggage):
        self.baggage = baggage
        self.on_heap = 0

    async def bootstrap(self, vats, services):
        return "ready"

    async def count(self):
        self.on_heap += 1
        self.baggage["total"] = self.baggage.get("total", 0) + 1
        return [self.on_heap, self.baggage["total"]]

    async def wait(self):
        await make_promise_kit().promise


def build_root_object(powers, parameters, baggage):
    return Counter(baggage)
"""


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    source = tmp_path / "counter.py"
    source.write_text(SOURCE)
    return ClusterConfig("counter", {"counter": VatConfig(str(source))}, name="counting")


async def launched(kernel: Kernel, config: ClusterConfig) -> tuple[Subcluster, str]:
    subcluster = await kernel.launch_subcluster(config)
    assert await E(subcluster.root).count() == [1, 1]
    return subcluster, subcluster.vats["counter"].id


async def test_a_restarted_vat_keeps_what_is_durable_and_loses_its_heap(config: ClusterConfig) -> None:
    async with Kernel() as kernel:
        subcluster, vat = await launched(kernel, config)
        await kernel.restart_vat(vat)
        assert await E(subcluster.root).count() == [1, 2]
        assert kernel.get_vat(vat).incarnation == 1
        assert kernel.verify() == []


async def test_who_waits_for_a_restarted_vat_is_told(config: ClusterConfig) -> None:
    async with Kernel() as kernel:
        subcluster, vat = await launched(kernel, config)
        answer = E(subcluster.root).wait()
        await kernel.idle()
        await kernel.restart_vat(vat)
        with pytest.raises(DisconnectedError, match="incarnation 0 of v1 ended: it was restarted"):
            await answer


async def test_a_suspended_vat_gets_its_messages_in_order_when_it_is_resumed(config: ClusterConfig) -> None:
    async with Kernel() as kernel:
        subcluster, vat = await launched(kernel, config)
        await kernel.suspend_vat(vat)
        answers = [E(subcluster.root).count() for _ in range(3)]
        await kernel.idle()
        assert kernel.get_vat(vat).state == "suspended"
        await kernel.resume_vat(vat)
        assert [await answer for answer in answers] == [[1, 2], [2, 3], [3, 4]]
        assert kernel.verify() == []


async def test_a_suspended_vat_stays_so_over_a_restart_of_the_kernel(config: ClusterConfig, tmp_path: Path) -> None:
    async with Kernel(tmp_path / "k.db") as kernel:
        subcluster, vat = await launched(kernel, config)
        await kernel.suspend_vat(vat)
        E.send_only(subcluster.root).count()
        await kernel.idle()
    async with Kernel(tmp_path / "k.db") as kernel:
        await kernel.idle()
        assert ("suspended", "the host asked for it") == (kernel.get_vat(vat).state, kernel.get_vat(vat).reason)
        await kernel.resume_vat(vat)
        assert kernel.get_vat(vat).reason is None
        assert await E(kernel.get_subclusters()[0].root).count() == [2, 3]


async def test_a_terminated_vat_answers_nobody(config: ClusterConfig) -> None:
    async with Kernel() as kernel:
        subcluster, vat = await launched(kernel, config)
        waiting = E(subcluster.root).wait()
        await kernel.idle()
        await kernel.terminate_vat(vat)
        with pytest.raises(VatTerminatedError):
            await waiting
        with pytest.raises(DisconnectedError):
            await E(subcluster.root).count()
        with pytest.raises(VatNotFoundError):
            kernel.get_vat(vat)
        await kernel.idle()
        assert kernel.verify() == []


@pytest.mark.parametrize("verb", ["restart_vat", "suspend_vat", "resume_vat", "terminate_vat"])
async def test_a_vat_that_is_not_there(verb: str) -> None:
    async with Kernel() as kernel:
        for vat in ("v9", "host", ""):
            with pytest.raises(VatNotFoundError):
                await getattr(kernel, verb)(vat)


async def test_control_in_the_middle_of_traffic(config: ClusterConfig) -> None:
    """Whatever comes between the cranks, every message is answered once."""
    async with Kernel() as kernel:
        subcluster, vat = await launched(kernel, config)
        totals: list[int] = []

        async def count() -> None:
            _, total = await E(subcluster.root).count()
            totals.append(total)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(count)
                nursery.start_soon(kernel.restart_vat, vat)
        assert sorted(totals) == list(range(2, 52))
        assert kernel.verify() == []
