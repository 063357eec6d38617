"""Durable promises: undecided across incarnations, as long as their resolver is."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ocap.protocol.errors import DisconnectedError, NotPassableError
from ocap.protocol.eventual import Promise
from ocap.protocol.syscalls import Keep
from vats.durable import DurableExo
from vats.promise import VatPromise
from vats.running import current
from vats.watchers import watch

if TYPE_CHECKING:
    from vats.liveslots import Liveslots

_T = TypeVar("_T")


class DurablePromiseKit(DurableExo, Generic[_T]):
    """A promise that stays undecided across restart and upgrade, and the right to settle it.

    It is a durable object: keep it in the baggage, a field or a store, or pass it to whoever is to
    settle the promise, who gets nothing else by it. The first settlement counts, later ones do
    nothing. When nobody can reach it any more the promise rejects with `DisconnectedError`.
    """

    vpid: str
    is_taken: bool = False
    outcome: Any = None  # [whether rejected, value], once settled

    @property
    def promise(self) -> Promise[_T]:
        """The promise. It cannot be stored itself; ask for it again in the next incarnation."""
        if self.outcome is None:
            return self._pending()
        vat = self._ocap_states().vat
        promise = VatPromise(vat)
        is_rejected, value = self.outcome
        (vat.promises.reject if is_rejected else vat.promises.resolve)(promise, value)
        return promise

    def resolve(self, value: _T | Awaitable[_T]) -> None:
        """Fulfil the promise, or let it settle as another promise does, in whichever incarnation that is."""
        if self.is_taken:
            return
        self.is_taken = True
        if isinstance(value, VatPromise):
            if value._end() is self._pending():
                self._fail(TypeError("a cycle: the promise was resolved to itself"))
            else:
                watch(value, self, fulfilled="_fulfil", rejected="_fail")
        else:
            self._fulfil(value)

    def reject(self, error: Exception) -> None:
        """Raises `TypeError`, the caller's fault, when `error` is no exception below `Exception`."""
        if not isinstance(error, Exception):
            raise TypeError(f"a promise is rejected with an Exception, not with a {type(error).__name__}")
        if not self.is_taken:
            self.is_taken = True
            self._fail(error)

    def _pending(self) -> VatPromise:
        return _pending(self._ocap_states().vat, self.vpid)

    def _fulfil(self, value: Any) -> None:
        promise = self._pending()
        self._remember(False, value)
        promise.vat.promises.resolve(promise, value)

    def _fail(self, error: Exception) -> None:
        promise = self._pending()
        self._remember(True, error)
        promise.vat.promises.reject(promise, error)

    def _remember(self, is_rejected: bool, value: Any) -> None:
        try:
            self.outcome = [is_rejected, value]
        except NotPassableError as error:
            lost = DisconnectedError(f"the promise was settled with what did not outlive its incarnation: {error}")
            self.outcome = [True, lost]

    @staticmethod
    def _ocap_gone(vat: Liveslots, state: dict[str, Any]) -> None:
        """It was deleted: nobody is left to settle the promise."""
        if state.get("outcome") is None:
            vat.promises.reject(_pending(vat, state["vpid"]), DisconnectedError("nobody holds the promise's resolver"))


def _pending(vat: Liveslots, vpid: str) -> VatPromise:
    promise = vat.promises.table.get(vpid)
    if promise is None:
        promise = vat.promises.table[vpid] = VatPromise(vat, vpid)
    promise.is_ours = True
    return promise


def make_durable_promise_kit() -> DurablePromiseKit[Any]:
    """A new durable promise that whoever holds the kit settles, in whichever incarnation."""
    vat = current("make_durable_promise_kit()")
    vpid = vat.promises.export(VatPromise(vat), [])
    vat.syscall(Keep(vpid, decision=True), 0)
    kit: DurablePromiseKit[Any] = DurablePromiseKit(vpid=vpid)
    vat.slots.name(kit)  # so that it is known to be gone when it is
    return kit
