"""`python -m tests.crash.keep DATABASE DURABILITY`: the host program of the workload of `keeping`, as `teller` is of the bank."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import trio

from ocap import ClusterConfig, E, Kernel, VatConfig
from tests.crash.teller import say, serve

ONE, TWO = (str(Path(__file__).with_name(f"keeper_{version}.py")) for version in ("one", "two"))


async def keep(path: str, durability: Any, run: dict[str, Any]) -> None:
    """Launch the workload or go on with it; `steps` is how many there are, `closing` waits for its end and reports.

    `disturb` is a seed for ending incarnations, again and again; `upgrading` also exchanges the code meanwhile.
    """
    kernel = Kernel(path, durability=durability)
    kernel.observe(lambda event: say(fault=event.text) if event.kind == "fault" else None, messages=False)
    async with kernel:
        clusters = kernel.get_subclusters()
        if not clusters:
            config = ClusterConfig(
                "one", {"one": VatConfig(ONE, imports=["tests"]), "two": VatConfig(ONE, imports=["tests"])}
            )
            clusters = [await kernel.launch_subcluster(config)]
        await E(clusters[0].root).begin(run["steps"])
        if run.get("closing"):
            await close(kernel)
            return
        lots = random.Random(run.get("disturb"))
        while run.get("disturb") is not None:
            await trio.sleep(lots.uniform(0, 0.01))
            vat = lots.choice(kernel.get_vats()).id
            if run.get("upgrading") and lots.random() < 0.3:
                await kernel.upgrade_vat(vat, source=TWO)
            else:
                await kernel.restart_vat(vat)
        await kernel.idle()


async def close(kernel: Kernel) -> None:
    """Let everything come to its end, and say what that is."""
    await kernel.idle()
    for vat in kernel.get_vats():  # so that what is virtual is that of a new incarnation, too
        await kernel.upgrade_vat(vat.id, source=TWO)
    for _ in range(3):  # promises whose kits were replaced are rejected when the kits are collected
        kernel.collect_garbage(cycles=True)
        await kernel.idle()
    (cluster,) = kernel.get_subclusters()
    roots = [cluster.root, await E(cluster.root).get_other()]
    reports = [await E(root).report() for root in roots]
    upgraded = [vat.incarnation for vat in kernel.get_vats()]
    say(reports=reports, census=kernel.census(), problems=[str(it) for it in kernel.verify()], incarnations=upgraded)


if __name__ == "__main__":
    serve(keep, *sys.argv[1:])
