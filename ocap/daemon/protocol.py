"""The language of the control socket: lines of JSON, bounded in length. Without IO.

Owns how requests and answers look.

Invariants:

1. A line never takes more memory than its limit, whoever sends it.
2. Whatever is no request is answered with an error; only a line that is too long ends a connection,
   since nobody knows where the next one begins.

A request is `{"id": N, "command": NAME, "arguments": {...}}`. Each is answered with one line:
`{"id": N, "result": ...}` or `{"id": N, "error": {"name": ..., "message": ...}}`; before it there may be
any number of `{"id": N, "item": ...}`, for commands that tell of something as it happens.

The two ends may be of different versions: a daemon runs on while its code is replaced. A client asks `hello` first,
and asks for nothing more if the answer is not its own `VERSION`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ocap.protocol.errors import OcapError

VERSION = 1
"""Of what can be asked, and of what is answered: raised with every change of either. `hello` and `stop` are the same
in all versions."""

MAX_REQUEST = 1_048_576
"""Bytes of one request: a config with its parameters, or the arguments of a message."""

MAX_ANSWER = 33_554_432
"""Bytes of one answer: what a vat answers with, at most 4 MB, grows when it becomes JSON."""


class ControlError(OcapError, ValueError):
    """A line on the control socket is no request or no answer. The other side's fault."""


class VersionError(ControlError):
    """The daemon and who asks it are of different versions of this library. Restart the daemon."""


class RequestFailedError(OcapError, RuntimeError):
    """The daemon could not do what it was asked.

    Attributes:
        name: the class of the error there, such as VatNotFoundError.
        message: what it said.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return self.message


class Lines:
    """Cuts a stream of bytes into lines.

    Args:
        limit: bytes of one line at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = bytearray()

    @property
    def is_inside(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._begun)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, without their newlines.

        Raises:
            ControlError: one is too long; nothing more can be read.
        """
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._add(part)
            lines.append(bytes(self._begun))
            self._begun.clear()
        self._add(rest)
        return lines

    def _add(self, part: bytes) -> None:
        if len(self._begun) + len(part) > self._limit:
            self._begun.clear()
            raise ControlError(f"a line of more than {self._limit} bytes")
        self._begun += part


class Encoded(str):
    """A value that is JSON already, ASCII and on one line."""

    __slots__ = ()


@frozen
class Request:
    """What a client asks."""

    id: int
    command: str
    arguments: Mapping[str, Any]


@frozen
class Item:
    """Something of which a command tells while it goes on; an `Encoded` value is within the limit of a line."""

    id: int
    value: Any


@frozen
class Answer:
    """How a command ended well."""

    id: int
    value: Any


@frozen
class Failure:
    """How a command ended otherwise; `id` is 0 when the request could not be read."""

    id: int
    name: str
    message: str


Reply = Item | Answer | Failure


def request_line(request: Request) -> bytes:
    """Raises `ControlError` if it is longer than the daemon would read."""
    fields = {"id": request.id, "command": request.command, "arguments": dict(request.arguments)}
    return _line(fields, MAX_REQUEST)


def reply_line(reply: Reply) -> bytes:
    """The line of a reply; what is too long for one becomes a failure."""
    match reply:
        case Item(id_, Encoded() as text):
            return f'{{"id": {id_}, "item": {text}}}\n'.encode()
        case Item(id_, value):
            fields = {"id": id_, "item": value}
        case Answer(id_, value):
            fields = {"id": id_, "result": value}
        case Failure(id_, name, message):
            fields = {"id": id_, "error": {"name": name, "message": message}}
    try:
        return _line(fields, MAX_ANSWER)
    except ControlError as error:
        return _line(
            {"id": reply.id, "error": {"name": "ControlError", "message": f"the answer is {error}"}}, MAX_ANSWER
        )


def _line(fields: dict[str, Any], limit: int) -> bytes:
    line = json.dumps(fields).encode()  # ASCII: no text can hold a newline or half a character
    if len(line) > limit:
        raise ControlError(f"a line of more than {limit} bytes")
    return line + b"\n"


def read_request(line: bytes) -> Request:
    """Raises `ControlError` if the line holds none."""
    found = _object(line)
    if not _is_text(found, line):
        raise ControlError("half a character, which is no text")
    match found:
        case {"id": int(id_), "command": str(command), "arguments": dict(arguments)} if type(id_) is int and id_ > 0:
            return Request(id_, command, arguments)
    raise ControlError('a request is {"id": N, "command": NAME, "arguments": {...}}')


def read_reply(line: bytes) -> Reply:
    """Raises `ControlError` if the line holds none."""
    match _object(line):
        case {"id": int(id_), "item": value}:
            return Item(id_, value)
        case {"id": int(id_), "result": value}:
            return Answer(id_, value)
        case {"id": int(id_), "error": {"name": str(name), "message": str(message)}}:
            return Failure(id_, name, message)
    raise ControlError("no answer of a daemon")


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"not JSON: {error}") from None


def _is_text(value: Any, line: bytes) -> bool:
    """Whether the strings in what was read are text: JSON can say half a character, which nothing else can hold."""
    try:
        return rb"\u" not in line or bool(json.dumps(value, ensure_ascii=False).encode())
    except (UnicodeEncodeError, RecursionError):
        return False
