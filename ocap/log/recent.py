"""What a long log makes worth remembering for a while."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 50_000
"""Entries that are remembered at least, and twice as many at most: some 10 MB."""


class Recent(Generic[K, V]):
    """A table that forgets its oldest entries, many at a time: a dict does that badly one by one."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __setitem__(self, key: K, value: V) -> None:
        self._new[key] = value
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}

    def get(self, key: K) -> V | None:
        return self._new.get(key) or self._old.get(key)

    def __contains__(self, key: K) -> bool:
        return key in self._new or key in self._old
