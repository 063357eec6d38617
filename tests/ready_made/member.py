"""A vat that stands on the other side of ready-made ones: keeps what it gets, and lets a test send in its name."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, SetStore, VatPowers, field


class Ear(DurableExo):
    heard: list[Any] = field(factory=list)
    is_rude: bool = False

    async def receive(self, message: Any) -> None:
        self.heard = [*self.heard, message]
        if self.is_rude:
            raise ValueError("no")

    async def hear(self, name: str, text: str) -> None:
        await self.receive((name, text))

    async def get_heard(self) -> list[Any]:
        return self.heard


class FalsePurse(Exo):
    """Says that it is rich."""

    async def get_balance(self) -> int:
        return 10**9

    async def withdraw(self, amount: int) -> Exo:
        return self


class Member(Exo):
    def __init__(self, powers: VatPowers, baggage: Baggage) -> None:
        self.powers = powers
        self.baggage = baggage
        self.ears: SetStore[Any] = baggage.provide_set("ears")

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> None:
        pass

    async def make_ear(self, is_rude: bool = False) -> Ear:
        ear = Ear(is_rude=is_rude)
        self.ears.add(ear)
        return ear

    async def make_false_purse(self) -> FalsePurse:
        return FalsePurse()

    async def leave(self, value: Any = None) -> None:
        self.powers.exit(value)

    async def fail(self, reason: Any = "failed") -> None:
        self.powers.exit_with_failure(reason)

    async def ping(self, ref: Ref[Any]) -> Any:
        return await E(ref).get_names()


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Member:
    if parameters.get("broken"):
        raise RuntimeError("broken")
    return Member(powers, baggage)
