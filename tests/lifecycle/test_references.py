"""References the host program revokes and pins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap import E, Kernel, KernelClosedError, NotPassableError, ObjectGoneError, RevokedError
from tests.lifecycle.clusters import counters
from tests.stores import rows_of


class TestRevoke:
    async def test_nobodys_reference_works_any_more(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "abc"))
            note = await E(kernel.root("v3")).get_note()
            for vat in ("v1", "v2"):
                await E(kernel.root(vat)).bootstrap({}, {"note": note})
            assert await E(made.root).ask("note", "get_text") == "durable"
            await kernel.revoke(note)
            with pytest.raises(RevokedError):
                await E(note).get_text()
            for vat in ("v1", "v2"):
                with pytest.raises(RevokedError, match="it was revoked"):
                    await E(kernel.root(vat)).ask("note", "get_text")
            assert (await E(made.root).get("note")) is note  # its identity stays
            assert await E(kernel.root("v3")).count() == [1, 1]
        async with Kernel(path, durability="process") as kernel:
            with pytest.raises(RevokedError):
                await E(kernel.root("v1")).ask("note", "get_text")

    async def test_again_changes_nothing(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            note = await E(made.root).get_note()
            await kernel.revoke(note)
            await kernel.idle()
            before = rows_of(path)
            await kernel.revoke(note)
            assert rows_of(path) == before

    async def test_a_root_may_be_revoked_and_its_vat_goes_on(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            note = await E(made.root).get_note()
            await kernel.revoke(made.root)
            with pytest.raises(RevokedError):
                await E(made.root).count()
            assert await E(note).get_text() == "durable"

    async def test_the_power_to_create_vats_may_be_revoked(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            await kernel.revoke(await E(made.root).get("vat_admin"))
            with pytest.raises(RevokedError):
                await E(made.root).create("counter.py")

    async def test_a_service_may_be_revoked(self, path: Path, source: Path) -> None:
        kernel = Kernel(path, durability="process")
        kernel.provide("bell", Bell())
        async with kernel:
            made = await kernel.launch_subcluster(counters(source, services=["bell"]))
            assert await E(made.root).ask("bell", "ring") == "ding"
            await kernel.revoke(await E(made.root).get("bell"))
            with pytest.raises(RevokedError):
                await E(made.root).ask("bell", "ring")

    async def test_one_that_has_gone_is_refused(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            root = made.root
            await kernel.terminate_subcluster(made.id)
            await kernel.idle()
            for operate in (kernel.revoke, kernel.pin):
                with pytest.raises(ObjectGoneError):
                    await operate(root)
            await kernel.unpin(root)

    @pytest.mark.parametrize("wrong", ["ko1", None, 3])
    async def test_what_is_no_reference_is_refused(self, path: Path, source: Path, wrong: Any) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            for operate in (kernel.revoke, kernel.pin, kernel.unpin):
                with pytest.raises(NotPassableError):
                    await operate(wrong)

    async def test_a_promise_is_refused(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            promise: Any = E(made.root).wait_durably()
            await kernel.idle()
            before = rows_of(path)
            for operate in (kernel.revoke, kernel.pin, kernel.unpin):
                with pytest.raises(NotPassableError, match="a promise"):
                    await operate(promise)
            assert rows_of(path) == before

    async def test_a_reference_of_another_kernel_is_refused(self, path: Path, source: Path) -> None:
        async with Kernel() as other:
            foreign = (await other.launch_subcluster(counters(source))).root
            async with Kernel(path, durability="process") as kernel:
                await kernel.launch_subcluster(counters(source))
                for operate in (kernel.revoke, kernel.pin, kernel.unpin):
                    with pytest.raises(NotPassableError, match="another kernel"):
                        await operate(foreign)

    async def test_only_a_kernel_that_runs_does_it(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            root = (await kernel.launch_subcluster(counters(source))).root
        for operate in (kernel.revoke, kernel.pin, kernel.unpin):
            with pytest.raises(KernelClosedError):
                await operate(root)


class TestPin:
    async def test_a_pinned_object_outlives_everybody_else(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            scrap = await E(made.root).get_scrap()
            await kernel.pin(scrap)
            kref = scrap.kref
            del scrap
            kernel.collect_garbage()
            await kernel.idle()
            assert await E(kernel.ref(kref)).get_text() == "scrap"

    async def test_a_durable_one_outlives_the_process(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            note = await E(made.root).get_note()
            await kernel.pin(note)
            kref = note.kref
        for _ in range(2):
            async with Kernel(path, durability="process") as kernel:
                kernel.collect_garbage()
                await kernel.idle()
                assert await E(kernel.ref(kref)).get_text() == "durable"

    async def test_unpinned_it_goes_when_nobody_holds_it(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await E(made.root).get_scrap()
            kernel.collect_garbage()
            await kernel.idle()
            census = kernel.census()
            scrap = await E(made.root).get_scrap()
            kref = scrap.kref
            await kernel.pin(scrap)
            await kernel.pin(scrap)  # which changes nothing
            await kernel.unpin(scrap)
            await kernel.unpin(scrap)
            del scrap
            kernel.collect_garbage()
            await kernel.idle()
            with pytest.raises(LookupError):
                kernel.ref(kref)
            assert kernel.census() == census

    async def test_the_root_of_a_dead_vat_stays_named_and_says_so(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await kernel.pin(made.root)
            await kernel.terminate_subcluster(made.id)
            await kernel.idle()
            with pytest.raises(ConnectionError, match="vat terminated"):
                await E(kernel.ref(made.root.kref)).count()
            await kernel.unpin(made.root)


class Bell:
    async def ring(self) -> str:
        return "ding"
