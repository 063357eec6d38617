"""The kernel as a service: what a system subcluster may do to subclusters and vats, in plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocap.config import config_from_table
from ocap.host.inventory import Subcluster, Vat
from ocap.host.kernel import Kernel


class KernelFacet:
    """The power over everything in a kernel: provide it `system_only`, as the service `kernel`.

    Subclusters and vats are given by id, and told of as dicts. Errors are those of `Kernel`.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def launch_subcluster(self, config: dict[str, Any], name: str = "") -> dict[str, Any]:
        """Launch a subcluster.

        Args:
            config: with the keys of a table `[subclusters.NAME]` in TOML; parameters may have references.
            name: what it is called.

        Returns:
            As `get_subcluster`, and its `root` and what bootstrap returned, as `result`.
        """
        made = await self._kernel.launch_subcluster(config_from_table(config, name, Path()))
        return {**_subcluster(made), "root": made.root, "result": made.result}

    def get_subclusters(self) -> list[dict[str, Any]]:
        return [_subcluster(it) for it in self._kernel.get_subclusters()]

    def get_subcluster(self, subcluster: str) -> dict[str, Any]:
        """Its `id`, `name`, `is_system` and `vats`, ids by name."""
        return _subcluster(self._kernel.get_subcluster(subcluster))

    async def reload_subcluster(self, subcluster: str) -> dict[str, Any]:
        """As `launch_subcluster` answers."""
        made = await self._kernel.reload_subcluster(subcluster)
        return {**_subcluster(made), "root": made.root, "result": made.result}

    async def restart_subcluster(self, subcluster: str) -> None:
        await self._kernel.restart_subcluster(subcluster)

    async def terminate_subcluster(self, subcluster: str) -> None:
        await self._kernel.terminate_subcluster(subcluster)

    def get_vats(self) -> list[dict[str, Any]]:
        return [_vat(it) for it in self._kernel.get_vats()]

    def get_vat(self, vat: str) -> dict[str, Any]:
        """Its `id`, `name`, `subcluster`, `state`, `incarnation`, `source` and `faults`."""
        return _vat(self._kernel.get_vat(vat))

    async def ping_vat(self, vat: str) -> None:
        await self._kernel.ping_vat(vat)

    async def restart_vat(self, vat: str) -> None:
        await self._kernel.restart_vat(vat)

    async def suspend_vat(self, vat: str) -> None:
        await self._kernel.suspend_vat(vat)

    async def resume_vat(self, vat: str) -> None:
        await self._kernel.resume_vat(vat)

    async def terminate_vat(self, vat: str, reason: str = "a system vat terminated it") -> None:
        await self._kernel.terminate_vat(vat, reason)

    def get_status(self) -> dict[str, Any]:
        """As `Kernel.status`."""
        return self._kernel.status()


def _subcluster(found: Subcluster) -> dict[str, Any]:
    vats = {name: vat.id for name, vat in found.vats.items()}
    return {"id": found.id, "name": found.name, "is_system": found.is_system, "vats": vats}


def _vat(found: Vat) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "subcluster": found.subcluster_id,
        "state": found.state,
        "incarnation": found.incarnation,
        "source": found.source,
        "faults": found.faults,
    }
