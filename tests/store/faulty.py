"""A file system that fails on demand: an apsw VFS below SQLite, above the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

_USUAL = apsw.vfs_names()[0]

Fault = Callable[[str], None]
"""Given the name of an operation (open, write, sync, truncate, read); raises to make it fail."""


class _File(apsw.VFSFile):
    def __init__(self, fault: Fault, name: Any, flags: list[int]) -> None:
        self._fault = fault
        super().__init__(_USUAL, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw calls it so
        self._fault("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw calls it so
        self._fault("sync")
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - apsw calls it so
        self._fault("truncate")
        super().xTruncate(size)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - apsw calls it so
        self._fault("read")
        return super().xRead(amount, offset)


class _Vfs(apsw.VFS):
    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        super().__init__("faulty", _USUAL, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw calls it so
        self._fault("open")
        return _File(self._fault, name, flags)


@contextmanager
def faulty(fault: Fault) -> Iterator[None]:
    """While it is entered, files that SQLite opens fail as `fault` says."""
    vfs = _Vfs(fault)
    try:
        yield
    finally:
        vfs.unregister()


class Countdown:
    """Lets some operations of a kind pass, then fails, for good or once."""

    def __init__(self, kind: str, error: type[Exception], *, passes: int = 0, once: bool = False) -> None:
        self.kind, self.error, self.passes, self.once = kind, error, passes, once
        self.armed = False
        self.seen = 0

    def __call__(self, operation: str) -> None:
        if self.armed and operation == self.kind:
            self.seen += 1
            if self.seen > self.passes:
                self.armed = not self.once
                raise self.error("made to fail")
