"""Watchers: durable objects that are told when a promise settles, in whichever incarnation that is.

Rules:

1. A registration is a row under the promise's vpid, and refers to the watcher and its arguments: it
   keeps them.
2. The kernel keeps the name of a watched promise, and the vat's subscription, across incarnations.
   A promise that this vat decides and that is not durable is rejected when its incarnation ends, and
   its watchers hear that in the next one.
3. When a promise follows another, its registrations move to the other.
4. A watcher is told once, in a turn of its own; the registration goes in the same crank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocap.protocol.syscalls import Keep, Subscribe
from vats.mishaps import describe
from vats.promise import PENDING, REJECTED, VatPromise
from vats.rows import is_durable
from vats.running import current
from vats.vatstore import Counter

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from vats.durable import DurableExo
    from vats.kits import Facet
    from vats.liveslots import Liveslots


def watch(
    promise: Awaitable[Any],
    watcher: DurableExo | Facet[Any],
    *args: Any,
    fulfilled: str = "on_fulfilled",
    rejected: str = "on_rejected",
) -> None:
    """Let a durable object be told when `promise` settles, also if that is after a restart or an upgrade.

    Its method `on_fulfilled(value, *args)` or `on_rejected(error, *args)` is called, once, in a later
    turn. A method whose name begins with an underscore will do, and nobody else can call that one.
    With only one of the two methods, the other outcome is not told, but that nobody hears of a
    rejection is reported in the vat's log. Watching twice is being told twice.

    Args:
        promise: pending or settled, of this vat or from elsewhere.
        watcher: a durable exo, or a facet of a durable kit.
        args: anything that can be stored.
        fulfilled: the method for a value.
        rejected: the method for an error. `DisconnectedError` means that who decided it is gone.

    Raises:
        TypeError: not a promise, or the watcher is not durable; the caller's fault.
        AttributeError: the watcher has neither method; the caller's fault.
        NotPassableError: one of `args` cannot be stored; the caller's fault.
    """
    vat = current("watch()")
    if not isinstance(promise, VatPromise):
        raise TypeError(f"watch takes a promise, not a {type(promise).__name__}")
    name = type(watcher).__name__
    if not (getattr(watcher, "_ocap_off_heap", False) and is_durable(watcher)):
        raise TypeError(f"watch takes a durable object, which a {name} is not: await the promise, or use a DurableExo")
    if not (hasattr(type(watcher), fulfilled) or hasattr(type(watcher), rejected)):
        raise AttributeError(f"a {name} has neither {fulfilled} nor {rejected} to be called when the promise settles")
    vat.watchers.add(promise, [watcher, fulfilled, rejected, list(args)])


class Watchers:
    """The registrations of one vat.

    Attributes:
        by_vpid: their numbers, by the promise's vpid; also those of earlier incarnations.
    """

    __slots__ = ("_counter", "_kept", "_vat", "by_vpid")

    def __init__(self, vat: Liveslots) -> None:
        self._vat = vat
        self._counter = Counter(vat.store, "h")
        self._kept: set[str] = set()
        self.by_vpid: dict[str, list[int]] = {}

    def load(self) -> None:
        """Read which promises earlier incarnations watch."""
        for key, _ in self._vat.store.scan(b"h"):
            vpid, _, number = key[1:].decode().partition(" ")
            self.by_vpid.setdefault(vpid, []).append(int(number))
        self._kept.update(self.by_vpid)

    def add(self, promise: VatPromise, registration: list[Any]) -> None:
        promise = promise._end()
        row = self._vat.rows.to_row(registration, "watch")
        if promise.state != PENDING:
            told = self._vat.rows.from_row(row)
            self._vat.turns.add(self._tell, (told, promise.state == REJECTED, promise.value))
            return
        vpid = self._vat.promises.export(promise, [])
        number = self._counter.allocate()
        self._vat.store.put(_key(vpid, number), row)
        self._vat.rows.replace(None, row)
        self.by_vpid.setdefault(vpid, []).append(number)
        self._keep(promise, vpid)

    def _keep(self, promise: VatPromise, vpid: str) -> None:
        if vpid not in self._kept:
            self._kept.add(vpid)
            if promise.is_ours:
                self._vat.syscall(Subscribe(vpid), 0)
            self._vat.syscall(Keep(vpid, decision=False), 0)

    def move(self, vpid: str, leader: VatPromise) -> None:
        """The promise of `vpid` follows `leader`, which is pending and has a vpid of its own."""
        to = leader.vpid
        assert to is not None
        self._kept.discard(vpid)
        store = self._vat.store
        for number in self.by_vpid.pop(vpid):
            store.put(_key(to, number), store.get(_key(vpid, number)))
            store.put(_key(vpid, number), None)
            self.by_vpid.setdefault(to, []).append(number)
        self._keep(leader, to)

    def settled(self, vpid: str, is_rejected: bool, value: Any) -> None:
        """The promise of `vpid`, which is watched, is settled."""
        self._kept.discard(vpid)
        for number in self.by_vpid.pop(vpid):
            self._vat.turns.add(self._take, (_key(vpid, number), is_rejected, value))

    def _take(self, call: tuple[bytes, bool, Any]) -> None:
        key, is_rejected, value = call
        row = self._vat.store.get(key)
        assert row is not None, key
        try:
            registration = self._vat.rows.from_row(row)
        except LookupError as error:  # a class is missing; its author's fault
            self._vat.calls.fail(None, error)
            registration = None
        self._vat.store.put(key, None)
        self._vat.rows.replace(row, None)
        if registration is not None:
            self._tell((registration, is_rejected, value))

    def _tell(self, call: tuple[list[Any], bool, Any]) -> None:
        (watcher, fulfilled, rejected, args), is_rejected, value = call
        cls = type(watcher)
        name, other = (rejected, fulfilled) if is_rejected else (fulfilled, rejected)
        if hasattr(cls, name):
            self._vat.calls.call_handler((watcher, name, [value, *args]))
        elif is_rejected or not hasattr(cls, other):
            what = f"rejected with {describe(value)}" if is_rejected else "fulfilled"
            error = AttributeError(
                f"{cls.__qualname__} has no {name}: nobody hears that a promise it watched was {what}"
            )
            self._vat.calls.fail(None, error)


def _key(vpid: str, number: int) -> bytes:
    return b"h%s %d" % (vpid.encode(), number)
