"""What `ocap run` provides: the services that a file asks for, by their standard names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ocap.config import ClusterConfig, VatConfig, services_of
from ocap.host.control import VAT_ADMIN
from ocap.host.kernel import Kernel
from ocap.protocol.errors import ConfigError
from ocap.services.clock import Clock
from ocap.services.http import Http
from ocap.services.kernel import KernelFacet
from ocap.services.log import Log
from ocap.services.random import Random

TIMER = ClusterConfig("timer", {"timer": VatConfig("vats.timer", endowments=("clock",))}, name="timer")
"""The system subcluster whose root is the service `timer`; it needs the service `clock`."""

STANDARD = frozenset(("http", "log", "random", "timer", VAT_ADMIN))
"""The names that a file may use."""

LATER = ("log", "random", "timer")
"""Those that a kernel has for whatever is launched later."""

WITH_OPTIONS = frozenset(("http",))
"""Those that are provided only where a file has their options."""

FOR_SYSTEM = frozenset(("clock", "kernel"))
"""Those that only its system subclusters may use."""


def names_in(configs: Iterable[ClusterConfig]) -> set[str]:
    """The services that any of these subclusters asks for."""
    return {name for config in configs for name in services_of(config)}


def standard_services(
    asked: Collection[str], options: Mapping[str, Mapping[str, Any]]
) -> dict[str, Callable[[Kernel], None]]:
    """What provides each of the standard services among `asked`, in a kernel that is not entered yet.

    Args:
        asked: names; those that are not standard are passed over.
        options: what the file says of services, by name, such as `{"http": {"hosts": [...]}}`.

    Raises:
        ConfigError: an option is wrong or missing; nothing was changed.
    """
    for name in options:
        if name not in WITH_OPTIONS:
            raise ConfigError(f"services.{name}", "has no options; only http has: hosts, max_bytes, max_seconds")
    makers: dict[str, Callable[[Kernel], None]] = {
        "clock": lambda kernel: kernel.provide("clock", Clock(), system_only=True),
        "kernel": lambda kernel: kernel.provide("kernel", KernelFacet(kernel), system_only=True),
        "log": lambda kernel: kernel.provide("log", Log()),
        "random": lambda kernel: kernel.provide("random", Random()),
        "timer": lambda kernel: kernel.offer("timer", TIMER),
    }
    if "timer" in asked:
        asked = {*asked, *services_of(TIMER)}
    if "http" in asked or "http" in options:
        http = _http(options.get("http", {}))
        makers["http"] = lambda kernel: kernel.provide("http", http)
    return {name: maker for name, maker in makers.items() if name in asked}


_HTTP_OPTIONS: dict[str, type | tuple[type, ...]] = {"hosts": list, "max_bytes": int, "max_seconds": (int, float)}


def _http(options: Mapping[str, Any]) -> Http:
    if "hosts" not in options:
        raise ConfigError("services.http.hosts", 'is needed: the only hosts it may reach, such as ["api.example.org"]')
    for name, value in options.items():
        if name not in _HTTP_OPTIONS:
            raise ConfigError(f"services.http.{name}", f"unknown key; known here: {', '.join(_HTTP_OPTIONS)}")
        if not isinstance(value, _HTTP_OPTIONS[name]) or isinstance(value, bool):
            raise ConfigError(f"services.http.{name}", f"{value!r} will not do")
    try:
        return Http(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError("services.http.hosts", str(error)) from None
    except ImportError as error:
        raise ConfigError("services.http", str(error)) from None
