"""Liveslots: a vat's objects behind the protocol. Deliveries in, outcomes out.

It owns one incarnation of a vat: its heap, its turn queue, its view of the vatstore. It knows no
kernel, clock, task or file.

Rules:

1. `deliver` runs one crank, to the end of the turn queue, and never raises for what user code did.
2. What a behaviour raises rejects its result. What breaks a rule or a budget is a fault: the crank
   leaves no trace, and this incarnation does nothing more.
3. Outside bringOutYourDead the outcome is a function of the deliveries alone.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from contextvars import Context
from itertools import count
from types import CoroutineType
from typing import Any

from ocap.protocol import refs
from ocap.protocol.capdata import CapData
from ocap.protocol.deliveries import (
    BringOutYourDead,
    Delivery,
    DropExports,
    Message,
    Notify,
    Ping,
    ReportEdges,
    RetireExports,
    RetireImports,
    StartVat,
)
from ocap.protocol.errors import DecodeError, OversizeError
from ocap.protocol.marshal import encode
from ocap.protocol.passable import SHARED, Registry
from ocap.protocol.syscalls import Exit, Outcome, Subscribe, Syscall
from vats import running
from vats.baggage import Baggage
from vats.budget import Budget, CrankFaultError
from vats.calls import Calls
from vats.edges import Edges, report_edges
from vats.exo import Exo
from vats.kinds import MAP, MissingKindError
from vats.mishaps import describe, strip, traceback_text
from vats.pillars import Pillars
from vats.powers import VatPowers
from vats.promise import FULFILLED, VatPromise
from vats.promises import Mail, Promises
from vats.reaping import reap
from vats.recognition import Recognition
from vats.rows import Rows
from vats.sends import Sends
from vats.slots import Slots
from vats.states import States
from vats.sweeping import leftovers
from vats.turns import TurnQueue
from vats.vatstore import Vatstore, VatstorePort
from vats.watchers import Watchers

BuildRootObject = Callable[[VatPowers, Any, Baggage], Any]

_BAGGAGE = refs.durable_export(MAP, 0)

_QUIET = (ReportEdges, Ping)
"""Deliveries that leave the heap as it is."""


class Liveslots:
    """One incarnation of a vat.

    Args:
        vat_id: its id; error ids begin with it.
        port: its committed vatstore rows, which must have those of every earlier crank.
        load: returns the vat's `build_root_object`; called at startVat. What it raises is a fault.
        registry: the passable classes of its code.
        budget: what one crank may use.
        log: takes each line that the vat logs.
        collect: runs Python's collector when the vat is to bring out its dead.
    """

    def __init__(
        self,
        vat_id: str,
        port: VatstorePort,
        load: Callable[[], BuildRootObject],
        *,
        registry: Registry = SHARED,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        log: Callable[[str], None] = lambda _: None,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self.vat_id = vat_id
        self.log = log
        self.collect = collect
        self.serials = count()
        self.thrown: list[Exception] = []  # rejections raised in this crank, which hold frames
        self.turns = TurnQueue(self, budget.turns)
        self.store = Vatstore(port, budget.store_bytes, self.turns.raise_fault)
        self.rows = Rows(self)
        self.states = States(self)
        self.weak = Recognition(self)
        self.watchers = Watchers(self)
        self.pillars = Pillars(self)
        self.slots = Slots(self, registry)
        self.promises = Promises(self)
        self.sends = Sends(self)
        self.calls = Calls(self)
        self._load = load
        self._budget = budget
        self._incarnation: int | None = None
        self._baggage: Baggage | None = None
        self._root: Any = None
        self._errors = count(1)
        self._syscalls: list[Syscall] = []
        self._body_bytes = 0
        self._complaints: list[tuple[str, str]] = []
        self._exit: Exit | None = None
        self.is_loaded = False
        self.is_reaping = False
        self._unfinished = False
        self._report: Generator[Edges, None, Edges] | None = None
        self._edges: Edges = ()
        self._imported: list[str] = []  # promises first seen in this delivery, to subscribe to

    baggage_vref = _BAGGAGE

    def machinery(self) -> Iterator[object]:
        """Liveslots itself, which user objects may refer to: what it holds by its tables is no business of theirs."""
        yield self
        yield from (self.store, self.slots, self.rows, self.states, self.weak, self.watchers, self.pillars)
        yield from (self.promises, self.sends, self.calls, self.turns)

    @property
    def suspended(self) -> int:
        """How many behaviours wait for a promise."""
        return len(self.turns.suspended)

    def deliver(self, delivery: Delivery) -> Outcome:
        """Run one crank. After a fault every further delivery has the same fault.

        It has context variables of its own: what user code sets in them is gone when it ends.
        """
        return Context().run(self._deliver, delivery)

    def _deliver(self, delivery: Delivery) -> Outcome:
        if self.turns.fault is not None:
            return Outcome(fault=self.turns.fault)
        if self._report is not None and type(delivery) not in _QUIET:
            self._report = None  # of a heap that is changed now
        self.turns.start_crank()
        outer, running.vat = running.vat, self
        try:
            if type(delivery) is Message:
                self._message(delivery)
            elif type(delivery) is Notify:
                self._notify(delivery)
            else:
                self._other(delivery)
            self.turns.run()
            self._end_crank(delivery)
        except CrankFaultError as fault:
            if self.turns.fault is None:
                self.turns.fault = str(fault)
        except BaseException as error:  # user code's BaseException, or our own defect: neither may pass for an answer
            self.turns.fault = f"{type(delivery).__name__} ended in {describe(error)}"
            self._complaints.append((self._new_error_id(), traceback_text(error)))
        finally:
            running.vat = outer
        return self._take_outcome()

    def close(self) -> None:
        """End the incarnation: drop every behaviour under way."""
        self.turns.fault = self.turns.fault or "the incarnation is over"
        self.turns.close()

    # Deliveries

    def _message(self, delivery: Message) -> None:
        result = delivery.result
        if result is not None:
            decided = self.promises.table.get(result)
            if decided is None:
                self.calls.answering.add(result)
            else:
                decided.is_ours = True
        target = delivery.target
        if refs.is_promise_vref(target):
            self._message_to_promise(delivery)
            return
        receiver = self.slots.pinned.get(target)
        try:
            if receiver is None:
                receiver = self._find_target(target)
            args, kwargs = _to_arguments(self.slots.decode(delivery.args))
        except (DecodeError, LookupError) as error:  # whoever sent it is at fault, or the code that lost a class
            self._subscribe()
            self.calls.fail(result, error)
            return
        if self._imported:
            self._subscribe()
        self.calls.invoke(receiver, delivery.method, args, kwargs, result)

    def _find_target(self, target: str) -> Any:
        if self.slots.find(target) is None and not refs.is_off_heap(target):
            raise CrankFaultError(f"a message to {target}, which this incarnation never exported")
        return self.slots.to_object(target, "")

    def _message_to_promise(self, delivery: Message) -> None:
        """The kernel pipelines: what it sends to a promise of ours waits here until that settles."""
        promise = self.import_promise(delivery.target)
        result = None if delivery.result is None else self.import_promise(delivery.result)
        try:
            args, kwargs = _to_arguments(self.slots.decode(delivery.args))
        except (DecodeError, LookupError) as error:
            self.calls.fail(result, error)
            return
        finally:
            self._subscribe()
        body, references = encode([args, kwargs])
        self.promises.route(promise, Mail(delivery.method, body, references, result))

    def _notify(self, delivery: Notify) -> None:
        settled = []
        for settlement in delivery.settlements:
            try:
                value, is_rejected = self.slots.decode(settlement.data), settlement.rejected
            except (DecodeError, LookupError) as error:
                value, is_rejected = error, True
                self.complain(error)
            settled.append((settlement.promise, is_rejected, value))
        for vpid, is_rejected, value in settled:
            promise = self.promises.table.get(vpid)
            if promise is None or promise.is_ours:
                if promise is None and vpid in self.watchers.by_vpid:
                    self.watchers.settled(vpid, is_rejected, value)  # since an earlier incarnation
                continue  # else stale: this vat became its decider, or an earlier incarnation asked
            if not is_rejected:
                self.promises.settle(promise, FULFILLED, value)
            elif isinstance(value, Exception):
                self.promises.reject(promise, value)
            else:  # only a foreign vat rejects with such a thing
                self.promises.reject(promise, RuntimeError(f"rejected with {value!r}"))
        if self._imported:
            self._subscribe()

    def _other(self, delivery: Delivery) -> None:
        match delivery:
            case StartVat():
                self._start(delivery)
            case DropExports():
                for vref in delivery.vrefs:
                    self.slots.drop_export(vref)
            case RetireExports():
                for vref in delivery.vrefs:
                    self.slots.retire_export(vref)
            case RetireImports():
                for vref in delivery.vrefs:
                    self.weak.retire(vref)
                    self.weak.forget(vref)
            case ReportEdges():
                self._tell_edges()
            case BringOutYourDead():
                self.slots.suspect(delivery.vrefs)
                self.is_reaping = self._unfinished = reap(self)

    def _tell_edges(self) -> None:
        if self._report is None:
            self._report = report_edges(self)
        try:
            self._edges = next(self._report)
            self._unfinished = True
        except StopIteration as end:
            self._edges, self._report = end.value, None

    # Start

    def _start(self, delivery: StartVat) -> None:
        if self._incarnation is not None:
            raise CrankFaultError("started twice: an incarnation starts once")
        self._incarnation = delivery.incarnation
        self.store.virtual = b"v%d " % delivery.incarnation
        self.states.kinds.load()
        self.weak.load()
        self.watchers.load()
        self.slots.suspect(self.pillars.load())
        self._unfinished = leftovers(self)
        self._baggage = Baggage._ocap_at(self, _BAGGAGE)
        self.slots.register(self._baggage)
        try:
            build = self._load()
        except Exception as error:
            self.complain(error)
            raise CrankFaultError(f"the code cannot be loaded: {describe(error)}") from None
        self.is_loaded = True
        parameters = self.slots.decode(delivery.parameters)  # by now its classes are known
        powers = VatPowers(self, {name: self.slots.to_object(vref, name) for name, vref in delivery.endowments})
        self.calls.spawn(self._build(build, powers, parameters), VatPromise(self))

    async def _build(self, build: BuildRootObject, powers: VatPowers, parameters: Any) -> None:
        assert self._baggage is not None
        try:
            root = build(powers, parameters, self._baggage)
            if isinstance(root, CoroutineType):
                root = await root
        except Exception as error:
            self.complain(error)
            raise CrankFaultError(f"build_root_object raised {describe(error)}") from None
        if not isinstance(root, Exo):
            raise CrankFaultError(f"build_root_object returned a {type(root).__name__}, not an Exo")
        if root._ocap_off_heap:
            raise CrankFaultError(
                f"the root object, a {type(root).__name__}, must live on the heap: it is rebuilt each time"
            )
        if root._ocap_vref is not None:
            raise CrankFaultError(f"the root object, a {type(root).__name__}, was sent before it was returned")
        root._ocap_vat = self
        root._ocap_vref = refs.ROOT
        self.slots.register(root)
        self.slots.pinned[refs.ROOT] = self._root = root

    def encode(self, value: Any, where: str = "") -> tuple[bytes, list[Any]]:
        """`marshal.encode`; too large for the whole crank's budget is a fault, not a mistake to mend."""
        try:
            return encode(value, where)
        except OversizeError as error:
            if self._body_bytes + error.size > self._budget.body_bytes:
                self.turns.raise_fault(f"sent more than {self._budget.body_bytes} bytes in one crank")
            raise

    def complain(self, error: Exception) -> None:
        """Put the traceback in the log under an id that travels with the error, unless it is there already."""
        if getattr(error, "error_id", None) is None:
            error_id = self._new_error_id()
            with suppress(Exception):  # a frozen one goes without; the log has it all the same
                error.error_id = error_id  # type: ignore[attr-defined]  # noted on any exception
            self._complaints.append((error_id, traceback_text(error)))

    def _new_error_id(self) -> str:
        return f"error:{self.vat_id}.{self._incarnation}.{next(self._errors)}"

    # The outcome

    def syscall(self, call: Syscall, size: int) -> None:
        """Record a syscall whose bodies have `size` bytes."""
        self._syscalls.append(call)
        if len(self._syscalls) > self._budget.syscalls:
            self.turns.raise_fault(f"made more than {self._budget.syscalls} syscalls in one crank")
        self.spend(size)

    def spend(self, size: int) -> None:
        """Count bytes of a body sent."""
        self._body_bytes += size
        if self._body_bytes > self._budget.body_bytes:
            self.turns.raise_fault(f"sent more than {self._budget.body_bytes} bytes in one crank")

    def to_capdata(self, value: Any, where: str) -> CapData:
        body, references = self.encode(value, where)
        settled: list[VatPromise] = []
        slots = tuple([self.slots.export(x, settled) for x in references])
        if settled:
            self.promises.resolve_settled(settled)
        return CapData(body, slots)

    def exit(self, call: Exit) -> None:
        """Let `call` be the crank's last syscall."""
        self._exit = self._exit or call

    def import_promise(self, vpid: str) -> VatPromise:
        """The promise of `vpid`; a new one is subscribed to, unless this vat decides it."""
        promise = self.promises.table.get(vpid)
        if promise is None:
            is_ours = vpid in self.calls.answering
            promise = self.promises.table[vpid] = VatPromise(self, vpid, is_ours)
            if not is_ours:
                self._imported.append(vpid)
        return promise

    def _subscribe(self) -> None:
        imported, self._imported = self._imported, []
        for vpid in imported:
            if vpid in self.promises.table:  # else the same batch settled it
                self.syscall(Subscribe(vpid), 0)

    def _end_crank(self, delivery: Delivery) -> None:
        if type(delivery) is StartVat and self._root is None:
            raise CrankFaultError(
                "build_root_object did not settle in the crank it started in: it awaits what only a later delivery brings"
            )
        if type(delivery) is StartVat:
            try:
                self.states.kinds.check()
            except MissingKindError as error:
                raise CrankFaultError(str(error)) from None
        self.states.flush()
        self.pillars.settle()
        if self._exit is not None:
            self.syscall(self._exit, len(self._exit.data.body))
        if self.thrown:
            for rejection in self.thrown:
                strip(rejection)
            self.thrown.clear()

    def _take_outcome(self) -> Outcome:
        syscalls, self._syscalls = tuple(self._syscalls), []
        complaints, self._complaints = tuple(self._complaints), []
        checkpoint = self.store.take_checkpoint()
        self._body_bytes = 0
        self._exit = None
        edges, self._edges = self._edges, ()
        unfinished, self._unfinished = self._unfinished, False
        if self.turns.fault is not None:
            self.turns.close()
            return Outcome(fault=self.turns.fault, complaints=complaints)
        return Outcome(syscalls, checkpoint, None, complaints, (), unfinished, edges)


def _to_arguments(value: Any) -> tuple[list[Any], dict[str, Any]]:
    if type(value) is list and len(value) == 2 and type(value[0]) is list and type(value[1]) is dict:
        return value[0], value[1]
    raise DecodeError("the body of a message must be a list of positional and a dict of keyword arguments")
