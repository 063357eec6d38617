"""`Kernel`: what a host program opens, enters, launches subclusters in and talks through.

It is one class, and long, because it is one contract: more than half of it are docstrings. What the
methods do is in `control`, `endpoint`, `services` and the ring.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

import trio

from ocap.config import ClusterConfig
from ocap.dump import dump
from ocap.host.control import UNSET, Control
from ocap.host.endpoint import Endpoint
from ocap.host.inventory import DeadLetter, Launch, Subcluster, SubclusterUpdate, Vat
from ocap.host.refs import HostRef
from ocap.host.services import Services
from ocap.kernel.core import Core
from ocap.kernel.effects import MESSAGES, Effect, Event
from ocap.kernel.gc import REAP_AFTER
from ocap.legible import safe_lines, safe_text
from ocap.protocol import deliveries
from ocap.protocol.errors import (
    KernelClosedError,
    SubclusterNotFoundError,
    VatNotFoundError,
)
from ocap.protocol.refs import HOST, KERNEL, VatId, sort_key
from ocap.ring.heap import Heap
from ocap.ring.scheduler import Scheduler
from ocap.ring.supervisor import TaskSupervisor
from ocap.ring.tally import Histogram, Tally
from ocap.ring.watchdog import SLOW_CRANK, Tell, Watchdog
from ocap.ring.workers import Workers
from ocap.store.marks import Marks
from ocap.store.sqlite import Durability, SqliteBackend
from ocap.verify import Problem, verify, verify_connection
from vats.mishaps import headline

logger = logging.getLogger("ocap.kernel")

T = TypeVar("T")
Sink = Callable[[Event], None]


class Kernel:
    """A kernel over one store. Opening starts nothing; `async with kernel` runs it.

    Args:
        path: the database file, made if it does not exist; None keeps everything in memory.
        durability: what a commit survives: loss of power, of the process, or nothing.
        system: the system subclusters, by name. They are launched, updated or terminated when the kernel
            is entered, so that they are as declared; they may use services that are `system_only`, and
            the root of each is offered to all as the service of its name. None, for a program that looks
            after a store: they stay as they are.
        reap_after: deliveries after which a vat is asked what it no longer holds, unless its config says
            otherwise; 0: only when `collect_garbage` asks.
        slow_crank: seconds that one crank or commit may take before Python's log is told, by a thread of
            its own, which vat holds the kernel up, in what, and where in its code; 0 or None: it never is.
        log: called with each `Event` of the message log, after the commit of its crank.

    Raises:
        StoreError: (or a subclass of it) the file cannot be used; it was not changed.
        ValueError: there is no such durability, or `reap_after` or `slow_crank` is negative.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        durability: Durability = "power",
        system: Mapping[str, ClusterConfig] | None = None,
        reap_after: int = REAP_AFTER,
        slow_crank: float | None = SLOW_CRANK,
        log: Sink | None = None,
    ) -> None:
        if durability not in get_args(Durability):
            raise ValueError(f"durability is 'power', 'process' or 'none', not {durability!r}")
        if reap_after < 0:
            raise ValueError(f"reap_after is a number of deliveries, or 0 for never, not {reap_after}")
        if slow_crank is not None and not slow_crank >= 0:
            raise ValueError(f"slow_crank is a number of seconds, or 0 or None for never, not {slow_crank}")
        self._backend = SqliteBackend(path, durability)
        try:
            self._core = Core(self._backend, reap_after=reap_after)
        except BaseException:
            self._backend.close()
            raise
        self._log: Sink | None = None
        if log is not None:
            self.observe(log)
        self._heap = Heap(lambda: self._scheduler.cranks, lambda: len(self._core.running))
        self._scheduler = Scheduler(self._core, self._release, self._heap)
        self._slow_crank = slow_crank or math.inf
        self._watchdog = Watchdog(self._scheduler, slow_crank) if slow_crank else None
        self._endpoint = Endpoint(self._core, self._scheduler.submit, self._scheduler.after_commit, self._serve)
        self._endpoint.is_closed = True
        self._services = Services(self._endpoint)
        self._control = Control(self._core, self._endpoint, self._services, self._apply, self._scheduler.submit)
        self._system = None if system is None else dict(system)
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
        self._nursery.start_soon(self._services.run, self._nursery, name="ocap services")
        try:
            if self._watchdog is not None:
                self._watchdog.start(workers.supervisor)
            await self._control.settle_system(self._system)
        except BaseException:
            if await self.__aexit__(*sys.exc_info()):
                raise KernelClosedError("the kernel was cancelled while it was entered") from None
            raise
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
            if self._watchdog is not None:
                self._watchdog.stop()
            self._endpoint.close()
            self._backend.close()

    def _supervise(self, vat: VatId) -> TaskSupervisor:
        return TaskSupervisor(self._core.state, vat, self._heap)

    def _release(self, effects: list[Effect]) -> None:
        self._time(effects)
        for effect in effects:
            if isinstance(effect, Event):
                if effect.kind not in MESSAGES:
                    self._note(effect)
                if self._log is not None:
                    self._log(effect)
            else:
                self._endpoint.deliver(effect.delivery)
        self._endpoint.release_dropped()

    def _time(self, effects: list[Effect]) -> None:
        """Tell the events when their cranks began, and how long they took."""
        now, spans = time.time(), self._scheduler.spans
        epoch = now - trio.current_time() if spans else now  # before the kernel runs, trio may not either
        crank, took = 0, None
        for effect in reversed(effects):
            if isinstance(effect, Event):
                if effect.crank != crank:
                    crank, took = effect.crank, None
                    span = spans.get(crank)
                    if span is not None:
                        now, took = epoch + span[0], span[1] - span[0]
                effect.time = now  # between cranks: before what comes next
                effect.took = took

    def _note(self, event: Event) -> None:
        """What a vat logs and what goes wrong, for Python's log and whoever counts."""
        if self._scheduler.tally is not None and event.vat is not None:
            self._scheduler.tally.events[event.vat, event.kind] += 1
        if event.kind == "error":
            if logger.isEnabledFor(logging.INFO):
                self._note_error(event)
            return
        text = safe_lines(event.text or "")
        if event.kind == "fault":
            is_launch = isinstance(event.vat_side, deliveries.StartVat) and event.vat_side.incarnation == 0
            # A launch fails with its vat, and says why.
            level = logging.INFO if is_launch else logging.ERROR
            logger.log(level, "vat %s faulted in crank %d: %s", event.vat, event.crank, text)
        elif event.kind == "suspend":
            logger.warning("vat %s is suspended: %s", event.vat, text)
        elif event.kind == "resume":
            logger.info("vat %s is resumed: %s", event.vat, text)
        elif event.kind == "terminate":
            logger.info("vat %s has ended: %s", event.vat, text)
        elif event.kind == "log":
            logger.info("vat %s says: %s", event.vat, text)

    def _note_error(self, event: Event) -> None:
        """On one line: whoever answers with errors every second is not to bury what else is logged."""
        error_id, _, trace = (event.text or "").removeprefix("error:").partition("\n")
        what = safe_text(headline(trace))
        logger.info("in vat %s, crank %d: %s, error %s", event.vat, event.crank, what, error_id)
        logger.debug("error %s: %s", error_id, safe_lines(trace))

    def _serve(self, message: deliveries.Message) -> None:
        if self._nursery is not None and not self._endpoint.is_closed:
            self._services.call(message)

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

    def watch(self, tell: Tell) -> None:
        """Have `tell` called with each `SlowStep`, again and again while it lasts, and with None when it is over.

        It is called by the thread that watches, which is not the kernel's, and must not raise; it replaces the one
        before. What a slow step is, the argument `slow_crank` says.
        """
        if self._watchdog is not None:
            self._watchdog.tell = tell

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

    def service_names(self, *, is_system: bool = False) -> list[str]:
        """The services that a config may ask for, by name; or that of a system subcluster."""
        self._check_open()
        return sorted(self._control.names(is_system=is_system))

    def declare(self, name: str, config: ClusterConfig) -> None:
        """Have a system subcluster, beside those given as `system`. Call it before entering the kernel.

        Raises:
            ValueError: one of that name is declared already.
            KernelClosedError: the kernel runs already, or is over.
        """
        if self._nursery is not None or self._is_over:
            raise KernelClosedError("declare system subclusters before entering the kernel")
        declared = self._system or {}
        if name in declared:
            raise ValueError(f"a system subcluster named {name} is declared already")
        self._system = {**declared, name: config}

    def offer(self, name: str, config: ClusterConfig) -> None:
        """Have a system subcluster when a config first asks for the service of that name; from then on it stays.

        At each later start it is given this config. `launch_offered` does not wait until somebody asks.

        Call it before entering the kernel.

        Raises:
            ValueError: one of that name is declared or offered already.
            KernelClosedError: the kernel runs already, or is over.
        """
        if self._nursery is not None or self._is_over:
            raise KernelClosedError("offer system subclusters before entering the kernel")
        if name in self._control.offered or name in (self._system or {}):
            raise ValueError(f"a system subcluster named {name} is declared already")
        self._control.offered[name] = config

    async def launch_offered(self, name: str) -> Subcluster:
        """Launch a system subcluster that is offered, unless it is there.

        Returns:
            It, as it was there or is now.

        Raises:
            ConfigError, LaunchError: as `launch_subcluster`.
            SubclusterNotFoundError: none of that name is offered.
        """
        self._check_running()
        if name not in self._control.offered:
            raise SubclusterNotFoundError(f"no system subcluster {name} is offered")
        return await self._control.launch_offered(name)

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
        return await self._control.launch(config)

    def get_subclusters(self) -> list[Subcluster]:
        """Every subcluster that is launched, oldest first."""
        self._check_open()
        return [self._control.subcluster(row) for row in self._control.rows()]

    def get_launches(self) -> list[Launch]:
        """Every launch that waits for its bootstrap, oldest first."""
        self._check_open()
        return self._control.launches()

    def get_subcluster(self, subcluster: str) -> Subcluster:
        """Raises `SubclusterNotFoundError`."""
        self._check_open()
        return self._control.subcluster(self._control.find(subcluster))

    def get_system_subcluster(self, name: str) -> Subcluster:
        """The system subcluster declared under that name. Raises `SubclusterNotFoundError`."""
        self._check_open()
        for row in self._control.rows(system_only=True):
            if row.name == name:
                return self._control.subcluster(row)
        raise SubclusterNotFoundError(f"there is no system subcluster {name}")

    async def update_subcluster(
        self, subcluster: str, config: ClusterConfig, *, dry_run: bool = False
    ) -> SubclusterUpdate:
        """Give a subcluster a new config, and do at once what follows from it.

        New vats are created (nobody has their roots yet: see `root`), vats that are in it no more are
        terminated, vats that have another source, other parameters, imports or endowments than it says are
        upgraded, other options are set. `bootstrap` and `services` count at the next reload. All of it is
        queued in one commit. A vat that cannot be created leaves nothing, one that cannot be upgraded goes on
        as it was; the same update again tries them again.

        Args:
            subcluster: its id.
            config: how it is to be.
            dry_run: only say what would be done, as things are now.

        Raises:
            SubclusterNotFoundError: there is none of that id.
            ConfigError: the config is wrong; nothing was changed.
        """
        self._check_running()
        return await self._control.update(subcluster, config, dry_run=dry_run)

    async def reload_subcluster(self, subcluster: str) -> Subcluster:
        """Launch a subcluster anew from its config: a clean slate, under a new id.

        Every vat of the config is there again, also one that was terminated. The old subcluster ends when
        the new one's bootstrap has answered; if that fails, it goes on as it was.

        Raises:
            SubclusterNotFoundError: there is none of that id.
            ConfigError: its config is not valid any more, as a source is missing.
            LaunchError: as `launch_subcluster`.
        """
        self._check_running()
        return await self._control.reload(subcluster)

    async def restart_subcluster(self, subcluster: str) -> None:
        """Pause and resume: every vat's next incarnation is built from durable state when next needed.

        Raises:
            SubclusterNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.restart(subcluster)

    async def terminate_subcluster(self, subcluster: str) -> None:
        """End every vat of a subcluster and forget it; one that is being launched is given up, with a `LaunchError`.

        Raises:
            SubclusterNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.terminate(subcluster)

    # ---- vats ---------------------------------------------------------------------------------

    def get_vats(self, *states: Literal["new", "live", "suspended"]) -> list[Vat]:
        """Every vat that lives, oldest first; those in one of these states alone, if any are named."""
        self._check_open()
        self._core.state.write()
        states = states or ("new", "live", "suspended")
        found = sorted((vat for state in states for vat in self._backend.vats_in(state)), key=sort_key)
        rows = [self._core.state.vats[vat] for vat in found]
        return [self._control.vat(row) for row in rows if row.subcluster is not None]

    def get_named(self, name: str) -> list[Subcluster | Vat]:
        """Every subcluster that is launched, and every vat that lives, of that name; oldest first."""
        self._check_open()
        found = [self._control.subcluster(row) for row in self._control.rows() if row.name == name]
        return [*found, *(vat for vat in self.get_vats() if vat.name == name)]

    def get_vat(self, vat: str) -> Vat:
        """Raises `VatNotFoundError`."""
        self._check_open()
        return self._control.vat(self._control.find_vat(vat))

    def vat_name(self, vat: str) -> str:
        """The name of a vat, or its id when it has been gone for more than a commit."""
        row = self._core.state.vats.get(vat)
        return self._core.departed.get(vat, vat) if row is None else row.name

    def root(self, vat: str) -> HostRef:
        """The root object of a vat. Raises `VatNotFoundError`."""
        self._check_open()
        return self._control.root(vat)

    async def upgrade_vat(self, vat: str, *, source: str | None = None, parameters: Any = UNSET) -> Vat:
        """Replace a vat's code, or its parameters, in one crank; its durable state stays.

        The new code starts beside the old. If it fails in any way the old incarnation goes on, heap and
        all. A suspended vat is upgraded too, and stays suspended. What is given is taken over, in the same
        crank, by the config of the vat's subcluster, so that a reload keeps it.

        Args:
            vat: its id.
            source: a Python file or module; None for the one it has, whose text may have changed.
            parameters: without them it keeps those it has.

        Raises:
            VatNotFoundError: there is none of that id, or it ended before its turn came.
            ConfigError: the source cannot be found, or a parameter cannot be kept.
            UpgradeError: what the new code did wrong, or that the config cannot keep so much; nothing was changed.
        """
        self._check_running()
        return await self._control.upgrade_vat(vat, source, parameters)

    async def ping_vat(self, vat: str) -> None:
        """Return when the vat has taken a delivery; it is started for that if need be.

        Raises:
            VatNotFoundError: there is none of that id.
            VatSuspendedError: it is suspended, or was when its turn came.
            DisconnectedError: it faulted, or was terminated.
        """
        self._check_running()
        await self._control.ping_vat(vat)

    async def restart_vat(self, vat: str) -> None:
        """Give up a vat's heap; its next incarnation is built from durable state when it is next needed.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.restart_vat(vat)

    async def suspend_vat(self, vat: str) -> None:
        """Hold a vat's messages back, in order, until it is resumed. Its heap is given up.

        One that is still to be created is created first.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.suspend_vat(vat)

    def suspend_vat_nowait(self, vat: str) -> None:
        """The same, of a kernel that is not entered: so that a vat does not get what it hung in.

        Raises:
            VatNotFoundError: there is none of that id.
            KernelClosedError: the kernel runs already, or is over.
        """
        if self._nursery is not None or self._is_over:
            raise KernelClosedError("this is for a kernel that is not entered; inside, `await kernel.suspend_vat(...)`")
        self._core.between_cranks(lambda: self._control.suspend(vat))
        self._release(self._core.commit())

    async def resume_vat(self, vat: str) -> None:
        """Let a suspended vat have what was held back; faults count anew.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.resume_vat(vat)

    async def terminate_vat(self, vat: str, reason: str = "the host terminated it") -> None:
        """End a vat for good, a critical one too.

        Who waits for it is told that it was terminated; the reason goes to the log and to its admin object.

        Raises:
            VatNotFoundError: there is none of that id.
        """
        self._check_running()
        await self._control.terminate_vat(vat, reason)

    def restart_all_vats(self, key: str) -> bool:
        """Have every vat's next incarnation built before its next delivery: an event, done once per key.

        Call it before entering the kernel. It costs the same however many vats there are, as each pays
        when it is next needed; one that does not come back is suspended, and its messages are held, also if
        its policy is "terminate".
        `Vat.restart_due` tells which vats have not been needed since.

        Args:
            key: what the event is called, such as "python-3.14"; calls with a key that was used do nothing.

        Returns:
            Whether this call made it happen.

        Raises:
            TypeError: the key is no text.
            KernelClosedError: the kernel runs already, or is over.
        """
        if self._nursery is not None or self._is_over:
            raise KernelClosedError("restart all vats before entering the kernel")
        if not isinstance(key, str):
            raise TypeError(f"the key of an event is a str, not {type(key).__name__}")
        events = self._core.state.events
        if events.get(key) is not None:
            return False
        self._core.between_cranks(lambda: events.insert(key, self._core.state.next_number("epoch")))
        self._release(self._core.commit())
        return True

    # ---- references ---------------------------------------------------------------------------

    def exporter(self, ref: HostRef) -> Vat | None:
        """The vat whose object this is; None if it is none's: gone, or a service's."""
        self._check_open()
        row = self._core.state.objects.get(ref.kref)
        try:
            return None if row is None or row.owner is None else self.get_vat(row.owner)
        except VatNotFoundError:
            return None

    async def revoke(self, ref: HostRef) -> None:
        """Let no message to this object through any more, whoever holds it, for good.

        Its identity stays; messages to it are rejected with `RevokedError`.

        Raises:
            ObjectGoneError: it has gone already.
            NotPassableError: it is no reference of this kernel.
        """
        self._check_running()
        await self._control.revoke(ref)

    async def pin(self, ref: HostRef) -> None:
        """Keep an object, also when nobody holds it, also over restarts, until `unpin`.

        Its `kref` finds it again: `kernel.ref(kref)`. To pin it again changes nothing.

        Raises:
            ObjectGoneError: it has gone already.
            NotPassableError: it is no reference of this kernel.
        """
        self._check_running()
        await self._control.pin(ref)

    async def unpin(self, ref: HostRef) -> None:
        """Let go of an object that was pinned; of another, nothing."""
        self._check_running()
        await self._control.unpin(ref)

    # ---- dead letters -------------------------------------------------------------------------

    def get_dead_letters(self) -> list[DeadLetter]:
        """The messages whose delivery faulted their vat, oldest first. Who sent them was told so."""
        self._check_open()
        return self._control.dead_letters()

    async def retry_dead_letter(self, number: int) -> Any:
        """Send a dead letter again, at the end of the queue; what it is answered with.

        Raises:
            DeadLetterNotFoundError: there is none of that number.
            DisconnectedError: it faulted its vat again, and is a dead letter again, with a new number.
        """
        self._check_running()
        return await self._control.retry(number)

    async def drop_dead_letter(self, number: int) -> None:
        """Forget a dead letter, and with it what it held.

        Raises:
            DeadLetterNotFoundError: there is none of that number.
        """
        self._check_running()
        await self._control.drop(number)

    # ---- as a whole ---------------------------------------------------------------------------

    async def idle(self, *, services: bool = False) -> None:
        """Wait until no work is left and everything done is committed.

        Args:
            services: also until no service is at work, such as a clock that is to wake the timer. Without
                it they may be, and wake the kernel later.
        """
        self._check_running()
        await self._scheduler.idle()
        while services and self._services.calls:
            await self._services.idle()
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
            "workers": len(self._core.running - {HOST, KERNEL}),
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

    def latencies(self) -> Histogram:
        """How long the cranks of vats took since the kernel was opened. It goes on counting."""
        return self._scheduler.took

    def tally(self) -> Tally:
        """Counts and durations of what happens, by vat; the first call begins them.

        It is filled as the kernel works. `ocap.metrics` makes metrics of it.
        """
        if self._scheduler.tally is None:
            self._scheduler.tally = Tally(self._slow_crank, cranks=self._scheduler.took)
        return self._scheduler.tally

    def verify(self) -> list[Problem]:
        """Check every invariant of what is committed; empty when all is well."""
        if self._backend.path is not None:
            return verify(self._backend.path)
        self._check_open()
        if self._scheduler.is_idle or self._nursery is None:
            self._core.state.write()
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
            self._core.state.write()
            for vat in sorted(self._backend.vats_in("live"), key=sort_key):
                if vat not in (HOST, KERNEL):
                    self._core.collector.schedule_reap(vat, to_the_end=True)

        self._scheduler.submit(reap)

    def counts(self) -> dict[str, int]:
        """How many `subclusters` are launched, `system_subclusters` among them, `vats` live, and `dead_letters` are kept."""
        self._check_open()
        self._core.state.write()
        return self._backend.counts()

    def census(self) -> dict[str, int]:
        """How many objects, promises, clist entries, queued items and vatstore rows there are."""
        self._check_open()
        self._core.state.write()
        return self._backend.census()

    def dump(self) -> str:
        """What the kernel is doing, as lines for people: its vats, what waits and for what, what went wrong."""
        census = self.census()
        connection = self._backend.connection
        return dump(
            lambda query: connection.execute(query).fetchall(),
            status=self.status(),
            stats=self.stats(),
            census=census,
            heaps=self._core.running,
            marks=Marks.read(connection),
        )

    def ref(self, kref: str) -> HostRef:
        """The reference to the object of that kref, for tools that name objects by it.

        Raises:
            LookupError: there is no such object.
        """
        if self._core.state.objects.get(kref) is None:
            raise LookupError(f"there is no object {kref}")
        return self._endpoint.ref(kref, "object")


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """A failure that came alone is raised alone."""
    if len(group.exceptions) == 1:
        only = group.exceptions[0]
        return _only_one(only) if isinstance(only, BaseExceptionGroup) else only
    return group
