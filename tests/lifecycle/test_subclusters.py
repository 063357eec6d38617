"""Update, reload, restart and termination of subclusters, each with a config of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from ocap import (
    ClusterConfig,
    ConfigError,
    DisconnectedError,
    E,
    Kernel,
    KernelClosedError,
    LaunchError,
    ObjectGoneError,
    SubclusterNotFoundError,
    UpgradeError,
    VatConfig,
    VatTerminatedError,
)
from ocap.kernel.items import TerminateVat
from ocap.protocol.refs import VatId
from ocap.verify import verify
from tests.lifecycle.clusters import change, counters, edit, ids, states, variant, without
from tests.stores import rows_of

BROKEN = ("def build_root_object", "raise RuntimeError('broken')\n\n\ndef build_root_object")


async def test_many_subclusters_each_with_its_own_vats(path: Path, source: Path) -> None:
    async with Kernel(path, durability="process") as kernel:
        one = await kernel.launch_subcluster(counters(source, "ab"))
        two = await kernel.launch_subcluster(counters(source, "abc"))
        alone = await kernel.launch_subcluster(counters(source, "a"))
        assert [one.id, two.id, alone.id] == [it.id for it in kernel.get_subclusters()]
        assert [{"a": "v1", "b": "v2"}, {"a": "v3", "b": "v4", "c": "v5"}, {"a": "v6"}] == [
            ids(it) for it in kernel.get_subclusters()
        ]
        await kernel.terminate_subcluster(two.id)
        assert [one.id, alone.id] == [it.id for it in kernel.get_subclusters()]
        assert {"v1", "v2", "v6"} == set(states(kernel))
        assert await E(one.root).ask("b", "count") == [1, 1]
        assert await E(alone.root).count() == [1, 1]
        with pytest.raises(DisconnectedError):
            await E(two.root).count()


class TestLaunches:
    """Whose bootstrap has not answered."""

    async def test_one_that_never_answers_is_seen_and_can_be_given_up(self, path: Path, source: Path) -> None:
        edit(source, 'return "ready"', "await make_promise_kit().promise")
        edit(source, "from vats import", "from vats import make_promise_kit, ")
        told: list[str] = []

        async def launch() -> None:
            with pytest.raises(LaunchError) as caught:
                await kernel.launch_subcluster(counters(source, "ab"))
            told.append(str(caught.value))

        async with Kernel(path, durability="process") as kernel, trio.open_nursery() as nursery:
            nursery.start_soon(launch)
            while not kernel.get_launches() or len(states(kernel)) < 2:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
            (waiting,) = kernel.get_launches()
            assert ("s1", "test", ["a", "b"]) == (waiting.id, waiting.name, list(waiting.config.vats))
            assert [] == kernel.get_subclusters()
            with pytest.raises(SubclusterNotFoundError, match="s1 is being launched: its bootstrap has not answered"):
                kernel.get_subcluster("s1")
            with pytest.raises(SubclusterNotFoundError, match="is being launched"):
                await kernel.reload_subcluster("s1")
            await kernel.terminate_subcluster("s1")
            await kernel.idle()
            assert [] == kernel.get_launches()
            assert {} == states(kernel)
        assert ["test: its launch was given up"] == told
        assert verify(path) == []


class TestRestart:
    async def test_the_same_ids_and_durable_state_with_new_heaps(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            assert await E(made.root).count() == [1, 1]
            assert await E(made.root).ask("b", "count") == [1, 1]
            edit(source, '"one"', '"two"')
            await kernel.restart_subcluster(made.id)
            assert ids(kernel.get_subcluster(made.id)) == ids(made)
            assert await E(made.root).count() == [1, 2]
            assert await E(made.root).ask("b", "count") == [1, 2]
            assert await E(made.root).ask("b", "get_version") == "two"
            assert [1, 1] == [vat.incarnation for vat in kernel.get_vats()]

    async def test_bootstrap_is_not_called_again(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            edit(source, 'return "ready"', 'return "again"')
            await kernel.restart_subcluster(made.id)
            await kernel.ping_vat("v1")
            assert kernel.get_subcluster(made.id).result == "ready"

    async def test_who_waits_is_told_and_vats_of_others_go_on(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            other = await kernel.launch_subcluster(counters(source))
            answer, elsewhere = E(made.root).wait(), E(other.root).count()
            await kernel.idle()
            await kernel.restart_subcluster(made.id)
            with (
                pytest.raises(DisconnectedError, match="incarnation 0 of v1 ended: it was restarted"),
                trio.fail_after(20),
            ):
                await answer
            assert await elsewhere == [1, 1]
            assert await E(other.root).count() == [2, 2]


class TestReload:
    async def test_a_clean_slate_under_a_new_id(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source, "ab", parameters={"x": 1}))
            assert await E(old.root).count() == [1, 1]
            new = await kernel.reload_subcluster(old.id)
            assert (new.id, new.name, new.config, new.result) == ("s2", old.name, old.config, "ready")
            assert set(ids(old).values()).isdisjoint(ids(new).values())
            assert await E(new.root).count() == [1, 1]
            assert await E(new.root).get_parameters() == {"x": 1}
            assert [new.id] == [it.id for it in kernel.get_subclusters()]
            with pytest.raises(VatTerminatedError):
                await E(old.root).count()
            with pytest.raises(SubclusterNotFoundError):
                await kernel.reload_subcluster(old.id)

    async def test_vats_that_were_terminated_are_there_again(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source, "abc"))
            await kernel.terminate_vat(old.vats["a"].id)  # the one that is bootstrapped
            await kernel.terminate_vat(old.vats["b"].id)
            await kernel.idle()
            now = kernel.get_subcluster(old.id)
            assert ({"c"}, "ready", [now]) == (set(now.vats), now.result, kernel.get_subclusters())
            with pytest.raises(ObjectGoneError):
                await E(now.root).count()
            new = await kernel.reload_subcluster(old.id)
            assert {"a": "v4", "b": "v5", "c": "v6"} == ids(new)
            assert await E(new.root).ask("b", "count") == [1, 1]

    async def test_vats_it_created_itself_are_not(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source, services=["vat_admin"]))
            await E(old.root).create("counter.py", name="a")
            assert 2 == len(kernel.get_vats())
            new = await kernel.reload_subcluster(old.id)
            assert {"a"} == set(new.vats)
            assert 1 == len(kernel.get_vats())
            await E(new.root).create("counter.py")  # the power is there again, for the new one

    async def test_references_in_its_parameters_are_the_same(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            friend = (await kernel.launch_subcluster(counters(source))).root
            old = await kernel.launch_subcluster(counters(source, parameters={"friend": friend}))
            new = await kernel.reload_subcluster(old.id)
            assert (await E(new.root).get_parameters())["friend"] is friend

    @pytest.mark.parametrize("failure", ["code", "bootstrap", "source"])
    async def test_one_that_fails_leaves_the_old_one_running(self, path: Path, source: Path, failure: str) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source, "ab"))
            waiting = E(old.root).wait_durably()
            assert await E(old.root).count() == [1, 1]
            await kernel.idle()
            before = rows_of(path)
            if failure == "code":
                edit(source, *BROKEN)
            elif failure == "bootstrap":
                edit(source, 'return "ready"', "raise ValueError('not today')")
            else:
                source.unlink()
            expected = ConfigError if failure == "source" else LaunchError
            with pytest.raises(
                expected, match={"code": "broken", "bootstrap": "not today", "source": "no such file"}[failure]
            ):
                await kernel.reload_subcluster(old.id)
            await kernel.idle()
            assert rows_of(path) == before
            assert await E(old.root).count() == [2, 2]
            await E(old.root).settle("still here")
            assert await waiting == "still here"

    async def test_both_are_there_until_the_new_ones_bootstrap_has_answered(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source))
            edit(source, 'return "ready"', "await make_promise_kit().promise")
            with trio.move_on_after(0.1) as scope:
                await kernel.reload_subcluster(old.id)
            assert scope.cancelled_caught
            assert await E(old.root).count() == [1, 1]
            await kernel.idle()
            assert [old.id] == [it.id for it in kernel.get_subclusters()]
            assert {"v1"} == set(states(kernel))

    async def test_of_two_at_once_one_finds_nothing_to_replace(self, path: Path, source: Path) -> None:
        outcomes: list[str] = []
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source))

            async def reload() -> None:
                try:
                    outcomes.append((await kernel.reload_subcluster(old.id)).id)
                except SubclusterNotFoundError:
                    outcomes.append("not found")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(reload)
                nursery.start_soon(reload)
            assert ["not found", "s2"] == sorted(outcomes)
            assert ["s2"] == [it.id for it in kernel.get_subclusters()]
            await kernel.idle()
            assert 1 == len(kernel.get_vats())

    async def test_one_whose_subcluster_is_terminated_meanwhile_leaves_nothing(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            old = await kernel.launch_subcluster(counters(source))
            await kernel.idle()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kernel.terminate_subcluster, old.id)
                with pytest.raises(SubclusterNotFoundError):
                    await kernel.reload_subcluster(old.id)
            await kernel.idle()
            assert ([], []) == (kernel.get_subclusters(), kernel.get_vats())


class TestUpdate:
    async def test_it_says_what_it_did(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "abcd"))
            config = change(without(made.config, "b"), "c", source=str(variant(source, "two")))
            config = change(change(config, "d", fault_limit=7), "e", parameters={"new": True})
            done = await kernel.update_subcluster(made.id, config)
            assert ({"e": None}, {"c": None}, ("b",), ()) == (done.added, done.upgraded, done.removed, done.at_reload)
            assert {"d": ("fault_limit",)} == done.adjusted
            await kernel.idle()
            now = kernel.get_subcluster(made.id)
            assert {"a": "v1", "c": "v3", "d": "v4", "e": "v5"} == ids(now)
            assert [0, 1, 0, 0] == [now.vats[name].incarnation for name in "acde"]
            assert await E(made.root).ask("c", "get_version") == "two"
            assert await E(kernel.root("v5")).get_parameters() == {"new": True}
            assert now.config == config

    async def test_nothing_changed_does_nothing(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            await kernel.idle()
            before = rows_of(path)
            done = await kernel.update_subcluster(made.id, made.config)
            await kernel.idle()
            assert ({}, {}, (), ()) == (done.added, done.upgraded, done.removed, done.at_reload)
            assert rows_of(path) == before

    @pytest.mark.parametrize(
        "fields",
        [{"parameters": {"color": "blue"}}, {"imports": ("math",)}, {"endowments": ("bell",)}],
        ids=["parameters", "imports", "endowments"],
    )
    async def test_what_a_vat_is_built_from_upgrades_it(self, path: Path, source: Path, fields: object) -> None:
        assert isinstance(fields, dict)
        kernel = Kernel(path, durability="process")
        kernel.provide("bell", Bell())
        async with kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            done = await kernel.update_subcluster(made.id, change(made.config, "b", **fields))
            assert {"b": None} == done.upgraded
            assert [0, 1] == [kernel.get_vat(vat).incarnation for vat in ("v1", "v2")]
            given = await E(kernel.root("v2")).get_parameters(), await E(kernel.root("v2")).endowments()
            assert (fields.get("parameters", {}), list(fields.get("endowments", ()))) == given
            assert kernel._core.state.vats["v2"].options.imports == fields.get("imports")

    async def test_other_options_are_set_at_once(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await kernel.update_subcluster(made.id, change(made.config, "a", on_fault="terminate", fault_limit=1))
            with pytest.raises(DisconnectedError):
                await E(made.root).break_down()
            await kernel.idle()
            assert [] == kernel.get_vats()
            assert {} == kernel.get_subcluster(made.id).vats

    async def test_bootstrap_and_services_wait_for_the_next_reload(self, path: Path, source: Path) -> None:
        kernel = Kernel(path, durability="process")
        kernel.provide("bell", Bell())
        async with kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            done = await kernel.update_subcluster(made.id, evolve(made.config, bootstrap="b", services=["bell"]))
            assert ("bootstrap", "services") == done.at_reload
            assert kernel.get_subcluster(made.id).root is made.root
            new = await kernel.reload_subcluster(made.id)
            assert await E(new.root).ask("bell", "ring") == "ding"
            assert new.root is kernel.root(new.vats["b"].id)

    async def test_a_vat_that_was_terminated_waits_for_the_next_reload(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            await kernel.terminate_vat("v2")
            await kernel.idle()
            done = await kernel.update_subcluster(made.id, change(made.config, "b", parameters={"x": 1}))
            assert ({}, {}, ("vats.b, which was terminated",)) == (done.added, done.upgraded, done.at_reload)
            new = await kernel.reload_subcluster(made.id)
            assert await E(new.root).ask("b", "get_parameters") == {"x": 1}

    async def test_a_dynamic_vat_of_the_same_name_is_not_meant(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab", services=["vat_admin"]))
            await E(made.root).create("counter.py", name="b", parameters={"dynamic": True})
            await kernel.terminate_vat("v2")
            await kernel.idle()
            assert {"a": "v1", "v3": "v3"} == ids(kernel.get_subcluster(made.id))
            done = await kernel.update_subcluster(made.id, change(made.config, "b", parameters={"x": 1}))
            assert ({}, ("vats.b, which was terminated",)) == (done.upgraded, done.at_reload)
            done = await kernel.update_subcluster(made.id, without(made.config, "b"))
            await kernel.idle()
            assert {"v1", "v3"} == set(states(kernel))

    async def test_an_upgrade_that_fails_is_told_and_the_vat_goes_on_as_it_was(self, path: Path, source: Path) -> None:
        kernel = Kernel(path, durability="process")
        kernel.provide("bell", Bell())
        bad = variant(source, "bad", *BROKEN)
        async with kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            assert await E(made.root).ask("b", "count") == [1, 1]
            config = change(made.config, "b", source=str(bad), parameters={"x": 1}, endowments=("bell",), fault_limit=9)
            done = await kernel.update_subcluster(made.id, change(config, "a", parameters={"y": 2}))
            error = done.upgraded["b"]
            assert isinstance(error, UpgradeError)
            assert (None, True) == (done.upgraded["a"], "broken" in str(error))
            assert await E(made.root).ask("b", "count") == [2, 2]
            await kernel.restart_vat("v2")
            assert await E(made.root).ask("b", "get_parameters") == {}
            assert await E(made.root).ask("b", "endowments") == []
            assert kernel.get_vat("v2").source == str(source)

    async def test_a_vat_that_cannot_be_created_is_told_and_leaves_nothing(self, path: Path, source: Path) -> None:
        bad = variant(source, "bad", *BROKEN)
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            config = change(change(made.config, "bad", source=str(bad)), "good", parameters={"x": 1})
            done = await kernel.update_subcluster(made.id, config)
            error = done.added["bad"]
            assert isinstance(error, LaunchError)
            assert (None, True) == (done.added["good"], "broken" in str(error))
            now = kernel.get_subcluster(made.id)
            assert {"a", "good"} == set(now.vats) == set(now.config.vats)
            assert {"a", "good"} == set((await kernel.reload_subcluster(made.id)).vats)

    @pytest.mark.parametrize("reopened", [False, True])
    async def test_the_same_update_again_does_what_failed_and_then_nothing(
        self, path: Path, source: Path, reopened: bool
    ) -> None:
        bad = variant(source, "bad", *BROKEN)

        async def again(kernel: Kernel, config: ClusterConfig) -> None:
            bad.write_text(source.read_text())
            done = await kernel.update_subcluster("s1", config)
            assert ({"c": None}, {"b": None}) == (done.added, done.upgraded)
            assert (str(bad), 1) == (kernel.get_vat("v2").source, kernel.get_vat("v2").incarnation)
            done = await kernel.update_subcluster("s1", config)
            assert ({}, {}, (), ()) == (done.added, done.upgraded, done.removed, done.at_reload)

        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            config = change(change(made.config, "b", source=str(bad), fault_limit=9), "c", source=str(bad))
            done = await kernel.update_subcluster(made.id, config)
            assert [("c", LaunchError)] == [(name, type(error)) for name, error in done.added.items()]
            assert [("b", UpgradeError)] == [(name, type(error)) for name, error in done.upgraded.items()]
            if not reopened:
                await again(kernel, config)
        if reopened:
            async with Kernel(path, durability="process") as kernel:
                await again(kernel, config)

    async def test_what_a_vat_is_counts_and_not_the_config_before(self, path: Path, source: Path) -> None:
        two = variant(source, "two")
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            await kernel.upgrade_vat("v2", source=str(two), parameters={"x": 1})
            done = await kernel.update_subcluster(made.id, made.config, dry_run=True)
            assert {"b": None} == done.upgraded
            assert done == await kernel.update_subcluster(made.id, made.config)
            assert await E(made.root).ask("b", "get_version") == "one"
            assert await E(made.root).ask("b", "get_parameters") == {}

    async def test_a_dry_run_says_what_would_be_done_and_changes_nothing(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "abcd"))
            await kernel.terminate_vat("v4")
            await kernel.idle()
            before = rows_of(path)
            config = change(change(without(made.config, "b"), "c", parameters={"x": 1}), "e")
            config = evolve(config, bootstrap="c")
            said = await kernel.update_subcluster(made.id, config, dry_run=True)
            assert ({"e": None}, {"c": None}, ("b",)) == (said.added, said.upgraded, said.removed)
            assert ("bootstrap", "vats.d, which was terminated") == said.at_reload
            await kernel.idle()
            assert rows_of(path) == before
            assert said == await kernel.update_subcluster(made.id, config)

    @pytest.mark.parametrize("old_and_new", [(1, True), (1, 1.0), ([1], (1,))], ids=str)
    async def test_a_value_of_another_type_is_another_value(
        self, path: Path, source: Path, old_and_new: tuple[object, object]
    ) -> None:
        old, new = old_and_new
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, parameters={"x": old}))
            done = await kernel.update_subcluster(made.id, change(made.config, "a", parameters={"x": new}))
            assert {"a": None} == done.upgraded
            assert type((await E(made.root).get_parameters())["x"]) is type(new)

    async def test_an_object_by_another_name_is_the_same_object(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            friend = (await kernel.launch_subcluster(counters(source))).root
            note = await E(friend).get_note()
            made = await kernel.launch_subcluster(counters(source, parameters={"note": note}))
            kref, names = note.kref, [repr(note)]
        del note
        async with Kernel(path, durability="process") as kernel:
            found = kernel.ref(kref)
            names.append(repr(found))
            done = await kernel.update_subcluster(made.id, counters(source, parameters={"note": found}))
            assert {} == done.upgraded
        assert 2 == len(set(names))

    async def test_of_two_at_once_the_later_one_holds(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            other = change(without(made.config, "b"), "a", parameters={"x": 1})
            outcomes = []

            async def update(config: ClusterConfig) -> None:
                outcomes.append(await kernel.update_subcluster(made.id, config))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(update, other)
                nursery.start_soon(update, made.config)
            await kernel.idle()
            now = kernel.get_subcluster(made.id)
            last = made.config if any(it.added for it in outcomes) else other  # the other one had removed it
            assert (last, set(last.vats)) == (now.config, set(now.vats))
            assert last.vats["a"].parameters == await E(made.root).get_parameters()

    @pytest.mark.parametrize(
        ("config", "text"),
        [
            (ClusterConfig("x", {"a": VatConfig("nowhere.py")}), "bootstrap: there is no vat 'x'"),
            (ClusterConfig("a", {"a": VatConfig("nowhere.py")}), "vats.a.source: nowhere.py: no such file"),
            (ClusterConfig("a", {}), "vats: at least one vat is needed"),
            ("config.toml", "expected a ClusterConfig, not str"),
        ],
    )
    async def test_a_wrong_config_changes_nothing(
        self, path: Path, source: Path, config: ClusterConfig, text: str
    ) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            await kernel.idle()
            before = rows_of(path)
            with pytest.raises(ConfigError, match=text):
                await kernel.update_subcluster(made.id, config)
            assert rows_of(path) == before

    async def test_a_reference_that_is_gone_changes_nothing(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            friend = await kernel.launch_subcluster(counters(source))
            scrap = await E(friend.root).get_scrap()
            await kernel.terminate_subcluster(friend.id)
            del friend
            await kernel.idle()
            try:
                done = await kernel.update_subcluster(made.id, change(made.config, "a", parameters={"x": scrap}))
            except ObjectGoneError:
                assert kernel.get_subcluster(made.id).config == made.config
            else:  # while the host holds it, an object without an owner can be passed on
                assert {"a": None} == done.upgraded

    async def test_a_vat_of_it_that_ends_meanwhile_is_told(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            E.send_only(kernel.root("v2")).leave("bye")
            done = await kernel.update_subcluster(made.id, change(made.config, "b", parameters={"x": 1}))
            assert {"vat b was terminated before its turn came"} == {str(error) for error in done.upgraded.values()}

    async def test_a_vat_of_it_whose_end_is_queued_is_taken_as_terminated(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source, "ab"))
            core = kernel._core
            end = TerminateVat(VatId("v2"), "enough", 0)
            kernel._scheduler.submit(lambda: core.between_cranks(lambda: core.state.queue.push(end)))
            done = await kernel.update_subcluster(made.id, change(made.config, "b", parameters={"x": 1}))
            assert ({}, ("vats.b, which was terminated",)) == (done.upgraded, done.at_reload)


class Bell:
    async def ring(self) -> str:
        return "ding"


class TestBadInput:
    @pytest.mark.parametrize("name", ["s9", "", "v1", "s2"])
    async def test_one_that_is_not_there(self, path: Path, source: Path, name: str) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
            gone = await kernel.launch_subcluster(counters(source))
            await kernel.terminate_subcluster(gone.id)
            await kernel.idle()
            before = rows_of(path)
            for operate in (kernel.restart_subcluster, kernel.reload_subcluster, kernel.terminate_subcluster):
                with pytest.raises(SubclusterNotFoundError, match=f"there is no subcluster {name}"):
                    await operate(name)
            with pytest.raises(SubclusterNotFoundError, match=f"there is no subcluster {name}"):
                await kernel.update_subcluster(name, made.config)
            with pytest.raises(SubclusterNotFoundError, match=f"there is no subcluster {name}"):
                kernel.get_subcluster(name)
            assert rows_of(path) == before

    async def test_a_kernel_that_does_not_run(self, path: Path, source: Path) -> None:
        async with Kernel(path, durability="process") as kernel:
            made = await kernel.launch_subcluster(counters(source))
        for again in (kernel, Kernel(path, durability="process")):
            for operate in (again.restart_subcluster, again.reload_subcluster, again.terminate_subcluster):
                with pytest.raises(KernelClosedError):
                    await operate(made.id)
            with pytest.raises(KernelClosedError):
                await again.update_subcluster(made.id, made.config)
            again.close()
