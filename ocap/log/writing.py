"""A log file that is kept within a size and an age.

The file is rotated: renamed to its own name, a dot and the next number, and begun anew. Whole parts are
removed, the oldest first, and nothing else is ever lost: a line is handed to the system as it is
written, a rename loses nothing, and one program at a time writes to a log that is rotated.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from attrs import frozen

from ocap.log.entry import from_json_line
from ocap.log.reading import parts_of
from ocap.protocol.errors import ConfigError
from ocap.reasons import reason as os_reason
from ocap.store.owner import stranger

PARTS = 8
"""Into how many parts what is kept is cut, at least: so much of it, one in eight, goes at once."""

MAX_DAYS = 100_000
"""Days that a log may be kept for at most: beyond these, leave the option out."""

DAY = 24 * 60 * 60
"""Seconds in a day."""

MIN_SIZE = 64_000
"""Bytes that a log which is kept within a size may have at least: parts of 8 kB."""

_DATABASE = b"SQLite format 3\0"
"""How a file of SQLite begins: a log is not appended to one, and least of all rotated."""

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@frozen
class Retention:
    """How much of a log is kept.

    Attributes:
        size: bytes, all parts together; None for no limit.
        seconds: a part goes when its last line is older than this; None for no limit.
    """

    size: int | None = None
    seconds: float | None = None

    @property
    def part_size(self) -> float:
        return float("inf") if self.size is None else self.size // PARTS

    @property
    def part_seconds(self) -> float:
        return float("inf") if self.seconds is None else self.seconds / PARTS


def check_log(path: Path, retention: Retention) -> None:
    """Raises `ConfigError` for a message log that could not be written; makes none."""
    if (fd := open_to_check("--log-json", path)) is not None:
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _lock(fd, path, alone=retention != Retention())
        finally:
            os.close(fd)


def open_to_check(option: str, path: Path) -> int | None:
    """Open a log as it is opened to be written, and leave no file where there was none.

    Returns:
        What it is open as; None for a pipe: who reads it would take the end of this for the end of the log.

    Raises:
        ConfigError: it cannot be; says why, and that the option is to blame.
    """
    if (reason := stranger(path)) is not None:
        raise ConfigError(option, f"{path}: {reason}")
    if path.is_fifo():
        return None
    is_new = not os.path.lexists(path)
    try:
        if path.is_file() and _is_database(path):
            raise ConfigError(option, f"{path}: is a database; name another file")
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(option, f"{path}: {os_reason(error)}") from error
    if is_new:
        path.unlink()
    return fd


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_DATABASE)) == _DATABASE


def check_apart(files: Mapping[str, Path | None]) -> None:
    """Raises `ConfigError` if two options name one file: what is written for one would destroy the other's."""
    named: dict[Path, str] = {}
    for option, path in files.items():
        if path is not None and (other := named.setdefault(path.resolve(), option)) != option:
            raise ConfigError(option, f"{path}: is what {other} names; name another file")


def _lock(fd: int, path: Path, *, alone: bool) -> None:
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        reason = "another program writes to this log, and one that is rotated has one writer"
        raise ConfigError("--log-json", f"{path}: {reason}") from None


class LogFile:
    """A log file, open for appending.

    Args:
        path: made if it does not exist; what is not a plain file is never rotated.
        retention: how much is kept; everything by default.
        now: the time, in seconds since the epoch.

    Attributes:
        path: as it was given.

    Raises:
        ConfigError: the file cannot be opened, or another program writes to it and either is to rotate it.
    """

    def __init__(self, path: Path, retention: Retention | None = None, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._retention = retention or Retention()
        self._rotates = self._retention != Retention()
        self._now = now
        if (reason := stranger(path)) is not None:
            raise ConfigError("--log-json", f"{path}: {reason}")
        try:
            self._open()
        except OSError as error:
            raise ConfigError("--log-json", f"{path}: {os_reason(error)}") from error
        if self._rotates:
            self._take_away()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        # Not 0666: what vats tell each other is nobody else's business.
        fd = os.open(self.path, flags, 0o600)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            self._fd, self._rotates = fd, False
            return
        try:
            _lock(fd, self.path, alone=self._rotates)
        except ConfigError:
            os.close(fd)
            raise
        self._fd = fd
        self._size = status.st_size
        self._began = self._now()
        if self._size:
            self._go_on(status.st_mtime)

    def _go_on(self, changed: float) -> None:
        """Append to what another run has left."""
        with self.path.open("rb") as file:
            try:
                self._began = datetime.fromisoformat(from_json_line(file.readline()).time or "").timestamp()
            except ValueError:
                self._began = changed
            file.seek(-1, os.SEEK_END)
            is_whole = file.read() == b"\n"
        if not is_whole:
            self._put(b"\n")  # a line was cut short, by a full disk or a loss of power: it ends here

    def write(self, line: str) -> None:
        """Append a line, given without its newline.

        Raises:
            OSError: it cannot be written.
        """
        data = f"{line}\n".encode()
        if self._rotates and self._size and self._is_full(len(data)):
            self._rotate()
        self._put(data)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._size += len(data)

    _size = 0

    def _is_full(self, more: int) -> bool:
        retention = self._retention
        return self._size + more > retention.part_size or self._now() - self._began > retention.part_seconds

    def _rotate(self) -> None:
        parts = parts_of(self.path)
        number = parts[-1][0] + 1 if parts else 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{number:06}"))
        old = self._fd
        self._open()  # if that fails, the old one is still there to be closed, and nobody else's
        os.close(old)
        self._take_away()

    def _take_away(self) -> None:
        """Remove the oldest parts while there is too much, or what is too old."""
        parts = [(part, part.stat()) for _, part in parts_of(self.path)]
        total = self._size + sum(status.st_size for _, status in parts)
        size, seconds = self._retention.size, self._retention.seconds
        for part, status in parts:
            is_too_much = size is not None and total + size // PARTS > size
            is_too_old = seconds is not None and self._now() - status.st_mtime > seconds
            if not is_too_much and not is_too_old:
                return
            part.unlink()
            total -= status.st_size

    def close(self) -> None:
        os.close(self._fd)


def parse_retention(size: str | None, days: float | None) -> Retention:
    """What `--log-keep-size` and `--log-keep-days` ask for.

    Raises:
        ConfigError: one of them makes no sense.
    """
    if days is not None and not 0 < days < MAX_DAYS:
        raise ConfigError("--log-keep-days", f"{days:g}: a number of days above 0 and below {MAX_DAYS}")
    return Retention(None if size is None else parse_size(size), None if days is None else days * DAY)


def parse_size(text: str) -> int:
    """Bytes of `500M`, `2G`, `64k` or a plain number.

    Raises:
        ConfigError: it is none of these, or too little to keep anything.
    """
    found = re.fullmatch(r"(\d{1,15})([kKMGT]?)B?", text, re.ASCII)
    if not found:
        raise ConfigError("--log-keep-size", f"{text}: a size is given as 500M, 2G or 64k")
    size = int(found[1]) * _SIZES[found[2].upper()]
    if size < MIN_SIZE:
        raise ConfigError("--log-keep-size", f"{text}: less than {MIN_SIZE} bytes keeps nothing of use")
    return size
