"""The real core and real liveslots without trio: cranks are run one by one by the test.

`Live` holds a subcluster whose vats are built by functions of the test; the host is played by `ask`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocap.kernel.core import Core
from ocap.kernel.effects import HostDelivery
from ocap.kernel.lifecycle import VatSpec
from ocap.kernel.subclusters import LaunchSpec
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.marshal import Decoder, encode
from ocap.protocol.refs import HOST, KERNEL, VatId
from ocap.ring.supervisor import VatstoreView
from ocap.store.sqlite import SqliteBackend
from ocap.verify import verify_connection
from vats.liveslots import Liveslots

Build = Callable[[Any, Any, Any], Any]


class Live:
    """A kernel whose vats live in the test."""

    def __init__(self, builds: Mapping[str, Build], path: Any = None) -> None:
        self.builds = builds
        self.path = path
        self.backend = SqliteBackend(path, "none")
        self.core = Core(self.backend)
        self.vats: dict[str, Liveslots] = {}
        self._answers: dict[str, Any] = {}
        self._next = 1
        self.longest = 0.0
        if not self.backend.subclusters():
            specs = tuple(VatSpec(name, name, CapData(encode({})[0])) for name in builds)
            spec = LaunchSpec("live", CapData(b"\xf6"), next(iter(builds)), specs)
            self.core.between_cranks(lambda: self.core.subclusters.launch(spec))
        self.run()

    def crank(self) -> bool:
        """One crank; False if there is nothing to do."""
        self._discard_stopped()
        crank = self.core.next_crank()
        self._discard_stopped()
        if crank is not None and crank.vat is not None:
            assert crank.delivery is not None
            self.core.finish(crank, self._vat(crank.vat).deliver(crank.delivery))
        return crank is not None

    def _discard_stopped(self) -> None:
        for vat in self.core.stopped:
            if vat in self.vats:
                self.vats.pop(vat).close()
        self.core.stopped.clear()

    def run(self) -> None:
        """Crank until there is nothing to do, and commit."""
        while self.crank():
            pass
        for effect in self.core.commit():
            if isinstance(effect, HostDelivery) and isinstance(effect.delivery, deliveries.Notify):
                for settlement in effect.delivery.settlements:
                    value = Decoder(lambda slot, _: slot, lambda slot: slot).decode(settlement.data)
                    self._answers[settlement.promise] = value

    def _vat(self, vat: VatId) -> Liveslots:
        if vat not in self.vats:
            build = self.builds[self.core.state.vats[vat].name]
            self.vats[vat] = Liveslots(vat, VatstoreView(self.core.state, vat), lambda: build)
        return self.vats[vat]

    def id_of(self, name: str) -> VatId:
        (found,) = [vat for vat in self.backend.vats_of("s1") if self.core.state.vats[vat].name == name]
        return VatId(found)

    def ask(self, name: str, method: str, *args: Any) -> Any:
        """Send a message to a root and run to rest: the answer, references as krefs."""
        root = self.core.state.vats[self.id_of(name)].root
        assert root is not None
        return self.ask_kref(root, method, *args)

    def ask_in_vain(self, name: str, method: str, *args: Any, cranks: int) -> None:
        """Send a message to a root and run some cranks, which are not committed."""
        root = self.core.state.vats[self.id_of(name)].root
        assert root is not None
        self.ask_kref(root, method, *args, cranks=cranks)

    def ask_kref(self, kref: str, method: str, *args: Any, cranks: int | None = None) -> Any:
        result = f"p+{self._next}"
        self._next += 1

        def send() -> str:
            target = self.core.lifecycle.keeper(HOST).to_vat(kref)
            call = syscalls.Send(target, method, CapData(encode([list(args), {}])[0]), result)
            self.core.host_syscalls([call])
            row = self.core.state.clist(HOST).by_vref(result)
            assert row is not None
            return row.kref

        promise = self.core.between_cranks(send)
        if cranks is not None:  # and no commit
            for _ in range(cranks):
                self.crank()
            return None
        self.run()
        answer = self._answers.pop(promise)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def let_go(self) -> None:
        """The host drops every reference it has, as a program does that forgets its `Ref`s."""
        clist = self.core.state.clist(HOST)
        rows = [clist.by_kref(kref) for kref in self._host_imports()]
        vrefs = tuple([row.vref for row in rows if row is not None])
        if vrefs:
            calls: list[syscalls.Syscall] = [syscalls.DropImports(vrefs), syscalls.RetireImports(vrefs)]
            self.core.between_cranks(lambda: self.core.host_syscalls(calls))

    def _host_imports(self) -> list[str]:
        self.core.state.write()
        return self.backend.clist_rows(HOST, "imports", -1)

    def collect(self, *, cycles: bool = False) -> None:
        """What `Kernel.collect_garbage` does."""
        self.let_go()
        if cycles:
            self.core.cycles.start(self.core.running)
        for vat in sorted(self.core.running - {HOST, KERNEL}):
            self.core.collector.schedule_reap(vat, to_the_end=True)
        self.run()

    def objects(self) -> int:
        """How many objects the kernel knows, but for the roots."""
        self.core.state.write()
        return self.backend.census()["objects"] - len(self.builds)

    def reopen(self) -> Live:
        """The same store after the process has ended."""
        assert self.path is not None
        self.close()
        return Live(self.builds, self.path)

    def restart(self, *, crash: bool = False) -> None:
        """What a new process sees of a store in memory; after a crash only what was committed."""
        assert self.path is None
        if not crash:
            self.core.commit()
        elif self.backend.connection.in_transaction:
            self.backend.connection.execute("ROLLBACK")
        for vat in self.vats.values():
            vat.close()
        self.vats.clear()
        self._answers.clear()
        self._next = 1
        self.core = Core(self.backend)
        self.run()

    def stop(self, name: str) -> None:
        """End a vat's incarnation: its heap is gone."""
        self.core.between_cranks(lambda: self.core.end(self.id_of(name), "the test stopped it"))
        self.run()

    def terminate(self, name: str) -> None:
        row = self.core.state.vats[self.id_of(name)]
        self.core.between_cranks(lambda: self.core.lifecycle.terminate(row, "for the test"))
        self.run()

    def close(self) -> None:
        self.core.commit()
        assert [] == list(map(str, verify_connection(self.backend.connection)))
        for vat in self.vats.values():
            vat.close()
        self.backend.close()
