"""A vat that breaks a rule faults: its crank leaves no trace, and everyone else carries on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ocap import DisconnectedError, E, Event, Kernel
from ocap.protocol import syscalls
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.deliveries import Delivery, Message
from ocap.protocol.marshal import encode
from ocap.protocol.syscalls import Outcome, Syscall
from ocap.ring.supervisor import TaskSupervisor
from tests.ring.clusters import launch
from tests.stores import rows_of

Crime = Callable[[Message, Outcome], "list[Any]"]
"""What a vat adds to the syscalls of a crank, given the delivery and its honest outcome."""

EMPTY = CapData(encode([[], {}])[0])
NONE = CapData(encode(None)[0])


@pytest.fixture
def corrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Crime], None]:
    """Have every vat commit a crime in the crank of its message `increase`, once."""

    def with_crime(crime: Crime) -> None:
        deliver = TaskSupervisor.deliver
        done = False

        def corrupted(self: TaskSupervisor, delivery: Delivery) -> Outcome:
            nonlocal done
            outcome = deliver(self, delivery)
            if not done and isinstance(delivery, Message) and delivery.method == "increase":
                done = True
                return evolve(outcome, syscalls=(*outcome.syscalls, *crime(delivery, outcome)))
            return outcome

        monkeypatch.setattr(TaskSupervisor, "deliver", corrupted)

    return with_crime


def resolve(*vrefs: Any, data: CapData = NONE) -> Syscall:
    return syscalls.Resolve(tuple(Settlement(vref, False, data) for vref in vrefs))


def send(target: str, *, slots: tuple[str, ...] = (), result: str | None = None, method: str = "m") -> Syscall:
    return syscalls.Send(target, method, CapData(EMPTY.body, slots), result)


FORGED = [
    "o-99",
    "p-99",
    "ko1",
    "kp1",
    "o+0x",
    "o+007",
    "o-٣",
    "p+",
    "",
    "o-2 ",
    "O-2",
    "d+1",
    "o+99999999999999999999999",
    "host",
]
WITH_A_NAME: dict[str, Callable[[str], Any]] = {
    "sends to": send,
    "passes": lambda vref: send("o+0", slots=(vref,)),
    "resolves": resolve,
    "subscribes to": syscalls.Subscribe,
    "drops": lambda vref: syscalls.DropImports((vref,)),
    "retires": lambda vref: syscalls.RetireImports((vref,)),
    "retires export": lambda vref: syscalls.RetireExports((vref,)),
    "abandons": lambda vref: syscalls.AbandonExports((vref,)),
    "forwards": lambda vref: syscalls.Forward(vref, "p+77"),
    "forwards to": lambda vref: syscalls.Forward("p+77", vref),
}


def with_name(make: Callable[[str], Any], vref: str) -> Crime:
    return lambda _, __: [make(vref)]


CRIMES: dict[str, Crime] = {
    **{f"{what} {vref!r}": with_name(make, vref) for what, make in WITH_A_NAME.items() for vref in FORGED},
    "resolves what it does not decide": lambda d, o: [send("o+0", result="p+77"), resolve("p+77")],
    "resolves twice": lambda d, o: [resolve(d.result)],
    "resolves twice in one batch": lambda d, o: [send("o+0", slots=("p+77",)), resolve("p+77", "p+77")],
    "resolves an object": lambda d, o: [resolve("o+0")],
    "sends with a result it does not decide": lambda d, o: [send("o+0", result="p+77"), send("o+0", result="p+77")],
    "sends with an object as the result": lambda d, o: [send("o+0", result="o+0")],
    "forwards to an object": lambda d, o: [send("o+0", slots=("p+77",)), syscalls.Forward("p+77", "o+0")],
    "drops twice": lambda d, o: [syscalls.DropImports(("o-2",)), syscalls.DropImports(("o-2",))],
    "uses what it dropped": lambda d, o: [syscalls.DropImports(("o-2",)), send("o-2")],
    "retires what it holds": lambda d, o: [syscalls.RetireImports(("o-2",))],
    "retires its root": lambda d, o: [syscalls.RetireExports(("o+0",))],
    "sends 100 MB": lambda d, o: [syscalls.Send("o+0", "m", CapData(bytes(100_000_000)), None)],
    "sends 100 MB in parts": lambda d, o: [syscalls.Send("o+0", "m", CapData(bytes(1_000_000)), None)] * 100,
    "resolves with 100 MB": lambda d, o: [
        send("o+0", slots=("p+7",)),
        resolve("p+7", data=CapData(bytes(100_000_000))),
    ],
    "makes a million syscalls": lambda d, o: [send("o+0")] * 1_000_000,
    "passes a million references": lambda d, o: [send("o+0", slots=("o+0",) * 1_000_000)],
    "calls a method that is no name": lambda d, o: [send("o+0", method="a\nb")],
    "calls a method without a name": lambda d, o: [send("o+0", method="")],
    "calls a method with an endless name": lambda d, o: [send("o+0", method="x" * 10_000)],
    "makes an unknown syscall": lambda d, o: ["format the disk"],
}


@pytest.mark.parametrize("crime", CRIMES.values(), ids=CRIMES)
async def test_vat_that_breaks_a_rule_faults_and_leaves_no_trace(
    crime: Crime, corrupt: Callable[[Crime], None], path: Path
) -> None:
    events: list[Event] = []
    async with Kernel(path, durability="none", log=events.append) as kernel:
        _, a, b = await launch(kernel)
        await kernel.idle()
        before = rows_of(path)
        corrupt(crime)
        with pytest.raises(DisconnectedError, match=r"^vat faulted$"):  # peers learn no more
            await E(a).increase()
        await kernel.idle()
        (fault,) = [event for event in events if event.kind == "fault"]
        assert (fault.vat, bool(fault.text)) == ("v1", True)
        after = rows_of(path)
        assert len(after.pop("dead_letters")) == len(before.pop("dead_letters")) + 1
        for table in ("vatstore", "queue", "promises"):
            assert after[table] == before[table]
        # Everyone goes on, the culprit in its next incarnation too.
        assert [await E(a).increase(), await E(b).increase(), await E(b).ask("other", "increase")] == [1, 1, 2]
        assert kernel.get_vat("v1").incarnation == 1
        assert kernel.get_vat("v2").incarnation == 0


def honest(_: Message, __: Outcome) -> list[Syscall]:
    return [send("o+0", method="increase"), syscalls.DropImports(("o-2",)), syscalls.RetireImports(("o-2",))]


async def test_the_test_itself_would_see_a_crime_succeed(corrupt: Callable[[Crime], None], path: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        _, a, _ = await launch(kernel)
        await kernel.idle()
        before = rows_of(path)
        corrupt(honest)
        assert await E(a).increase() == 1
        await kernel.idle()
        assert await E(a).increase() == 3
        assert rows_of(path)["vatstore"] != before["vatstore"]


async def test_checkpoint_of_100_mb_is_a_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = TaskSupervisor.deliver

    def corrupted(self: TaskSupervisor, delivery: Delivery) -> Outcome:
        outcome = deliver(self, delivery)
        if isinstance(delivery, Message) and delivery.method == "increase":
            return evolve(outcome, checkpoint=((b"x", bytes(100_000_000)),))
        return outcome

    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        monkeypatch.setattr(TaskSupervisor, "deliver", corrupted)
        with pytest.raises(DisconnectedError):
            await E(a).increase()
        monkeypatch.undo()
        assert [await E(a).increase(), await E(b).increase()] == [1, 1]
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("method", ["flood", "send_at_once"])
async def test_vat_that_sends_100_mb_faults_and_its_crank_leaves_no_trace(method: str, path: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        await kernel.idle()
        with pytest.raises(DisconnectedError, match="vat faulted"):
            await getattr(E(a), method)(100_000_000)
        await kernel.idle()
        assert [await E(a).increase(), await E(b).increase()] == [1, 1]


async def test_vat_that_never_ends_its_crank_faults(path: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        with pytest.raises(DisconnectedError, match="vat faulted"):
            await E(a).spin()
        assert [await E(a).increase(), await E(b).increase()] == [1, 1]


async def test_vat_that_keeps_faulting_is_suspended_and_its_messages_wait(path: Path) -> None:
    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        for _ in range(3):
            with pytest.raises(DisconnectedError):
                await E(a).spin()
        waiting = E(a).increase()
        assert await E(b).increase() == 1
        await kernel.idle()
        assert kernel.get_vat("v1").state == "suspended"
        assert repr(waiting) == "<Promise pending>"


async def test_heap_of_a_faulted_vat_is_given_up(path: Path) -> None:
    """What a tainted incarnation had promised is rejected, to all who wait for it."""
    async with Kernel(path, durability="none") as kernel:
        _, a, b = await launch(kernel)
        promise = E(a).later("k")
        waiting = E(b).value_of(promise)
        await kernel.idle()
        with pytest.raises(DisconnectedError, match="vat faulted"):
            await E(a).spin()
        for one in (promise, waiting):
            with pytest.raises(DisconnectedError, match="it faulted"):
                await one


async def test_fault_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with Kernel() as kernel:
        _, a, _ = await launch(kernel)
        with pytest.raises(DisconnectedError):
            await E(a).spin()
    assert "vat v1 faulted in crank" in caplog.text
    assert "turns in one crank" in caplog.text
