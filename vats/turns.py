"""The turn queue: behaviours driven by hand, first in first out, until nothing is left to do.

Rules:

1. A crank ends when the queue is empty; every suspended behaviour then waits for a promise that
   only a later delivery settles.
2. Only `VatPromise.__await__` may yield. Whatever else is awaited raises in the behaviour.
3. Each continuation counts as a turn, also past a promise that was settled already.
4. Once the crank is at fault no behaviour is resumed.

User code never runs as a trio task: trio's order is random, and hand-driving is 70 times cheaper.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from vats.budget import CrankFaultError
from vats.promise import PENDING, VatPromise

if TYPE_CHECKING:
    from vats.behaviours import Behaviour
    from vats.liveslots import Liveslots


class Waiter(Protocol):
    """Who waits for a promise."""

    def settled(self, promise: VatPromise, /) -> None:
        """The promise is settled. Called in a turn of its own."""


class Task:
    """A coroutine under way, where its result goes, and what that is checked by."""

    __slots__ = ("_vat", "coroutine", "result", "returns", "spawned")

    def __init__(
        self,
        vat: Liveslots,
        coroutine: CoroutineType[Any, Any, Any],
        result: Any,
        spawned: bool,
        returns: Behaviour | None,
    ) -> None:
        self._vat = vat
        self.coroutine = coroutine
        self.result = result
        self.spawned = spawned
        self.returns = returns

    def settled(self, _: VatPromise) -> None:
        del self._vat.turns.suspended[self]
        self._vat.turns.drive(self)


class TurnQueue:
    """The turns of one vat."""

    __slots__ = ("_left", "_limit", "_queue", "_sends", "_vat", "fault", "suspended")

    def __init__(self, vat: Liveslots, limit: int) -> None:
        self._vat = vat
        self._limit = limit
        self._left = limit
        self._sends = limit
        self._queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.suspended: dict[Task, None] = {}  # a dict, for its order
        self.fault: str | None = None

    def start_crank(self) -> None:
        self._left = self._sends = self._limit

    def raise_fault(self, fault: str) -> None:
        """Raises `CrankFaultError`; if user code swallows it, rule 4 still ends the crank."""
        self.fault = self.fault or fault
        raise CrankFaultError(fault)

    def count_send(self) -> None:
        """A message within the vat: it makes no syscall, and its turn may never come."""
        self._sends -= 1
        if self._sends < 0:
            self.raise_fault(f"sent more than {self._limit} messages to itself in one crank")

    def use_one(self) -> bool:
        """Count a turn; False if there is none left."""
        self._left -= 1
        if self._left >= 0:
            return True
        self.fault = self.fault or f"used more than {self._limit} turns in one crank"
        return False

    def add(self, turn: Callable[[Any], None], subject: Any) -> None:
        self._queue.append((turn, subject))

    def await_promise(self, waiter: Waiter, promise: VatPromise) -> None:
        """Tell `waiter`, in a later turn, when `promise` is settled."""
        promise = promise._end()
        if promise.state != PENDING:
            self._queue.append((waiter.settled, promise))
        elif promise.waiters is None:
            promise.waiters = [waiter]
        else:
            promise.waiters.append(waiter)

    def run(self) -> None:
        """Run turns until none is left.

        Raises:
            CrankFaultError: the crank is at fault.
        """
        queue = self._queue
        while queue:
            if not self.use_one():
                break
            turn, subject = queue.popleft()
            turn(subject)
            if self.fault is not None:
                break
        if self.fault is not None:
            raise CrankFaultError(self.fault)

    def drive(self, task: Task) -> None:
        """Run a coroutine to its next await of a pending promise, or to its end."""
        coroutine = task.coroutine
        advance: Callable[[Any], Any] = coroutine.send
        argument: Any = None
        while True:
            try:
                awaited = advance(argument)
            except StopIteration as stop:
                self._vat.calls.finish(task.result, stop.value, task.spawned, task.returns)
                return
            except Exception as error:
                self._vat.calls.fail(task.result, error)
                return
            if self.fault is not None:
                return
            if type(awaited) is VatPromise and awaited.vat is self._vat:
                self.suspended[task] = None
                self.await_promise(task, awaited)
                return
            if not self.use_one():
                return
            advance = coroutine.throw
            argument = _foreign(awaited)

    def close(self) -> None:
        """Drop everything under way."""
        self._queue.clear()
        suspended, self.suspended = self.suspended, {}
        for task in suspended:
            with suppress(BaseException):  # its incarnation is over: nobody is left to hear of it
                task.coroutine.close()


def _foreign(awaited: object) -> TypeError:
    what = "a bare yield" if awaited is None else f"a {type(awaited).__module__}.{type(awaited).__qualname__}"
    return TypeError(
        f"a behaviour can await only promises, and this await came to {what.replace('builtins.', '')}; "
        "for time, files and the network ask a service, such as the timer, and await its answer"
    )
