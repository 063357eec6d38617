"""The host program as an endpoint of the kernel, like a vat: it imports, exports, sends and settles.

Owns what stands for which kref on the host side.

Invariants:

1. What the host asks is put to the kernel between cranks, in the order it was asked, after
   everything committed has been told to the host. So the names in it mean the same to both.
2. A reference is one object while it lives; when Python drops the last one, the kernel is told.
3. A promise the host asked for settles at the latest when the kernel closes.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ocap.host.refs import HostPromise, HostRef
from ocap.kernel.core import Core
from ocap.kernel.vat import VatFault
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.errors import DecodeError, KernelClosedError, NotPassableError, ObjectGoneError, OcapError
from ocap.protocol.marshal import Decoder, encode
from ocap.protocol.refs import HOST, Vref, is_promise_kref, is_vat_allocated, promise_export

logger = logging.getLogger("ocap.host")

Submit = Callable[[Callable[[], None]], None]


class Endpoint:
    """The host's tables.

    Args:
        core: the kernel core, touched only inside what is submitted.
        submit: has a change applied between cranks.
        after_commit: has something done once all changes so far are committed.
        serve: starts answering a message to a service; called with the delivery.
    """

    def __init__(
        self, core: Core, submit: Submit, after_commit: Submit, serve: Callable[[deliveries.Message], None]
    ) -> None:
        self.core = core
        self._submit = submit
        self._after_commit = after_commit
        self._serve = serve
        self._refs: weakref.WeakValueDictionary[str, HostRef] = weakref.WeakValueDictionary()
        self._dropped: deque[str] = deque()
        self._promises: dict[str, HostPromise] = {}
        self._waiting: set[HostPromise] = set()
        self._next_promise = 1
        self.is_closed = False
        self.decoder = Decoder(self.ref, self._import_promise)

    @property
    def unanswered(self) -> int:
        """How many promises the host waits for."""
        return len(self._waiting)

    # ---- names --------------------------------------------------------------------------------

    def ref(self, kref: str, interface: str) -> HostRef:
        """The reference standing for an object."""
        ref = self._refs.get(kref)
        if ref is None:
            ref = self._refs[kref] = HostRef(self, kref, interface)
            weakref.finalize(ref, self._dropped.append, kref).atexit = False
        return ref

    def stand_in(self, kref: str) -> HostRef | HostPromise:
        """What stands for an object or a promise."""
        return self._import_promise(kref) if is_promise_kref(kref) else self.ref(kref, "object")

    def _import_promise(self, kref: str) -> HostPromise:
        promise = self._promises.get(kref)
        if promise is None:
            promise = self._promises[kref] = HostPromise(self)
            promise.kref = kref
            self._submit(lambda: self._subscribe(kref))
        return promise

    def _subscribe(self, kref: str) -> None:
        promise = self._promises.get(kref)
        if promise is None:
            return  # told meanwhile
        if self.core.state.promises.get(kref) is None:
            self.settle(self._promises.pop(kref), None, ObjectGoneError("nobody holds this promise any more"))
            return

        def change() -> None:
            vref = self.core.lifecycle.keeper(HOST).to_vat(kref)
            self.core.host_syscalls([syscalls.Subscribe(vref)])

        self.core.between_cranks(change)

    def vref(self, thing: Any) -> Vref:
        """The host's name for a reference or pending promise; inside a change only."""
        kref = thing.kref
        if isinstance(thing, HostRef) and self.core.state.objects.get(kref) is None:
            raise ObjectGoneError(f"{thing!r} is gone: its vat was terminated, or nobody held it")
        return self.core.lifecycle.keeper(HOST).to_vat(kref)

    # ---- sending ------------------------------------------------------------------------------

    def send(
        self,
        target: HostRef | HostPromise,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wants_result: bool,
    ) -> HostPromise | None:
        """Queue a message; the promise of its answer at once.

        Raises:
            NotPassableError: an argument cannot be sent; nothing was.
            KernelClosedError: the kernel is not running.
        """
        self._check_open()
        body, references = encode_call(args, kwargs)
        for reference in references:
            self.check_ours(reference)
        promise = self.new_promise() if wants_result else None
        self._submit(lambda: self._send(target, method, body, references, promise))
        return promise

    def new_promise(self) -> HostPromise:
        """A promise to the host program, which `settle` or the end settles."""
        promise = HostPromise(self)
        self._waiting.add(promise)
        return promise

    def check_ours(self, reference: Any) -> None:
        if not isinstance(reference, HostRef | HostPromise):
            raise NotPassableError("", f"a {type(reference).__name__} lives in no vat; provide it as a service")
        if reference._endpoint is not self:
            raise NotPassableError("", f"{reference!r} belongs to another kernel, or to an earlier run of this one")

    def _check_open(self) -> None:
        if self.is_closed:
            raise KernelClosedError("the kernel is not running: use it inside `async with kernel`")

    def _send(
        self,
        target: HostRef | HostPromise,
        method: str,
        body: bytes,
        references: list[Any],
        promise: HostPromise | None,
    ) -> None:
        core = self.core
        number = self._next_promise

        def change() -> str | None:
            to = self._target(target, method)
            batch = _Batch(self)
            args = CapData(body, batch.slots(references))
            result = None if promise is None else self.new_promise_vref()
            calls: list[syscalls.Syscall] = [syscalls.Send(to, method, args, result)]
            calls += batch.resolves()
            core.host_syscalls(calls)
            if result is None:
                return None
            row = core.state.clist(HOST).by_vref(result)
            assert row is not None
            return row.kref

        try:
            self._drop_dead()
            kref = core.between_cranks(change)
        except (_Rejected, OcapError, TypeError, VatFault) as error:
            self._next_promise = number
            reason = error.error if isinstance(error, _Rejected) else error
            if promise is None:
                logger.warning("%s could not be sent: %s", method, reason)
            else:
                self.settle(promise, None, reason)
            return
        if promise is not None and kref is not None:
            promise.kref = kref
            self._promises[kref] = promise

    def new_promise_vref(self) -> str:
        vref = promise_export(self._next_promise)
        self._next_promise += 1
        return vref

    def _target(self, target: HostRef | HostPromise, method: str) -> str:
        while isinstance(target, HostPromise) and target.is_settled:
            try:
                target = target.result()
            except Exception as error:
                raise _Rejected(error) from None
        if not isinstance(target, HostRef | HostPromise):
            raise TypeError(f"cannot send {method} to {type(target).__name__} data: only objects have methods")
        return self.vref(target)

    def _drop_dead(self) -> None:
        """Tell the kernel of references Python has let go of."""
        krefs = []
        while self._dropped:
            kref = self._dropped.popleft()
            if kref not in self._refs:
                krefs.append(kref)
        clist = self.core.state.clist(HOST)
        rows = [row for row in map(clist.by_kref, dict.fromkeys(krefs)) if row is not None and row.reachable]
        vrefs = tuple(row.vref for row in rows if not is_vat_allocated(row.vref))
        if vrefs:
            calls: list[syscalls.Syscall] = [syscalls.DropImports(vrefs), syscalls.RetireImports(vrefs)]
            self.core.between_cranks(lambda: self.core.host_syscalls(calls))

    def release_dropped(self) -> None:
        """Have the kernel told of dropped references now, not with the next message."""
        if self._dropped:
            self._submit(self._drop_dead)

    # ---- answering ----------------------------------------------------------------------------

    def resolve(self, kref: str, value: Any, *, rejected: bool) -> None:
        """Settle a promise the host decides: the answer of a service."""

        def change() -> None:
            row = self.core.state.clist(HOST).by_kref(kref)
            if row is None:
                return
            call: syscalls.Syscall
            if isinstance(value, HostPromise) and not value.is_settled:
                call = syscalls.Forward(row.vref, self.vref(value))
            else:
                batch = _Batch(self)
                batch.settle(row.vref, value, rejected)
                (call,) = batch.resolves()
            self.core.host_syscalls([call])

        def tell() -> None:
            own = self._promises.pop(kref, None)
            if own is not None:  # the host waits for its own answer
                if isinstance(value, HostPromise):
                    value.tell(own)
                else:
                    self.settle(own, *((None, value) if rejected else (value,)))

        def apply() -> None:
            try:
                self.core.between_cranks(change)
            except (OcapError, VatFault) as error:
                logger.warning("an answer could not be given: %s", error)
                self.resolve(kref, _plain(error), rejected=True)
            else:
                self._after_commit(tell)

        self._submit(apply)

    # ---- told by the kernel -------------------------------------------------------------------

    def deliver(self, delivery: deliveries.Delivery) -> None:
        """Something committed for the host, in krefs."""
        match delivery:
            case deliveries.Notify(settlements):
                for settlement in settlements:
                    self._settled(settlement)
            case deliveries.Message():
                self._serve(delivery)
            case _:
                pass  # what the host exports are services, which stay under their names

    def _settled(self, settlement: Settlement) -> None:
        promise = self._promises.pop(settlement.promise, None)
        if promise is None:
            return
        try:
            value = self.decoder.decode(settlement.data)
        except DecodeError as error:
            self.settle(promise, None, error)
            return
        if settlement.rejected:
            failure = value if isinstance(value, Exception) else RuntimeError(value)
            self.settle(promise, None, failure)
        else:
            self.settle(promise, value)

    def settle(self, promise: HostPromise, value: Any, error: BaseException | None = None) -> None:
        self._waiting.discard(promise)
        promise.settle(value, error)

    def expect(self, kref: str) -> HostPromise:
        """The promise standing for `kref`, whose notify is on its way."""
        promise = self._promises.get(kref)
        if promise is None:
            promise = self._promises[kref] = self.new_promise()
            promise.kref = kref
        return promise

    def close(self) -> None:
        """Nothing is answered any more."""
        self.is_closed = True
        error = KernelClosedError("the kernel was left before the answer came; open it again and ask again")
        for promise in [*self._waiting, *self._promises.values()]:
            promise.settle(None, error)
        self._waiting.clear()
        self._promises.clear()


class _Batch:
    """The references of one call, and with them the settled promises among them.

    A settled promise has left the kernel's tables, so it goes out as a new one, settled at once;
    all such settlements are one batch, since their data may refer to each other.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._settlements: list[Settlement] = []
        self._vrefs: dict[HostPromise, str] = {}

    def slots(self, references: list[Any]) -> tuple[str, ...]:
        return tuple([self._slot(reference) for reference in references])

    def _slot(self, reference: Any) -> str:
        self._endpoint.check_ours(reference)
        if isinstance(reference, HostRef) or not reference.is_settled:
            return self._endpoint.vref(reference)
        vref = self._vrefs.get(reference)
        if vref is None:
            vref = self._vrefs[reference] = self._endpoint.new_promise_vref()
            self.settle(vref, reference, rejected=False)
        return vref

    def settle(self, vref: str, value: Any, rejected: bool) -> None:
        if isinstance(value, HostPromise):
            try:
                value = value.result()
            except Exception as error:  # whatever it was rejected with is what it is
                value, rejected = error, True
        body, references = encode(value)
        self._settlements.append(Settlement(vref, rejected, CapData(body, self.slots(references))))

    def resolves(self) -> list[syscalls.Syscall]:
        return [syscalls.Resolve(tuple(self._settlements))] if self._settlements else []


class _Rejected(Exception):  # noqa: N818 - carries the error a target was rejected with
    def __init__(self, error: Exception) -> None:
        self.error = error


def _plain(error: Exception) -> Exception:
    return error if isinstance(error, OcapError) else RuntimeError(str(error))


def encode_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, list[Any]]:
    """The body of a call, its paths starting with `args` or `kwargs`."""
    try:
        return encode([list(args), kwargs])
    except NotPassableError as error:
        place = error.path.removeprefix("[0]")
        place = f"args{place}" if place != error.path else f"kwargs{error.path.removeprefix('[1]')}"
        raise NotPassableError(place, error.reason) from None
