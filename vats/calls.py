"""Calls: behaviours started, and what becomes of what they return or raise.

Rules:

1. A behaviour that raises rejects its result; the log gets the traceback.
2. What it returns is checked against its annotation, and copied before another behaviour of the
   same vat sees it.
3. The result is a vpid when the message came from the kernel, a promise when it came from this vat.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ocap.protocol.errors import DecodeError, NotPassableError
from vats.behaviours import Behaviour, Behaviours, handler_of
from vats.mishaps import strip
from vats.promise import PENDING, REJECTED, VatPromise
from vats.promises import Mail
from vats.rows import SCALARS
from vats.turns import Task

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

Result = VatPromise | str | None
"""Who waits: a promise of this vat, a vpid, nobody."""


class Calls:
    """The behaviours of one vat under way.

    Attributes:
        answering: results of behaviours under way for which the vat has no promise object.
    """

    __slots__ = ("_behaviours", "_handlers", "_vat", "answering")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._behaviours: dict[type[Any], Behaviours] = {}
        self._handlers: dict[tuple[type[Any], str], Behaviour] = {}
        self.answering: set[str] = set()

    def add(self, target: Any, mail: Mail) -> None:
        """Call an object of this vat, in a later turn."""
        self._vat.turns.add(self._take, (target, mail))

    def _take(self, call: tuple[Any, Mail]) -> None:
        target, mail = call
        try:
            args, kwargs = self._vat.slots.decode_copy(mail.body, mail.references)
        except DecodeError as error:  # the constructor of a passable class refused
            self.fail(mail.result, error)
            return
        self.invoke(target, mail.method, args, kwargs, mail.result)

    def invoke(self, target: Any, method: str, args: list[Any], kwargs: dict[str, Any], result: Result) -> None:
        """Call a public method as a message does."""
        cls = type(target)
        try:
            behaviours = self._behaviours.get(cls)
            if behaviours is None:
                behaviours = self._behaviours[cls] = Behaviours(cls)
            behaviour = behaviours[method]
            if behaviour.is_guarded:
                behaviour.check(args, kwargs)
            value = behaviour.function(target, *args, **kwargs)
        except Exception as error:
            self.fail(result, error)
            return
        if type(value) is CoroutineType:
            self._vat.turns.drive(Task(self._vat, value, result, False, behaviour.returns))
        else:
            self.finish(result, value, False, behaviour.returns_now)

    def call_handler(self, call: tuple[Any, str, list[Any]]) -> None:
        """Call a method of a durable object that was named when its watch began; nobody waits for the answer."""
        target, name, args = call
        try:
            handler = self._handlers.get((type(target), name))
            if handler is None:
                handler = self._handlers[type(target), name] = handler_of(type(target), name)
            if handler.is_guarded:
                handler.check(args, {})
            value = handler.function(target, *args)
        except Exception as error:
            self.fail(None, error)
            return
        if type(value) is CoroutineType:
            self._vat.turns.drive(Task(self._vat, value, None, False, None))

    def spawn(self, coroutine: Coroutine[Any, Any, Any], promise: VatPromise) -> None:
        assert isinstance(coroutine, CoroutineType)
        self._vat.turns.add(self._vat.turns.drive, Task(self._vat, coroutine, promise, True, None))

    def finish(self, result: Result, value: Any, spawned: bool, returns: Behaviour | None) -> None:
        """A behaviour returned: settle its result, if anybody wants it. `returns` checks the value, if not None."""
        if returns is not None and type(value) is not VatPromise:
            complaint = returns.complain_of_return(value)
            if complaint is not None:
                self.fail(result, TypeError(complaint))
                return
        if result is None:
            return
        promises = self._vat.promises
        if type(result) is str:
            self.answering.discard(result)
            known = promises.table.get(result)
            if known is not None:
                promises.resolve(known, value)
            elif type(value) is VatPromise:
                self._answer_as(result, value._end())
            else:
                promises.answer(result, False, value)
            return
        assert isinstance(result, VatPromise)
        if not spawned and type(value) not in SCALARS and type(value) is not VatPromise:
            try:
                body, references = self._vat.encode(value, "result")
                value = self._vat.slots.decode_copy(body, references)
            except (NotPassableError, DecodeError) as error:
                self.fail(result, error)
                return
        promises.resolve(result, value)

    def _answer_as(self, vpid: str, leader: VatPromise) -> None:
        if leader.state == PENDING:
            self._vat.promises.forward(vpid, leader)
        else:
            self._vat.promises.answer(vpid, leader.state == REJECTED, leader.value)

    def fail(self, result: Result, error: Exception) -> None:
        """A behaviour raised: reject its result; the log gets the traceback."""
        self._vat.complain(error)
        strip(error)
        promises = self._vat.promises
        if type(result) is str:
            self.answering.discard(result)
            known = promises.table.get(result)
            if known is None:
                promises.answer(result, True, error)
            else:
                promises.reject(known, error)
        elif isinstance(result, VatPromise):
            promises.reject(result, error)
