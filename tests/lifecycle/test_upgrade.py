"""Upgrade: one crank, whole or not at all, the old incarnation beside the new one until it stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve

from ocap import (
    ClusterConfig,
    ConfigError,
    E,
    IncarnationEndedError,
    Kernel,
    ObjectGoneError,
    Subcluster,
    UpgradeError,
    VatConfig,
    VatNotFoundError,
)
from tests.lifecycle.clusters import counters, edit, variant
from tests.stores import rows_of


def one(source: Path, **parameters: object) -> ClusterConfig:
    return ClusterConfig("counter", {"counter": VatConfig(str(source), parameters=parameters)}, name="one")


async def launched(kernel: Kernel, source: Path, **parameters: object) -> tuple[Subcluster, str]:
    made = await kernel.launch_subcluster(one(source, **parameters))
    return made, made.vats["counter"].id


async def test_new_code_takes_over_what_is_durable(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        assert await E(made.root).count() == [1, 1]
        edit(source, '"one"', '"two"')
        after = await kernel.upgrade_vat(vat)
        assert after.incarnation == 1
        assert await E(made.root).get_version() == "two"
        assert await E(made.root).count() == [1, 2]


async def test_another_source_and_other_parameters(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source, color="red")
        other = source.with_name("other.py")
        other.write_text(source.read_text().replace('"one"', '"other"'))
        assert (await kernel.upgrade_vat(vat, source=str(other))).source == str(other)
        assert await E(made.root).get_version() == "other"
        assert await E(made.root).get_parameters() == {"color": "red"}
        await kernel.upgrade_vat(vat, parameters={"color": "blue"})
        assert await E(made.root).get_parameters() == {"color": "blue"}
        assert await E(made.root).get_version() == "other"


FAILURES = {
    "code that does not run": ('VERSION = "one"', "raise RuntimeError('no')", "RuntimeError: no"),
    "a builder that raises": ('if parameters.get("broken"):', "if True:", "KeyError"),
    "a missing kind": ("class Note(DurableExo)", "class Memo(DurableExo)", "Note"),
    "a builder that never settles": (
        "def build_root_object",
        "async def build_root_object(p, q, b):\n    await make_promise_kit().promise\n\n\ndef unused",
        "did not settle",
    ),
    "a builder that exits": (
        "    return Counter(powers, parameters, baggage)",
        "    powers.exit_with_failure('no')\n    return Counter(powers, parameters, baggage)",
        "exited with failure",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_one_that_fails_leaves_the_old_incarnation_with_its_heap(path: Path, source: Path, failure: str) -> None:
    old, new, reason = FAILURES[failure]
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source, color="red")
        scrap, waiting = await E(made.root).get_scrap(), E(made.root).wait_durably()
        assert await E(made.root).count() == [1, 1]
        await kernel.idle()
        before, row = kernel.census(), kernel.get_vat(vat)
        edit(source, old, new)
        edit(source, "class Memo(DurableExo)", "class Memo(DurableExo)") if "Memo" in new else None
        with pytest.raises(UpgradeError, match=reason):
            await kernel.upgrade_vat(vat, parameters={"color": "blue"})
        await kernel.idle()
        assert kernel.get_vat(vat) == row
        assert kernel.census() == before
        assert await E(made.root).count() == [2, 2]
        assert await E(scrap).get_text() == "scrap"
        assert await E(made.root).get_parameters() == {"color": "red"}
        await E(made.root).settle("at last")
        assert await waiting == "at last"


async def test_promises_of_the_old_incarnation_say_which_and_why(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        waiting, durable = E(made.root).wait(), E(made.root).wait_durably()
        scrap, note = await E(made.root).get_scrap(), await E(made.root).get_note()
        await kernel.upgrade_vat(vat)
        with pytest.raises(IncarnationEndedError, match=f"incarnation 0 of {vat} ended: it was upgraded") as caught:
            await waiting
        assert (vat, 0, "it was upgraded") == (caught.value.vat, caught.value.incarnation, caught.value.reason)
        with pytest.raises(ObjectGoneError):
            await E(scrap).get_text()
        assert await E(note).get_text() == "durable"
        await E(made.root).settle(3)
        assert await durable == 3


async def test_ids_are_never_reused(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        seen = set()
        for _ in range(5):
            scrap = await E(made.root).get_scrap()
            assert scrap.kref not in seen
            seen.add(scrap.kref)
            await kernel.upgrade_vat(vat)
        assert kernel.get_vat(vat).incarnation == 5


async def test_a_hundred_upgrades_of_which_half_fail_leak_nothing(path: Path, source: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        made, vat = await launched(kernel, source)
        friend = (await kernel.launch_subcluster(one(source))).root
        census = {}
        for turn in range(100):
            if turn % 2:
                with pytest.raises(UpgradeError, match="broken"):
                    await kernel.upgrade_vat(vat, parameters={"broken": "broken", "friend": friend})
            else:
                await kernel.upgrade_vat(vat, parameters={"friend": friend, "turn": turn})
            if turn in (9, 99):
                kernel.collect_garbage()
                await kernel.idle()
                census[turn] = kernel.census()
        assert census[9] == census[99]
        assert kernel.get_vat(vat).incarnation == 50
        assert await E((await E(made.root).get_parameters())["friend"]).get_version() == "one"


async def test_what_is_given_is_kept_by_a_reload(path: Path, source: Path) -> None:
    other = variant(source, "other")
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source, color="red")
        friend = (await kernel.launch_subcluster(one(source))).root
        await kernel.upgrade_vat(vat, source=str(other))
        expected = VatConfig(str(other), parameters={"color": "red"})
        assert {"counter": expected} == kernel.get_subcluster(made.id).config.vats
        await kernel.upgrade_vat(vat, parameters={"friend": [friend, friend]})
        await kernel.upgrade_vat(vat)
        expected = VatConfig(str(other), parameters={"friend": [friend, friend]})
        assert {"counter": expected} == kernel.get_subcluster(made.id).config.vats
        new = await kernel.reload_subcluster(made.id)
        assert "two" == await E(new.root).get_version()
        assert {"friend": [friend, friend]} == await E(new.root).get_parameters()


async def test_one_that_fails_leaves_the_config_too(path: Path, source: Path) -> None:
    bad = variant(source, "bad", "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source, color="red")
        await kernel.idle()
        before = rows_of(path)
        with pytest.raises(UpgradeError, match="no"):
            await kernel.upgrade_vat(vat, source=str(bad), parameters={"root": made.root})
        await kernel.idle()
        assert before == rows_of(path)


async def test_one_that_brings_nothing_leaves_what_the_config_wants(path: Path, source: Path) -> None:
    """An update asked for a source that failed; the vat is restarted with the text of the one it has."""
    bad = variant(source, "bad", "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        config = evolve(made.config, vats={"counter": VatConfig(str(bad))})
        await kernel.update_subcluster(made.id, config)
        assert str(source) == (await kernel.upgrade_vat(vat)).source
        assert config == kernel.get_subcluster(made.id).config


async def test_the_second_of_two_keeps_what_the_first_brought(path: Path, source: Path) -> None:
    other = variant(source, "other")
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(kernel.upgrade_vat, vat, source=str(other)))
            nursery.start_soon(partial(kernel.upgrade_vat, vat, parameters={"color": "blue"}))
        now = kernel.get_vat(vat)
        assert (2, str(other)) == (now.incarnation, now.source)
        assert {"color": "blue"} == await E(made.root).get_parameters()
        expected = VatConfig(str(other), parameters={"color": "blue"})
        assert {"counter": expected} == kernel.get_subcluster(made.id).config.vats


async def test_one_of_a_dynamic_vat_is_no_matter_of_the_config(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(evolve(one(source), services=["vat_admin"]))
        await E(made.root).create("counter.py", name="counter")
        await kernel.upgrade_vat("v2", parameters={"x": 1})
        assert made.config == kernel.get_subcluster(made.id).config


async def test_one_that_the_config_cannot_keep_fails(path: Path, source: Path) -> None:
    """A body has at most 4 MB: two vats may have 3 MB each, but not a config of both."""
    large = b"x" * 3_000_000
    async with Kernel(path, durability="process") as kernel:
        made = await kernel.launch_subcluster(counters(source, "ab"))
        await kernel.upgrade_vat("v1", parameters={"x": large})
        with pytest.raises(UpgradeError, match=r"config cannot keep what it is to be: .* over the limit"):
            await kernel.upgrade_vat("v2", parameters={"x": large})
        assert [1, 0] == [vat.incarnation for vat in kernel.get_vats()]
        assert {} == kernel.get_subcluster(made.id).config.vats["b"].parameters


async def test_a_suspended_vat_is_upgraded_and_stays_suspended(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        await kernel.suspend_vat(vat)
        answer = E(made.root).get_version()
        edit(source, '"one"', '"two"')
        assert (await kernel.upgrade_vat(vat)).state == "suspended"
        await kernel.resume_vat(vat)
        assert await answer == "two"


async def test_one_of_a_vat_that_ended_meanwhile_is_answered(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        _, vat = await launched(kernel, source)
        await kernel.terminate_vat(vat)
        with pytest.raises(VatNotFoundError):
            await kernel.upgrade_vat(vat)


async def test_bad_input_changes_nothing(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source)
        with pytest.raises(ConfigError, match="no such file"):
            await kernel.upgrade_vat(vat, source="nowhere.py")
        with pytest.raises(ConfigError, match=r"parameters\['now'\]: a promise"):
            await kernel.upgrade_vat(vat, parameters={"now": E(made.root).wait()})
        with pytest.raises(ConfigError, match=r"parameters\[\"f\"\]"):
            await kernel.upgrade_vat(vat, parameters={"f": print})
        assert kernel.get_vat(vat).incarnation == 0


async def test_after_a_restart_only_the_new_incarnation_comes_back(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        made, vat = await launched(kernel, source, color="red")
        edit(source, '"one"', '"two"')
        await kernel.upgrade_vat(vat, parameters={"color": "blue"})
        made_id = made.id
    async with Kernel(path, durability="process") as kernel:
        root = kernel.get_subcluster(made_id).root
        assert await E(root).get_version() == "two"
        assert await E(root).get_parameters() == {"color": "blue"}
        assert kernel.get_vat(vat).incarnation == 2
