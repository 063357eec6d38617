"""Launching and ending subclusters: whole or not at all, and usable after reopening."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from ocap import (
    ClusterConfig,
    ConfigError,
    DisconnectedError,
    E,
    Kernel,
    LaunchError,
    SubclusterNotFoundError,
    VatConfig,
    VatNotFoundError,
    load_toml,
)
from tests.ring.clusters import PEER, launch, peers
from tests.stores import rows_of

EXCHANGE = Path(__file__).parents[1] / "clusters" / "exchange" / "exchange.toml"


async def test_launched_subcluster_says_what_it_is(path: Path) -> None:
    config = peers("abc", name="trio", answer="hello")
    async with Kernel(path) as kernel:
        subcluster = await kernel.launch_subcluster(config)
        assert (subcluster.id, subcluster.name, subcluster.result) == ("s1", "trio", "hello")
        assert (subcluster.config.bootstrap, set(subcluster.config.vats)) == ("a", set("abc"))
        assert [vat.id for vat in subcluster.vats.values()] == ["v1", "v2", "v3"]
        assert {vat.subcluster_id for vat in subcluster.vats.values()} == {"s1"}
        assert [vat.name for vat in kernel.get_vats()] == list("abc")
        vat = kernel.get_vat("v1")
        assert (vat.name, vat.state, vat.incarnation, vat.source) == ("a", "live", 0, PEER)
        assert kernel.vat_name("v1") == "a"
        assert kernel.vat_name("v9") == "v9"


async def test_subcluster_is_the_same_after_reopening(path: Path) -> None:
    async with Kernel(path) as kernel:
        before = await kernel.launch_subcluster(peers(name="p", answer=[1, {"x": (2,)}]))
        assert await E(before.root).increase() == 1
    async with Kernel(path) as kernel:
        (after,) = kernel.get_subclusters()
        assert (after.id, after.name, after.result, after.config) == (
            before.id,
            before.name,
            before.result,
            before.config,
        )
        assert kernel.get_subcluster("s1").root is after.root
        assert await E(after.root).increase() == 2
        assert kernel.get_vat("v1").incarnation == 1
        assert kernel.get_vat("v2").incarnation == 0  # not needed, so not started
        assert kernel.status()["workers"] == 1


async def test_cluster_file_gives_configs_to_launch(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster = await kernel.launch_subcluster(load_toml(EXCHANGE)["exchange"])
        assert subcluster.result["cheat"] == "TypeError"
        assert subcluster.name == "exchange"


async def test_ids_are_never_given_twice(path: Path) -> None:
    async with Kernel(path) as kernel:
        first, *_ = await launch(kernel)
        await kernel.terminate_subcluster(first.id)
        await kernel.idle()
        second, *_ = await launch(kernel)
        assert (second.id, [vat.id for vat in second.vats.values()]) == ("s2", ["v3", "v4"])
    async with Kernel(path) as kernel:
        await kernel.terminate_subcluster("s2")
    async with Kernel(path) as kernel:
        assert (await launch(kernel))[0].id == "s3"


async def test_launch_in_parallel() -> None:
    async with Kernel() as kernel:
        found: list[int] = []

        async def one(number: int) -> None:
            found.append((await kernel.launch_subcluster(peers(answer=number))).result)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, number)
        assert sorted(found) == list(range(10))
        assert len(kernel.get_subclusters()) == 10
        assert kernel.verify() == []


async def test_source_may_be_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "peers_of_a_test").mkdir()
    (tmp_path / "peers_of_a_test" / "peer.py").write_text(Path(PEER).read_text())
    monkeypatch.syspath_prepend(tmp_path)
    async with Kernel() as kernel:
        config = ClusterConfig("a", {"a": VatConfig("peers_of_a_test.peer")})
        assert (await kernel.launch_subcluster(config)).result == "open"


async def test_each_vat_has_its_own_instance_of_the_module(tmp_path: Path) -> None:
    code = """
        from vats import E, Exo
        seen = []
        class Root(Exo):
            async def bootstrap(self, vats, services):
                seen.append("a")
                return [seen, await E(vats["b"]).see()]
            async def see(self):
                seen.append("b")
                return seen
        def build_root_object(vat_powers, parameters, baggage):
            return Root()
    """
    (tmp_path / "vat.py").write_text("\n".join(line[8:] for line in code.splitlines()))
    vat = VatConfig(str(tmp_path / "vat.py"))
    async with Kernel() as kernel:
        subcluster = await kernel.launch_subcluster(ClusterConfig("a", {"a": vat, "b": vat}))
        assert subcluster.result == [["a"], ["b"]]


# ---- launches that fail ---------------------------------------------------------------------------


async def failing(kernel: Kernel, config: ClusterConfig, match: str) -> LaunchError:
    with pytest.raises(LaunchError, match=match) as caught:
        await kernel.launch_subcluster(config)
    await kernel.idle()
    return caught.value


async def test_failed_launch_leaves_nothing(path: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def build_root_object(a, b, c):\n    raise ValueError('no luck')\n")
    async with Kernel(path) as kernel:
        held = await launch(kernel)
        await kernel.idle()
        before = rows_of(path)
        error = await failing(kernel, peers(raises="zut", name="p"), "^p: bootstrap raised LookupError: zut$")
        assert isinstance(error.__cause__, LookupError)
        vats = {"a": VatConfig(PEER), "b": VatConfig(str(bad))}
        await failing(kernel, ClusterConfig("a", vats), r"^vats\.b: build_root_object raised ValueError: no luck")
        await failing(kernel, ClusterConfig("b", vats), r"^vats\.b: build_root_object raised ValueError: no luck")
        both = {"a": VatConfig(str(bad)), "b": VatConfig(str(bad))}
        await failing(kernel, ClusterConfig("a", both), r"^vats\.a: build_root_object raised ValueError")
        assert rows_of(path) == before
        assert [it.id for it in kernel.get_subclusters()] == [held[0].id]
        assert len(kernel.get_vats()) == 2


async def test_cancelled_launch_leaves_nothing(path: Path) -> None:
    async with Kernel(path) as kernel:
        held = await launch(kernel)
        await kernel.idle()
        before = rows_of(path)
        with trio.move_on_after(0.05) as scope:
            await kernel.launch_subcluster(peers(never=True))
        assert scope.cancelled_caught
        await kernel.idle()
        assert rows_of(path) == before
        assert [it.id for it in kernel.get_subclusters()] == [held[0].id]
        assert kernel.status()["unanswered"] == 0


async def test_launch_cancelled_at_once_leaves_nothing(path: Path) -> None:
    async with Kernel(path) as kernel:
        await kernel.idle()
        before = rows_of(path)
        with trio.CancelScope() as scope:
            scope.cancel()
            await kernel.launch_subcluster(peers())
        await kernel.idle()
        assert rows_of(path) == before


async def test_launch_under_way_when_the_kernel_is_left_is_undone(path: Path) -> None:
    async with Kernel(path) as kernel:
        held = await launch(kernel)
        await kernel.idle()
        before = rows_of(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.launch_subcluster, peers(never=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with Kernel(path) as kernel:
        await kernel.idle()
        after = rows_of(path)
        assert [it.id for it in kernel.get_subclusters()] == [held[0].id]
    for table in ("vats", "objects", "promises", "queue"):
        assert [row[0] for row in after[table]] == [row[0] for row in before[table]]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (ClusterConfig("x", {"a": VatConfig(PEER)}), "bootstrap: there is no vat 'x'; there are: a"),
        (ClusterConfig("a", {}), "vats: at least one vat is needed"),
        (ClusterConfig("a", {"a": VatConfig("nope.py")}), "vats.a.source: nope.py: no such file"),
        (ClusterConfig("a", {"a": VatConfig(PEER)}, ["timer"]), "services: there is no service 'timer'"),
        (
            ClusterConfig("a", {"a": VatConfig(PEER, {"x": object()})}),
            'vats.a.parameters["x"]: a object is not passable',
        ),
        (ClusterConfig("a", {"a": PEER}), "vats.a: expected a VatConfig, not str"),  # type: ignore[dict-item]
        ("bank.toml", "expected a ClusterConfig, not str"),
        (ClusterConfig("a", {"a": VatConfig(3)}), "vats.a.source: "),  # type: ignore[arg-type]
        (ClusterConfig("a", {"a": VatConfig(PEER, 3)}), "vats.a.parameters: "),  # type: ignore[arg-type]
        (ClusterConfig("a", {"a": VatConfig(PEER)}, 3), "services: "),  # type: ignore[arg-type]
        (ClusterConfig("a", {"a": VatConfig(PEER)}, "desk"), "services: "),
        (ClusterConfig("a", [VatConfig(PEER)]), "vats: "),  # type: ignore[arg-type]
        (ClusterConfig("a", {"a": VatConfig(PEER)}, name=3), "name: "),  # type: ignore[arg-type]
        (ClusterConfig("a", {"a": VatConfig(PEER), 3: VatConfig(PEER)}), "vats.3: "),  # type: ignore[dict-item]
    ],
)
async def test_wrong_config_changes_nothing(config: Any, text: str, path: Path) -> None:
    async with Kernel(path) as kernel:
        await kernel.idle()
        before = rows_of(path)
        with pytest.raises(ConfigError) as caught:
            await kernel.launch_subcluster(config)
        assert str(caught.value).startswith(text)
        await kernel.idle()
        assert rows_of(path) == before


async def test_a_promise_in_parameters_is_refused_with_its_path() -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        pending = E(a).later("k")
        with pytest.raises(ConfigError, match=r"vats\.a\.parameters\['friends'\]\[1\]: a promise cannot be kept"):
            await kernel.launch_subcluster(peers(friends=[a, pending]))


# ---- ends -----------------------------------------------------------------------------------------


async def test_terminated_subcluster_leaves_nothing(path: Path) -> None:
    async with Kernel(path) as kernel:
        await kernel.idle()
        before = rows_of(path)
        subcluster, a, b = await launch(kernel, "abc")
        thing, pending = await E(a).get_thing(), E(b).later("k")
        await kernel.idle()
        await kernel.terminate_subcluster(subcluster.id)
        with pytest.raises(DisconnectedError):
            await pending
        assert [*kernel.get_subclusters(), *kernel.get_vats()] == []
        del a, b, thing, pending
        subcluster = None  # type: ignore[assignment]
        await kernel.idle()
        kernel.collect_garbage()
        await kernel.idle()
        assert rows_of(path) == before


async def test_what_does_not_exist_is_not_found() -> None:
    async with Kernel() as kernel:
        subcluster, *_ = await launch(kernel)
        await kernel.terminate_subcluster(subcluster.id)
        for name in ("s1", "s9", "", "v1"):
            with pytest.raises(SubclusterNotFoundError):
                kernel.get_subcluster(name)
            with pytest.raises(SubclusterNotFoundError):
                await kernel.terminate_subcluster(name)
        for name in ("v1", "v9", "", "s1", "host"):
            with pytest.raises(VatNotFoundError):
                kernel.get_vat(name)
        with pytest.raises(LookupError):
            kernel.ref("ko99")


async def test_terminating_twice_at_once_ends_it_once() -> None:
    async with Kernel() as kernel:
        subcluster, *_ = await launch(kernel)
        outcomes = []

        async def end() -> None:
            try:
                await kernel.terminate_subcluster(subcluster.id)
                outcomes.append("ended")
            except SubclusterNotFoundError:
                outcomes.append("not found")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            nursery.start_soon(end)
        assert sorted(outcomes) == ["ended", "not found"]
        await kernel.idle()
        assert kernel.verify() == []


async def test_termination_that_was_acknowledged_survives_the_process(path: Path) -> None:
    async with Kernel(path) as kernel:
        subcluster, a, b = await launch(kernel)
        other, *_ = await launch(kernel)
        E.send_only(a).bounce(10**6)  # so that the kernel has no reason to rest
        await E(b).increase()
        await kernel.terminate_subcluster(other.id)
        committed = rows_of(path)  # what another process would find, had this one died
        assert [row[0] for row in committed["subclusters"]] == [subcluster.id]


async def test_vat_that_exits_is_gone_and_its_peers_go_on() -> None:
    async with Kernel() as kernel:
        _, a, b = await launch(kernel)
        E.send_only(b).exit()
        await kernel.idle()
        with pytest.raises(DisconnectedError):
            await E(b).increase()
        assert await E(a).increase() == 1
        assert [vat.name for vat in kernel.get_vats()] == ["a"]
        assert kernel.verify() == []


async def test_relative_source_is_kept_absolute(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vat.py").write_text(Path(PEER).read_text())
    monkeypatch.chdir(tmp_path)
    async with Kernel(path) as kernel:
        await kernel.launch_subcluster(ClusterConfig("a", {"a": VatConfig("vat.py")}))
    monkeypatch.chdir(os.sep)
    async with Kernel(path) as kernel:
        assert await E(kernel.get_subclusters()[0].root).increase() == 1


async def test_source_that_is_gone_when_the_vat_is_needed_again_suspends_it(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "vat.py"
    source.write_text(Path(PEER).read_text())
    async with Kernel(path) as kernel:
        await kernel.launch_subcluster(ClusterConfig("a", {"a": VatConfig(str(source))}))
    source.unlink()
    async with Kernel(path) as kernel:
        root = kernel.get_subclusters()[0].root
        answer = E(root).increase()
        await kernel.idle()
        assert "no such file" in caplog.text.lower()
        assert kernel.get_vat("v1").state == "suspended"
        assert repr(answer) == "<Promise pending>"  # its message waits for whoever resumes the vat
