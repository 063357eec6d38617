"""An index of pages, with a mistake: some pages cannot be stored."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, Exo, Ref, VatPowers, field


class Pages(DurableExo):
    words: dict[str, Any] = field(factory=dict)

    async def add(self, name: str, text: str) -> int:
        words = text.lower().split()
        self.words[name] = words if text.isascii() else filter(str.isascii, words)  # the mistake: a filter is no list
        return len(self.words)


class Index(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.pages: Pages = baggage.provide("pages", Pages)

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        return "ready"

    async def add(self, name: str, text: str) -> int:
        return await self.pages.add(name, text)


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Index:
    return Index(baggage)
