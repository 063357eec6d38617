"""Kernel services: objects of the host program that vats may be given.

Their methods may be trio-async and take as long as they like: each call is a task of its own,
begun after the crank that asked for it is committed, answered between cranks. If the process
dies meanwhile, who waits is told that the host program ended.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import trio
from attrs import frozen

from ocap.host.endpoint import Endpoint
from ocap.legible import safe_text
from ocap.protocol import deliveries
from ocap.protocol.errors import BacklogError, DisconnectedError
from ocap.protocol.refs import HOST, Kref, durable_export

logger = logging.getLogger("ocap.services")

MAX_CALLS = 50_000
"""Calls under way. Each takes some 5 KB of memory, beside what it was given."""

MAX_CALL_BYTES = 256 * 1024 * 1024
"""Bytes of what they were given, together."""

SERVICE_KIND = 1
"""Services are exported as durable objects of the host: their krefs outlive the process."""


@frozen
class Service:
    name: str
    kref: Kref
    object: Any
    system_only: bool


class Services:
    """What the host provides, by name."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.by_name: dict[str, Service] = {}
        self._by_kref: dict[str, Service] = {}
        self.calls = 0
        """Calls under way."""
        self._bytes = 0
        self._none_left = trio.Event()
        self._to_call, self._called = trio.open_memory_channel[deliveries.Message](math.inf)

    def call(self, message: deliveries.Message) -> None:
        """Have a message answered. Calls begin in the order of their messages; too many are answered with `BacklogError`."""
        size = len(message.args.body)
        if self.calls >= MAX_CALLS or self._bytes + size > MAX_CALL_BYTES:
            error = BacklogError(
                f"{self.calls} calls of services are under way, with {self._bytes} bytes; this one was not begun"
            )
            logger.debug("%s", error)
            self._settle(message.result, error, rejected=True)
            return
        self.calls += 1
        self._bytes += size
        self._to_call.send_nowait(message)

    async def run(self, nursery: trio.Nursery) -> None:
        """Begin calls, a task each, in the order in which they were asked for."""
        async for message in self._called:
            nursery.start_soon(self._answer, message)
            # Tasks that are started together begin in any order: let this one begin before the next.
            await trio.lowlevel.checkpoint()

    def provide(self, name: str, thing: Any, *, system_only: bool) -> Service:
        """Enter a service; its kref is the one its name always had. Between cranks only.

        Raises:
            ValueError: the name is taken, or no name.
        """
        if not name or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"{name!r} is no name for a service; use letters, digits, dots and dashes")
        if name in self.by_name:
            raise ValueError(f"a service named {name} is provided already")
        core = self._endpoint.core
        kref = core.state.services.get(name)
        if kref is None:
            kref = core.state.new_object(HOST)
            vref = durable_export(SERVICE_KIND, core.state.next_number("service"))
            core.state.clist(HOST).add(kref, vref)
            core.counts.incref(kref)
            core.state.services.insert(name, kref)
        service = Service(name, kref, thing, system_only)
        self.by_name[name] = self._by_kref[kref] = service
        return service

    async def _answer(self, message: deliveries.Message) -> None:
        """Call the method a message asks for and answer with what it returns or raises."""
        try:
            value = await self._call(message)
        except Exception as error:
            logger.info("%s of a service failed", safe_text(message.method), exc_info=error)
            self._settle(message.result, error, rejected=True)
        else:
            self._settle(message.result, value, rejected=False)
        finally:
            self.calls -= 1
            self._bytes -= len(message.args.body)
            if not self.calls:
                self._none_left.set()
                self._none_left = trio.Event()

    async def idle(self) -> None:
        """Wait until no call is under way."""
        if self.calls:
            await self._none_left.wait()

    def _settle(self, result: str | None, value: Any, *, rejected: bool) -> None:
        if result is not None:
            self._endpoint.resolve(result, value, rejected=rejected)

    async def _call(self, message: deliveries.Message) -> Any:
        service = self._by_kref.get(message.target)
        if service is None:
            raise DisconnectedError("the host program does not provide this service in this run")
        method = None if message.method.startswith("_") else getattr(service.object, message.method, None)
        if not callable(method):
            raise AttributeError(f"service {service.name} has no method {message.method}")  # noqa: TRY004 - as Python says it
        args, kwargs = self._endpoint.decoder.decode(message.args)
        answer = method(*args, **kwargs)
        if hasattr(answer, "__await__"):
            answer = await answer
        else:
            await trio.lowlevel.checkpoint()
        return answer
