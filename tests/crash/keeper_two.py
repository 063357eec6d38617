"""The second version of the vats of `keeping`: items count cents, and have a colour."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.crash.keeping import Keeper
from vats import Baggage, DurableExo, MapStore, VatPowers, field


class Item(DurableExo):
    schema_version: ClassVar[int] = 1
    number: int
    following: Item | None = None
    tags: list[int] = field(factory=list)
    log: MapStore[tuple[int, str], list[Any]] = field(factory=lambda: MapStore(durable=True))
    cents: int = 0
    colour: str = "red"

    @classmethod
    def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
        state["cents"] = 100 * state.pop("francs")
        return state

    async def earn(self, francs: int) -> int:
        self.cents += 100 * francs
        return francs

    def report(self) -> Any:
        following = self.following
        return [self.number, following and following.number, self.tags, list(self.log), self.cents, self.colour]


class Root(Keeper):
    item = Item


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Root:
    return Root(baggage)
