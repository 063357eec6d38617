"""A vat that the store of version 1 has; it runs under both versions."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers, make_durable_promise_kit


class Note(DurableExo):
    text: str = ""

    async def get_text(self) -> str:
        return self.text


class Scrap(Exo):
    async def get_text(self) -> str:
        return "scrap"


class Keeper(Exo):
    def __init__(self, powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.parameters = parameters
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        for name, ref in {**vats, **services}.items():
            if ref is not self:
                self.baggage[name] = ref
        return "ready"

    async def count(self) -> int:
        total: int = self.baggage.get("total", 0) + 1
        self.baggage["total"] = total
        return total

    async def get_parameters(self) -> dict[str, Any]:
        return self.parameters

    async def make_note(self, text: str) -> Note:
        return Note(text=text)

    async def make_scrap(self) -> Scrap:
        return Scrap()

    async def keep(self, name: str, thing: Any) -> None:
        self.baggage[name] = thing

    async def get(self, name: str) -> Any:
        return self.baggage[name]

    async def forget(self, name: str) -> None:
        del self.baggage[name]

    async def ask(self, name: str, method: str, *args: Any) -> Any:
        return await getattr(E(self.baggage[name]), method)(*args)

    async def tell(self, name: str, method: str, *args: Any) -> None:
        """Send, and keep the promise of the answer in no way."""
        getattr(E.send_only(self.baggage[name]), method)(*args)

    async def note_answer(self, name: str, method: str, *args: Any) -> None:
        self.baggage["answer"] = await getattr(E(self.baggage[name]), method)(*args)

    async def wait_durably(self) -> Any:
        kit = make_durable_promise_kit()
        self.baggage["kit"] = kit
        return kit.promise

    async def settle(self, value: Any) -> None:
        self.baggage["kit"].resolve(value)

    async def break_down(self, *_: Any) -> None:
        while True:
            await E(self).count()


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Keeper:
    return Keeper(powers, parameters, baggage)
