"""The desk of the lobby: who enters gets a badge, and is known until they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, DurableExo, Exo, Ref, VatPowers

if TYPE_CHECKING:
    from examples.lobby.guests import Guest


class Badge(DurableExo):
    guest: Ref[Guest]


class Desk(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.here = baggage.provide_set("here")

    async def enter(self, guest: Ref[Guest]) -> Ref[Badge]:
        self.here.add(guest)
        return Badge(guest=guest)

    async def leave(self, guest: Ref[Guest]) -> None:
        self.here.remove(guest)


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Desk:
    return Desk(baggage)
