"""The undo journal: a crank that fails takes its changes back, newest first.

Owns the list of inverse operations since the last `clear`.

Invariants:

1. Every change of kernel state is recorded before it is made, so a rollback at any moment
   restores exactly the state of the last `clear`.
2. Inverse operations record nothing themselves.
3. `unit` is another number in each unit of work, so that a row can tell whether the journal has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Journal:
    """Inverse operations of the current unit of work."""

    __slots__ = ("_undo", "unit")

    def __init__(self) -> None:
        self.unit = 1
        self._undo: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has changed in this unit of work."""
        return not self._undo

    def note(self, inverse: Callable[..., Any], *args: Any) -> None:
        """Remember that `inverse(*args)` takes the change about to be made back."""
        self._undo.append((inverse, args))

    def rollback(self) -> None:
        while self._undo:
            inverse, args = self._undo.pop()
            inverse(*args)
        self.unit += 1

    def clear(self) -> None:
        """What was done so far stays."""
        self._undo.clear()
        self.unit += 1
