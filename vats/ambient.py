"""What a vat's module finds without being given it: which modules it may import, and its builtins.

So that a vat's authority is in its config, and its code runs alike everywhere. This keeps honest code
honest: CPython cannot confine hostile code inside one process.

Rules:

1. A module may be imported if an entry of the list names it or a package it is in. `import a.b` gives
   the whole of `a`, so that is what must be named; `from a.b import c` is `a.b` or `a.b.c`.
2. Each incarnation has builtins of its own: a shared dict would be a channel between vats.
3. Libraries that a vat imports run with the ordinary builtins and import what they like.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from ocap.protocol.errors import OcapError
from vats import running

ANYTHING = "*"
"""The entry of a list of imports that allows every module."""

PURE = frozenset(
    (
        # the language, and what types are written with
        *("__future__", "abc", "annotated_types", "attr", "attrs", "collections", "contextlib", "copy", "dataclasses"),
        *("enum", "functools", "types", "typing", "typing_extensions"),
        # numbers, and values that pass
        *("cmath", "datetime", "decimal", "fractions", "math", "numbers", "statistics", "uuid"),
        # algorithms
        *("array", "bisect", "graphlib", "heapq", "itertools", "operator"),
        # text and bytes
        *("base64", "binascii", "calendar", "colorsys", "difflib", "hashlib", "hmac", "html", "ipaddress", "json"),
        *("re", "reprlib", "string", "struct", "textwrap", "tomllib", "unicodedata", "urllib.parse", "zlib"),
        # the vat's own side
        "vats",
    )
)
"""What every vat may import. Chosen by one question: can a program that has only these read or change
anything but its own values? So there are no files, sockets, processes, threads, clocks or lots
(`io`, `pathlib`, `os`, `logging`, `time`, `random`, `secrets`), nothing by which a vat sees the
interpreter's own state (`sys`, `gc`, `inspect`, `weakref`, `importlib`, `warnings`), and no other way to run
code from data (`pickle`). `datetime` and `uuid` are here for their types, which pass; their `now()` and
`uuid4()` do read a clock and draw lots, and a vat had better ask a service."""

_REFUSED = {
    "open": "a vat has no files: ask for a service that reads or writes for it",
    "input": "a vat has no terminal: what it is to know comes as a message or in its parameters",
    "breakpoint": "a vat cannot stop the process it runs in: use vat_powers.log",
    "help": "a vat has no terminal",
    "exit": "a vat cannot end the process it runs in: use vat_powers.exit",
    "quit": "a vat cannot end the process it runs in: use vat_powers.exit",
}
_ABSENT = {"__loader__", "__spec__", "copyright", "credits", "license"}


class AmbientError(OcapError, PermissionError):
    """Vat code reached for something it was not given, such as `open`; its author's fault.

    What is outside a vat comes as a service, to its subcluster's bootstrap or as an endowment.
    """


class LoadError(OcapError, ImportError):
    """A vat's code cannot be found, or lacks what a vat needs, or may not be imported by it.

    Its author's fault, or its configurer's.
    """


def vat_builtins(imports: Collection[str]) -> dict[str, Any]:
    """Builtins for one incarnation of a vat whose config allows these imports beside the pure ones."""
    made = {name: value for name, value in vars(builtins).items() if name not in _ABSENT}
    made.update((name, _refusing(name, reason)) for name, reason in _REFUSED.items())
    made["print"] = _print
    if ANYTHING not in imports:
        made["__import__"] = _importing(PURE.union(imports))
    return made


def _refusing(name: str, reason: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AmbientError(f"{name}(): {reason}")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


def _print(*args: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
    """A line in the vat's log: what it says must not come between what the host program prints."""
    if file is not None:
        print(*args, sep=sep, end=end, file=file, flush=flush)
    else:
        text = (" " if sep is None else sep).join(map(str, args)) + ("\n" if end is None else end)
        running.current("print()").log(text.removesuffix("\n"))


def _importing(allowed: frozenset[str]) -> Callable[..., Any]:
    def import_allowed(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - as Python calls it
        locals: Mapping[str, object] | None = None,  # noqa: A002 - the same
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        for wanted in _modules(name, globals or {}, fromlist or (), level):
            if not _is_within(wanted, allowed):
                caller = sys._getframe(1)
                place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
                raise LoadError(f"{place}: {_reason(name, wanted, allowed, whole=not fromlist)}")
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    return import_allowed


def _modules(name: str, scope: Mapping[str, object], fromlist: Sequence[str], level: int) -> list[str]:
    """What an import statement hands out; `a.b` for `b` from `a`, which may be a module or not."""
    if level:
        package = str(scope.get("__package__") or "").split(".")
        name = ".".join([*package[: len(package) - level + 1], *filter(None, [name])])
    elif not fromlist:
        return [name.partition(".")[0]]
    return [f"{name}.{part}" for part in fromlist] or [name]


def _reason(name: str, wanted: str, allowed: frozenset[str], *, whole: bool) -> str:
    if whole and _is_within(name, allowed):
        package, _, module = name.rpartition(".")
        return f"`import {name}` gives this vat all of {wanted}; write `from {package} import {module}`"
    module = wanted if whole else wanted.rpartition(".")[0]
    return f'this vat may not import {module}; its config would have to say imports = ["{module}"]'


def _is_within(name: str, allowed: frozenset[str]) -> bool:
    while name not in allowed:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return False
    return True
