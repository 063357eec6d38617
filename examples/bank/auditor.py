"""Opens the bank for a day, and counts all the money when the day is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, DurableExo, E, Exo, MapStore, Ref, VatPowers

if TYPE_CHECKING:
    from examples.bank.branch import Branch


class Day(DurableExo):
    rounds_left: int
    total: int | None = None  # once it is over


class Auditor(Exo):
    def __init__(self, vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.log = vat_powers.log
        self.ring: list[str] = parameters["ring"]
        self.transfers: int = parameters["transfers"]
        self.baggage = baggage
        self.days: MapStore[int, Day] = baggage.provide_map("days")

    async def bootstrap(self, vats: dict[str, Ref[Branch]], services: dict[str, Ref[Any]]) -> str:
        """Join the branches to a ring and open. Called once in the life of the subcluster."""
        branches = self.baggage["branches"] = [vats[name] for name in self.ring]
        for branch, following in zip(branches, [*branches[1:], branches[0]], strict=True):
            E.send_only(branch).join(following, self)
        await self.open_day()
        return "open"

    async def open_day(self) -> str:
        """Give each branch a baton; their rounds run side by side."""
        if self.days and self._today().total is None:
            raise RuntimeError("the bank is open already")
        number = len(self.days) + 1
        self.days[number] = Day(rounds_left=len(self.ring))
        for place, branch in enumerate(self.baggage["branches"]):
            E.send_only(branch).carry(self.transfers, 10 * number + place)
        return f"day {number} is open"

    async def end_round(self) -> None:
        """A baton has come to its end. When all have, no money is under way: it went ahead of them."""
        day = self._today()
        day.rounds_left -= 1
        if day.rounds_left == 0:
            E.send_only(self.baggage["branches"][0]).count(0, len(self.ring))

    async def close_day(self, total: int) -> None:
        self._today().total = total
        self.log(f"day {len(self.days)}: all purses together hold {total}")

    async def get_totals(self) -> list[int | None]:
        """The total of each day; None for today."""
        return [day.total for day in self.days.values()]

    def _today(self) -> Day:
        return self.days[len(self.days)]


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Auditor:
    return Auditor(vat_powers, parameters, baggage)
