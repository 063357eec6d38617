"""Promises of a vat, and what behaviours do with several of them."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ocap.protocol.eventual import Promise
from ocap.protocol.marshal import PromiseLike
from vats.running import current

if TYPE_CHECKING:
    from vats.liveslots import Liveslots
    from vats.promises import Mail
    from vats.turns import Waiter

_T = TypeVar("_T")

PENDING, FULFILLED, REJECTED, FOLLOWING = range(4)


class VatPromise(PromiseLike):
    """A promise as the vat holds it. Only its `__await__` may yield to the turn queue.

    Attributes:
        state: one of the four constants above.
        value: the value, the error, or the promise that it follows.
        vpid: the kernel's name for it, while pending; else None.
        is_ours: whether this vat decides it. Without a vpid it always does.
        was_piped: messages to it went through the kernel, so later ones must too, to stay in order.
        waiters: who is told in a later turn that it settled; None for nobody.
        parked: messages that wait until this vat settles it; None for none.
    """

    __slots__ = ("__weakref__", "is_ours", "parked", "state", "value", "vat", "vpid", "waiters", "was_piped")

    def __init__(self, vat: Liveslots, vpid: str | None = None, is_ours: bool = True) -> None:
        self.vat = vat
        self.state = PENDING
        self.value: Any = None
        self.vpid = vpid
        self.is_ours = is_ours
        self.was_piped = False
        self.waiters: list[Waiter] | None = None
        self.parked: list[Mail] | None = None

    def _end(self) -> VatPromise:
        end = self
        while end.state == FOLLOWING:
            end = end.value
        while self.state == FOLLOWING:  # so that the next walk is short
            self.value, self = end, self.value  # noqa: PLW0642 - walks the chain
        return end

    def __await__(self) -> Generator[VatPromise, None, Any]:
        end = self._end()
        if end.state == PENDING:
            yield end
            end = end._end()
        elif not self.vat.turns.use_one():
            yield end  # and is never resumed
        if end.state == REJECTED:
            error: Exception = end.value
            self.vat.thrown.append(error)
            raise error.with_traceback(None)
        return end.value

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return self.vat.sends.to_promise(self, method, args, kwargs, wants_result)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a promise cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<Promise {('pending', 'fulfilled', 'rejected')[self._end().state]}>"


class PromiseKit(Generic[_T]):
    """A promise and the right to settle it. The first settlement counts, later ones do nothing."""

    __slots__ = ("_promise",)

    def __init__(self, promise: VatPromise) -> None:
        self._promise = promise

    @property
    def promise(self) -> Promise[_T]:
        return self._promise

    def resolve(self, value: _T | Awaitable[_T]) -> None:
        """Fulfil the promise, or let it follow another promise.

        Promised to itself it is rejected with a `TypeError`.
        """
        self._promise.vat.promises.resolve(self._promise, value)

    def reject(self, error: Exception) -> None:
        """Raises `TypeError`, the caller's fault, when `error` is no exception below `Exception`."""
        if not isinstance(error, Exception):
            raise TypeError(f"a promise is rejected with an Exception, not with a {type(error).__name__}")
        self._promise.vat.thrown.append(error)  # and its frames must not live as long as the promise
        self._promise.vat.promises.reject(self._promise, error)


def make_promise_kit() -> PromiseKit[Any]:
    """A new promise that the holder of the kit settles."""
    return PromiseKit(VatPromise(current("make_promise_kit()")))


def spawn(coroutine: Coroutine[Any, Any, _T]) -> Promise[_T]:
    """Run `coroutine` beside the caller, from a later turn on; the promise is of what it returns.

    What it raises rejects the promise and goes to the log.

    Raises:
        TypeError: not a coroutine; the caller's fault.
    """
    vat = current("spawn()")
    if not isinstance(coroutine, CoroutineType):
        raise TypeError(f"spawn takes a coroutine, not a {type(coroutine).__name__}")
    promise = VatPromise(vat)
    vat.calls.spawn(coroutine, promise)
    return promise


def gather(*awaitables: Awaitable[_T]) -> Promise[list[_T]]:
    """The promise of all their values, in order of the arguments; it fails with the first that fails.

    Coroutines among the arguments are spawned.

    Raises:
        TypeError: one of them is neither promise nor coroutine; the caller's fault.
    """
    gathering = _Gathering(VatPromise(current("gather()")), _to_promises(awaitables, "gather"))
    gathering.start()
    return gathering.promise


def race(*awaitables: Awaitable[_T]) -> Promise[_T]:
    """The promise that settles as the first of them does. Coroutines among the arguments are spawned.

    Raises:
        TypeError: one of them is neither promise nor coroutine; the caller's fault.
        ValueError: there are none, so nothing could ever settle it; the caller's fault.
    """
    if not awaitables:
        raise ValueError("a race of nothing would never end")
    promise = VatPromise(current("race()"))
    racing = _Racing(promise)
    for entrant in _to_promises(awaitables, "race"):
        promise.vat.turns.await_promise(racing, entrant)
    return promise


def _to_promises(awaitables: tuple[Awaitable[Any], ...], what: str) -> list[VatPromise]:
    for awaitable in awaitables:
        if not isinstance(awaitable, VatPromise | CoroutineType):
            raise TypeError(f"{what} takes promises and coroutines, not a {type(awaitable).__name__}")
    return [a if isinstance(a, VatPromise) else spawn(a) for a in awaitables]  # type: ignore[arg-type, misc]  # as was just checked


class _Gathering:
    __slots__ = ("_missing", "_parts", "promise")

    def __init__(self, promise: VatPromise, parts: list[VatPromise]) -> None:
        self.promise = promise
        self._parts = parts
        self._missing = len(parts)

    def start(self) -> None:
        for part in self._parts:
            self.promise.vat.turns.await_promise(self, part)
        if not self._parts:
            self.promise.vat.promises.resolve(self.promise, [])

    def settled(self, part: VatPromise) -> None:
        self._missing -= 1
        promises = self.promise.vat.promises
        if part.state == REJECTED:
            promises.reject(self.promise, part.value)
        elif self._missing == 0:
            promises.resolve(self.promise, [part._end().value for part in self._parts])


class _Racing:
    __slots__ = ("_promise",)

    def __init__(self, promise: VatPromise) -> None:
        self._promise = promise

    def settled(self, entrant: VatPromise) -> None:
        self._promise.vat.promises.resolve(self._promise, entrant)
