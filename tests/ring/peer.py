"""A vat that does what a test asks: echoes, keeps, calls, promises, fails and makes traffic."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, E, Exo, Promise, Ref, VatPowers, make_promise_kit


class Counter(DurableExo):
    count: int = 0

    async def increase(self) -> int:
        self.count += 1
        return self.count

    async def get_count(self) -> int:
        return self.count


class Thing(Exo):
    def __init__(self, name: str) -> None:
        self.name = name

    async def get_name(self) -> str:
        return self.name

    async def child(self, name: str) -> Thing:
        return Thing(f"{self.name}.{name}")


class Peer(Exo):
    def __init__(self, vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.vat_powers = vat_powers
        self.parameters = parameters
        self.baggage = baggage
        self.counter: Counter = baggage.provide("counter", Counter)
        self.kits: dict[str, Any] = {}
        self.thing = Thing("thing")
        self.kept: Any = None

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> Any:
        for name, vat in vats.items():
            if vat is not self:
                self.baggage[name] = vat
        for name, service in services.items():
            self.baggage[name] = service
        match self.parameters:
            case {"raises": text}:
                raise LookupError(text)
            case {"never": True}:
                await make_promise_kit().promise
            case {"answer": answer}:
                return answer
        return "open"

    async def echo(self, *values: Any) -> list[Any]:
        return list(values)

    async def fail(self, text: str) -> None:
        raise LookupError(text)

    async def increase(self) -> int:
        return await self.counter.increase()

    async def get_counter(self) -> Counter:
        return self.counter

    async def make_thing(self, name: str) -> Thing:
        return Thing(name)

    async def get_thing(self) -> Thing:
        return self.thing

    async def is_thing(self, other: Any) -> bool:
        return other is self.thing

    async def get(self, name: str) -> Any:
        return self.baggage[name]

    async def keep(self, name: str, value: Any) -> None:
        self.baggage[name] = value

    async def keep_on_heap(self, value: Any) -> None:
        self.kept = value

    async def get_from_heap(self) -> Any:
        return self.kept

    async def call(self, target: Ref[Any], method: str, *args: Any) -> Any:
        return await getattr(E(target), method)(*args)

    async def ask(self, name: str, method: str, *args: Any) -> Any:
        """Call what is kept under a name."""
        return await getattr(E(self.baggage[name]), method)(*args)

    async def later(self, key: str) -> Any:
        """A promise that `settle` decides."""
        self.kits[key] = make_promise_kit()
        return self.kits[key].promise

    async def settle(self, key: str, value: Any) -> None:
        self.kits.pop(key).resolve(value)

    async def value_of(self, promise: Promise[Any]) -> Any:
        return await promise

    async def bounce(self, times: int) -> None:
        """Make traffic with `b`, which is to know us as `a`."""
        self.counter.count += 1
        if times > 0:
            E.send_only(self.baggage["other"]).bounce(times - 1)

    async def log(self, text: str) -> None:
        self.vat_powers.log(text)

    async def exit(self) -> None:
        self.vat_powers.exit()

    async def flood(self, size: int) -> None:
        """Send too much, after a change and a message that must not be."""
        self.counter.count += 1
        E.send_only(self.baggage["other"]).increase()
        for _ in range(size // 1_000_000):
            E.send_only(self.baggage["other"]).echo(b"x" * 1_000_000)

    async def send_at_once(self, size: int) -> None:
        self.counter.count += 1
        E.send_only(self.baggage["other"]).increase()
        E.send_only(self.baggage["other"]).echo(b"x" * size)

    async def spin(self) -> None:
        """Never end the crank."""
        kit = make_promise_kit()
        kit.resolve(None)
        while True:
            await kit.promise


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Peer:
    return Peer(vat_powers, parameters, baggage)
