"""A vat that keeps references to another one, and tells what becomes of them."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Ref, VatPowers, watch


class Fate(DurableExo):
    """What became of an answer, whoever is restarted meanwhile."""

    text: str = "pending"

    async def on_fulfilled(self, value: Any) -> None:
        self.text = f"answered: {value}"

    async def on_rejected(self, error: Exception) -> None:
        self.text = f"rejected: {getattr(error, 'reason', error)}"

    async def tell(self) -> str:
        return self.text


class Loose(DurableExo):
    """An object that nobody holds but who is given it."""

    async def get_text(self) -> str:
        return "loose"


class Observer(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> None:
        for name, ref in {**vats, **services}.items():
            if ref is not self:
                self.baggage[name] = ref

    async def know(self, **things: Any) -> None:
        for name, thing in things.items():
            self.baggage[name] = thing

    async def get(self, name: str) -> Any:
        return self.baggage[name]

    async def loose(self) -> Loose:
        return Loose()

    async def wait_for(self, name: str, method: str) -> None:
        """Send, and keep what becomes of the answer."""
        fate = self.baggage[f"{method} of {name}"] = Fate()
        watch(getattr(E(self.baggage[name]), method)(), fate)

    async def fate(self, name: str, method: str) -> str:
        text: str = self.baggage[f"{method} of {name}"].text
        return text

    async def attempt(self, name: str, method: str, *args: Any) -> list[Any]:
        try:
            return ["answered", await getattr(E(self.baggage[name]), method)(*args)]
        except ConnectionError as error:
            return [type(error).__name__, str(error)]

    async def create(self, source: str, **options: Any) -> Any:
        """A vat of its own; its root and admin stay in the baggage."""
        root, self.baggage["admin"] = await E(self.baggage["vat_admin"]).create_vat(source, **options)
        return root

    async def end_by_admin(self) -> list[Any]:
        """Terminate what was created; what becomes of a message that is queued behind that."""
        E.send_only(self.baggage["admin"]).terminate("enough")
        answer: list[Any] = await E(self.baggage["relay"]).attempt("root", "count")
        return answer


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Observer:
    return Observer(baggage)
