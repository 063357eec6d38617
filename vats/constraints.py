"""Constraints in `Annotated[int, Ge(0)]`: those of annotated-types, or any object with the same attributes.

They are known by what they have, not by their class, so neither side depends on the library:
`gt`, `ge`, `lt`, `le`, `multiple_of`, `min_length`, `max_length`, and `func` for a predicate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Constraint = tuple[str, Callable[[Any], bool]]
"""What is expected, and whether a value is that."""

_COMPARISONS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "gt": ("> {!r}", lambda value, bound: value > bound),
    "ge": (">= {!r}", lambda value, bound: value >= bound),
    "lt": ("< {!r}", lambda value, bound: value < bound),
    "le": ("<= {!r}", lambda value, bound: value <= bound),
    "multiple_of": ("a multiple of {!r}", lambda value, bound: value % bound == 0),
    "min_length": ("at least {!r} long", lambda value, bound: len(value) >= bound),
    "max_length": ("at most {!r} long", lambda value, bound: len(value) <= bound),
}


def constraints_of(metadata: tuple[Any, ...]) -> list[Constraint]:
    """The constraints among what stands behind the type in `Annotated`; whatever else is there says nothing to us."""
    found: list[Constraint] = []
    for marker in metadata:
        if isinstance(marker, type):
            continue
        for name, (expected, compare) in _COMPARISONS.items():
            bound = getattr(marker, name, None)
            if bound is not None and not (name == "min_length" and bound == 0):
                found.append((expected.format(bound), _comparison(compare, bound)))
        predicate = getattr(marker, "func", None)
        if callable(predicate):
            name = getattr(predicate, "__name__", "").removeprefix("<lambda>")
            found.append((f"what {name} accepts" if name else "what its predicate accepts", _predicate(predicate)))
    return found


def _comparison(compare: Callable[[Any, Any], Any], bound: Any) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return compare(value, bound) is True
        except (TypeError, ArithmeticError):  # not comparable, such as a str with a number
            return False

    return fits


def _predicate(func: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return bool(func(value))
        except Exception:  # it was written for values that it knows
            return False

    return fits
