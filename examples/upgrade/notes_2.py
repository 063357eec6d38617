"""Notes, and whether they are done: the second version. It can be told about notes of the first one."""

from __future__ import annotations

from typing import Any, ClassVar

from vats import Baggage, DurableExo, Exo, Ref, VatPowers, field


class Note(DurableExo):
    schema_version: ClassVar[int] = 1
    text: str
    done: bool = False
    tags: list[str] = field(factory=list)  # a new field has a default: that is all it takes

    @classmethod
    def migrate(cls, version: int, state: dict[str, Any]) -> dict[str, Any]:
        """Version 0 said "yes" or "no"."""
        if version < 1:
            state["done"] = state["done"] == "yes"
        return state


class Notes(Exo):
    def __init__(self, baggage: Baggage) -> None:
        self.notes = baggage.provide_map("notes", key=int, value=Note)

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> str:
        return "ready"

    async def add(self, text: str, tags: list[str] | None = None) -> int:
        number = len(self.notes) + 1
        self.notes[number] = Note(text=text, tags=tags or [])
        return number

    async def finish(self, number: int) -> None:
        self.notes[number].done = True

    async def get_open(self) -> list[str]:
        return [note.text for note in self.notes.values() if not note.done]

    async def get_tagged(self, tag: str) -> list[str]:
        return [note.text for note in self.notes.values() if tag in note.tags]


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Notes:
    return Notes(baggage)
