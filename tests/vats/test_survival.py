"""The real kernel: restarts at random points of a workload change nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ocap import ClusterConfig, E, Kernel, VatConfig

KEEPER = str(Path(__file__).parent / "survivors" / "keeper.py")
STEPS = 60


def steps(seed: int) -> list[tuple[str, str, tuple[Any, ...]]]:
    """A random workload: (vat, method, arguments); "other" stands for the other vat's root."""
    lots = random.Random(seed)
    found: list[tuple[str, str, tuple[Any, ...]]] = []
    for number in range(STEPS):
        vat = lots.choice(["one", "two"])
        method = lots.choice(
            [
                "add",
                "add",
                "add",
                "remove",
                "tag",
                "clear_names",
                "open_purse",
                "deposit",
                "promise",
                "promise",
                "settle",
            ]
        )
        arguments: tuple[Any, ...] = (number,)
        if method in ("remove", "tag"):
            arguments = (lots.randrange(number + 1),)
        if method == "tag":
            arguments = (*arguments, f"tag {number}")
        if method == "promise":
            arguments = (*arguments, "other")
        if method == "clear_names":
            arguments = ()
        found.append((vat, method, arguments))
    return found


async def roots_of(kernel: Kernel, identity: str) -> dict[str, Any]:
    one: Any = kernel.get_subcluster(identity).root
    return {"one": one, "two": await E(one).get_peer()}


async def run(path: Path, seed: int, restart_before: set[int]) -> Any:
    """The reports of both vats after the workload."""
    kernel = Kernel(path, durability="none")
    await kernel.__aenter__()
    try:
        config = ClusterConfig(bootstrap="one", vats={"one": VatConfig(KEEPER), "two": VatConfig(KEEPER)})
        cluster = await kernel.launch_subcluster(config)
        identity = cluster.id
        for number, (name, method, arguments) in enumerate(steps(seed)):
            if number in restart_before:
                if number % 2:
                    kernel.collect_garbage()
                    await kernel.idle()
                await kernel.__aexit__(None, None, None)
                kernel = Kernel(path, durability="none")
                await kernel.__aenter__()
            roots = await roots_of(kernel, identity)
            other = roots["two" if name == "one" else "one"]
            given = [other if argument == "other" else argument for argument in arguments]
            await getattr(E(roots[name]), method)(*given)
        await kernel.idle()
        roots = await roots_of(kernel, identity)
        reports = [await E(roots[name]).report() for name in ("one", "two")]
        kernel.collect_garbage()
        await kernel.idle()
        assert kernel.verify() == []
        assert kernel.get_subcluster(identity).id == identity
        return reports
    finally:
        await kernel.__aexit__(None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
async def test_restarts_at_random_points_change_nothing(tmp_path: Path, seed: int) -> None:
    expected = await run(tmp_path / "calm.db", seed, set())
    points = set(random.Random(seed).sample(range(1, STEPS), 20))
    assert expected == await run(tmp_path / "restarted.db", seed, points)


async def test_a_restart_before_every_step_changes_nothing(tmp_path: Path) -> None:
    expected = await run(tmp_path / "calm.db", 99, set())
    assert any(report["scribe"] for report in expected)
    assert expected == await run(tmp_path / "restarted.db", 99, set(range(1, STEPS)))


async def test_ten_upgrades_to_the_same_code_leave_no_more_than_one(tmp_path: Path) -> None:
    async with Kernel(tmp_path / "k.db", durability="none") as kernel:
        config = ClusterConfig(bootstrap="one", vats={"one": VatConfig(KEEPER), "two": VatConfig(KEEPER)})
        roots = await roots_of(kernel, (await kernel.launch_subcluster(config)).id)
        for number in range(20):
            await E(roots["one"]).add(number)
            await E(roots["one"]).promise(number, roots["two"])
        await E(roots["one"]).open_purse(1)
        expected = [await E(root).report() for root in roots.values()]
        sizes = []
        for _ in range(10):
            for vat in kernel.get_vats():
                await kernel.upgrade_vat(vat.id)
            kernel.collect_garbage()
            await kernel.idle()
            sizes.append(kernel.census())
        assert [sizes[0]] * 10 == sizes
        assert expected == [await E(root).report() for root in roots.values()]
        await E(roots["one"]).settle(1)
        await kernel.idle()
        lines = [len((await E(root).report())["scribe"]) for root in roots.values()]
        assert lines == [20, 20], "promises made ten upgrades ago, and those who watch them"
        assert kernel.verify() == []


ODD_KEYS = """
from vats import Exo

class Root(Exo):
    def __init__(self, baggage):
        self.names = baggage.provide_map("names", key=str, value=int)
        self.blobs = baggage.provide_set("blobs", key=bytes)

    async def bootstrap(self, vats, services): ...

    async def put(self, names: list[str]) -> None:
        for index, name in enumerate(names):
            self.names[name] = index
            self.blobs.add(name.encode())

    async def get(self, names: list[str]) -> list[object]:
        return [[self.names[name] for name in names], list(self.names), list(self.blobs), list(self.names.prefix("\\0"))]

def build_root_object(vat_powers, parameters, baggage):
    return Root(baggage)
"""


async def test_keys_with_nul_and_of_every_plane_are_kept_in_order(tmp_path: Path) -> None:
    source = tmp_path / "odd.py"
    source.write_text(ODD_KEYS)
    names = [
        "",
        "\0",
        "\0\0",
        "\0a",
        "a",
        "a\0",
        "a\0\xff",
        "\xff",
        *(chr(p << 16 | 0xABCD) + "\0x" for p in range(17)),
    ]
    random.Random(0).shuffle(names)
    for is_first in (True, False):
        async with Kernel(tmp_path / "k.db", durability="none") as kernel:
            if is_first:
                await kernel.launch_subcluster(ClusterConfig("odd", {"odd": VatConfig(str(source))}))
                (cluster,) = kernel.get_subclusters()
                await E(cluster.root).put(names)
            (cluster,) = kernel.get_subclusters()
            values, keys, blobs, begun = await E(cluster.root).get(names)
            assert values == list(range(len(names)))
            assert keys == sorted(names)
            assert blobs == sorted(name.encode() for name in names)
            assert begun == ["\0", "\0\0", "\0a"]
            assert kernel.verify() == []
