"""`python -m tests.crash.manage DATABASE DURABILITY`: a host program that launches, changes and ends subclusters.

It says what it finds, then what it is about to do and when that is acknowledged, one thing after
the other. Every operation sets a mark, so that what it did can be told from what others did.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from ocap import ClusterConfig, E, Kernel, UpgradeError, VatConfig
from tests.crash.teller import say, serve

SOURCE = str(Path(__file__).parents[1] / "lifecycle" / "counter.py")
NAMES = ("x", "y", "z")


def config(name: str, mark: int) -> ClusterConfig:
    return ClusterConfig("a", {"a": VatConfig(SOURCE), "b": VatConfig(SOURCE, parameters={"mark": mark})}, (), name)


async def found(kernel: Kernel) -> dict[str, list[Any]]:
    """Each subcluster by name: its mark in the config, the mark that vat b has, and b's state."""
    await kernel.idle()
    seen: dict[str, list[Any]] = {}
    for made in kernel.get_subclusters():
        assert made.name not in seen
        b = made.vats["b"]
        marks = None if b.state == "suspended" else (await E(kernel.root(b.id)).get_parameters())["mark"]
        seen[made.name] = [made.config.vats["b"].parameters["mark"], marks, b.state]
    assert len(kernel.get_vats()) == 2 * len(seen)
    return seen


async def operate(kernel: Kernel, name: str, what: str, mark: int) -> None:
    """Do something to the subcluster of that name."""
    if what == "launch":
        await kernel.launch_subcluster(config(name, mark))
        return
    made = next(it for it in kernel.get_subclusters() if it.name == name)
    b = made.vats["b"].id
    match what:
        case "reload":
            await kernel.reload_subcluster(made.id)
        case "update":
            await kernel.update_subcluster(made.id, config(name, mark))
        case "upgrade":
            await kernel.upgrade_vat(b, parameters={"mark": mark})
        case "fail":
            try:
                await kernel.upgrade_vat(b, parameters={"mark": mark, "broken": "broken"})
            except UpgradeError:
                return
            raise AssertionError("it did not fail")
        case "suspend":
            await kernel.suspend_vat(b)
        case "resume":
            await kernel.resume_vat(b)
        case "terminate":
            await kernel.terminate_subcluster(made.id)


async def manage(path: str, durability: Any, run: dict[str, Any]) -> None:
    kernel = Kernel(path, durability=durability)
    kernel.restart_all_vats(f"run {run['number']}")
    async with kernel:
        say(found=await found(kernel))
        lots = random.Random(run["number"])
        names = {it.name for it in kernel.get_subclusters()}
        for step in range(0 if run.get("closing") else 10_000):
            name, mark = lots.choice(NAMES), run["number"] * 10_000 + step
            what = "launch"
            if name in names:
                what = lots.choice(("reload", "update", "upgrade", "fail", "suspend", "resume", "terminate"))
            say(doing=[name, what, mark])
            await operate(kernel, name, what, mark)
            names = {it.name for it in kernel.get_subclusters()}
            await kernel.idle()
            say(done=[name, what, mark])


if __name__ == "__main__":
    serve(manage, *sys.argv[1:])
