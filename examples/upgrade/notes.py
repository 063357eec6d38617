"""Notes, and whether they are done: the first version, which says so in words."""

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, Exo, Ref, VatPowers


class Note(DurableExo):
    text: str
    done: str = "no"


class Notes(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.notes = baggage.provide_map("notes", key=int, value=Note)

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        return "ready"

    async def add(self, text: str) -> int:
        number = len(self.notes) + 1
        self.notes[number] = Note(text=text)
        return number

    async def finish(self, number: int) -> None:
        self.notes[number].done = "yes"

    async def get_open(self) -> list[str]:
        return [note.text for note in self.notes.values() if note.done == "no"]


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Notes:
    return Notes(baggage)
