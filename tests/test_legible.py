"""Text from vats is what it looks like, on one line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.legible import MAX_MARKS, safe_lines, safe_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界, مرحبا, שלום, हिन्दी, 👍", "Grüße, 世界, مرحبا, שלום, हिन्दी, 👍"),
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("\x9b31m\x9d", "\\u009b31m\\u009d"),  # the same in one character each
        ("a\r\nb\x85c\u2028d\x0be", "a\\u000d\\u000ab\\u0085c\\u2028d\\u000be"),
        ("\u202egpj.exe\u2069\u200f", "\\u202egpj.exe\\u2069\\u200f"),
        ("zero\u200bwidth\u2060\ufeff\xad", "zero\\u200bwidth\\u2060\\ufeff\\u00ad"),
        ("hidden\ufe01\U000e0105\u034f", "hidden\\ufe01\\U000e0105\\u034f"),
        ("\U000e0041\U000e007f", "\\U000e0041\\U000e007f"),  # the tags that spell what nobody sees
        ("v1\u3164\u2800\u115f", "v1\\u3164\\u2800\\u115f"),
        ("v1\xa0\u3000\u2003", "v1\\u00a0\\u3000\\u2003"),
        ("\x00\ud800\ue000\uffff\U0010ffff", "\\u0000\\ud800\\ue000\\uffff\\U0010ffff"),
        ("e\u0301", "e\u0301"),
        ("a" + "\u0300" * 6, "a" + "\u0300" * MAX_MARKS + "\\u0300" * 2),
    ],
)
def test_what_hides_moves_or_covers_is_escaped(text: str, expected: str) -> None:
    assert expected == safe_text(text)


@given(st.text(st.characters()))
def test_nothing_unseen_is_left_of_any_text(text: str) -> None:
    safe = safe_text(text)
    assert len(safe.splitlines()) <= 1
    assert not [char for char in safe if unicodedata.category(char)[0] in "CZ" and char != " "]
    assert safe == safe_text(safe)


def test_lines_stay_lines() -> None:
    assert "a\nb\\u001b\n" == safe_lines("a\nb\x1b\n")
