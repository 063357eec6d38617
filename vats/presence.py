"""Presences: what stands in a vat for an object that lives elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ocap.protocol import refs
from ocap.protocol.marshal import Remotable

if TYPE_CHECKING:
    from vats.liveslots import Liveslots
    from vats.slots import Entry


class Presence(Remotable):
    """One object elsewhere: one presence an object, as long as the vat holds it. Use it through `E`."""

    __slots__ = ("__weakref__", "_interface", "_ocap_entry", "_ocap_vat")
    _ocap_entry: Entry

    def __init__(self, vat: Liveslots, interface: str) -> None:
        self._ocap_vat = vat
        self._interface = interface

    @property
    def _ocap_vref(self) -> str:
        return self._ocap_entry.vref

    def _interface_name(self) -> str:  # type: ignore[override]  # alleged, hence by instance
        return self._interface

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return self._ocap_vat.sends.to_presence(self._ocap_entry.vref, method, args, kwargs, wants_result)

    def __hash__(self) -> int:
        # By number, not by address: sets of references iterate alike in every run.
        return refs.number_of(self._ocap_entry.vref)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {self._interface} elsewhere has no {name} here: use E(x).{name}()")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a reference to a {self._interface} cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<{self._interface} elsewhere>"
