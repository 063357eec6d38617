"""What a rule is: a function from a store to what contradicts it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import apsw

Finding = tuple[Any, ...]
"""Key, what the rest of the store leads to expect, what was found; `report` makes text of them."""


class Rule(Protocol):
    """Reads the store's tables and those of `holders`. Its docstring is what it asserts."""

    @property
    def __name__(self) -> str: ...
    def __call__(self, db: apsw.Connection, /) -> Iterable[Finding]: ...
