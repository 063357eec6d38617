"""The file that `ocap run` and others are given: its subclusters, and the kernel that has what they ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from ocap.config import ClusterConfig, check_tables, load_described, services_of
from ocap.host.inventory import Subcluster
from ocap.host.kernel import Kernel
from ocap.protocol.errors import ConfigError, LaunchError, OcapError
from ocap.ring.watchdog import SLOW_CRANK
from ocap.services.standard import FOR_SYSTEM, STANDARD, names_in, standard_services


@frozen
class ClusterFile:
    """What a file says.

    Attributes:
        path: where it is; None for no file.
        configs: its subclusters, by name.
        system: its system subclusters, by name.
        options: of services, by name.
    """

    path: Path | None = None
    configs: Mapping[str, ClusterConfig] = field(factory=dict)
    system: Mapping[str, ClusterConfig] = field(factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(factory=dict)

    def open_kernel(self, db: Path | None, *, also: Collection[str] = (), slow_crank: float = SLOW_CRANK) -> Kernel:
        """A kernel that is not entered yet, with the services that the file and what the database holds ask for.

        System subclusters of the file are offered: they are launched when `launch_offered` or a config asks for them.
        Those of the database that the file does not have stay as they are.

        Args:
            db: the database; None keeps everything in memory.
            also: standard services for what may be launched later, beside those that the file has options of.
            slow_crank: as of `Kernel`.

        Raises:
            ConfigError: the file does not say what is needed for one of them.
            StoreError: the database cannot be used.
        """
        kernel = Kernel(db, slow_crank=slow_crank)
        try:
            known = kernel.get_subclusters()
            asked = names_in([*self.configs.values(), *self.system.values(), *(it.config for it in known)])
            asked.update(it.name for it in known if it.is_system)
            asked.update(also, self.options)
            for provide in standard_services(asked, self.options).values():
                provide(kernel)
            for name, config in self.system.items():
                kernel.offer(name, config)
        except ConfigError as error:
            kernel.close()
            raise self._placed(error) from None
        return kernel

    def check(self) -> None:
        """Raises `ConfigError` for what cannot be launched in any kernel; it does not name the file."""
        for name in self.system:
            if name in STANDARD | FOR_SYSTEM:
                raise ConfigError(f"system.{name}", "is the name of a service that is there without it")
        names = STANDARD | self.system.keys()
        check_tables("subclusters", self.configs, names)
        check_tables("system", self.system, names | FOR_SYSTEM)
        try:
            TopologicalSorter(
                {name: services_of(it) & self.system.keys() for name, it in self.system.items()}
            ).prepare()
        except CycleError as error:
            circle = " asks for ".join(error.args[1][::-1])
            raise ConfigError(f"system.{error.args[1][0]}", f"none could be launched first: {circle}") from None
        standard_services(names_in([*self.configs.values(), *self.system.values()]), self.options)

    def _placed(self, error: ConfigError) -> ConfigError:
        return error if self.path is None else ConfigError(str(self.path), str(error))


DIFFERS = "is resumed with the config it was launched with, which differs from the file's"
"""Said of a subcluster, after its name."""


class Launches:
    """The launch of what a file describes, in a kernel that runs.

    Args:
        kernel: one that the file has opened.
        launched: is told the name and result of each subcluster that was launched, or is there.
        failed: is told the name of each that was not, system subclusters too, and why.

    Attributes:
        awaited: those that are being launched, by name.
    """

    def __init__(
        self,
        kernel: Kernel,
        file: ClusterFile,
        launched: Callable[[str, Any], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._kernel = kernel
        self._file = file
        self._launched = launched
        self._failed = failed
        self._known = {it.name: it for it in kernel.get_subclusters() if not it.is_system}
        self.awaited = {*file.system, *(file.configs.keys() - self._known.keys())}

    def differing(self) -> list[str]:
        """Those that are there with another config than the file's. (System subclusters are given the file's.)"""
        there = {name: config for name, config in self._file.configs.items() if name in self._known}
        checked = check_tables("subclusters", there, self._kernel.service_names())
        return [name for name, config in checked.items() if config != self._known[name].config]

    def start(self, nursery: trio.Nursery) -> None:
        """Launch what is not there, each in a task of its own."""
        for name in self._file.system:
            nursery.start_soon(self._launch, name, partial(self._kernel.launch_offered, name))
        for name, config in self._file.configs.items():
            if name in self._known:
                self._launched(name, self._known[name].result)
            else:
                nursery.start_soon(self._launch, name, partial(self._kernel.launch_subcluster, config))

    async def _launch(self, name: str, launch: Callable[[], Awaitable[Subcluster]]) -> None:
        try:
            subcluster = await launch()
        except (ConfigError, LaunchError) as error:
            self._failed(name, str(error).removeprefix(f"{name}: "))
        else:
            if not subcluster.is_system:
                self._launched(name, subcluster.result)
        self.awaited.discard(name)


async def wake_system(kernel: Kernel) -> None:
    """Start the vats of system subclusters, so that they ask services again for what they wait for."""
    for subcluster in kernel.get_subclusters():
        for vat in subcluster.vats.values() if subcluster.is_system else ():
            with suppress(OcapError):  # it is suspended, or fails: the log says so
                await kernel.ping_vat(vat.id)


def load_cluster_file(path: Path) -> ClusterFile:
    """What a file says, checked.

    Raises:
        ConfigError: the file is wrong.
    """
    found = load_described(path)
    file = ClusterFile(path, found.subclusters, found.system, found.services)
    try:
        file.check()
    except ConfigError as error:
        raise file._placed(error) from None
    return file
