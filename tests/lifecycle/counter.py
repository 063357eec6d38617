"""A vat with a little of everything an operation on vats may keep or lose."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers, make_durable_promise_kit, make_promise_kit

VERSION = "one"


class Note(DurableExo):
    text: str = ""

    async def get_text(self) -> str:
        return self.text


class Scrap(Exo):
    async def get_text(self) -> str:
        return "scrap"


class Counter(Exo):
    def __init__(self, powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.powers = powers
        self.parameters = parameters
        self.baggage = baggage
        self.note: Note = baggage.provide("note", lambda: Note(text="durable"))
        self.scrap = Scrap()
        self.on_heap = 0
        self.kept: list[Any] = []

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        for name, ref in {**vats, **services}.items():
            if ref is not self:
                self.baggage[name] = ref
        return "ready"

    async def count(self) -> list[int]:
        self.on_heap += 1
        total = self.baggage.get("total", 0) + 1
        self.baggage["total"] = total
        return [self.on_heap, total]

    async def get_version(self) -> str:
        return VERSION

    async def get_parameters(self) -> dict[str, Any]:
        return self.parameters

    async def get_note(self) -> Note:
        return self.note

    async def get_scrap(self) -> Scrap:
        return self.scrap

    async def wait(self) -> None:
        """Never answers, while this incarnation lives."""
        await make_promise_kit().promise

    async def wait_durably(self) -> Any:
        """Answers when `settle` is called, in whichever incarnation."""
        kit = make_durable_promise_kit()
        self.baggage["kit"] = kit
        return kit.promise

    async def settle(self, value: Any) -> None:
        self.baggage["kit"].resolve(value)

    async def keep(self, *things: Any) -> None:
        self.kept += things

    async def get(self, name: str) -> Any:
        return self.baggage[name]

    async def ask(self, name: str, method: str, *args: Any) -> Any:
        return await getattr(E(self.baggage[name]), method)(*args)

    async def create(self, source: str, **options: Any) -> Any:
        """A vat of its own; its root and admin stay in the baggage."""
        root, admin = await E(self.baggage["vat_admin"]).create_vat(source, **options)
        self.baggage["root"], self.baggage["admin"] = root, admin
        return root, admin

    async def break_down(self) -> None:
        """A fault: the budget of turns has an end."""
        while True:
            await make_settled()

    async def leave(self, value: Any) -> None:
        self.powers.exit(value)

    async def fail(self, reason: Any) -> None:
        self.powers.exit_with_failure(reason)

    async def endowments(self) -> list[str]:
        return sorted(self.powers.endowments)

    async def use(self, name: str, method: str, *args: Any) -> Any:
        return await getattr(E(self.powers.endowments[name]), method)(*args)


def make_settled() -> Any:
    kit = make_promise_kit()
    kit.resolve(None)
    return kit.promise


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Counter:
    if parameters.get("broken"):
        raise RuntimeError(parameters["broken"])
    return Counter(powers, parameters, baggage)
