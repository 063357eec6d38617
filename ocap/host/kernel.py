"""`Kernel`: what a host program opens, enters, launches subclusters in and talks through."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, get_args

import attrs
import trio

from ocap.config import ClusterConfig, check_config, config_from_data, config_to_data
from ocap.host.endpoint import Endpoint
from ocap.host.inventory import Subcluster, Vat
from ocap.host.refs import HostPromise, HostRef
from ocap.host.services import Services
from ocap.kernel.core import Core
from ocap.kernel.effects import Effect, Event, HostDelivery
from ocap.kernel.items import TerminateVat
from ocap.kernel.lifecycle import LaunchSpec, VatSpec
from ocap.kernel.rows import SubclusterRow, VatRow
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import (
    ConfigError,
    KernelClosedError,
    LaunchError,
    SubclusterNotFoundError,
    VatNotFoundError,
)
from ocap.protocol.marshal import encode
from ocap.protocol.refs import HOST, SubclusterId, VatId, sort_key
from ocap.ring.heap import Heap
from ocap.ring.scheduler import Scheduler
from ocap.ring.supervisor import TaskSupervisor
from ocap.ring.workers import Workers
from ocap.store.sqlite import Durability, SqliteBackend
from ocap.verify import Problem, verify, verify_connection

logger = logging.getLogger("ocap.kernel")

T = TypeVar("T")
Sink = Callable[[Event], None]


class Kernel:
    """A kernel over one store. Opening starts nothing; `async with kernel` runs it.

    Args:
        path: the database file, made if it does not exist; None keeps everything in memory.
        durability: what a commit survives: loss of power, of the process, or nothing.
        log: called with each `Event` of the message log, after the commit of its crank.

    Raises:
        StoreError: (or a subclass of it) the file cannot be used; it was not changed.
        ValueError: there is no such durability.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "power",
        log: Sink | None = None,
    ) -> None:
        if durability not in get_args(Durability):
            raise ValueError(f"durability is 'power', 'process' or 'none', not {durability!r}")
        self._backend = SqliteBackend(path, durability)
        try:
            self._core = Core(self._backend)
        except BaseException:
            self._backend.close()
            raise
        self._log: Sink | None = None
        if log is not None:
            self.observe(log)
        self._heap = Heap(lambda: self._scheduler.cranks, lambda: len(self._core.running))
        self._scheduler = Scheduler(self._core, self._release, self._heap)
        self._endpoint = Endpoint(self._core, self._scheduler.submit, self._scheduler.after_commit, self._serve)
        self._endpoint.is_closed = True
        self._services = Services(self._endpoint)
        self._nursery_manager: Any = None
        self._nursery: trio.Nursery | None = None
        self._is_over = False

    # ---- running ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._is_over or self._nursery is not None:
            raise KernelClosedError("a kernel is entered once; open the store again with a new Kernel")
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        workers = Workers(self._nursery, self._supervise)
        self._endpoint.is_closed = False
        self._nursery.start_soon(self._scheduler.run, workers, name="ocap scheduler")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        """Finish the crank under way, commit, stop every task, close the store."""
        assert self._nursery is not None
        # An exception of the program's own goes on as it is. A cancellation belongs to the nursery,
        # which exchanges it for what went wrong in a task of ours, if that is its reason.
        own = error is not None and not isinstance(error, trio.Cancelled)
        self._endpoint.close()
        self._scheduler.stop()
        with trio.CancelScope(shield=True):
            await self._scheduler.finished.wait()
        self._nursery.cancel_scope.cancel()
        try:
            passed = (None, None, None) if own else (kind, error, where)
            swallowed: bool | None = await self._nursery_manager.__aexit__(*passed)
        except BaseExceptionGroup as group:
            raise _only_one(group) from None
        finally:
            self.close()
        return False if own else swallowed

    def close(self) -> None:
        """Let go of a store that was opened but not entered. Leaving `async with` does it too."""
        if not self._is_over:
            self._is_over = True
            self._endpoint.close()
            self._backend.close()

    def _supervise(self, vat: VatId) -> TaskSupervisor:
        return TaskSupervisor(self._core.state, vat, self._core.state.vats[vat].source, self._heap)

    def _release(self, effects: list[Effect]) -> None:
        times = self._times(effects)
        for effect in effects:
            match effect:
                case HostDelivery(delivery):
                    self._endpoint.deliver(delivery)
                case Event():
                    began, took = times.pop()
                    self._observe(attrs.evolve(effect, time=began, took=took))
        self._endpoint.release_dropped()

    def _times(self, effects: list[Effect]) -> list[tuple[float, float | None]]:
        """When the cranks of the events began and how long they took, the first event's last."""
        now, spans = time.time(), self._scheduler.spans
        epoch = now - trio.current_time()
        times: list[tuple[float, float | None]] = []
        for effect in reversed(effects):
            if isinstance(effect, Event):
                span = spans.get(effect.crank)
                if span is None:  # between cranks: before what comes next
                    times.append((now, None))
                else:
                    now = epoch + span[0]
                    times.append((now, span[1] - span[0]))
        return times

    def _observe(self, event: Event) -> None:
        if event.kind == "fault":
            is_launch = isinstance(event.vat_side, deliveries.StartVat) and event.vat_side.incarnation == 0
            # A launch fails with its vat, and says why.
            level = logging.INFO if is_launch else logging.ERROR
            logger.log(level, "vat %s faulted in crank %d: %s", event.vat, event.crank, event.text)
        elif event.kind == "error":
            logger.info("in vat %s, crank %d: %s", event.vat, event.crank, event.text)
        elif event.kind == "log":
            logger.info("vat %s says: %s", event.vat, event.text)
        if self._log is not None:
            self._log(event)

    def _serve(self, message: deliveries.Message) -> None:
        if self._nursery is not None and not self._endpoint.is_closed:
            self._services.calls += 1
            self._nursery.start_soon(self._services.answer, message)

    async def _apply(self, change: Callable[[], T]) -> T:
        """Run `change` between cranks and wait until it is committed."""
        self._check_running()
        done = self._endpoint.new_promise()

        def submitted() -> None:
            try:
                value = self._core.between_cranks(change)
            except Exception as error:
                self._endpoint.settle(done, None, error)
            else:
                self._scheduler.after_commit(lambda: self._endpoint.settle(done, value))

        self._scheduler.submit(submitted)
        result: T = await done
        return result

    def _check_open(self) -> None:
        if self._is_over:
            raise KernelClosedError("the kernel was left; open the store again with a new Kernel")

    def _check_running(self) -> None:
        if self._endpoint.is_closed:
            raise KernelClosedError("the kernel is not running: use it inside `async with kernel`")

    def observe(self, log: Sink, *, messages: bool = True) -> None:
        """Have `log` called with each event of the message log, after the commit of its crank.

        Args:
            log: what takes the events; it replaces the one before.
            messages: deliveries and syscalls too; without them, what vats log and what goes wrong.
        """
        self._log = log
        self._core.traced = messages

    # ---- services -----------------------------------------------------------------------------

    def provide(self, name: str, thing: Any, *, system_only: bool = False) -> None:
        """Offer `thing` to vats as the service `name`. Its public methods may be trio-async.

        Call it before entering the kernel, so that calls waiting in the store find it.

        Raises:
            ValueError: the name is taken, or is none.
            KernelClosedError: the kernel runs already, or is over.
        """
        if self._nursery is not None or self._is_over:
            raise KernelClosedError("provide services before entering the kernel")
        self._core.between_cranks(lambda: self._services.provide(name, thing, system_only=system_only))

    # ---- subclusters --------------------------------------------------------------------------

    async def launch_subcluster(self, config: ClusterConfig) -> Subcluster:
        """Create a subcluster's vats, call `bootstrap(vats, services)` of one, and wait for its answer.

        A launch is whole or not at all: when it raises or is cancelled, or the process dies before
        bootstrap has answered, nothing of it remains.

        Raises:
            ConfigError: the config is wrong, with the path to where; nothing was changed.
            LaunchError: a vat could not be created or bootstrap raised; its cause is what it raised.
        """
        self._check_running()
        public = {name: s for name, s in self._services.by_name.items() if not s.system_only}
        config = check_config(config, public)
        services = tuple((name, public[name].kref) for name in config.services)
        vats = tuple(VatSpec(name, vat.source, _data(vat.parameters)) for name, vat in config.vats.items())
        spec = LaunchSpec(config.name, encode(config_to_data(config))[0], config.bootstrap, vats, services)

        launched: list[SubclusterId] = []

        def change() -> HostPromise:
            row = self._core.lifecycle.launch(spec)
            vref = self._core.lifecycle.keeper(HOST).to_vat(row.result)
            self._core.host_syscalls([syscalls.Subscribe(vref)])
            launched.append(row.id)
            return self._endpoint.expect(row.result)

        try:
            await (await self._apply(change))
        except trio.Cancelled:
            self._scheduler.submit(lambda: self._terminate(launched))
            raise
        except KernelClosedError:
            raise
        except LaunchError as error:
            raise LaunchError(_named(config.name, str(error))) from None
        except Exception as error:
            reason = f"bootstrap raised {type(error).__name__}: {error}"
            raise LaunchError(_named(config.name, reason)) from error
        return self.get_subcluster(launched[0])

    def get_subclusters(self) -> list[Subcluster]:
        """Every subcluster that is launched, oldest first."""
        self._write()
        rows = [self._core.state.subclusters[name] for name in self._backend.subclusters()]
        return [self._subcluster(row) for row in rows if row.state == "running"]

    def get_subcluster(self, subcluster: str) -> Subcluster:
        """Raises `SubclusterNotFoundError`."""
        self._check_open()
        return self._subcluster(self._launched(subcluster))

    async def terminate_subcluster(self, subcluster: str) -> None:
        """End every vat of a subcluster and forget it.

        Raises:
            SubclusterNotFoundError: there is none of that id.
        """

        def change() -> None:
            self._core.lifecycle.terminate_subcluster(self._launched(subcluster))

        await self._apply(change)

    def _terminate(self, subclusters: list[SubclusterId]) -> None:
        """A change from outside: end those that are still there."""
        rows = [row for row in map(self._core.state.subclusters.get, subclusters) if row is not None]
        self._core.between_cranks(lambda: [self._core.lifecycle.terminate_subcluster(row) for row in rows])

    def _launched(self, subcluster: str) -> SubclusterRow:
        row = self._core.state.subclusters.get(subcluster)
        if row is None or row.state != "running":
            raise SubclusterNotFoundError(f"there is no subcluster {subcluster}")
        return row

    def _subcluster(self, row: SubclusterRow) -> Subcluster:
        config = config_from_data(self._endpoint.decoder.decode(CapData(row.config)))
        self._write()
        vats = {vat.name: vat for vat in map(self.get_vat, self._backend.vats_of(row.id))}
        root = self._core.state.vats[row.bootstrap].root
        assert root is not None
        result = self._core.state.promises[row.result].data
        assert result is not None
        value = self._endpoint.decoder.decode(result)
        return Subcluster(row.id, row.name, config, self._endpoint.ref(root, "root"), value, vats)

    def _write(self) -> None:
        """Let queries see what is in memory."""
        self._check_open()
        self._core.state.write()

    # ---- vats ---------------------------------------------------------------------------------

    def get_vats(self) -> list[Vat]:
        """Every vat that is not terminated, oldest first."""
        self._write()
        states = ("new", "live", "suspended")
        found = [vat for state in states for vat in self._backend.vats_in(state) if vat != HOST]
        return [self.get_vat(vat) for vat in sorted(found, key=lambda vat: (len(vat), vat))]

    def get_vat(self, vat: str) -> Vat:
        """Raises `VatNotFoundError`."""
        self._check_open()
        row = self._core.state.vats.get(vat)
        if row is None or row.id == HOST or row.state == "terminated":
            raise VatNotFoundError(f"there is no vat {vat}")
        return _vat(row)

    def vat_name(self, vat: str) -> str:
        """The name of a vat, or its id when it has gone."""
        row = self._core.state.vats.get(vat)
        return vat if row is None else row.name

    async def restart_vat(self, vat: str) -> None:
        """Give up a vat's heap; its next incarnation is built from durable state when it is next needed.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        await self._change_vat(vat, lambda row: self._core.end(row.id, "it was restarted"))

    async def suspend_vat(self, vat: str) -> None:
        """Hold a vat's messages back, in order, until it is resumed. Its heap is given up.

        Raises:
            VatNotFoundError: there is none of that id.
        """

        def change(row: VatRow) -> None:
            self._core.end(row.id, "it was suspended")
            self._core.lifecycle.suspend(row)

        await self._change_vat(vat, change)

    async def resume_vat(self, vat: str) -> None:
        """Let a suspended vat have what was held back; faults count anew.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        await self._change_vat(vat, self._core.lifecycle.resume)

    async def terminate_vat(self, vat: str, reason: str = "the host terminated it") -> None:
        """End a vat for good. Who waits for it is told that it was terminated; the reason goes to the log.

        Raises:
            VatNotFoundError: there is none of that id.
        """

        def change(row: VatRow) -> None:
            self._core.state.queue.push(TerminateVat(row.id, reason, 0))

        await self._change_vat(vat, change)

    async def _change_vat(self, vat: str, change: Callable[[VatRow], None]) -> None:
        def changed() -> None:
            self.get_vat(vat)
            change(self._core.state.vats[vat])

        await self._apply(changed)

    # ---- as a whole ---------------------------------------------------------------------------

    async def idle(self) -> None:
        """Wait until no work is left and everything done is committed.

        Services may still be at work, and wake the kernel later.
        """
        self._check_running()
        await self._scheduler.idle()
        self._check_running()

    def status(self) -> dict[str, Any]:
        """How the kernel is.

        Returns:
            Whether it is `running` and `idle`, the items in its `run_queue`, its `workers` (vats with a
            heap), `service_calls` under way, and promises the host program waits for (`unanswered`).
        """
        return {
            "running": not self._endpoint.is_closed,
            "idle": self._scheduler.is_idle,
            "run_queue": len(self._core.state.queue),
            "workers": len(self._core.running) - 1,
            "service_calls": self._services.calls,
            "unanswered": self._endpoint.unanswered,
            "path": None if self._backend.path is None else str(self._backend.path),
        }

    def stats(self) -> dict[str, int]:
        """Counters since the kernel was opened, and the highest crank number ever."""
        return {
            "cranks": self._scheduler.cranks,
            "commits": self._scheduler.commits,
            "last_crank": self._core.state.counter("crank") - 1,
        }

    def verify(self) -> list[Problem]:
        """Check every invariant of what is committed; empty when all is well."""
        if self._backend.path is not None:
            return verify(self._backend.path)
        self._check_open()
        if self._scheduler.is_idle or self._nursery is None:
            self._write()
        return verify_connection(self._backend.connection)

    def collect_garbage(self, *, cycles: bool = False) -> None:
        """Have every vat report what it no longer holds; `idle()` waits for it.

        A vat that is not running is started for that: an earlier incarnation may have left something.
        Python's own collector runs once over the whole heap, in one step: 80 ms for a million objects.

        Args:
            cycles: also search for cycles across vats, which no counting finds.
        """
        self._check_running()

        def reap() -> None:
            self._heap.collect_all()
            if cycles:
                self._core.cycles.start(self._core.running)
            self._write()
            for vat in sorted(self._backend.vats_in("live"), key=sort_key):
                if vat != HOST:
                    self._core.collector.schedule_reap(vat, to_the_end=True)

        self._scheduler.submit(reap)

    def census(self) -> dict[str, int]:
        """How many objects, promises, clist entries, queued items and vatstore rows there are."""
        self._write()
        return self._backend.census()

    def ref(self, kref: str) -> HostRef:
        """The reference to the object of that kref, for tools that name objects by it.

        Raises:
            LookupError: there is no such object.
        """
        if self._core.state.objects.get(kref) is None:
            raise LookupError(f"there is no object {kref}")
        return self._endpoint.ref(kref, "object")


def _vat(row: VatRow) -> Vat:
    return Vat(row.id, row.name, row.subcluster, row.state, max(row.incarnation, 0), row.source)


def _data(parameters: Mapping[str, Any]) -> CapData:
    body, references = encode(dict(parameters))
    if references:
        raise ConfigError("parameters", "references in parameters are not supported yet; send them in a message")
    return CapData(body)


def _named(name: str, reason: str) -> str:
    return f"{name}: {reason}" if name else reason


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """A failure that came alone is raised alone."""
    if len(group.exceptions) == 1:
        only = group.exceptions[0]
        return _only_one(only) if isinstance(only, BaseExceptionGroup) else only
    return group
