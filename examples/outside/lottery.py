"""A lottery: it draws numbers, at a time, and asks the web."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers


class Draw(DurableExo):
    """One draw. The timer wakes it, in whichever incarnation that is."""

    random: Ref[Any]
    number: int | None = None

    async def wake(self, time: float) -> None:
        self.number = await E(self.random).integer(1, 49)
        print(f"number {self.number}")  # to the vat's log

    async def get_number(self) -> int | None:
        return self.number


class Lottery(Exo):
    def __init__(self, vat_powers: VatPowers, baggage: Baggage) -> None:
        self.random = vat_powers.endowments["random"]
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        self.baggage.update(services)  # bootstrap is called once: later incarnations need them too
        await self.draw_in(1)
        return "the draw is soon"

    async def draw_in(self, seconds: float) -> Draw:
        draw = Draw(random=self.random)
        timer = self.baggage["timer"]
        E.send_only(timer).set_wakeup(await E(timer).now() + seconds, draw)
        return draw

    async def check(self, url: str) -> int:
        answer: dict[str, Any] = await E(self.baggage["http"]).get(url)
        status: int = answer["status"]
        return status


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Lottery:
    return Lottery(vat_powers, baggage)
