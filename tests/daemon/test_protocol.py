"""The language of the control socket: bounded lines, and an error for everything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocap.daemon.protocol import (
    MAX_REQUEST,
    Answer,
    ControlError,
    Failure,
    Item,
    Lines,
    Request,
    read_reply,
    read_request,
    reply_line,
    request_line,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream, found, reader = b"".join(line + b"\n" for line in lines), [], Lines(1000)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert lines == found
    assert not reader.is_inside


@pytest.mark.parametrize("parts", [[b"x" * 11], [b"xx"] * 6, [b"a\n" + b"x" * 11], [b"x" * 11 + b"\n"]])
def test_too_long_line_is_refused_before_it_ends(parts: list[bytes]) -> None:
    reader = Lines(10)
    with pytest.raises(ControlError, match="more than 10 bytes"):
        for part in parts:
            reader.feed(part)


def test_line_of_the_limit_is_read() -> None:
    assert [b"x" * 10] == Lines(10).feed(b"x" * 10 + b"\n")


@given(st.integers(1), st.text(), st.dictionaries(st.text(), JSON, max_size=4))
def test_request_is_read_as_it_was_written(number: int, command: str, arguments: dict) -> None:
    request = Request(number, command, arguments)
    (line,) = Lines(MAX_REQUEST).feed(request_line(request))
    assert request == read_request(line)


@given(st.integers(0), st.text(), JSON)
def test_replies_are_read_as_they_were_written(number: int, text: str, value: object) -> None:
    for reply in (Item(number, value), Answer(number, value), Failure(number, text, text)):
        (line,) = Lines(MAX_REQUEST).feed(reply_line(reply))
        assert reply == read_reply(line)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_request_is_said_to_be_none(line: bytes) -> None:
    for read in (read_request, read_reply):
        with pytest.raises(ControlError):
            read(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"id": true, "command": "stop", "arguments": {}}',
        b'{"id": 0, "command": "a", "arguments": {}}',
        b'{"id": 1, "command": "show", "arguments": {"what": "\\ud800"}}',
        b'{"id": 1, "command": "show", "arguments": {"\\udfff\\ud800": [1]}}',
        b"\0",
    ],
)
def test_hostile_requests_are_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        read_request(line)


def test_request_that_the_daemon_would_not_read_is_not_sent() -> None:
    with pytest.raises(ControlError, match="more than"):
        request_line(Request(1, "send", {"args": ["x" * MAX_REQUEST]}))


def test_answer_that_is_too_long_becomes_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocap.daemon.protocol.MAX_ANSWER", 200)
    match read_reply(reply_line(Answer(3, "x" * 300))):
        case Failure(3, "ControlError", message):
            assert message == "the answer is a line of more than 200 bytes"
        case other:
            pytest.fail(repr(other))
