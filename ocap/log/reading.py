"""Going through a log file: its rotated parts first, then the file itself, and on as it grows.

A rotated part keeps the file's name, a dot and a number that only grows (`ocap.log.writing`). A part
is known by its inode while it is read, so that nothing is lost or told twice when it is rotated meanwhile.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

POLL_SECONDS = 0.1
"""Between two looks at a file that is followed: soon enough to be called live."""

_NUMBER = re.compile(r"[0-9]{6,}")


@frozen
class Line:
    """One line of a log.

    Attributes:
        place: the file and the line's number in it, for complaints.
        text: without its newline.
    """

    place: str
    text: bytes


def part_number(path: Path, part: Path) -> int | None:
    """Which rotated part of the log `path` a file is; None if it is none."""
    number = part.name.removeprefix(f"{path.name}.")
    return int(number) if number != part.name and _NUMBER.fullmatch(number) else None


def parts_of(path: Path) -> list[tuple[int, Path]]:
    """The rotated parts of the log `path`, oldest first."""
    found = ((part_number(path, part), part) for part in path.parent.glob(f"{_escaped(path.name)}.*"))
    return sorted((number, part) for number, part in found if number is not None)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def read_lines(
    path: Path, *, follow: bool = False, wait: Callable[[], None] | None = None, last: int | None = None
) -> Iterator[Line]:
    """The lines of a log, oldest first.

    Args:
        path: the log file; a pipe will do.
        follow: at the end, wait for more, for ever.
        wait: what waits between two looks; a while by default.
        last: only those that begin in so many bytes before the end, and what comes after; all by default. Their
            numbers count from there.

    Raises:
        OSError: the file cannot be read.
    """
    wait = wait or (lambda: time.sleep(POLL_SECONDS))
    # The number of the last part that was read to its end, or is not to be read; and what to skip of the next.
    finished, skipped = (0, 0) if last is None else _before_the_last(path, last)
    is_rotated = False
    while True:
        older = next((it for it in parts_of(path) if it[0] > finished), None)
        try:
            file = (older[1] if older else path).open("rb")
        except FileNotFoundError:
            if older is None and follow and is_rotated:
                wait()  # between its old name and its new self
            elif older is None and not is_rotated:
                raise
            elif older is None:
                return
            continue  # a part that retention took away meanwhile
        with file:
            status = os.fstat(file.fileno())
            if skipped:
                file.seek(skipped - 1)
                file.readline()  # up to the first line that begins there
                skipped = 0
            if older is not None:
                finished, is_rotated = older[0], True
                yield from _Reader(older[1].name, file.readline).lines(to_the_end=True)
                continue
            reader = _Reader(path.name, file.readline)
            is_plain = stat.S_ISREG(status.st_mode)
            while True:
                yield from reader.lines(to_the_end=not follow or not is_plain)
                number = _is_now(path, status) if is_plain else 0
                if number != 0:
                    # Rotated. What was written before that is still here.
                    yield from reader.lines(to_the_end=True)
                    finished, is_rotated = max(finished, number or 0), True
                    break
                if not follow or not is_plain:
                    return
                if os.fstat(file.fileno()).st_size < file.tell():
                    file.seek(0)  # emptied in place
                    reader.restart()
                wait()


def _before_the_last(path: Path, last: int) -> tuple[int, int]:
    """Where the last so many bytes of a log begin: the part before, and how much of the next file comes before."""
    parts = parts_of(path)
    files = [(0 if not parts else parts[-1][0], path)]
    files += [(parts[index - 1][0] if index else 0, parts[index][1]) for index in reversed(range(len(parts)))]
    for before, file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue  # rotated, or taken away, meanwhile
        if not stat.S_ISREG(status.st_mode):
            return before, 0
        if status.st_size >= last:
            return before, status.st_size - last
        last -= status.st_size
    return 0, 0


def _is_now(path: Path, status: os.stat_result) -> int | None:
    """What has become of an open log: 0: it still is the log; else the number of the part it is now, if any."""

    def is_same(other: Path) -> bool:
        try:
            return os.path.samestat(other.stat(), status)
        except FileNotFoundError:
            return False

    if is_same(path):
        return 0
    return next((number for number, part in parts_of(path) if is_same(part)), None)


class _Reader:
    """Lines of one file, and what there is of the next one."""

    def __init__(self, name: str, readline: Callable[[], bytes]) -> None:
        self._name = name
        self._readline = readline
        self.restart()

    def restart(self) -> None:
        self._number = 0
        self._begun = b""

    def lines(self, *, to_the_end: bool) -> Iterator[Line]:
        """Those that are whole; `to_the_end`, also a last one that lacks its newline."""
        while more := self._readline():
            self._begun += more
            if self._begun.endswith(b"\n"):
                yield self._take()
        if to_the_end and self._begun:
            yield self._take()

    def _take(self) -> Line:
        self._number += 1
        line = Line(f"{self._name} line {self._number}", self._begun.rstrip(b"\n"))
        self._begun = b""
        return line
