"""The file that `ocap run` and others are given: its subclusters, and the kernel that has what they ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ocap.config import ClusterConfig, check_config, load_services, load_toml
from ocap.host.kernel import Kernel
from ocap.protocol.errors import ConfigError, OcapError
from ocap.ring.watchdog import SLOW_CRANK
from ocap.services.standard import STANDARD, names_in, standard_services


@frozen
class ClusterFile:
    """What a file says.

    Attributes:
        path: where it is; None for no file.
        configs: its subclusters, by name.
        options: of services, by name.
    """

    path: Path | None = None
    configs: Mapping[str, ClusterConfig] = field(factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(factory=dict)

    def open_kernel(self, db: Path | None, *, also: Collection[str] = (), slow_crank: float = SLOW_CRANK) -> Kernel:
        """A kernel that is not entered yet, with the services that the file and what the database holds ask for.

        Args:
            db: the database; None keeps everything in memory.
            also: standard services for what may be launched later.
            slow_crank: as of `Kernel`.

        Raises:
            ConfigError: the file does not say what is needed for one of them.
            StoreError: the database cannot be used.
        """
        kernel = Kernel(db, slow_crank=slow_crank)
        try:
            known = kernel.get_subclusters()
            asked = names_in([*self.configs.values(), *(it.config for it in known)])
            asked.update(it.name for it in known if it.is_system)
            asked.update(also)
            for provide in standard_services(asked, self.options).values():
                provide(kernel)
        except ConfigError as error:
            kernel.close()
            raise self._placed(error) from None
        return kernel

    def _placed(self, error: ConfigError) -> ConfigError:
        return error if self.path is None else ConfigError(str(self.path), str(error))


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
    file = ClusterFile(path, load_toml(path), load_services(path))
    for name, config in file.configs.items():
        try:
            check_config(config, STANDARD)
        except ConfigError as error:
            raise ConfigError(str(path), f"subclusters.{name}.{error}") from None
    try:
        standard_services(names_in(file.configs.values()), file.options)
    except ConfigError as error:
        raise file._placed(error) from None
    return file
