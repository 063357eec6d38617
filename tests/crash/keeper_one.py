"""The first version of the vats of `keeping`: items count francs."""

from __future__ import annotations

from typing import Any

from tests.crash.keeping import Keeper
from vats import Baggage, DurableExo, MapStore, VatPowers, field


class Item(DurableExo):
    number: int
    following: Item | None = None
    tags: list[int] = field(factory=list)
    log: MapStore[tuple[int, str], list[Any]] = field(factory=lambda: MapStore(durable=True))
    francs: int = 0

    async def earn(self, francs: int) -> int:
        self.francs += francs
        return francs

    def report(self) -> Any:
        raise NotImplementedError("reports are made by the second version")


class Root(Keeper):
    item = Item


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Root:
    return Root(baggage)
