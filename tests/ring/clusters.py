"""Configs of what the tests of the ring launch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocap import ClusterConfig, E, Kernel, Ref, Subcluster, VatConfig

PEER = str(Path(__file__).parent / "peer.py")


def peers(names: str = "ab", *, services: Sequence[str] = (), name: str = "", **parameters: Any) -> ClusterConfig:
    """Vats named by a letter each; the first is bootstrapped, with the parameters."""
    vats = {letter: VatConfig(PEER, parameters=parameters if letter == names[0] else {}) for letter in names}
    return ClusterConfig(names[0], vats, services, name)


async def launch(kernel: Kernel, names: str = "ab") -> tuple[Subcluster, Ref[Any], Ref[Any]]:
    """A subcluster of peers, with the first two, who know each other as `other`."""
    subcluster = await kernel.launch_subcluster(peers(names))
    a, b = subcluster.root, await E(subcluster.root).get("b")
    await E(a).keep("other", b)
    await E(b).keep("other", a)
    return subcluster, a, b
