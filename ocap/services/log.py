"""A logger of the host program that a vat may write to."""

from __future__ import annotations

import logging

from attrs import define

from ocap.legible import safe_text

MAX_LINE = 10_000
"""Characters of one entry: what a vat writes must not fill the disk of who reads it."""


@define(eq=False)
class Log:
    """Passes what vats say on to `logging`, under a name that the host program chose.

    `vat_powers.log` writes to the message log; this is for what the operators of the host program are to see.

    Args:
        name: of the logger; below `ocap.vats` unless it says otherwise.
    """

    _name: str = "ocap.vats"

    def debug(self, *parts: object) -> None:
        self._write(logging.DEBUG, parts)

    def info(self, *parts: object) -> None:
        self._write(logging.INFO, parts)

    def warning(self, *parts: object) -> None:
        self._write(logging.WARNING, parts)

    def error(self, *parts: object) -> None:
        self._write(logging.ERROR, parts)

    def _write(self, level: int, parts: tuple[object, ...]) -> None:
        text = " ".join(map(str, parts))
        if len(text) > MAX_LINE:
            text = f"{text[:MAX_LINE]}..."
        logging.getLogger(self._name).log(level, "%s", safe_text(text))  # never as a format: it is a vat's
