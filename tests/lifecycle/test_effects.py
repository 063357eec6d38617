"""The table of effects: what each operation does to a vat, its promises, its objects and its messages.

The table is that of docs/reference/lifecycle.md, cell by cell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocap import (
    ClusterConfig,
    CriticalVatError,
    E,
    Kernel,
    Ref,
    UpgradeError,
    VatConfig,
    VatNotFoundError,
    VatTerminatedError,
)
from tests.commands import REPOSITORY
from tests.lifecycle.clusters import change, counters, edit, without

OBSERVER = str(Path(__file__).parent / "observer.py")

COLUMNS = (
    "answers it owes",
    "answers it owes durably",
    "its heap's exports",
    "its root and durable exports",
    "messages queued for it",
    "its heap",
    "its vatstore",
    "its parameters",
    "its incarnation",
    "its ids",
)

_ALIVE = ("kept", "kept", "the next", "the same")
_DEAD = (*("vat terminated",) * 3, "lost", "deleted", "released", "none", "never given again")


def _restarted(reason: str) -> tuple[str, ...]:
    return f"rejected: {reason}", "pending", "gone", "work", "delivered to the next incarnation", "lost", *_ALIVE


def _suspended(reason: str) -> tuple[str, ...]:
    return f"rejected: {reason}", "pending", "gone", "held", "held", "lost", *_ALIVE


_ENDED = ("rejected: vat terminated", "rejected: vat terminated", *_DEAD)

TABLE: dict[str, tuple[str, ...]] = {
    "restart": _restarted("it was restarted"),
    "restart of its subcluster": _restarted("it was restarted"),
    "restart of the kernel": _restarted("the kernel was restarted"),
    "restart of all vats": _restarted("the kernel was restarted"),
    "suspend": _suspended("it was suspended"),
    "resume": _restarted("it was suspended"),
    "upgrade": _restarted("it was upgraded"),
    "upgrade with parameters": (*_restarted("it was upgraded")[:-3], "new", "the next", "the same"),
    "upgrade that fails": (
        "pending",
        "pending",
        "work",
        "work",
        "delivered",
        "kept",
        "kept",
        "kept",
        "the same",
        "the same",
    ),
    "update that changes it": (*_restarted("it was upgraded")[:-3], "new", "the next", "the same"),
    "update that removes it": _ENDED,
    "reload of its subcluster": _ENDED,
    "fault below the limit": _restarted("it faulted"),
    "fault at the limit, policy suspend": _suspended("it faulted"),
    "fault at the limit, policy terminate": ("rejected: it faulted", "rejected: vat terminated", "gone", *_DEAD[1:]),
    "fault at the limit, policy panic": _restarted("the kernel was restarted"),
    "fault while it starts again": _suspended("it was restarted"),
    "end by the host program": _ENDED,
    "end of its subcluster": _ENDED,
    "end by its admin": _ENDED,
    "exit with a value": _ENDED,
    "exit with failure": _ENDED,
    "exit of a critical vat": _restarted("the kernel was restarted"),
}


class Scene:
    """A vat with something of everything, and another one that observes it from its own subcluster."""

    def __init__(self, path: Path, source: Path) -> None:
        self.path = path
        self.source = source
        self.good = source.read_text()
        self.kernel = Kernel(path, durability="process")
        self.queued: Any = None
        self.config: ClusterConfig
        self.subcluster: str
        self.vat: str

    async def set(self, operation: str, options: dict[str, Any]) -> None:
        """Launch both, and have the vat owe two answers; its counts are 1 on the heap and 1 in its store."""
        kernel = self.kernel
        vats = {"observer": VatConfig(OBSERVER), "relay": VatConfig(OBSERVER)}
        self.observer = (await kernel.launch_subcluster(ClusterConfig("observer", vats, ["vat_admin"]))).root
        loose = await E(self.observer).loose()
        self.loose = loose.kref
        root: Ref[Any]
        if operation == "end by its admin":
            root = await E(self.observer).create(str(self.source), parameters={"loose": loose})
            self.subcluster, self.vat = "s1", "v3"
        else:
            self.config = counters(self.source, parameters={"loose": loose}, **options)
            made = await kernel.launch_subcluster(
                evolve(self.config, vats={**self.config.vats, "other": VatConfig(OBSERVER)})
            )
            self.config = made.config
            root, self.subcluster, self.vat = made.root, made.id, made.vats["a"].id
        note, scrap = await E(root).get_note(), await E(root).get_scrap()
        await E(self.observer).know(root=root, note=note, scrap=scrap)
        await E(await E(self.observer).get("relay")).know(root=root)
        assert await E(root).count() == [1, 1]
        for method in ("wait", "wait_durably"):
            await E(self.observer).wait_for("root", method)
        self.note = note.kref
        self.before = kernel.get_vat(self.vat).incarnation
        self.ids = {vat.id for vat in kernel.get_vats()}
        await kernel.idle()

    @property
    def root(self) -> Any:
        return self.kernel.root(self.vat)

    def queue(self) -> None:
        """A message behind whatever is queued already."""
        self.queued = E(self.root).count()

    def queue_behind_the_next(self) -> None:
        """A message behind the item that the next operation queues."""
        scheduler: Any = self.kernel._scheduler
        submit = scheduler.submit

        def submit_both(change: Callable[[], None]) -> None:
            del scheduler.submit
            submit(change)
            self.queue()

        scheduler.submit = submit_both

    async def reopen(self, key: str | None = None) -> None:
        """The next process, with a queued message that the last one left."""
        del self.observer
        self.queued = None
        self.kernel = Kernel(self.path, durability="process")
        if key is not None:
            self.kernel.restart_all_vats(key)
        await self.kernel.__aenter__()
        self.observer = self.kernel.root("v1")

    async def leave(self) -> None:
        """End the process, with a message queued last."""
        E.send_only(self.root).count()
        await self.kernel.__aexit__(None, None, None)

    async def panic(self, method: str) -> None:
        """The vat stops the kernel; its code is mended before the next start."""
        getattr(E.send_only(self.root), method)("bye") if method == "leave" else E.send_only(self.root).break_down()
        E.send_only(self.root).count()
        with pytest.raises(CriticalVatError):
            await self.kernel.idle()
            await self.kernel.__aexit__(None, None, None)
        edit(
            self.source,
            f"async def {method}(self",
            f"async def {method}(self, *_: Any) -> None:\n        return\n\n    async def _(self",
        )
        await self.reopen()


Operation = Callable[[Scene], Awaitable[object]]


async def restart(scene: Scene) -> None:
    scene.queue()
    await scene.kernel.restart_vat(scene.vat)


async def restart_subcluster(scene: Scene) -> None:
    scene.queue()
    await scene.kernel.restart_subcluster(scene.subcluster)


async def restart_kernel(scene: Scene) -> None:
    await scene.leave()
    await scene.reopen()


async def restart_all(scene: Scene) -> None:
    await scene.leave()
    await scene.reopen("some platform")


async def suspend(scene: Scene) -> None:
    scene.queue()
    await scene.kernel.suspend_vat(scene.vat)


async def resume(scene: Scene) -> None:
    await suspend(scene)
    await scene.kernel.idle()
    await scene.kernel.resume_vat(scene.vat)


async def upgrade(scene: Scene) -> None:
    edit(scene.source, '"one"', '"two"')
    scene.queue_behind_the_next()
    await scene.kernel.upgrade_vat(scene.vat)


async def upgrade_with_parameters(scene: Scene) -> None:
    scene.queue_behind_the_next()
    await scene.kernel.upgrade_vat(scene.vat, parameters={"new": True})


async def upgrade_that_fails(scene: Scene) -> None:
    edit(scene.source, "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    scene.queue_behind_the_next()
    with pytest.raises(UpgradeError, match="no"):
        await scene.kernel.upgrade_vat(scene.vat, parameters={"new": True})


async def update_that_changes(scene: Scene) -> None:
    scene.queue_behind_the_next()
    await scene.kernel.update_subcluster(scene.subcluster, change(scene.config, "a", parameters={"new": True}))


async def update_that_removes(scene: Scene) -> None:
    scene.queue_behind_the_next()
    await scene.kernel.update_subcluster(scene.subcluster, evolve(without(scene.config, "a"), bootstrap="other"))


async def reload(scene: Scene) -> None:
    scene.queue_behind_the_next()
    await scene.kernel.reload_subcluster(scene.subcluster)


async def fault(scene: Scene) -> None:
    E.send_only(scene.root).break_down()
    scene.queue()


async def fault_at_start(scene: Scene) -> None:
    edit(scene.source, "def build_root_object", "raise RuntimeError('no')\n\n\ndef build_root_object")
    await restart(scene)
    await scene.kernel.idle()
    scene.source.write_text(scene.good)


async def panic(scene: Scene) -> None:
    await scene.panic("break_down")


async def critical_exit(scene: Scene) -> None:
    await scene.panic("leave")


async def end_by_host(scene: Scene) -> None:
    scene.queue_behind_the_next()
    await scene.kernel.terminate_vat(scene.vat, "enough")


async def end_of_subcluster(scene: Scene) -> None:
    scene.queue()
    await scene.kernel.terminate_subcluster(scene.subcluster)


async def end_by_admin(scene: Scene) -> None:
    scene.queued = E(scene.observer).end_by_admin()


async def leave(scene: Scene) -> None:
    E.send_only(scene.root).leave("bye")
    scene.queue()


async def fail(scene: Scene) -> None:
    E.send_only(scene.root).fail("no")
    scene.queue()


OPERATIONS: dict[str, tuple[Operation, dict[str, Any]]] = {
    "restart": (restart, {}),
    "restart of its subcluster": (restart_subcluster, {}),
    "restart of the kernel": (restart_kernel, {}),
    "restart of all vats": (restart_all, {}),
    "suspend": (suspend, {}),
    "resume": (resume, {}),
    "upgrade": (upgrade, {}),
    "upgrade with parameters": (upgrade_with_parameters, {}),
    "upgrade that fails": (upgrade_that_fails, {}),
    "update that changes it": (update_that_changes, {}),
    "update that removes it": (update_that_removes, {}),
    "reload of its subcluster": (reload, {}),
    "fault below the limit": (fault, {"fault_limit": 2}),
    "fault at the limit, policy suspend": (fault, {"fault_limit": 1}),
    "fault at the limit, policy terminate": (fault, {"fault_limit": 1, "on_fault": "terminate"}),
    "fault at the limit, policy panic": (panic, {"fault_limit": 1, "on_fault": "panic"}),
    "fault while it starts again": (fault_at_start, {"on_fault": "terminate"}),
    "end by the host program": (end_by_host, {}),
    "end of its subcluster": (end_of_subcluster, {}),
    "end by its admin": (end_by_admin, {}),
    "exit with a value": (leave, {}),
    "exit with failure": (fail, {}),
    "exit of a critical vat": (critical_exit, {"critical": True}),
}


async def attempt(scene: Scene, name: str) -> str:
    """What becomes of a message of the observer's to an object it keeps a reference to."""
    answer = E(scene.observer).attempt(name, "get_text" if name != "root" else "get_version")
    await scene.kernel.idle()
    if not answer.is_settled:
        return "held"
    kind, text = answer.result()
    words = {"answered": "work", "ObjectGoneError": "gone", "VatTerminatedError": str(text)}
    return words[kind]


async def both(scene: Scene) -> str:
    """Of the root and a durable object, for whoever holds them; their identity never changes."""
    assert (await E(scene.observer).get("note")).kref == scene.note
    first, second = await attempt(scene, "root"), await attempt(scene, "note")
    assert first == second
    return first


async def messages(scene: Scene, operation: str, is_alive: bool) -> tuple[str, str]:
    """What became of the queued message, and of the heap, by the two counters; a suspended vat is resumed for that."""
    await scene.kernel.idle()
    held = is_alive and scene.kernel._core.state.queue.waiting_at(scene.vat) > 0
    if held:
        assert scene.queued is None or not scene.queued.is_settled
        await scene.kernel.resume_vat(scene.vat)
    if not is_alive:
        if operation == "end by its admin":
            assert await scene.queued == ["VatTerminatedError", "vat terminated"]
        else:
            with pytest.raises(VatTerminatedError, match="vat terminated"):
                await scene.queued
        return "vat terminated", "lost"
    on_heap, total = await E(scene.root).count()
    assert total == 3  # the one before, the queued one, this one
    if on_heap == 3:
        return "delivered", "kept"
    assert on_heap == 2
    return ("held" if held else "delivered to the next incarnation"), "lost"


async def parameters(scene: Scene, is_alive: bool) -> str:
    """What the kernel keeps for the next incarnation; the fixture's `verify` sees that the references are counted."""
    rows = scene.kernel._backend.connection.execute("SELECT parameter_slots FROM vats WHERE id = ?", (scene.vat,))
    found = [row[0].split() for row in rows]
    if not is_alive:
        assert found == []
        return "released"
    kept = found == [[scene.loose]]
    given = await E(scene.root).get_parameters()
    assert ({"new"}, {"loose"})[kept] == set(given)
    return "kept" if kept else "new"


async def incarnation(scene: Scene) -> tuple[str, str]:
    kernel = scene.kernel
    try:
        row = kernel.get_vat(scene.vat)
    except VatNotFoundError:
        made = await kernel.launch_subcluster(counters(scene.source))
        assert {vat.id for vat in made.vats.values()}.isdisjoint(scene.ids)
        return "none", "never given again"
    assert row.subcluster_id == scene.subcluster
    return {scene.before: "the same", scene.before + 1: "the next"}[row.incarnation], "the same"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_cell_is_what_happens(path: Path, source: Path, operation: str) -> None:
    operate, options = OPERATIONS[operation]
    scene = Scene(path, source)
    await scene.kernel.__aenter__()
    await scene.set(operation, options)
    await operate(scene)
    await scene.kernel.idle()
    is_alive = any(vat.id == scene.vat for vat in scene.kernel.get_vats())
    heap, durable = await attempt(scene, "scrap"), await both(scene)
    queued, memory = await messages(scene, operation, is_alive)
    owed = [await E(scene.observer).fate("root", method) for method in ("wait", "wait_durably")]
    if owed[1] == "pending":
        await E(scene.root).settle("at last")
        await scene.kernel.idle()
        assert await E(scene.observer).fate("root", "wait_durably") == "answered: at last"
    stored = scene.kernel._backend.connection.execute("SELECT count(*) FROM vatstore WHERE vat = ?", (scene.vat,))
    ((rows,),) = stored.fetchall()
    vatstore = "kept" if rows else "deleted"
    given = await parameters(scene, is_alive)
    found = (*owed, heap, durable, queued, memory, vatstore, given, *await incarnation(scene))
    await scene.kernel.__aexit__(None, None, None)
    assert dict(zip(COLUMNS, TABLE[operation], strict=True)) == dict(zip(COLUMNS, found, strict=True))


def test_the_page_says_the_same() -> None:
    rows = {}
    for line in (REPOSITORY / "docs" / "reference" / "lifecycle.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name] = tuple(cells)
    assert rows.pop("operation") == COLUMNS
    assert {name: rows.get(name) for name in TABLE} == TABLE
    assert list(OPERATIONS) == list(TABLE)
