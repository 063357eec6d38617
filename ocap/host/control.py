"""What the host program does to subclusters and vats, once the kernel runs.

Each change is applied between cranks, whole or not at all; what takes a vat is queued as an item of
its own, and answers through a promise. So whatever was acknowledged happens, also when the process
dies right after.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import trio
from attrs import evolve, fields

from ocap.config import (
    ClusterConfig,
    VatConfig,
    check_config,
    check_parameters,
    check_source,
    config_from_data,
    config_to_data,
    services_of,
)
from ocap.host.endpoint import Endpoint
from ocap.host.inventory import DeadLetter, Launch, Subcluster, SubclusterUpdate, Vat
from ocap.host.refs import HostPromise, HostRef
from ocap.host.services import Services
from ocap.kernel.core import REVOKED, Core
from ocap.kernel.items import PingVat, Send, TerminateVat, UpgradeVat
from ocap.kernel.lifecycle import VatSpec
from ocap.kernel.options import VatOptions
from ocap.kernel.rows import DeadLetterRow, SubclusterRow, SubclusterState, VatRow
from ocap.kernel.subclusters import Changes, LaunchSpec
from ocap.protocol import syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import (
    ConfigError,
    DeadLetterNotFoundError,
    DisconnectedError,
    KernelClosedError,
    LaunchError,
    NotPassableError,
    ObjectGoneError,
    SubclusterNotFoundError,
    UpgradeError,
    VatNotFoundError,
    VatTerminatedError,
)
from ocap.protocol.marshal import encode
from ocap.protocol.refs import HOST, Kref, SubclusterId

logger = logging.getLogger("ocap.kernel")

VAT_ADMIN = "vat_admin"
"""The service that gives a subcluster the power to create vats of its own."""

UNSET: Any = object()

NO_OBJECT = Kref("ko0")
"""Stands for the root of a vat that has gone: whatever is sent to it rejects."""


class Control:
    """Changes from outside.

    Args:
        apply: runs a change between cranks and waits until it is committed.
        submit: the same, without waiting.
    """

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        services: Services,
        apply: Callable[[Callable[[], Any]], Awaitable[Any]],
        submit: Callable[[Callable[[], None]], None],
    ) -> None:
        self._core = core
        self._endpoint = endpoint
        self._services = services
        self._apply = apply
        self._submit = submit
        self.offered: dict[str, ClusterConfig] = {}
        """System subclusters that are launched when a config first asks for them, by name."""
        self._launching_offered: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)

    async def _ask(self, change: Callable[[], Kref]) -> Any:
        """Apply a change that gives the kref of a promise, and wait for what that settles to."""
        return await (await self._apply(lambda: self._expect(change())))

    def _expect(self, kref: Kref) -> HostPromise:
        """Within a change: have the host program told what a promise settles to."""
        vref = self._core.lifecycle.keeper(HOST).to_vat(kref)
        self._core.host_syscalls([syscalls.Subscribe(vref)])
        return self._endpoint.expect(kref)

    def _new_result(self) -> Kref:
        """A promise for an item to carry."""
        kref = self._core.state.new_promise(None)
        self._core.counts.incref(kref)
        return kref

    # ---- subclusters --------------------------------------------------------------------------

    def find(self, subcluster: str) -> SubclusterRow:
        row = self._find_or_launch(subcluster)
        if row.state != "running":
            raise SubclusterNotFoundError(f"subcluster {subcluster} is being launched: its bootstrap has not answered")
        return row

    def _find_or_launch(self, subcluster: str) -> SubclusterRow:
        row = self._core.state.subclusters.get(subcluster)
        if row is None:
            raise SubclusterNotFoundError(f"there is no subcluster {subcluster}")
        return row

    def rows(self, state: SubclusterState = "running", *, system_only: bool = False) -> list[SubclusterRow]:
        self._core.state.write()
        backend, rows = self._core.state.backend, self._core.state.subclusters
        names = backend.system_subclusters() if system_only else backend.subclusters()
        return [row for row in map(rows.__getitem__, names) if row.state == state]

    def launches(self) -> list[Launch]:
        return [Launch(row.id, row.name, self.config_of(row), row.is_system) for row in self.rows("launching")]

    def config_of(self, row: SubclusterRow) -> ClusterConfig:
        return config_from_data(self._endpoint.decoder.decode(row.config))

    def subcluster(self, row: SubclusterRow) -> Subcluster:
        config = self.config_of(row)
        vats: dict[str, Vat] = {}
        for vat in self._core.subclusters.vats_of(row):
            of_config = vat.name in config.vats and vat.name not in vats and vat.done is None
            vats[vat.name if of_config else vat.id] = self.vat(vat)
        first = self._core.state.vats.get(row.bootstrap)
        root = NO_OBJECT if first is None or first.root is None else first.root
        result = self._core.state.promises[row.result].data
        assert result is not None
        value = self._endpoint.decoder.decode(result)
        return Subcluster(
            row.id, row.name, config, self._endpoint.ref(root, "root"), value, vats, is_system=row.is_system
        )

    async def launch(
        self, config: ClusterConfig, *, is_system: bool = False, replaces: SubclusterRow | None = None
    ) -> Subcluster:
        config = await self._with_services(config, is_system)
        spec, references = self._spec(config, is_system, replaces)
        launched: list[SubclusterId] = []

        def change() -> Kref:
            self._check_alive(references)
            if replaces is not None:
                self.find(replaces.id)
            row = self._core.subclusters.launch(spec)
            launched.append(row.id)
            return row.result

        try:
            await self._ask(change)
        except trio.Cancelled:
            self._submit(lambda: self._give_up(launched))
            raise
        except (KernelClosedError, SubclusterNotFoundError):
            raise
        except LaunchError as error:
            raise LaunchError(_named(config.name, str(error))) from None
        except Exception as error:
            if not launched:
                raise
            reason = f"bootstrap raised {type(error).__name__}: {error}"
            raise LaunchError(_named(config.name, reason)) from error
        return self.subcluster(self.find(launched[0]))

    def _give_up(self, subclusters: list[SubclusterId]) -> None:
        """A change from outside: end those that are still there."""
        for row in map(self._core.state.subclusters.get, subclusters):
            if row is not None:
                self._core.between_cranks(partial(self._core.subclusters.terminate, row, "its launch was cancelled"))

    def _spec(
        self, config: ClusterConfig, is_system: bool, replaces: SubclusterRow | None
    ) -> tuple[LaunchSpec, list[Any]]:
        known = self.known(is_system)
        references: list[Any] = []
        vats = tuple(self._vat_spec(name, vat, known, references) for name, vat in config.vats.items())
        services = [(name, known[name]) for name in config.services if name != VAT_ADMIN]
        spec = LaunchSpec(
            config.name,
            self._data(config_to_data(config), "config", references),
            config.bootstrap,
            vats,
            tuple((name, kref) for name, kref in services if kref is not None),
            VAT_ADMIN if VAT_ADMIN in config.services else None,
            is_system,
            None if replaces is None else replaces.id,
        )
        return spec, references

    def known(self, is_system: bool) -> dict[str, Kref | None]:
        """The services that a subcluster may have: those provided, and the roots of system subclusters."""
        known: dict[str, Kref | None] = {VAT_ADMIN: None}
        for row in self.rows(system_only=True):
            first = self._core.state.vats.get(row.bootstrap)
            if first is not None:
                known[row.name] = first.root
        for name, service in self._services.by_name.items():
            if is_system or not service.system_only:
                known[name] = service.kref
        return known

    def names(self, is_system: bool) -> set[str]:
        """What a config may ask for: what `known` has, and what is launched when it is asked for."""
        return self.known(is_system).keys() | self.offered.keys()

    async def _with_services(self, config: ClusterConfig, is_system: bool) -> ClusterConfig:
        """The config, checked; offered system subclusters that it is the first to ask for are launched."""
        checked = check_config(config, self.names(is_system))
        for name in sorted(services_of(checked) & self.offered.keys()):
            async with self._launching_offered[name]:  # others that ask meanwhile wait, and find it
                if name not in self.known(is_system):
                    await self.launch(evolve(self.offered[name], name=name), is_system=True)
        return checked

    async def launch_offered(self, name: str) -> Subcluster:
        """Launch what is offered, if there is none of that name: also one whose root has gone is one."""
        async with self._launching_offered[name]:
            for row in self.rows(system_only=True):
                if row.name == name:
                    return self.subcluster(row)
            return await self.launch(evolve(self.offered[name], name=name), is_system=True)

    def _vat_spec(self, name: str, vat: VatConfig, known: Mapping[str, Kref | None], references: list[Any]) -> VatSpec:
        endowments = []
        for service in vat.endowments:
            kref = known[service]
            if kref is None:
                raise ConfigError(f"vats.{name}.endowments", f"{service} is given to bootstrap only, as a service")
            endowments.append((service, kref))
        imports = None if vat.imports is None else tuple(vat.imports)
        options = VatOptions(vat.critical, vat.on_fault, vat.fault_limit, imports, vat.reap_after, tuple(endowments))
        data = self._data(dict(vat.parameters), f"vats.{name}.parameters", references)
        return VatSpec(name, vat.source, data, options)

    def _data(self, value: Any, where: str, references: list[Any]) -> CapData:
        """A value of the host program's in krefs; collects the references that must exist when it is used."""
        body, found = encode(value)
        for reference in found:
            try:
                self._endpoint.check_ours(reference)
            except NotPassableError as error:
                raise ConfigError(where, error.reason) from None
        references += found
        return CapData(body, tuple([reference.kref for reference in found]))

    def _check_alive(self, references: list[Any]) -> None:
        for reference in references:
            if self._core.state.objects.get(reference.kref) is None:
                raise ObjectGoneError(f"{reference!r} is gone: its vat was terminated, or nobody held it")

    async def reload(self, subcluster: str) -> Subcluster:
        row = self.find(subcluster)
        return await self.launch(self.config_of(row), is_system=row.is_system, replaces=row)

    async def update(self, subcluster: str, config: ClusterConfig, *, dry_run: bool = False) -> SubclusterUpdate:
        row = self.find(subcluster)
        if dry_run:
            config = check_config(config, self.names(row.is_system))
        else:
            config = await self._with_services(config, row.is_system)
        known: dict[str, Kref | None] = {**dict.fromkeys(self.offered, NO_OBJECT), **self.known(row.is_system)}
        old = self.config_of(row)
        references: list[Any] = []
        specs = [self._vat_spec(name, vat, known, references) for name, vat in config.vats.items()]
        data = self._data(config_to_data(config), "config", references)
        at_reload = [part for part in ("bootstrap", "services") if getattr(old, part) != getattr(config, part)]

        adjusted: dict[str, tuple[str, ...]] = {}

        def change() -> tuple[Changes, dict[str, HostPromise]]:
            row = self.find(subcluster)
            self._check_alive(references)
            changes = self._core.subclusters.compare(row, specs)
            adjusted.update({spec.name: _differing(vat.options, spec.options) for vat, spec in changes.adjusted})
            results = {} if dry_run else self._core.subclusters.update(row, data, changes)
            return changes, {name: self._expect(kref) for name, kref in results.items()}

        changes, results = await self._apply(change)
        added: dict[str, LaunchError | None] = {spec.name: None for spec in changes.added}
        upgraded: dict[str, UpgradeError | None] = {spec.name: None for _, spec in changes.upgraded}
        for name, promise in results.items():
            try:
                await promise
            except LaunchError as error:
                added[name] = error
            except UpgradeError as error:
                upgraded[name] = error
            except DisconnectedError:
                reason = f"vat {name} was terminated before its turn came"
                if name in added:
                    added[name] = LaunchError(reason)
                else:
                    upgraded[name] = UpgradeError(reason)
        removed = tuple([vat.name for vat in changes.removed])
        at_reload += [f"vats.{name}, which was terminated" for name in changes.absent]
        return SubclusterUpdate(added, upgraded, adjusted, removed, tuple(at_reload))

    async def restart(self, subcluster: str) -> None:
        def change() -> None:
            for vat in self._core.subclusters.vats_of(self.find(subcluster)):
                self._core.end(vat.id, "it was restarted")

        await self._apply(change)

    async def terminate(self, subcluster: str) -> None:
        def change() -> None:
            row = self._find_or_launch(subcluster)
            reason = "its launch was given up" if row.state == "launching" else "its subcluster was terminated"
            self._core.subclusters.terminate(row, reason)

        await self._apply(change)

    async def settle_system(self, declared: Mapping[str, ClusterConfig] | None) -> None:
        """At the start: system subclusters are those declared, and of those offered the ones that were launched.

        They get the config that they have now. Where none are declared, others stay as they are.
        """
        found = {row.name: row for row in self.rows(system_only=True)}
        for name, row in found.items():
            if declared is not None and name not in declared and name not in self.offered:
                await self.terminate(row.id)
        wanted = {name: config for name, config in self.offered.items() if name in found} | dict(declared or {})
        for name, config in wanted.items():
            named = evolve(config, name=name)
            if name not in found:
                await self.launch(named, is_system=True)
            else:
                await self._settle_one(found[name], named)

    async def _settle_one(self, row: SubclusterRow, config: ClusterConfig) -> None:
        """Nobody is told how this goes, so it is logged; it is tried again at the next start."""
        done = await self.update(row.id, config)
        for name, error in (*done.added.items(), *done.upgraded.items()):
            if error is not None:
                logger.error("system subcluster %s: vat %s: %s", row.name, name, error)

    # ---- vats ---------------------------------------------------------------------------------

    def find_vat(self, vat: str) -> VatRow:
        row = self._core.state.vats.get(vat)
        if row is None or row.subcluster is None or row.state == "terminated":
            raise VatNotFoundError(f"there is no vat {vat}")
        return row

    def vat(self, row: VatRow) -> Vat:
        return Vat(
            *(row.id, row.name, row.subcluster, row.state, max(row.incarnation, 0), row.source, row.faults),
            critical=row.options.critical,
            restart_due=row.epoch < self._core.state.counter("epoch") - 1,
            running=row.id in self._core.running,
            reason=row.reason,
        )

    def root(self, vat: str) -> HostRef:
        root = self.find_vat(vat).root
        assert root is not None
        return self._endpoint.ref(root, "root")

    async def upgrade_vat(self, vat: str, source: str | None, parameters: Any) -> Vat:
        self.find_vat(vat)
        new = None if source is None else check_source(source, "source")
        references: list[Any] = []
        data: CapData | None = None
        if parameters is not UNSET:
            data = self._data(check_parameters(parameters, "parameters"), "parameters", references)

        def change() -> Kref:
            row = self.find_vat(vat)
            self._check_alive(references)
            if data is not None:
                self._core.counts.incref_slots(data)
            result = self._new_result()
            self._core.state.queue.push(UpgradeVat(row.id, new, data, result, 0))
            return result

        try:
            await self._ask(change)
        except VatTerminatedError:
            raise VatNotFoundError(f"vat {vat} was terminated before its turn came") from None
        return self.vat(self.find_vat(vat))

    async def ping_vat(self, vat: str) -> None:
        def change() -> Kref:
            row, result = self.find_vat(vat), self._new_result()
            self._core.state.queue.push(PingVat(row.id, result, 0))
            return result

        await self._ask(change)

    async def restart_vat(self, vat: str) -> None:
        await self._apply(lambda: self._core.end(self.find_vat(vat).id, "it was restarted"))

    async def suspend_vat(self, vat: str) -> None:
        await self._apply(lambda: self.suspend(vat))

    def suspend(self, vat: str) -> None:
        """A change between cranks: hold a vat's messages back."""
        row = self.find_vat(vat)
        self._core.end(row.id, "it was suspended")
        self._core.lifecycle.suspend(row, "the host asked for it")

    async def resume_vat(self, vat: str) -> None:
        await self._apply(lambda: self._core.lifecycle.resume(self.find_vat(vat)))

    async def terminate_vat(self, vat: str, reason: str) -> None:
        await self._apply(lambda: self._core.state.queue.push(TerminateVat(self.find_vat(vat).id, reason, 0)))

    # ---- references ---------------------------------------------------------------------------

    def _check_ref(self, ref: HostRef) -> None:
        self._endpoint.check_ours(ref)
        if not isinstance(ref, HostRef):
            raise NotPassableError("", "this is a promise; await it, and use the reference it settles to")

    async def revoke(self, ref: HostRef) -> None:
        self._check_ref(ref)

        def change() -> None:
            self._check_alive([ref])
            objects = self._core.state.objects
            row = objects.edit(ref.kref, objects[ref.kref])
            row.gone = row.gone or REVOKED

        await self._apply(change)

    async def pin(self, ref: HostRef) -> None:
        self._check_ref(ref)

        def change() -> None:
            self._check_alive([ref])
            if self._core.state.pins.get(ref.kref) is None:
                self._core.state.pins.insert(ref.kref, True)
                self._core.counts.incref(ref.kref)

        await self._apply(change)

    async def unpin(self, ref: HostRef) -> None:
        self._check_ref(ref)

        def change() -> None:
            if self._core.state.pins.get(ref.kref) is not None:
                self._core.state.pins.delete(ref.kref)
                self._core.counts.decref(ref.kref)

        await self._apply(change)

    # ---- dead letters -------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        self._core.state.write()
        rows = [self._core.state.dead_letters[number] for number in self._core.state.backend.dead_letters()]
        return [self._dead_letter(row) for row in rows]

    def _dead_letter(self, row: DeadLetterRow) -> DeadLetter:
        args, kwargs = self._endpoint.decoder.decode(row.args)
        target = self._endpoint.stand_in(row.target)
        return DeadLetter(row.number, row.crank, row.vat, target, row.method, tuple(args), kwargs, row.reason)

    def _find_dead_letter(self, number: int) -> DeadLetterRow:
        is_given = 0 < number < self._core.state.counter("dead_letter")  # SQLite takes no number of any size
        row = self._core.state.dead_letters.get(number) if is_given else None
        if row is None:
            raise DeadLetterNotFoundError(f"there is no dead letter {number}")
        return row

    async def retry(self, number: int) -> Any:
        def change() -> Kref:
            row, result = self._find_dead_letter(number), self._new_result()
            self._core.state.dead_letters.delete(number)  # what it held, the message holds
            self._core.state.queue.push(Send(Kref(row.target), row.method, row.args, result, 0))
            return result

        return await self._ask(change)

    async def drop(self, number: int) -> None:
        def change() -> None:
            self._core.failures.forget(self._find_dead_letter(number))

        await self._apply(change)


def _differing(old: VatOptions, new: VatOptions) -> tuple[str, ...]:
    """The names of the options that are not the same."""
    return tuple([it.name for it in fields(VatOptions) if getattr(old, it.name) != getattr(new, it.name)])


def _named(name: str, reason: str) -> str:
    return f"{name}: {reason}" if name else reason
