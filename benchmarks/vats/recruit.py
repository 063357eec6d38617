"""A vat that does nothing but live: vat creation is measured with it."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names

from __future__ import annotations

from typing import Any

from vats import Baggage, E, Exo, VatPowers, gather


class Recruit(Exo):
    def __init__(self, number: int) -> None:
        self._number = number
        self._others: list[Any] = []

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self._others = list(vats.values())

    async def number(self) -> int:
        return self._number

    async def roll_call(self) -> list[int]:
        """The numbers of all vats of the subcluster, from themselves."""
        return await gather(*[E(vat).number() for vat in self._others])


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Recruit:
    return Recruit(parameters["number"])
