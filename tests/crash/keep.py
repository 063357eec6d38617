"""`python -m tests.crash.keep DATABASE DURABILITY`: the host program of the workload of `keeping`, as `teller` is of the bank."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path
from typing import Any

import trio

from ocap import ClusterConfig, E, Kernel, VatConfig
from tests.crash.teller import say, serve

HERE = Path(__file__).parent


async def keep(path: str, durability: Any, run: dict[str, Any]) -> None:
    """Launch the workload or go on with it; `steps` is how many there are, `closing` waits for its end and reports.

    `restarts` ends incarnations, again and again. `version` is the code that vats start with.
    """
    source = Path(path).with_name("keeper.py")
    shutil.copy(HERE / f"keeper_{run.get('version', 'one')}.py", source)
    async with Kernel(path, durability=durability) as kernel:
        clusters = kernel.get_subclusters()
        if not clusters:
            config = ClusterConfig("one", {"one": VatConfig(str(source)), "two": VatConfig(str(source))})
            clusters = [await kernel.launch_subcluster(config)]
        await E(clusters[0].root).begin(run["steps"])
        if run.get("closing"):
            await kernel.idle()
            for vat in kernel.get_vats():  # so that what is virtual is that of a new incarnation, too
                await kernel.restart_vat(vat.id)
            for _ in range(3):  # promises whose kits were replaced are rejected when the kits are collected
                kernel.collect_garbage(cycles=True)
                await kernel.idle()
            roots = [clusters[0].root, await E(clusters[0].root).get_other()]
            reports = [await E(root).report() for root in roots]
            say(reports=reports, census=kernel.census(), problems=[str(it) for it in kernel.verify()])
            return
        lots = random.Random(run.get("restarts"))
        while run.get("restarts") is not None:
            await trio.sleep(lots.uniform(0, 0.01))
            await kernel.restart_vat(lots.choice(kernel.get_vats()).id)
        await kernel.idle()


if __name__ == "__main__":
    serve(keep, *sys.argv[1:])
