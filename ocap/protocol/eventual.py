"""Eventual sends, typed: `E`, `Ref` and `Promise`, the same on both sides of the wall.

To a type checker `E(ref)` of a `Ref[T]` is a `T`, so methods, arguments and results are those of
the class; what a call returns is its coroutine, which a `Promise` is at run time. No plugin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

Send = Callable[[str, tuple[Any, ...], dict[str, Any], bool], Any]
"""(method, args, kwargs, whether an answer is wanted) to the promise of the answer, or None."""


class Ref(Protocol[_T_co]):
    """A reference to a `T` that may live anywhere. Use it through `E`."""

    __slots__ = ()

    def _ref_(self) -> _T_co:
        """Never called and never there: it carries `T` for type checkers."""
        ...


@runtime_checkable
class Promise(Protocol[_T_co]):
    """What a send returns: awaitable more than once, and a target for `E` before it settles."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, _T_co]: ...


class _Method:
    __slots__ = ("__name", "__send", "__wants_result")

    def __init__(self, send: Send, name: str, wants_result: bool) -> None:
        self.__send = send
        self.__name = name
        self.__wants_result = wants_result

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.__send(self.__name, args, kwargs, self.__wants_result)


class _Target:
    __slots__ = ("__send", "__wants_result")

    def __init__(self, send: Send, wants_result: bool) -> None:
        self.__send = send
        self.__wants_result = wants_result

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("_"):
            raise AttributeError(f"{name} cannot be sent: names with a leading underscore are private to the object")
        return _Method(self.__send, name, self.__wants_result)


class _Eventual:
    """`E(x).method(*args, **kwargs)` sends a message, at the call, and returns the promise of its answer.

    `x` is a reference, a promise for one, or an object of this vat: anything that answers
    `_eventual_send(method, args, kwargs, wants_result)`.

    Raises:
        TypeError: `x` is none of these; the caller's fault.
        NotPassableError: an argument cannot be sent; the caller's fault, and nothing was sent.
    """

    __slots__ = ()

    @overload
    def __call__(self, x: Ref[_T], /) -> _T: ...

    @overload
    def __call__(self, x: Awaitable[Ref[_T]], /) -> _T: ...

    def __call__(self, x: Any, /) -> Any:
        return _Target(_send_of(x), True)

    def send_only(self, x: Ref[Any] | Awaitable[Ref[Any]], /) -> Any:
        """Like `E(x)`, but asks for no answer: the call returns None, and a failure is only logged."""
        return _Target(_send_of(x), False)

    def __repr__(self) -> str:
        return "E"


def _send_of(x: Any) -> Send:
    try:
        send: Send = x._eventual_send
    except AttributeError:
        raise TypeError(f"E takes a reference, a promise or an exo, not a {type(x).__name__}") from None
    return send


E = _Eventual()
