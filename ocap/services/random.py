"""Random numbers that nobody can foresee."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from attrs import define, field

_T = TypeVar("_T")

MAX_BYTES = 1024 * 1024
"""Random bytes in one answer: some thousand keys; more comes in several."""


@define(eq=False)
class Random:
    """Draws from the operating system's generator, as `secrets` does: good for keys and tokens.

    Args:
        source: another generator for tests, such as `random.Random(7)`.
    """

    _source: random.Random = field(factory=random.SystemRandom)

    def bytes(self, count: int) -> bytes:
        """So many random bytes. Raises `ValueError` for less than none or more than a megabyte."""
        if not 0 <= count <= MAX_BYTES:
            raise ValueError(f"bytes: between 0 and {MAX_BYTES}, not {count}")
        return self._source.randbytes(count)

    def integer(self, low: int, high: int) -> int:
        """One of `low`, ..., `high`. Raises `ValueError` if there is none."""
        if low > high:
            raise ValueError(f"integer: nothing between {low} and {high}")
        return self._source.randint(low, high)

    def number(self) -> float:
        """At least 0, less than 1."""
        return self._source.random()

    def choice(self, among: Sequence[_T]) -> _T:
        """One of them. Raises `IndexError` if there is none."""
        return self._source.choice(among)

    def shuffle(self, things: Sequence[_T]) -> list[_T]:
        """All of them in another order."""
        return self._source.sample(things, len(things))

    def uuid(self) -> UUID:
        """A new one, as of `uuid.uuid4`."""
        return UUID(bytes=self._source.randbytes(16), version=4)
