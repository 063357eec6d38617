"""What the host program does to single vats: ping, upgrade and the rest, bad input too."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import (
    ClusterConfig,
    DisconnectedError,
    E,
    Kernel,
    KernelClosedError,
    LaunchError,
    RemoteError,
    UpgradeError,
    VatConfig,
    VatNotFoundError,
    VatSuspendedError,
    VatTerminatedError,
)
from ocap.kernel.items import CreateVat, TerminateVat
from ocap.protocol.refs import VatId
from tests.lifecycle.clusters import change, counters, edit, states, variant
from tests.stores import rows_of


def queue_end(kernel: Kernel, vat: str) -> None:
    """Have a vat's end queued just before whatever is asked next."""
    core = kernel._core
    item = TerminateVat(VatId(vat), "enough", 0)
    kernel._scheduler.submit(lambda: core.between_cranks(lambda: core.state.queue.push(item)))


class TestPing:
    async def test_a_vat_that_does_not_run_is_started(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
        async with Kernel(path, durability="process") as kernel:
            assert (0, False) == (kernel.status()["workers"], kernel.get_vat("v1").running)
            await kernel.ping_vat("v1")
            assert kernel.get_vat("v1").running
            assert (1, 1) == (kernel.status()["workers"], kernel.get_vat("v1").incarnation)

    async def test_a_suspended_one_is_refused(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            await kernel.suspend_vat("v1")
            with pytest.raises(VatSuspendedError, match=r"vat a \(v1\) is suspended"):
                await kernel.ping_vat("v1")

    async def test_one_that_does_not_start_is_suspended(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            edit(source, "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
            await kernel.restart_vat("v1")
            with pytest.raises(VatSuspendedError):
                await kernel.ping_vat("v1")
            assert {"v1": "suspended"} == states(kernel)
            assert "it did not start: the code cannot be loaded: RuntimeError: no" in str(kernel.get_vat("v1").reason)

    async def test_one_that_ends_before_its_turn(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            queue_end(kernel, "v1")
            with pytest.raises(VatTerminatedError):
                await kernel.ping_vat("v1")


class TestUpgrade:
    async def test_of_one_that_ends_before_its_turn(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            queue_end(kernel, "v1")
            with pytest.raises(VatNotFoundError, match="vat v1 was terminated before its turn came"):
                await kernel.upgrade_vat("v1", parameters={"x": 1})

    async def test_a_critical_vat_whose_new_code_exits_goes_on(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, critical=True))
            leaver = variant(source, "leaver", "def build_root_object", "def old_build")
            edit(
                leaver,
                "def old_build",
                "def build_root_object(p, q, b):\n    p.exit(3)\n    return Exo()\n\n\ndef old_build",
            )
            with pytest.raises(UpgradeError, match="it exited"):
                await kernel.upgrade_vat("v1", source=str(leaver))
            assert await E(made.root).count() == [1, 1]


class TestSuspend:
    async def test_again_changes_nothing_and_resume_of_a_live_one_neither(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await kernel.suspend_vat("v1")
            answer = E(made.root).count()
            await kernel.suspend_vat("v1")
            await kernel.idle()
            assert not answer.is_settled
            await kernel.resume_vat("v1")
            await kernel.resume_vat("v1")
            assert await answer == [1, 1]

    async def test_a_suspended_one_may_be_terminated_and_what_it_held_is_answered(
        self, path: Path, source: Path
    ) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await kernel.suspend_vat("v1")
            answers = [E(made.root).count() for _ in range(3)]
            await kernel.idle()
            await kernel.terminate_vat("v1")
            for answer in answers:
                with pytest.raises(VatTerminatedError, match="vat terminated"):
                    await answer

    async def test_a_suspended_one_is_not_started_by_collection_or_a_restart(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
            await kernel.suspend_vat("v1")
            kernel.collect_garbage()
            await kernel.restart_vat("v1")
            await kernel.restart_subcluster("s1")
            await kernel.idle()
            assert (0, "suspended", 0) == (
                kernel.status()["workers"],
                kernel.get_vat("v1").state,
                kernel.get_vat("v1").incarnation,
            )


class TestBadInput:
    @pytest.mark.parametrize("name", ["v9", "", "s1", "host", "kernel", "v2"])
    async def test_a_vat_that_is_not_there(self, path: Path, source: Path, name: str) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source, "ab"))
            await kernel.terminate_vat("v2")
            await kernel.idle()
            before = rows_of(path)
            operations: list[Any] = [kernel.ping_vat, kernel.restart_vat, kernel.suspend_vat, kernel.resume_vat]
            for operate in [*operations, kernel.terminate_vat, kernel.upgrade_vat]:
                with pytest.raises(VatNotFoundError, match=f"there is no vat {name}"):
                    await operate(name)
            for look in (kernel.get_vat, kernel.root):
                with pytest.raises(VatNotFoundError, match=f"there is no vat {name}"):
                    look(name)
            assert rows_of(path) == before

    async def test_a_kernel_that_does_not_run(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            await kernel.launch_subcluster(counters(source))
        for again in (kernel, Kernel(path, durability="process")):
            operations: list[Any] = [again.ping_vat, again.restart_vat, again.suspend_vat, again.resume_vat]
            for operate in [*operations, again.terminate_vat, again.upgrade_vat]:
                with pytest.raises(KernelClosedError):
                    await operate("v1")
            again.close()


class TestOfItsOwn:
    """Vats that vats create, with the real liveslots on both sides."""

    async def test_it_lives_with_its_parameters_and_over_restarts(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            root, admin = await E(made.root).create("counter.py", name="child", parameters={"parent": made.root})
            assert (await E(root).get_parameters())["parent"] is made.root
            assert await E(root).count() == [1, 1]
            assert await E(admin).ping() is True
            child = kernel.get_vat("v2")
            assert ("child", "s1", str(source)) == (child.name, child.subcluster_id, child.source)
        async with Kernel(path, durability="process") as kernel:
            assert await E(kernel.root("v1")).ask("root", "count") == [1, 2]
            assert await E(kernel.root("v1")).ask("admin", "ping") is True

    async def test_its_end_is_told_to_its_admin_with_the_value(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            root, admin = await E(made.root).create("counter.py")
            done, late = E(admin).done(), E(made.root).ask("admin", "done")
            E.send_only(root).leave({"answer": 42, "to": made.root})
            assert await done == await late == {"answer": 42, "to": made.root}
            root, admin = await E(made.root).create("counter.py")
            done = E(admin).done()
            E.send_only(root).fail(ValueError("enough"))
            with pytest.raises(ValueError, match="enough"):
                await done

    async def test_one_that_cannot_be_created_tells_why(self, path: Path, source: Path) -> None:
        bad = variant(source, "bad", 'VERSION = "one"', "raise RuntimeError('no such luck')")
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            with pytest.raises(LaunchError, match="no such luck"):
                await E(made.root).create(bad.name)
            with pytest.raises(LaunchError, match=r"nowhere\.py"):
                await E(made.root).create("nowhere.py")
            assert {"v1": "live"} == states(kernel)

    async def test_one_that_fails_is_a_matter_for_the_bootstrap_that_asked_for_it(
        self, path: Path, source: Path
    ) -> None:
        bad = variant(source, "bad", 'VERSION = "one"', "raise RuntimeError('no such luck')")
        edit(
            source,
            'return "ready"',
            f"""
        try:
            await E(services["vat_admin"]).create_vat("{bad.name}")
        except RuntimeError as error:
            return f"without it: {{error}}"
        return "with it\"""",
        )
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            assert made.result.startswith("without it: ")
            assert {"v1": "live"} == states(kernel)

    async def test_a_promise_in_its_parameters_is_refused_with_the_path(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            pending = E(made.root).wait()
            with pytest.raises((TypeError, RemoteError), match=r"parameters\['x'\]\[0\]: a promise cannot be kept"):
                await E(await E(made.root).get("vat_admin")).create_vat("counter.py", parameters={"x": [pending]})

    async def test_the_kernel_is_not_idle_while_one_is_created(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            E.send_only(made.root).create("counter.py")
            await kernel.idle()
            assert {"v1": "live", "v2": "live"} == states(kernel)

    async def test_the_host_may_do_all_it_does_to_others(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            root, admin = await E(made.root).create("counter.py")
            await kernel.suspend_vat("v2")
            answer = E(root).count()
            await kernel.upgrade_vat("v2", parameters={"x": 1})
            await kernel.resume_vat("v2")
            assert await answer == [1, 1]
            done = E(admin).done()
            await kernel.terminate_vat("v2", "by hand")
            with pytest.raises(DisconnectedError, match="by hand"):
                await done


async def test_the_log_has_the_name_of_a_vat_that_is_gone_by_the_commit(path: Path, source: Path) -> None:
    """Its last trace goes in the group of cranks in which it ended, before the log hears of that."""
    names: list[tuple[str, str]] = []
    kernel = Kernel(path, durability="process")
    kernel.observe(lambda event: names.append((event.kind, kernel.vat_name(event.vat))) if event.vat else None)
    async with kernel:
        with pytest.raises(LaunchError):
            await kernel.launch_subcluster(
                ClusterConfig("doomed", {"doomed": VatConfig(str(source), parameters={"broken": "no"})})
            )
    assert ("fault", "doomed") in names
    assert {"doomed"} == {name for kind, name in names if kind in ("deliver", "fault", "error") and name != "host"}


class TestBeforeItIsCreated:
    """What is asked of a vat that is entered, and whose creation waits for its turn."""

    async def added(self, kernel: Kernel, source: Path, *asked: str) -> list[str]:
        """Add vat b to a subcluster, and have methods of `Kernel` called on it before it is created; those that return."""
        made = await kernel.launch_subcluster(counters(source))
        await kernel.idle()
        core: Any = kernel._core
        next_crank = core.next_crank
        answers: list[str] = []

        async def ask(method: str) -> None:
            await getattr(kernel, method)("v2")
            answers.append(method)

        async with trio.open_nursery() as nursery:

            def before() -> Any:
                if not isinstance(core.state.queue.peek(), CreateVat):
                    return next_crank()
                core.next_crank = next_crank
                assert {"v1": "live", "v2": "new"} == states(kernel)
                for method in asked:
                    nursery.start_soon(ask, method)
                return None  # nothing to do, so the kernel takes what is asked

            core.next_crank = before
            done = await kernel.update_subcluster(made.id, change(made.config, "b"))
            assert {"b": None} == done.added
        return answers

    async def test_suspended_it_is_created_and_then_held(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            assert ["suspend_vat"] == await self.added(kernel, source, "suspend_vat")
            vat = kernel.get_vat("v2")
            assert ("suspended", 0, "the host asked for it") == (vat.state, vat.incarnation, vat.reason)
            answer = E(kernel.root("v2")).count()
            await kernel.idle()
            assert (False, 1) == (answer.is_settled, kernel.status()["workers"])
        async with Kernel(path, durability="process") as kernel:
            await kernel.idle()
            assert {"v1": "live", "v2": "suspended"} == states(kernel)
            await kernel.resume_vat("v2")
            assert [2, 2] == await E(kernel.root("v2")).count()
            assert 1 == kernel.get_vat("v2").incarnation

    @pytest.mark.parametrize("method", ["restart_vat", "resume_vat"])
    async def test_there_is_nothing_to_restart_or_resume(self, path: Path, source: Path, method: str) -> None:
        async with Kernel(path, durability="process") as kernel:
            assert [method] == await self.added(kernel, source, method)
            assert ("live", 0) == (kernel.get_vat("v2").state, kernel.get_vat("v2").incarnation)
            assert [1, 1] == await E(kernel.root("v2")).count()

    async def test_upgrade_and_ping_take_their_turn(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            asked = {"upgrade_vat", "ping_vat"}
            assert asked == set(await self.added(kernel, source, *asked))
            assert ("live", 1) == (kernel.get_vat("v2").state, kernel.get_vat("v2").incarnation)

    async def test_terminated_it_ends_when_it_has_been_created(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            assert ["terminate_vat"] == await self.added(kernel, source, "terminate_vat")
            await kernel.idle()
            assert {"v1": "live"} == states(kernel)


async def test_error_is_one_line_of_the_log_and_its_traceback_is_detail(
    path: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ocap")
    async with Kernel(path, durability="process") as kernel:
        await kernel.launch_subcluster(counters(source))
        with pytest.raises(KeyError):
            await E(kernel.root("v1")).get("nothing")
        crank = kernel.stats()["last_crank"] - 1  # the last told the host
    said = [it for it in caplog.records if "KeyError" in it.getMessage()]
    assert ["INFO", "DEBUG"] == [it.levelname for it in said]
    line, traceback = (it.getMessage() for it in said)
    assert line.startswith(f"in vat v1, crank {crank}: KeyError: 'nothing' ({source}, line ")
    assert line.endswith("), error v1.0.1")
    assert "Traceback (most recent call last)" in traceback


async def test_error_that_a_vat_raised_is_inert_in_the_log(
    path: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ocap")
    edit(source, 'return "ready"', r'raise ValueError("\x1b[2J, and turned \u202e round")')
    async with Kernel(path, durability="process") as kernel:
        with pytest.raises(LaunchError):
            await kernel.launch_subcluster(counters(source))
    said = [it.getMessage() for it in caplog.records if "turned" in it.getMessage()]
    assert 2 <= len(said)
    assert [] == [it for it in said if "\x1b" in it or "\u202e" in it]
