"""Answers: what the asker's and the senders' messages go to."""

# ruff: noqa: ARG001, ARG002 - parameters that the contract names, and that only guards look at

from __future__ import annotations

from typing import Any

from vats import Baggage, DurableExo, Exo, Ref, VatPowers

LINKS = 9


class Account(DurableExo):
    """A field that a crank writes."""

    balance: int = 0


class Link(Exo):
    """One object of a chain that was there before."""

    def __init__(self, position: int, following: Link | None) -> None:
        self._position = position
        self._following = following

    async def next(self) -> Ref[Link]:
        if self._following is None:
            raise LookupError("the chain is over")
        return self._following

    async def place(self, number: int) -> int:
        """Where in the chain the message ended, beside what only this message carried."""
        return number * LINKS + self._position


class Checked(Exo):
    """Arguments and answers are checked by their annotations, as of every exo."""

    async def weigh(self, number: int, text: str, weights: list[int]) -> int:
        return number + 1


class Unchecked(Exo, guard=False):
    """The same, not checked."""

    async def weigh(self, number: int, text: str, weights: list[int]) -> int:
        return number + 1


class Answerer(Exo):
    def __init__(self, account: Account) -> None:
        self._account = account
        self._count = 0
        self._sum = 0
        self._first: Link | None = None
        for position in reversed(range(LINKS)):
            self._first = Link(position, self._first)

    async def ping(self, number: int) -> int:
        return number + 1

    async def checked(self) -> Ref[Checked]:
        return Checked()

    async def unchecked(self) -> Ref[Unchecked]:
        return Unchecked()

    async def deposit(self, amount: int) -> int:
        self._account.balance += amount
        return self._account.balance

    async def stamp(self, rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
        rows[number % len(rows)]["serial"] += 1
        return rows

    async def first(self) -> Ref[Link]:
        assert self._first is not None
        return self._first

    async def take(self, number: int) -> int:
        self._count += 1
        self._sum += number
        return -number

    async def taken(self) -> tuple[int, int]:
        """How many numbers came, and their sum."""
        return self._count, self._sum


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Answerer:
    return Answerer(baggage.provide("account", Account))
