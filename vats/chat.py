"""A chat room: who has a seat speaks under its name, and hears what others say."""

from __future__ import annotations

from typing import Any, Protocol

from vats import (
    Baggage,
    DurableExo,
    E,
    Exo,
    MapStore,
    ObjectGoneError,
    Ref,
    VatPowers,
    VatTerminatedError,
    field,
    watch,
)

HISTORY = 50
"""Lines that are kept for who comes late: about a screen."""

MAX_TEXT = 4000
"""Characters of one line: each goes to everybody."""


class Listener(Protocol):
    """Who hears: any object with this method."""

    async def hear(self, name: str, text: str) -> Any:
        """Somebody said something."""


class Room(DurableExo):
    """The seats by name, and what was said last."""

    seats: MapStore[str, Seat] = field(factory=lambda: MapStore(durable=True))
    lines: list[tuple[str, str]] = field(factory=list)

    def _say(self, name: str, text: str) -> None:
        self.lines = [*self.lines, (name, text)][-HISTORY:]
        for seat in self.seats.values():
            watch(E(seat.listener).hear(name, text), self, seat, rejected="_failed")

    def _failed(self, error: Exception, seat: Seat) -> None:
        if isinstance(error, VatTerminatedError | ObjectGoneError):
            self._leave(seat)

    def _leave(self, seat: Seat) -> None:
        if self.seats.get(seat.name) is seat:
            del self.seats[seat.name]


class Seat(DurableExo):
    """The power to speak under a name, until it is given up or its listener is gone."""

    name: str
    room: Room
    listener: Any

    async def say(self, text: str) -> None:
        """Let all hear it, oneself too.

        Raises:
            ValueError: over the limit of one line; the caller's fault.
            RuntimeError: the seat was given up; the caller's fault.
        """
        if len(text) > MAX_TEXT:
            raise ValueError(f"at most {MAX_TEXT} characters in one line, not {len(text)}")
        if self.room.seats.get(self.name) is not self:
            raise RuntimeError("this seat was given up")
        self.room._say(self.name, text)

    async def leave(self) -> None:
        """Give up the seat, and its name; a second time, nothing."""
        self.room._leave(self)


class Chat(Exo):
    """The root: the door."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        """Nothing to do."""

    async def join(self, name: str, listener: Ref[Listener]) -> Ref[Seat]:
        """Take a seat. Raises `ValueError` if the name is taken, or empty; the caller's fault."""
        if not name.strip() or name in self._room.seats:
            raise ValueError(f"the name {name!r} is taken" if name.strip() else "a name is needed")
        seat = self._room.seats[name] = Seat(name=name, room=self._room, listener=listener)
        return seat

    async def get_names(self) -> list[str]:
        """Who is here, in order."""
        return list(self._room.seats)

    async def get_lines(self) -> list[tuple[str, str]]:
        """Who said what, the last lines."""
        return self._room.lines


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Chat:
    return Chat(baggage.provide("room", Room))
