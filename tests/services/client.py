"""A vat that uses whatever it was given, and remembers what it was told."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, SetStore, VatPowers, field, make_promise_kit, watch


class Sleeper(DurableExo):
    """A waker: writes down when it was woken, and answers at once, later, by an error, or never."""

    beats: list[float] = field(factory=list)
    mood: str = "glad"
    outcomes: list[Any] = field(factory=list)

    async def wake(self, time: float) -> None:
        self.beats = [*self.beats, time]
        if self.mood == "angry":
            raise ValueError("leave me")
        if self.mood == "deaf":
            await make_promise_kit().promise

    async def get_beats(self) -> list[float]:
        return self.beats

    async def set_mood(self, mood: str) -> None:
        self.mood = mood

    async def get_outcomes(self) -> list[Any]:
        return self.outcomes

    def on_fulfilled(self, value: Any) -> None:
        self.outcomes = [*self.outcomes, value]

    def on_rejected(self, error: Exception) -> None:
        self.outcomes = [*self.outcomes, type(error).__name__]


class Token(DurableExo):
    pass


class Client(Exo):
    def __init__(self, powers: VatPowers, baggage: Baggage) -> None:
        self.powers = powers
        self.baggage = baggage
        self.tokens: SetStore[Any] = baggage.provide_set("tokens")

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        for name, ref in {**vats, **services}.items():
            if ref is not self:
                self.baggage[name] = ref
        return "ready"

    async def use(self, name: str, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(E(self.baggage[name]), method)(*args, **kwargs)

    async def make_sleeper(self, mood: str = "glad") -> Sleeper:
        sleeper = Sleeper(mood=mood)
        self.tokens.add(sleeper)
        return sleeper

    async def get_kept(self) -> list[Any]:
        return list(self.tokens)

    async def make_token(self) -> Token:
        token = Token()
        self.tokens.add(token)
        return token

    async def watch(self, name: str, method: str, *args: Any) -> Sleeper:
        """Let a durable object hear the answer, in whichever incarnation."""
        sleeper = await self.make_sleeper()
        watch(getattr(E(self.baggage[name]), method)(*args), sleeper)
        return sleeper

    async def leave(self) -> None:
        self.powers.exit("left")


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Client:
    return Client(powers, baggage)
