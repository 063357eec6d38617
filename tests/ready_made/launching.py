"""Launches of ready-made vats and of their other side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocap import ClusterConfig, Kernel, Ref, Subcluster, VatConfig

MEMBER = str(Path(__file__).with_name("member.py"))


async def launch(kernel: Kernel, source: str, *services: str) -> Subcluster:
    name = source.rpartition(".")[2]
    return await kernel.launch_subcluster(ClusterConfig(name, {name: VatConfig(source)}, services, name))


async def root(kernel: Kernel, name: str) -> Ref[Any]:
    """The root of a ready-made vat: of the one that is there, or of a new one."""
    for found in kernel.get_subclusters():
        if found.name == name:
            return found.root
    return (await launch(kernel, f"vats.{name}")).root


async def member(kernel: Kernel) -> Subcluster:
    return await kernel.launch_subcluster(ClusterConfig("member", {"member": VatConfig(MEMBER)}, name="member"))
