"""What the host program holds: references to objects in vats, and promises of their answers.

Both stand for a kref. They say nothing to the kernel by themselves: `endpoint` does, between
cranks, when their turn has come.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import trio

from ocap.legible import safe_text
from ocap.protocol.errors import KernelClosedError
from ocap.protocol.marshal import PromiseLike, Remotable

if TYPE_CHECKING:
    from ocap.host.endpoint import Endpoint


class HostRef(Remotable):
    """A reference to an object. Use it as `await E(ref).method(...)`; dropping it releases it."""

    __slots__ = ("__weakref__", "_endpoint", "_interface", "kref")

    def __init__(self, endpoint: Endpoint, kref: str, interface: str) -> None:
        self._endpoint = endpoint
        self._interface = interface
        self.kref = kref

    def _interface_name(self) -> str:  # type: ignore[override]  # one name each, not one a class
        return self._interface

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return self._endpoint.send(self, method, args, kwargs, wants_result)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a reference has no attribute {name!r}: its object is in a vat; use E(ref).{name}(...)")

    def __repr__(self) -> str:
        return f"<Ref {safe_text(self._interface)} {self.kref}>"


class HostPromise(PromiseLike):
    """The answer to come. Await it under trio, as often as you like, or send to it with `E`.

    What it settles to is durable by then: nothing is told before it is committed.
    """

    __slots__ = ("__weakref__", "_endpoint", "_error", "_followers", "_settled", "_value", "kref")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._settled: trio.Event | None = None
        self._value: Any = _PENDING
        self._error: BaseException | None = None
        self._followers: list[HostPromise] = []
        self.kref: str | None = None

    @property
    def is_settled(self) -> bool:
        return self._value is not _PENDING or self._error is not None

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        if self.is_settled:
            return
        self._value, self._error = value, error
        if self._settled is not None:
            self._settled.set()
        for follower in self._followers:
            self.tell(follower)
        self._followers.clear()

    def tell(self, follower: HostPromise) -> None:
        """Settle `follower` as this one is, now or when it is."""
        if self.is_settled:
            self._endpoint.settle(follower, self._value, self._error)
        else:
            self._followers.append(follower)

    def result(self) -> Any:
        """The value, or raise the error, of a settled promise."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._value

    def _eventual_send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], wants_result: bool) -> Any:
        return self._endpoint.send(self, method, args, kwargs, wants_result)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        if not self.is_settled:
            if self._endpoint.is_closed:
                raise KernelClosedError("the kernel was left before the answer came; open it again and ask again")
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        return self.result()

    def __repr__(self) -> str:
        state = "pending" if not self.is_settled else "rejected" if self._error is not None else "fulfilled"
        return f"<Promise {state}>"


_PENDING: Any = object()
