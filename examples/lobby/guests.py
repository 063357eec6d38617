"""Three guests enter the lobby, and two leave it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers

if TYPE_CHECKING:
    from examples.lobby.desk import Badge, Desk


class Guest(DurableExo):
    name: str
    badge: Ref[Badge] | None = None

    async def get_name(self) -> str:
        return self.name


class Guests(Exo):
    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        desk: Ref[Desk] = vats["desk"]
        for name in ("ann", "bob", "carol"):
            guest = Guest(name=name)
            guest.badge = await E(desk).enter(guest)
            if name != "bob":
                await E(desk).leave(guest)
        return "all have been here"


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Guests:
    return Guests()
