"""Keys come back as they were, and their bytes sort as they do."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.protocol.errors import NotPassableError
from vats.keys import decode_key, encode_key

SCALARS: tuple[st.SearchStrategy[Any], ...] = (
    st.integers() | st.integers(-(2**3000), 2**3000),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.datetimes(),
    st.uuids(),
    st.booleans(),
)


def encoded(key: Any) -> bytes:
    return encode_key(key, lambda _: "o-1")


@pytest.mark.parametrize("keys", SCALARS)
def test_order_of_bytes_is_order_of_keys(keys: st.SearchStrategy[Any]) -> None:
    @given(keys, keys)
    def compare(one: Any, other: Any) -> None:
        assert (one < other) == (encoded(one) < encoded(other))
        assert (one == other) == (encoded(one) == encoded(other))

    compare()


@given(st.recursive(st.one_of(st.none(), *SCALARS), lambda inner: st.lists(inner).map(tuple), max_leaves=8))
def test_keys_come_back_as_they_were(key: Any) -> None:
    back = decode_key(encoded(key), str)
    assert back == key
    assert type(back) is type(key)


@given(
    st.lists(st.tuples(st.text("\0a"), st.integers(-300, 300)), max_size=4),
    st.lists(st.tuples(st.text("\0a"), st.integers(-300, 300)), max_size=4),
)
def test_tuples_sort_item_by_item(one: list[Any], other: list[Any]) -> None:
    assert (tuple(one) < tuple(other)) == (encoded(tuple(one)) < encoded(tuple(other)))


def test_types_come_in_blocks() -> None:
    keys = [None, False, True, -1, 2**70, -1.5, "", "x", b"", datetime(2026, 1, 1), UUID(int=0), (), (None,)]  # noqa: DTZ001
    assert sorted(keys, key=encoded) == keys


def test_floats_have_one_zero_and_one_nan() -> None:
    assert encoded(-0.0) == encoded(0.0)
    assert math.isnan(decode_key(encoded(math.nan), str))


def test_aware_datetimes_sort_by_instant_and_keep_their_offset() -> None:
    east = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    later = datetime(2026, 1, 1, 11, tzinfo=UTC)
    assert encoded(east) < encoded(later)
    assert decode_key(encoded(east), str).utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize("key", [[1], {"a": 1}, object(), "\ud800", "x" * 5000])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(NotPassableError):
        encoded(key)
