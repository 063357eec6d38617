"""What is installed only with an extra, and the one line that whoever lacks it gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from ocap.protocol.errors import OcapError

EXTRAS = {
    "cli": "the command line needs",
    "http": "the service http needs",
    "metrics": "metrics need",
    "otel": "traces for OpenTelemetry need",
    "panel": "the control panel needs",
    "repl": "the prompt needs",
}
"""The extras, and how the line about each begins."""

INSTALL = "pip install '.[{}]' in the source's folder"
"""How an extra is installed. Not by the name alone: on PyPI that is another's."""


class MissingExtraError(OcapError, ImportError):
    """A package is not installed that this part of the library needs. Says which extra brings it."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import in this block what an extra brings. Raises `MissingExtraError` for what is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        lacks = f"{EXTRAS[name]} {package}, which is not installed"
        raise MissingExtraError(f"{lacks}; the extra ocap[{name}] brings it: {INSTALL.format(name)}") from error


def need(name: str, *packages: str) -> None:
    """Import packages of an extra. Raises `MissingExtraError` for one that is not installed."""
    with extra(name):
        for package in packages:
            import_module(package)
