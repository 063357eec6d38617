"""A registry: names to references, in a vat of its own.

The root registers and looks up; who is to look up only gets `get_lookup()`.
"""

from __future__ import annotations

from typing import Any

from vats import (
    Baggage,
    DurableExo,
    DurablePromiseKit,
    Exo,
    MapStore,
    Promise,
    Ref,
    VatPowers,
    make_durable_promise_kit,
)


class Lookup(DurableExo):
    """The power to find what was registered."""

    names: MapStore[str, Any]
    awaited: MapStore[str, DurablePromiseKit[Any]]

    async def get(self, name: str) -> Any:
        """The reference of that name. Raises `LookupError` if there is none; the caller's fault."""
        if name not in self.names:
            raise LookupError(f"nothing is registered as {name!r}")
        return self.names[name]

    def wait_for(self, name: str) -> Promise[Any]:
        """The promise of the reference that will be registered under the name, or is; it survives restarts."""
        if name in self.names:
            kit: DurablePromiseKit[Any] = make_durable_promise_kit()
            kit.resolve(self.names[name])
            return kit.promise
        if name not in self.awaited:
            self.awaited[name] = make_durable_promise_kit()
        return self.awaited[name].promise

    async def get_names(self) -> list[str]:
        """All names, in order."""
        return list(self.names)


class Registry(Exo):
    """The root."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        """Nothing to do."""

    async def get_lookup(self) -> Ref[Lookup]:
        return self._lookup

    async def register(self, name: str, reference: Ref[Any]) -> None:
        """Give a reference a name. Raises `ValueError` if the name is taken; the caller's fault."""
        if name in self._lookup.names:
            raise ValueError(f"{name!r} is registered already; unregister it first")
        self._lookup.names[name] = reference
        kit = self._lookup.awaited.pop(name, None)
        if kit is not None:
            kit.resolve(reference)

    async def unregister(self, name: str) -> None:
        """Forget a name; of one that is not there, nothing."""
        self._lookup.names.pop(name, None)


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Registry:
    names, awaited = baggage.provide_map("names"), baggage.provide_map("awaited")
    return Registry(baggage.provide("lookup", lambda: Lookup(names=names, awaited=awaited)))
