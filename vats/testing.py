"""For tests of vats: Hypothesis strategies. Needs the extra `ocap[test]`.

`passables()` draws any value that can be sent, so that a property can be tested of all of them::

    @given(passables())
    def test_a_store_gives_back_what_it_took(value): ...
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

from ocap.protocol.errors import RemoteError

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover - says what to install
    raise ImportError("vats.testing needs Hypothesis: pip install '.[test]' in the source's folder") from error

__all__ = ["keys", "passables", "scalars"]

_ZONES = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ERRORS: tuple[Callable[..., Exception], ...] = (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError)


def _is_hashable(number: Decimal) -> bool:
    return not number.is_snan()


def scalars() -> st.SearchStrategy[Any]:
    """Values without parts: None, bool, int of any size, float, str, bytes, Decimal, UUID and datetime."""
    return (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(-(1 << 200), 1 << 200)
        | st.floats()
        | _LINES
        | st.binary(max_size=12)
        | st.decimals().filter(_is_hashable)
        | st.uuids()
        | st.builds(lambda when, fold: when.replace(fold=fold), st.datetimes(timezones=_ZONES), st.integers(0, 1))
    )


def keys(*, references: st.SearchStrategy[Any] | None = None, max_leaves: int = 5) -> st.SearchStrategy[Hashable]:
    """What may be a key of a dict, a member of a set, and a key of a store.

    Args:
        references: draws exos and presences to be mixed in; none without it.
        max_leaves: how many scalars one key has at most, or thereabouts.
    """
    leaves = scalars() if references is None else scalars() | references
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
        max_leaves=max_leaves,
    )


def passables(
    *,
    references: st.SearchStrategy[Any] | None = None,
    records: st.SearchStrategy[Any] | None = None,
    max_leaves: int = 20,
) -> st.SearchStrategy[Any]:
    """Any value that can be sent: scalars, containers of every sort, exceptions, and what is mixed in.

    Args:
        references: draws exos, presences and promises to be mixed in; none without it.
        records: draws instances of `@passable` classes to be mixed in; none without it.
        max_leaves: how many scalars one value has at most, or thereabouts.
    """
    hashable = keys()
    leaves = scalars() | st.builds(RemoteError, _LINES, _LINES, st.none() | _LINES)
    for extra in (references, records):
        if extra is not None:
            leaves |= extra
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(_LINES, inner, max_size=4)
            | st.dictionaries(hashable, inner, max_size=4)
            | st.sets(hashable, max_size=4)
            | st.frozensets(hashable, max_size=4)
            | st.builds(lambda make, args: make(*args), st.sampled_from(_ERRORS), st.lists(inner, max_size=3))
        ),
        max_leaves=max_leaves,
    )
