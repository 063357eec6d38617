"""Subclusters: vats launched together from one config, and what is done to them together.

Invariants:

1. A launch is whole or not: until bootstrap has answered, its failure or the death of the process
   takes the subcluster and its vats away again.
2. A subcluster that replaces another ends it in the crank in which its own bootstrap has answered,
   so that there is one of them at any time.
3. The config says what the next reload launches. What an upgrade brings a vat is taken over by it in
   the upgrade's crank; a vat that could not be added leaves it again.
4. What an update does is decided by what each vat is, or is about to be, and not by the config before:
   so the same update again does what failed, and then nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from ocap.kernel.bodies import Named, are_alike, write_body
from ocap.kernel.configs import is_built_as, vat_names, with_vat, without_vat
from ocap.kernel.facets import Facets
from ocap.kernel.items import CreateVat, Send, TerminateVat, UpgradeVat, slots_of
from ocap.kernel.lifecycle import TERMINATED, Lifecycle, VatSpec
from ocap.kernel.promises import Promises
from ocap.kernel.refcounts import Refcounts
from ocap.kernel.rows import SubclusterRow, VatRow
from ocap.kernel.state import State
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import LaunchError
from ocap.protocol.marshal import encode_error
from ocap.protocol.refs import Kref, SubclusterId, VatId


@frozen
class LaunchSpec:
    """A subcluster to be launched.

    Attributes:
        config: as it was given, kept for whoever asks and for the next reload.
        bootstrap: the name of the vat whose root gets `bootstrap(vats, services)`.
        services: name to the service's kref.
        vat_admin: the name under which bootstrap gets the power to create vats, if it does.
    """

    name: str
    config: CapData
    bootstrap: str
    vats: tuple[VatSpec, ...]
    services: tuple[tuple[str, Kref], ...] = ()
    vat_admin: str | None = None
    is_system: bool = False
    replaces: SubclusterId | None = None


@frozen
class Changes:
    """What a new config asks of a subcluster's vats.

    Attributes:
        added: to be created.
        upgraded: those of which another incarnation has to be built, and what they are to become.
        adjusted: those that only get other options, at once.
        removed: to be terminated.
        absent: names of those that were terminated, and are there again after the next reload.
    """

    added: tuple[VatSpec, ...]
    upgraded: tuple[tuple[VatRow, VatSpec], ...]
    adjusted: tuple[tuple[VatRow, VatSpec], ...]
    removed: tuple[VatRow, ...]
    absent: tuple[str, ...]


@define(eq=False)
class Subclusters:
    """Changes of the world of subclusters. Each method is part of some crank, or a crank of its own."""

    _state: State
    _counts: Refcounts
    _promises: Promises
    _lifecycle: Lifecycle
    _facets: Facets

    def launch(self, spec: LaunchSpec) -> SubclusterRow:
        """Enter a subcluster and its vats, and queue their creation and then bootstrap.

        The roots exist before their vats do, so bootstrap can name them all.
        """
        state, cause = self._state, self._state.crank
        subcluster = state.new_subcluster_id()
        vats: dict[str, VatRow] = {}
        for vat in spec.vats:
            vats[vat.name] = row = self._lifecycle.create(vat, subcluster)
            state.queue.push(CreateVat(row.id, cause))
        # Vats decide the answer, and may pass that on; the result is the kernel's own, and follows it.
        result, answer = state.new_promise(None), state.new_promise(None)
        self._promises.forward(state.promises[result], state.promises[answer])
        self._counts.incref(result)
        self._counts.incref_slots(spec.config)
        first = vats[spec.bootstrap]
        made = SubclusterRow(
            subcluster, spec.name, spec.config, first.id, result, is_system=spec.is_system, replaces=spec.replaces
        )
        state.subclusters.insert(subcluster, made)
        state.journal.note(state.launching.pop, result)
        state.launching[result] = subcluster
        services = {name: Named(name, kref) for name, kref in spec.services}
        if spec.vat_admin is not None:
            services[spec.vat_admin] = Named("VatAdmin", self._facets.make("vat_admin", subcluster))
        roots = {name: Named(name, _root(row)) for name, row in vats.items()}
        args = write_body([[roots, services], {}])
        self._counts.incref(_root(first))
        self._counts.incref_slots(args)
        self._counts.incref(answer)
        state.queue.push(Send(_root(first), "bootstrap", args, answer, cause))
        return made

    def conclude_launches(self) -> None:
        """At the end of a unit of work: a launch whose bootstrap has answered stands or falls with it."""
        state = self._state
        for result in state.answered:  # to end a subcluster may give up the launch of another
            if result not in state.launching:
                continue
            row = state.subclusters[state.launching[result]]
            self._concluded(result)
            if state.promises[result].state == "rejected":
                self.terminate(row, "its launch failed")
                continue
            old = None if row.replaces is None else state.subclusters.get(row.replaces)
            if row.replaces is not None and old is None:
                self.terminate(row, f"{row.replaces}, which it was to replace, has ended")
                continue
            state.subclusters.edit(row.id, row)
            row.state = "running"
            row.replaces = None
            if old is not None:
                self.terminate(old, f"its subcluster was reloaded, as {row.id}")
        state.answered.clear()

    def _concluded(self, result: str) -> None:
        self._state.journal.note(self._state.launching.__setitem__, result, self._state.launching.pop(result))

    def creation_failed(self, vat: VatRow, reason: str) -> None:
        """A vat of the config that could not be created takes its launch with it, or leaves the config again."""
        assert vat.subcluster is not None
        row = self._state.subclusters[vat.subcluster]
        if vat.done is not None:
            return  # a vat asked for it, and is told
        promise = self._state.promises[row.result]
        if promise.data is None:
            error = LaunchError(f"vats.{vat.name}: {reason}")
            self._promises.settle(promise, True, encode_error(error))
        elif self._is_of_config(row, vat):
            self._set_config(row, without_vat(row.config, vat.name))

    def compare(self, row: SubclusterRow, specs: Sequence[VatSpec]) -> Changes:
        """What has to be done so that a subcluster's vats are as a new config has them."""
        ending = {item.vat for item in self._state.queue if isinstance(item, TerminateVat)}
        # What these are to become may not come about, so they are upgraded again, whatever it is.
        upgrading = {item.vat for item in self._state.queue if isinstance(item, UpgradeVat)}
        vats = {name: vat for name, vat in self._of_config(row).items() if vat.id not in ending}
        known, wanted = vat_names(row.config), {spec.name for spec in specs}
        upgraded, adjusted = [], []
        for spec in specs:
            vat = vats.get(spec.name)
            if vat is None:
                continue
            if vat.id in upgrading or not is_built_as(vat, spec):
                upgraded.append((vat, spec))
            elif vat.options != spec.options:
                adjusted.append((vat, spec))
        return Changes(
            added=tuple([spec for spec in specs if spec.name not in vats and spec.name not in known]),
            upgraded=tuple(upgraded),
            adjusted=tuple(adjusted),
            removed=tuple([vat for name, vat in vats.items() if name not in wanted]),
            absent=tuple([spec.name for spec in specs if spec.name not in vats and spec.name in known]),
        )

    def update(self, row: SubclusterRow, config: CapData, changes: Changes) -> dict[str, Kref]:
        """Take a new config over; what follows from it for vats is queued with it.

        Returns:
            The promises for how it went, by the name of the vat that is created or upgraded.
        """
        cause, queue = self._state.crank, self._state.queue
        results: dict[str, Kref] = {}
        if not are_alike(row.config, config):
            self._set_config(row, config)
        for spec in changes.added:
            results[spec.name] = result = self._state.new_promise(None)
            self._counts.incref(result)
            queue.push(CreateVat(self._lifecycle.create(spec, row.id).id, cause, result))
        for vat, spec in changes.upgraded:
            results[spec.name] = result = self._state.new_promise(None)
            item = UpgradeVat(vat.id, spec.source, spec.parameters, result, cause, spec.options)
            for kref in slots_of(item):
                self._counts.incref(kref)
            queue.push(item)
        for vat, spec in changes.adjusted:
            self._lifecycle.set_options(vat, spec.options)
        for vat in changes.removed:
            queue.push(TerminateVat(vat.id, "its subcluster's new config has it no more", cause))
        return results

    def take_over(self, vat: VatRow, item: UpgradeVat) -> None:
        """Have the config say what an upgrade brings a vat that is in it.

        Raises:
            NotPassableError: the config would be too large; nothing was changed.
        """
        assert vat.subcluster is not None
        row = self._state.subclusters[vat.subcluster]
        brings_nothing = item.source is None and item.parameters is None
        if item.options is None and not brings_nothing and self._is_of_config(row, vat):
            self._set_config(row, with_vat(row.config, vat.name, item.source, item.parameters))

    def _set_config(self, row: SubclusterRow, config: CapData) -> None:
        self._counts.incref_slots(config)
        self._counts.decref_slots(row.config)
        self._state.subclusters.edit(row.id, row).config = config

    def _of_config(self, row: SubclusterRow) -> dict[str, VatRow]:
        """Its vats that are in the config by name; of several of one name, the one that was added last.

        Vats that were created by others may have any name; only they have somebody to tell how they ended.
        """
        return {vat.name: vat for vat in self.vats_of(row) if vat.done is None}

    def _is_of_config(self, row: SubclusterRow, vat: VatRow) -> bool:
        found = self._of_config(row).get(vat.name)
        return found is not None and found.id == vat.id

    def vats_of(self, row: SubclusterRow) -> list[VatRow]:
        """Its vats, those that are being cleaned up left out."""
        self._state.write()
        rows = [self._state.vats[VatId(vat)] for vat in self._state.backend.vats_of(row.id)]
        return [vat for vat in rows if vat.state != "terminated"]

    def terminate(self, row: SubclusterRow, reason: str = "its subcluster was terminated") -> None:
        """Terminate every vat of a subcluster and forget it."""
        promise = self._state.promises[row.result]
        if row.result in self._state.launching:
            self._concluded(row.result)
            if promise.data is None:  # whoever launches it is told before its vats take all they decide with them
                self._promises.settle(promise, True, encode_error(LaunchError(reason)))
        for vat in self.vats_of(row):
            self._lifecycle.terminate(vat, reason)
        if promise.data is None:
            self._promises.settle(promise, True, TERMINATED)
        self._counts.decref(row.result)
        self._counts.decref_slots(row.config)
        self._state.subclusters.delete(row.id)


def _root(row: VatRow) -> Kref:
    assert row.root is not None
    return row.root
