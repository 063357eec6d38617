"""Passable values to CapData and back.

Rules:

1. Every value arrives as the type it was sent: lists and tuples, `True` and `1`, `-0.0`, sets of
   tuples, dicts with any hashable keys. What is not passable is refused with the path to it.
2. One value has one encoding. Sets are sorted by their members' encodings; dicts keep their order.
3. References are numbered beside the body in order of first appearance. Encoding allocates no
   name: the caller maps the objects to references once the whole value is known to be passable.
4. Decoding refuses what encoding never makes: unknown and built-in tags, indefinite lengths,
   duplicate or odd keys, trailing bytes, CBOR's simple values, deep nesting.

cbor2 is no trust boundary by itself: it follows shared references, compiles regular expressions,
ignores trailing bytes, encodes any tag object it is given and overruns the stack on deep input.
Hence the exact-type walk before encoding and the refusing table for decoding.
"""

from __future__ import annotations

import builtins
import json
import marshal as flat
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import cbor2

from ocap.protocol.capdata import TAG_OBJECT, TAG_PROMISE, CapData
from ocap.protocol.errors import CROSSING, DecodeError, NotPassableError, OversizeError, RemoteError
from ocap.protocol.passable import SHARED, Registry, passable_name

MAX_BODY = 4 * 1024 * 1024
"""Bytes of one body. A 10 MB body of empty lists decodes to 700 MB: only a byte cap bounds that."""

MAX_DEPTH = 64
"""Levels of nesting, as reference implementations of CBOR and Cap'n Proto default to."""

MAX_SLOTS = 10_000
"""References in one body, as in SwingSet's liveslots."""

MAX_COLLISIONS = 256
"""Members or keys beyond the first that share a hash. Their number squared is the work of building
the set: 20,000 integers chosen for it take seconds. Honest data has a few (-1 and -2, in tuples)."""

TAG_TUPLE = 0xCA02
TAG_SET = 0xCA03
TAG_FROZENSET = 0xCA04
TAG_DICT = 0xCA05
TAG_DECIMAL = 0xCA06
TAG_DATETIME = 0xCA07
TAG_UUID = 0xCA08
TAG_ERROR = 0xCA09
TAG_RECORD = 0xCA0A

_CBOR2_TAGS = (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
"""Tags cbor2 gives a meaning of its own; 2 and 3 (big integers) are the only ones we share."""

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})

_BUILTIN_ERRORS: dict[str, type[Exception]] = {
    name: cls for name, cls in vars(builtins).items() if isinstance(cls, type) and issubclass(cls, Exception)
}

_all_scalars = _SCALARS.issuperset
_MANY = 16  # from so many members on it beats a loop

# CBOR heads of `undefined` and of the simple values: where none of these bytes occurs, no such
# value can, and the check of the decoded value is spared.
_MAYBE_SIMPLE = re.compile(rb"[\xe0-\xf3\xf7\xf8]")


class Remotable:
    """What passes by reference instead of by copy. The subclasses are exos and presences."""

    __slots__ = ()

    @classmethod
    def _interface_name(cls) -> str:
        return cls.__name__


class PromiseLike:
    """What passes as a promise."""

    __slots__ = ()

    def _end(self) -> PromiseLike:
        """The promise that this one follows, or itself: all that follow one pass as that one."""
        return self


class _Encoder:
    """One walk over one value; collects the references it meets."""

    __slots__ = ("_budget", "_index", "references")

    def __init__(self) -> None:
        self.references: list[Any] = []
        self._index: dict[int, int] = {}
        self._budget = MAX_BODY

    def tree(self, value: Any, depth: int) -> Any:
        """`value` as what cbor2 may encode, at most `MAX_DEPTH - depth` levels deep."""
        kind = type(value)
        if kind in _SCALARS:
            return value
        if depth >= MAX_DEPTH:
            raise NotPassableError("", f"nested deeper than {MAX_DEPTH} levels, or contains itself")
        if kind is list:
            return self._items(value, depth)
        if kind is dict:
            return self._dict(value, depth)
        encode = _ENCODERS.get(kind)
        if encode is not None:
            return encode(self, value, depth)
        # The class decides, not `isinstance`: an object may lie about its `__class__`.
        if issubclass(kind, Remotable):
            return cbor2.CBORTag(TAG_OBJECT, [self._slot(value), value._interface_name()])
        if issubclass(kind, PromiseLike):
            return cbor2.CBORTag(TAG_PROMISE, self._slot(value._end()))
        if issubclass(kind, Exception):
            return self._error(value, depth)
        name = passable_name(kind)
        if name is not None:
            return self._record(name, value, depth)
        raise NotPassableError("", _advice(value))

    def _slot(self, value: Any) -> int:
        index = self._index.get(id(value))
        if index is None:
            index = self._index[id(value)] = len(self.references)
            if index >= MAX_SLOTS:
                raise NotPassableError("", f"more than {MAX_SLOTS} references in one value")
            self.references.append(value)
        return index

    def _spend(self, count: int) -> None:
        """Each member takes a byte at least. A list that holds one list many times, over and over, ends here."""
        self._budget -= count
        if self._budget < 0:
            raise NotPassableError("", f"over the limit of {MAX_BODY} bytes; send it in parts")

    def _items(self, values: Sequence[Any], depth: int) -> Sequence[Any]:
        self._spend(len(values))
        if len(values) > _MANY and _all_scalars(map(type, values)):
            return values
        out = []
        for index, item in enumerate(values):
            if type(item) in _SCALARS:
                out.append(item)
            else:
                try:
                    out.append(self.tree(item, depth + 1))
                except NotPassableError as error:
                    raise _inside(f"[{index}]", error) from None
        return out

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        self._spend(len(value))
        out = value
        for key, item in value.items():
            if type(key) is not str:
                return self._odd_dict(value, depth)
            if type(item) not in _SCALARS:
                if out is value:
                    out = value.copy()
                try:
                    out[key] = self.tree(item, depth + 1)
                except NotPassableError as error:
                    raise _inside(f"[{_shown(key)}]", error) from None
        return out

    def _odd_dict(self, value: dict[Any, Any], depth: int) -> Any:
        pairs: list[Any] = []
        for key, item in value.items():
            for part in (key, item):
                try:
                    pairs.append(self.tree(part, depth + 1))
                except NotPassableError as error:
                    raise _inside(f"[{_shown(key)}]", error) from None
        return cbor2.CBORTag(TAG_DICT, pairs)

    def tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        return cbor2.CBORTag(TAG_TUPLE, self._items(value, depth))

    def set(self, value: set[Any] | frozenset[Any], depth: int) -> Any:
        self._spend(len(value))
        members = []
        for item in value:
            try:
                members.append(self.tree(item, depth + 1))
            except NotPassableError as error:
                raise _inside(f"{{{_shown(item)}}}", error) from None
        tag = TAG_SET if type(value) is set else TAG_FROZENSET
        return cbor2.CBORTag(tag, sorted(members, key=cbor2.dumps))

    def _error(self, error: Exception, depth: int) -> Any:
        error_id = getattr(error, "error_id", None)
        error_id = _text(error_id) if error_id is not None else None
        if isinstance(error, RemoteError):
            return cbor2.CBORTag(TAG_ERROR, [_text(error.name), _text(error.message), None, error_id])
        registered = passable_name(type(error))
        name = registered or _text(type(error).__name__)
        message = _text(error)
        args: Sequence[Any] | None = None
        if registered is not None or _error_class(name) is type(error):
            mark = len(self.references)
            try:
                args = self._items(error.args, depth + 1)
                cbor2.dumps(args)
            except Exception:
                # The news that something failed matters more than the culprit's exact arguments.
                for reference in self.references[mark:]:
                    del self._index[id(reference)]
                del self.references[mark:]
                args = [message]
        return cbor2.CBORTag(TAG_ERROR, [name, message, args, error_id])

    def _record(self, name: str, value: Any, depth: int) -> Any:
        fields: list[Any] = [name]
        for field in attrs.fields(type(value)):
            try:
                fields.append(self.tree(getattr(value, field.name), depth + 1))
            except NotPassableError as error:
                raise _inside(f".{field.name}", error) from None
        return cbor2.CBORTag(TAG_RECORD, fields)


_ENCODERS: dict[type[Any], Callable[[_Encoder, Any, int], Any]] = {
    tuple: _Encoder.tuple,
    set: _Encoder.set,
    frozenset: _Encoder.set,
    Decimal: lambda _, value, __: cbor2.CBORTag(TAG_DECIMAL, str(value)),
    datetime: lambda _, value, __: cbor2.CBORTag(TAG_DATETIME, [value.isoformat(), value.fold]),
    UUID: lambda _, value, __: cbor2.CBORTag(TAG_UUID, value.bytes),
}


def _inside(step: str, error: NotPassableError) -> NotPassableError:
    """The same complaint, seen from one level further out."""
    return NotPassableError(step + error.path, error.reason)


def _shown(part: Any) -> str:
    """A key or member as a path shows it. Runs no code of its class, and stays short."""
    kind = type(part)
    if kind is str:
        text = json.dumps(part[:_SHOWN], ensure_ascii=False)
    elif kind is bytes:
        text = repr(part[:_SHOWN])
    elif kind in _SCALARS and (kind is not int or part.bit_length() < _SHOWN):
        return repr(part)
    else:
        return f"<{_name_of(kind)}>"
    return text if len(part) <= _SHOWN else f"{text}…"


_SHOWN = 40


def _name_of(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _advice(value: Any) -> str:
    kind = type(value)
    name = _name_of(kind)
    for plain in (bool, int, float, str, bytes, list, tuple, dict, set, frozenset):
        if issubclass(kind, plain):
            return f"a {name} is not passable; pass {plain.__name__}(value)"
    if issubclass(kind, BaseException):
        return f"a {name} is not passable; only exceptions below Exception are"
    if hasattr(kind, "isoformat"):
        return f"a {name} is not passable; pass a datetime, or its isoformat()"
    if hasattr(kind, "__await__"):
        return f"a {name} is not passable; await it first, or pass the promise of an E() send"
    return f"a {name} is not passable; make its class an Exo, or a frozen attrs class with @passable"


def _text(value: object) -> str:
    """What an error says, as text that can be encoded."""
    try:
        text = "".join([str(value)])  # `join`, for `__str__` may answer with a subclass
    except Exception:  # a class's own __str__ may raise anything; the error's name still arrives
        return ""
    return text.encode("utf-8", "backslashreplace").decode()


def _error_class(name: str) -> type[Exception] | None:
    return _BUILTIN_ERRORS.get(name) or CROSSING.get(name)


def encode(value: Any, where: str = "") -> tuple[bytes, list[Any]]:
    """The body of `value`, and the objects and promises it refers to, in slot order.

    Args:
        value: anything passable.
        where: what the value is called in an error's path.

    Raises:
        NotPassableError: the sender's fault; `path` says where in the value.
    """
    encoder = _Encoder()
    try:
        body = cbor2.dumps(encoder.tree(value, 0))
    except NotPassableError as error:
        raise _inside(where, error) from None
    except Exception as error:  # the value's own code may raise anything: a property, a time zone
        raise NotPassableError(where, f"cannot be encoded: {error}") from error
    if len(body) > MAX_BODY:
        reason = f"{len(body)} bytes are over the limit of {MAX_BODY}; send it in parts"
        raise OversizeError(where, reason, len(body))
    return body, encoder.references


def encode_error(error: Exception) -> CapData:
    """An error without references as CapData: what the kernel itself rejects promises with."""
    body, references = encode(error)
    assert not references, references
    return CapData(body)


class Decoder:
    """Decodes bodies for one endpoint.

    Args:
        to_object: (slot, alleged interface) to the object standing for it here.
        to_promise: slot to the promise standing for it here.
        registry: the endpoint's passable classes.
        stored: whether what it decodes is what the same vat has stored, perhaps in earlier code.
    """

    def __init__(
        self,
        to_object: Callable[[str, str], Any],
        to_promise: Callable[[str], Any],
        registry: Registry = SHARED,
        *,
        stored: bool = False,
    ) -> None:
        self._to_object = to_object
        self._to_promise = to_promise
        self._find = registry.find_stored if stored else registry.find
        self._slots: tuple[str, ...] = ()
        self._tags: dict[int, Callable[..., Any]] = dict.fromkeys(_CBOR2_TAGS, _refuse)
        self._tags |= {
            TAG_OBJECT: self._object,
            TAG_PROMISE: self._promise,
            TAG_TUPLE: _sequence(tuple),
            TAG_SET: _sequence(set),
            TAG_FROZENSET: _sequence(frozenset),
            TAG_DICT: _pairs,
            TAG_DECIMAL: _decimal,
            TAG_DATETIME: _datetime,
            TAG_UUID: _uuid,
            TAG_ERROR: self._error,
            TAG_RECORD: self._record,
        }

    def decode(self, data: CapData) -> Any:
        """The value of `data`.

        Raises:
            DecodeError: the bytes are none of our encoder's; whoever made them is at fault.
        """
        if len(data.body) > MAX_BODY:
            raise DecodeError(f"a body of {len(data.body)} bytes is over the limit of {MAX_BODY}")
        self._slots = data.slots
        try:
            return strict_loads(data.body, self._tags)
        finally:
            self._slots = ()

    def _slot(self, index: Any, promise: bool) -> str:
        if type(index) is not int or not 0 <= index < len(self._slots):
            raise DecodeError(f"no slot {index!r} among {len(self._slots)}")
        slot = self._slots[index]
        if (slot.lstrip("k")[0] == "p") is not promise:
            raise DecodeError(f"slot {index} is {slot}, declared as {'a promise' if promise else 'an object'}")
        return slot

    def _object(self, content: Any, _: bool) -> Any:
        match content:
            case [index, str(interface)]:
                return self._to_object(self._slot(index, promise=False), interface)
        raise DecodeError("a malformed object reference")

    def _promise(self, content: Any, _: bool) -> Any:
        return self._to_promise(self._slot(content, promise=True))

    def _record(self, content: Any, _: bool) -> Any:
        match content:
            case [str(name), *values]:
                cls = self._find(name)
                if cls is None:
                    raise DecodeError(f"no class {name} is registered with @passable here")
                # The check of the whole body does not look into instances.
                _refuse_simple(values)
                return cls(*values)
        raise DecodeError("a malformed record")

    def _error(self, content: Any, _: bool) -> Exception:
        match content:
            case [str(name), str(message), None | list() | tuple() as args, None | str() as error_id]:
                pass
            case _:
                raise DecodeError("a malformed error")
        if args is None:
            return RemoteError(name, message, error_id)
        cls = self._find(name) if "." in name else _error_class(name)
        if cls is not None and issubclass(cls, Exception):
            _refuse_simple(args)
            try:
                made: Exception = cls(*args)
            except Exception:  # a constructor may refuse anything; the news still arrives
                made = RemoteError(name.rpartition(".")[2], message, error_id)
            else:
                if error_id is not None:
                    made.error_id = error_id  # type: ignore[attr-defined]  # noted on any exception
            return made
        return RemoteError(name.rpartition(".")[2], message, error_id)


# A random item decoded after the body shows that the body had nothing behind it: cbor2's `loads`
# ignores trailing bytes, and its slower stream decoder costs twice as much for a small body.
_END = os.urandom(16)
_TAIL = cbor2.dumps(_END)


def strict_loads(body: bytes, tags: dict[int, Callable[..., Any]]) -> Any:
    """Decode one CBOR item under the strict profile, with meanings for our own `tags`.

    Raises:
        DecodeError: it breaks the profile.
    """
    try:
        decoded = cbor2.loads(
            b"\x82" + body + _TAIL,
            semantic_decoders=tags,
            tag_hook=_refuse,
            max_depth=3 * MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except cbor2.CBORDecodeError as error:
        cause = error.__cause__
        if isinstance(cause, DecodeError):
            raise cause from None
        raise DecodeError(f"not a valid body: {cause or error}") from error
    if decoded[1] != _END:
        raise DecodeError("bytes after the end of the body")
    if _MAYBE_SIMPLE.search(body):
        _refuse_simple(decoded[0])
    return decoded[0]


def _refuse_simple(value: Any) -> None:
    """Refuse `undefined` and simple values anywhere: they are not passable.

    Python's own serialiser, five times as fast as a walk, takes neither; it takes plain data only.
    """
    try:
        flat.dumps(value, 2)
    except ValueError:
        stack = [value]
    else:
        return
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is dict:
            stack.extend(item)
            item = item.values()
        elif kind is not list and kind is not tuple and kind is not set and kind is not frozenset:
            if item is cbor2.undefined or kind is cbor2.CBORSimpleValue:
                raise DecodeError(f"{item!r} is not passable")
            continue
        if not _all_scalars(map(type, item)):
            stack.extend(item)


def _refuse(*args: Any) -> Any:
    tag = f" {args[0].tag}" if isinstance(args[0], cbor2.CBORTag) else ""
    raise DecodeError(f"tag{tag} is not one of ours")


NO_TAGS: dict[int, Callable[..., Any]] = dict.fromkeys((2, 3, *_CBOR2_TAGS), _refuse)
"""For `strict_loads`: plain data without any tag, big integers neither."""


def _sequence(kind: type[Any]) -> Callable[[Any, bool], Any]:
    def decode(content: Any, _: bool) -> Any:
        if not isinstance(content, list | tuple):
            raise DecodeError(f"a malformed {kind.__name__}")
        if kind is not tuple:
            _refuse_collisions(content)
        made = kind(content)
        if len(made) != len(content):
            raise DecodeError(f"a {kind.__name__} with repeated members")
        return made

    return decode


def _refuse_collisions(keys: Sequence[Any]) -> None:
    if len(keys) > MAX_COLLISIONS and len(keys) - len(set(map(hash, keys))) > MAX_COLLISIONS:
        raise DecodeError(f"more than {MAX_COLLISIONS} keys or members share a hash")


def _pairs(content: Any, _: bool) -> dict[Any, Any]:
    if not isinstance(content, list | tuple) or len(content) % 2:
        raise DecodeError("a malformed dict")
    _refuse_collisions(content[::2])
    made = dict(zip(content[::2], content[1::2], strict=True))
    if len(made) * 2 != len(content):
        raise DecodeError("a dict with repeated keys")
    return made


def _decimal(content: Any, _: bool) -> Decimal:
    if type(content) is not str:
        raise DecodeError("a malformed Decimal")
    return Decimal(content)


def _datetime(content: Any, _: bool) -> datetime:
    match content:
        case [str(text), (0 | 1) as fold] if type(fold) is int:
            return datetime.fromisoformat(text).replace(fold=fold)
    raise DecodeError("a malformed datetime")


def _uuid(content: Any, _: bool) -> UUID:
    if type(content) is not bytes:
        raise DecodeError("a malformed UUID")
    return UUID(bytes=content)
