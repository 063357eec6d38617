"""A shop: what lives on the heap, off it, and longer than its code."""

from __future__ import annotations

from typing import Any, ClassVar

from vats import (
    Baggage,
    DurableExo,
    DurableExoKit,
    Exo,
    Facet,
    MapStore,
    Promise,
    Ref,
    VatPowers,
    VirtualExo,
    facet,
    field,
    watch,
)


class Offer(VirtualExo):  # as many as you like; the next incarnation makes them again
    name: str
    price: int


class Order(DurableExo):  # survives restart and upgrade
    schema_version: ClassVar[int] = 1
    name: str
    cents: int = 0
    notes: list[str] = field(factory=list)

    @classmethod
    def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
        """Version 0 had prices in francs."""
        if version < 1:
            state["cents"] = 100 * state.pop("price")
        return state

    async def on_fulfilled(self, value: Any) -> None:
        """The parcel that this order watches has arrived, whenever that was."""
        self.notes.append(f"arrived: {value}")


class Till(DurableExoKit):  # two authorities over one state
    cents: int = 0

    class Slot(Facet["Till"]):
        async def pay(self, cents: int) -> int:
            self.kit.cents += cents
            return self.kit.cents

    class Key(Facet["Till"]):
        async def empty(self) -> int:
            cents, self.kit.cents = self.kit.cents, 0
            return cents

    slot = facet(Slot)
    key = facet(Key)


class Shop(Exo):  # on the heap: built anew in each incarnation
    def __init__(self, parameters: dict[str, Any], baggage: Baggage) -> None:
        self.offers = MapStore[str, Offer]()
        for name, price in parameters["offers"].items():
            self.offers[name] = Offer(name=name, price=price)
        self.orders = baggage.provide_map("orders", key=int, value=Order)
        self.slot, self.key = baggage.provide("till", make_till)

    async def order(self, name: str, parcel: Promise[Any] | None = None) -> int:
        number = len(self.orders) + 1
        order = self.orders[number] = Order(name=name, cents=100 * self.offers[name].price)
        if parcel is not None:
            watch(parcel, order)
        return number

    async def get_notes(self, number: int) -> list[str]:
        return self.orders[number].notes

    async def get_slot(self) -> Ref[Till.Slot]:
        return self.slot  # who has it can pay, and not empty the till


def make_till() -> tuple[Till.Slot, Till.Key]:
    till = Till()
    return till.slot, till.key


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Shop:
    return Shop(parameters, baggage)
