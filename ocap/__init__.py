"""The kernel side: what a host program imports.

Names are imported when they are first used, so that a vat, which shares `ocap.protocol` with us,
does not pull trio and apsw in.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocap.config import ClusterConfig, VatConfig, load_toml
    from ocap.host.inventory import DeadLetter, Launch, Subcluster, SubclusterUpdate, Vat
    from ocap.host.kernel import Kernel
    from ocap.kernel.effects import Event
    from ocap.protocol.errors import (
        BacklogError,
        ConfigError,
        CriticalVatError,
        DeadLetterNotFoundError,
        DecodeError,
        DisconnectedError,
        IncarnationEndedError,
        KernelClosedError,
        LaunchError,
        NotOurStoreError,
        NotPassableError,
        ObjectGoneError,
        OcapError,
        RemoteError,
        RevokedError,
        StoreError,
        StoreFailedError,
        StoreInUseError,
        StoreVersionError,
        SubclusterNotFoundError,
        UpgradeError,
        VatFaultError,
        VatNotFoundError,
        VatSuspendedError,
        VatTerminatedError,
    )
    from ocap.protocol.eventual import E, Promise, Ref
    from ocap.ring.watchdog import SlowStep

_HOMES = {
    "ocap.config": ("ClusterConfig", "VatConfig", "load_toml"),
    "ocap.host.inventory": ("DeadLetter", "Launch", "Subcluster", "SubclusterUpdate", "Vat"),
    "ocap.host.kernel": ("Kernel",),
    "ocap.kernel.effects": ("Event",),
    "ocap.protocol.errors": (
        "ConfigError",
        "VatSuspendedError",
        "UpgradeError",
        "RevokedError",
        "IncarnationEndedError",
        "DeadLetterNotFoundError",
        "CriticalVatError",
        "BacklogError",
        "DecodeError",
        "DisconnectedError",
        "KernelClosedError",
        "LaunchError",
        "NotOurStoreError",
        "NotPassableError",
        "ObjectGoneError",
        "OcapError",
        "RemoteError",
        "StoreError",
        "StoreFailedError",
        "StoreInUseError",
        "StoreVersionError",
        "SubclusterNotFoundError",
        "VatFaultError",
        "VatNotFoundError",
        "VatTerminatedError",
    ),
    "ocap.ring.watchdog": ("SlowStep",),
    "ocap.protocol.eventual": ("E", "Promise", "Ref"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BacklogError",
    "ClusterConfig",
    "ConfigError",
    "CriticalVatError",
    "DeadLetter",
    "DeadLetterNotFoundError",
    "DecodeError",
    "DisconnectedError",
    "E",
    "Event",
    "IncarnationEndedError",
    "Kernel",
    "KernelClosedError",
    "Launch",
    "LaunchError",
    "NotOurStoreError",
    "NotPassableError",
    "ObjectGoneError",
    "OcapError",
    "Promise",
    "Ref",
    "RemoteError",
    "RevokedError",
    "SlowStep",
    "StoreError",
    "StoreFailedError",
    "StoreInUseError",
    "StoreVersionError",
    "Subcluster",
    "SubclusterNotFoundError",
    "SubclusterUpdate",
    "UpgradeError",
    "Vat",
    "VatConfig",
    "VatFaultError",
    "VatNotFoundError",
    "VatSuspendedError",
    "VatTerminatedError",
    "load_toml",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'ocap' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
