"""System subclusters: declared by the host program at its start, and then as it declared them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap import (
    ClusterConfig,
    ConfigError,
    CriticalVatError,
    E,
    Kernel,
    LaunchError,
    SubclusterNotFoundError,
    VatConfig,
)
from tests.lifecycle.clusters import change, counters, edit, ids, states, variant


class Vault:
    async def open(self) -> str:
        return "opened"


def kernel_with(path: Path | None, *, power: bool = True, **system: ClusterConfig) -> Kernel:
    kernel = Kernel(path, durability="process", system=system)
    if power:
        kernel.provide("vault", Vault(), system_only=True)
    return kernel


class TestDeclared:
    async def test_one_is_launched_once_and_found_by_its_name(self, path: Path, source: Path) -> None:
        bank = counters(source)
        async with kernel_with(path, bank=bank) as kernel:
            made = kernel.get_system_subcluster("bank")
            assert ("bank", True, "ready") == (made.name, made.is_system, made.result)
            assert await E(made.root).count() == [1, 1]
        async with kernel_with(path, bank=bank) as kernel:
            again = kernel.get_system_subcluster("bank")
            assert (made.id, ids(made)) == (again.id, ids(again))
            assert await E(again.root).count() == [1, 2]
            assert 1 == len(kernel.get_subclusters())

    async def test_nothing_of_it_is_started_before_it_is_needed(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, "abc")):
            pass
        async with kernel_with(path, bank=counters(source, "abc")) as kernel:
            await kernel.idle()
            assert 0 == kernel.status()["workers"]

    async def test_a_changed_config_is_applied(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, "ab")) as kernel:
            root = kernel.get_system_subcluster("bank").root
            assert await E(root).ask("b", "count") == [1, 1]
        changed = change(counters(source, "ab"), "b", parameters={"rate": 3})
        async with kernel_with(path, bank=change(changed, "c")) as kernel:
            made = kernel.get_system_subcluster("bank")
            assert {"a": "v1", "b": "v2", "c": "v3"} == ids(made)
            assert await E(made.root).ask("b", "get_parameters") == {"rate": 3}
            assert await E(made.root).ask("b", "count") == [1, 2]

    async def test_an_upgrade_that_fails_is_logged_and_tried_again_at_each_start(
        self, path: Path, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with kernel_with(path, bank=counters(source)):
            pass
        bad = variant(source, "bad", "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
        changed = change(counters(source), "a", source=str(bad))
        for _ in range(2):
            caplog.clear()
            async with kernel_with(path, bank=changed) as kernel:
                root = kernel.get_system_subcluster("bank").root
                assert "one" == await E(root).get_version()
            (said,) = [record.getMessage() for record in caplog.records if "system" in record.getMessage()]
            assert said.startswith("system subcluster bank: vat a: the code cannot be loaded: RuntimeError: no")
        edit(bad, "raise RuntimeError('no')", 'VERSION = "two"')
        async with kernel_with(path, bank=changed) as kernel:
            assert "two" == await E(kernel.get_system_subcluster("bank").root).get_version()

    async def test_one_that_is_declared_no_more_is_terminated(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source), mint=counters(source)) as kernel:
            assert {"bank", "mint"} == {it.name for it in kernel.get_subclusters()}
            other = await kernel.launch_subcluster(counters(source))
        async with kernel_with(path, mint=counters(source)) as kernel:
            await kernel.idle()
            assert {"mint", other.name} == {it.name for it in kernel.get_subclusters()}
            assert {"v2", "v3"} == set(states(kernel))
            with pytest.raises(SubclusterNotFoundError, match="there is no system subcluster bank"):
                kernel.get_system_subcluster("bank")

    async def test_one_of_another_name_is_another_one(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source)) as kernel:
            assert await E(kernel.get_system_subcluster("bank").root).count() == [1, 1]
        async with kernel_with(path, house=counters(source)) as kernel:
            assert await E(kernel.get_system_subcluster("house").root).count() == [1, 1]

    async def test_it_may_be_reloaded_and_stays_the_systems(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source)) as kernel:
            new = await kernel.reload_subcluster(kernel.get_system_subcluster("bank").id)
            assert (new.id, True) == (kernel.get_system_subcluster("bank").id, new.is_system)
        async with kernel_with(path, bank=counters(source)) as kernel:
            assert new.id == kernel.get_system_subcluster("bank").id

    async def test_one_that_was_terminated_is_launched_again_at_the_next_start(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source)) as kernel:
            old = kernel.get_system_subcluster("bank").id
            await kernel.terminate_subcluster(old)
        async with kernel_with(path, bank=counters(source)) as kernel:
            assert old != kernel.get_system_subcluster("bank").id

    async def test_a_subcluster_of_that_name_that_is_not_the_systems_is_not_meant(
        self, path: Path, source: Path
    ) -> None:
        async with kernel_with(path) as kernel:
            config = counters(source)
            await kernel.launch_subcluster(ClusterConfig(config.bootstrap, config.vats, (), "bank"))
        async with kernel_with(path, bank=counters(source)) as kernel:
            assert "s2" == kernel.get_system_subcluster("bank").id
        async with kernel_with(path) as kernel:
            assert ["s1"] == [it.id for it in kernel.get_subclusters()]

    @pytest.mark.parametrize("failure", ["config", "code"])
    async def test_one_that_fails_keeps_the_kernel_from_starting_and_is_tried_again(
        self, path: Path, source: Path, failure: str
    ) -> None:
        good = source.read_text()
        config = counters(source)
        if failure == "config":
            config = ClusterConfig("a", {"a": VatConfig("nowhere.py")})
        else:
            edit(source, 'return "ready"', "raise ValueError('no')")
        with pytest.raises(ConfigError if failure == "config" else LaunchError):
            async with kernel_with(path, bank=config):
                raise AssertionError("it must not be entered")
        source.write_text(good)
        async with kernel_with(path, bank=counters(source)) as kernel:
            assert await E(kernel.get_system_subcluster("bank").root).count() == [1, 1]
            assert 1 == len(kernel.get_subclusters())

    async def test_the_root_of_one_is_a_service_for_all(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source)) as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["bank"]))
            assert await E(made.root).ask("bank", "count") == [1, 1]
            assert await E(kernel.get_system_subcluster("bank").root).count() == [2, 2]

    async def test_one_whose_first_vat_has_gone_is_no_service_and_harms_nobody(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, "ab")) as kernel:
            await kernel.terminate_vat(kernel.get_system_subcluster("bank").vats["a"].id)
            await kernel.idle()
            await kernel.launch_subcluster(counters(source))
            with pytest.raises(ConfigError, match="there is no service 'bank'"):
                await kernel.launch_subcluster(counters(source, services=["bank"]))


class TestOffered:
    async def test_one_is_launched_when_it_is_wanted_and_once(self, path: Path, source: Path) -> None:
        ids = []
        for _ in range(2):
            kernel = Kernel(path, durability="process")
            kernel.offer("bank", counters(source))
            async with kernel:
                assert [] == [it for it in kernel.get_subclusters() if it.id not in ids]
                made = [await kernel.launch_offered("bank") for _ in range(2)]
                assert {("bank", True, "ready")} == {(it.name, it.is_system, it.result) for it in made}
                ids += [it.id for it in made]
                with pytest.raises(SubclusterNotFoundError, match="no system subcluster mint is offered"):
                    await kernel.launch_offered("mint")
        assert ["s1"] * 4 == ids

    async def test_one_whose_first_vat_has_gone_is_there_all_the_same(self, path: Path, source: Path) -> None:
        kernel = Kernel(path, durability="process")
        kernel.offer("bank", counters(source, "ab"))
        async with kernel:
            made = await kernel.launch_offered("bank")
            await kernel.terminate_vat(made.vats["a"].id)
            await kernel.idle()
            assert made.id == (await kernel.launch_offered("bank")).id


class TestPower:
    async def test_the_systems_may_use_what_is_for_them_only(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, services=["vault"])) as kernel:
            assert await E(kernel.get_system_subcluster("bank").root).ask("vault", "open") == "opened"

    @pytest.mark.parametrize("how", ["services", "endowments"])
    async def test_others_are_refused_as_if_it_were_not_there(self, source: Path, how: Any) -> None:
        texts = []
        for power in (True, False):
            async with kernel_with(None, power=power) as kernel:
                made = await kernel.launch_subcluster(counters(source))
                config = counters(source, **{how: ["vault"]})
                with pytest.raises(ConfigError) as caught:
                    await kernel.launch_subcluster(config)
                texts.append(str(caught.value))
                with pytest.raises(ConfigError) as caught:
                    await kernel.update_subcluster(made.id, config)
                texts.append(str(caught.value))
        assert 1 == len(set(texts))
        assert "there is no service 'vault'" in texts[0]

    async def test_a_vat_of_another_cannot_be_critical_by_its_admin(self, path: Path, source: Path) -> None:
        async with kernel_with(path) as kernel:
            made = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            with pytest.raises(ValueError, match="only a system subcluster"):
                await E(made.root).create("counter.py", critical=True)


class TestCritical:
    @pytest.mark.parametrize(
        ("method", "argument", "options", "reason"),
        [
            ("leave", "bye", {}, "it exited"),
            ("fail", "no", {}, "it exited with failure"),
            ("break_down", None, {"on_fault": "panic", "fault_limit": 1}, "used more than"),
            ("break_down", None, {"on_fault": "terminate", "fault_limit": 1}, "used more than"),
        ],
    )
    async def test_its_death_stops_the_kernel_loudly_and_is_tried_again_at_the_next_start(
        self, path: Path, source: Path, method: str, argument: Any, options: dict[str, Any], reason: str
    ) -> None:
        bank = counters(source, critical=True, **options)
        arguments = () if argument is None else (argument,)
        with pytest.raises(CriticalVatError, match=rf"vat a \(v1\): {reason}"):
            async with kernel_with(path, bank=bank) as kernel:
                root = kernel.get_system_subcluster("bank").root
                assert await E(root).count() == [1, 1]
                getattr(E.send_only(root), method)(*arguments)
                await kernel.idle()
                raise AssertionError("it must have stopped")
        with pytest.raises(CriticalVatError, match=reason):
            async with kernel_with(path, bank=bank) as kernel:
                await kernel.idle()
                raise AssertionError("it must have stopped")
        for name in ("leave", "fail", "break_down"):
            edit(
                source,
                f"async def {name}(self",
                f"async def {name}(self, *_: Any) -> None:\n        return\n\n    async def _{name}(self",
            )
        async with kernel_with(path, bank=bank) as kernel:
            await kernel.idle()
            root = kernel.get_system_subcluster("bank").root
            assert await E(root).count() == [1, 2]
            assert [] == kernel.get_dead_letters()

    async def test_a_message_that_stops_it_at_each_start_is_held_by_suspending_the_vat_first(
        self, path: Path, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, critical=True))
            assert [1, 1] == await E(made.root).count()
        for _ in range(2):
            with pytest.raises(CriticalVatError):
                async with Kernel(path, durability="process") as kernel:
                    E.send_only(kernel.root("v1")).leave("bye")
                    await kernel.idle()
        async with Kernel(path, durability="process") as kernel:
            await kernel.suspend_vat("v1")
            await kernel.idle()
            assert ["vat v1 is suspended: the host asked for it"] == [
                record.getMessage() for record in caplog.records if record.levelname == "WARNING"
            ]
            edit(source, "self.powers.exit(value)", "return None")
            await kernel.upgrade_vat("v1")
            await kernel.resume_vat("v1")
            await kernel.idle()
            assert [1, 2] == await E(kernel.root("v1")).count()

    async def test_a_fault_below_the_limit_does_not(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, critical=True, on_fault="panic")) as kernel:
            E.send_only(kernel.get_system_subcluster("bank").root).break_down()
            await kernel.idle()
            assert {"v1": "live"} == states(kernel)
            assert (1, True) == (kernel.get_vat("v1").faults, kernel.get_vat("v1").critical)

    async def test_the_host_program_may_terminate_it(self, path: Path, source: Path) -> None:
        async with kernel_with(path, bank=counters(source, "ab", critical=True)) as kernel:
            await kernel.terminate_vat("v2")
            await kernel.idle()
            await kernel.terminate_subcluster("s1")
            await kernel.idle()
            assert [] == kernel.get_vats()
