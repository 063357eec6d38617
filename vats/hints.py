"""Annotations as types: resolved where they stand, names that only type checkers see as `Any`."""

from __future__ import annotations

import builtins
import typing
from types import SimpleNamespace
from typing import Any

UNKNOWN = object()
"""What `resolve` gives for an annotation that cannot be made out: nothing is checked by it."""


class _Names(dict[str, Any]):
    """Names in scope. One that is imported for type checkers only stands for anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def resolve(annotation: Any, names: dict[str, Any], cls: type[Any]) -> Any:
    """The type that `annotation`, written in class `cls` of a module with `names`, means; else `UNKNOWN`."""
    holder = SimpleNamespace(__annotations__={"it": annotation})
    scope = _Names(names)
    scope.update((base.__name__, base) for base in reversed(cls.__mro__[:-1]))
    try:
        return typing.get_type_hints(holder, names, scope, include_extras=True)["it"]
    except Exception:  # an expression of what only type checkers see, a name local to a function
        return UNKNOWN
