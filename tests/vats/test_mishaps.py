"""What the log says of exceptions of user code."""

from __future__ import annotations

import pytest

from vats.mishaps import describe, headline, traceback_text


def broken(message: str) -> None:
    raise ValueError(message)


def caught(message: str) -> Exception:
    try:
        broken(message)
    except ValueError as error:
        return error
    raise AssertionError


def chained() -> Exception:
    found = caught("second")
    found.__cause__ = caught("first")
    return found


@pytest.mark.parametrize("error", [caught("job -1 is not positive"), chained(), ValueError("nowhere"), caught("")])
def test_headline_of_a_traceback_is_the_description_of_its_exception(error: Exception) -> None:
    assert headline(traceback_text(error)) == describe(error)


def test_headline_is_one_line_whatever_a_message_has() -> None:
    found = headline(traceback_text(caught("one\n  two\nthree\n")))
    assert found.startswith("ValueError: one (")
    assert found.endswith(f"{__file__}, line 11)")


def test_headline_of_a_group_names_the_group() -> None:
    try:
        raise ExceptionGroup("several", [caught("a"), caught("b")])
    except ExceptionGroup as group:
        found = headline(traceback_text(group))
    assert found.startswith("ExceptionGroup: several (2 sub-exceptions) (")
