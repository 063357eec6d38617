"""A vat that breaks a rule hurts itself only: its crank leaves no trace, everyone else carries on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocap.kernel.vat import MAX_CRANK_BYTES, MAX_SYSCALLS
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.marshal import MAX_BODY, MAX_SLOTS
from ocap.protocol.refs import VatId
from tests.kernel.puppet import World, args, data, rejection, resolve, send

FORGED = {
    "nothing": "",
    "one letter": "o",
    "a kref": "ko1",
    "a promise's kref": "kp1",
    "a vat": "v1",
    "an import it does not hold": "o-999",
    "a promise it does not hold": "p-999",
    "another vat's number": "o-2",
    "a negative number": "o+-1",
    "a leading zero": "o+01",
    "digits that are not ASCII": "o+٣",
    "nineteen digits": "o+" + "9" * 19,
    "a megabyte": "o+" + "9" * 1_000_000,
    "half a surrogate pair": "o+\ud800",
    "a space": "o+1 o+2",
    "a durable import": "o-d1/2",
    "a durable promise": "p+d1/2",
    "a line feed": "o+1\n",
}

CALLS: dict[str, Callable[[str, str], syscalls.Syscall]] = {
    "send to": lambda v, _: send(v),
    "send as argument": lambda v, _: send("o+0", slots=("o+5", v)),
    "send with result": lambda v, _: send("o+0", result=v),
    "resolve": lambda v, _: resolve((v, data())),
    "resolve with": lambda v, asked: resolve((asked, data(slots=(v,)))),
    "subscribe": lambda v, _: syscalls.Subscribe(v),
    "forward": lambda v, _: syscalls.Forward(v, "p+1"),
    "forward to": lambda v, asked: syscalls.Forward(asked, v),
    "drop": lambda v, _: syscalls.DropImports((v,)),
    "retire import": lambda v, _: syscalls.RetireImports((v,)),
    "retire export": lambda v, _: syscalls.RetireExports((v,)),
    "abandon": lambda v, _: syscalls.AbandonExports((v,)),
    "exit with": lambda v, _: syscalls.Exit(False, data(slots=(v,))),
}
"""A forged vref, and a promise the vat decides, to a syscall that uses them."""

Rows = dict[str, list[tuple[Any, ...]]]


def commit_crime(world: World, *calls: syscalls.Syscall, **more: Any) -> tuple[Rows, Rows]:
    """The store before the message on whose occasion b breaks a rule, and after.

    The crime comes after legal syscalls of each kind, which must leave no trace either.
    """
    target = world.host_ref(world.vats["b"])
    legal = (
        send("o+0", "legal", "p+77", slots=("o+8", "p+78")),
        resolve(("p+78", data(1, slots=("o+9",)))),
        syscalls.Subscribe("p+80"),
    )
    before = world.rows()
    world.host(syscalls.Send(target, "crime", args()))
    crank = world.core.next_crank()
    assert crank is not None
    world.core.finish(crank, syscalls.Outcome((*legal, *calls), **more))
    return before, world.rows()


def fresh() -> World:
    """A and b know each other; b was asked by c and has not answered."""
    world = World("abc")
    world.run()
    world.introduce("a", "o+5", "b")
    world.do("c", send(world.import_root("c", "b"), "ask", "p+1"))
    return world


@pytest.mark.parametrize("call", CALLS)
def test_a_forged_name_is_a_fault_and_leaves_no_trace(call: Any) -> None:
    """Of the store only what the fault itself is made of differs.

    That is the item, gone to the dead letters; the counters; the vat, disconnected.
    """
    for forged in FORGED.values():
        world = fresh()
        before, after = commit_crime(world, CALLS[call](forged, world.asked("b")))
        changed = {table for table in before if before[table] != after[table]}
        assert {"counters", "vats", "dead_letters"} <= changed, (call, forged)
        # The root's count (for the dead letter); c's question answered, and c to be told; b's entries of promises.
        assert changed <= {"counters", "vats", "dead_letters", "objects", "promises", "subscribers", "clist", "queue"}
        b = world.vats["b"]
        assert [row for row in before["clist"] if row[1].startswith("ko")] == [
            row for row in after["clist"] if row[1].startswith("ko")
        ]
        assert not [row for row in after["clist"] if row[0] == b and row[1].startswith("kp")]
        assert [row[:2] for row in before["objects"]] == [row[:2] for row in after["objects"]]
        assert [row[0] for row in before["promises"]] == [row[0] for row in after["promises"]]
        ((_, _, kind, *_),) = after["queue"]
        assert "notify" == kind
        assert isinstance(rejection(world.run(), "c", "p+1"), ConnectionError)


CRIMES: dict[str, tuple[Any, ...]] = {
    "too many syscalls": (send("o+0"),) * (MAX_SYSCALLS + 1),
    "a body too large": (send("o+0"), syscalls.Send("o+0", "m", CapData(bytes(MAX_BODY + 1)))),
    "too many references": (syscalls.Send("o+0", "m", CapData(b"\xf6", ("o+1",) * (MAX_SLOTS + 1))),),
    "too many bytes": (syscalls.Send("o+0", "m", CapData(bytes(MAX_BODY))),) * (MAX_CRANK_BYTES // MAX_BODY + 1),
    "no syscall": (deliveries.BringOutYourDead(),),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_over_a_limit_is_a_fault(crime: Any) -> None:
    world = fresh()
    before, after = commit_crime(world, *CRIMES[crime])
    assert 1 == len(after["dead_letters"])
    assert [row[:2] for row in before["objects"]] == [row[:2] for row in after["objects"]]


def test_a_checkpoint_over_the_limit_is_a_fault_and_none_of_it_is_written() -> None:
    world = fresh()
    checkpoint = ((b"small", b"x"), (b"large", bytes(MAX_CRANK_BYTES)))
    _, after = commit_crime(world, checkpoint=checkpoint)
    assert [] == after["vatstore"]
    assert 1 == len(after["dead_letters"])


def test_the_next_message_finds_a_new_incarnation_and_works() -> None:
    world = fresh()
    world.do("b", send("o-999"))
    seen = world.do("a", send(world.import_root("a", "b"), "hello"))
    assert [deliveries.StartVat, deliveries.Message] == [type(d) for _, d in seen]
    assert 1 == seen[0][1].incarnation


def test_others_in_the_queue_are_not_touched() -> None:
    world = fresh()
    for name in "ac":
        world.host(syscalls.Send(world.host_ref(world.vats[name]), "before", args()))
    world.on("b", lambda _: [send("o-999")])
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "crime", args()))
    world.host(syscalls.Send(world.host_ref(world.vats["a"]), "after", args()))
    seen = world.run()
    assert [("a", "before"), ("c", "before"), ("b", "crime"), ("a", "after")] == [
        (name, d.method) for name, d in seen if isinstance(d, deliveries.Message)
    ]


def test_the_dead_letter_says_what_and_why() -> None:
    world = fresh()
    world.do("b", send("o-999"))
    ((_, _, vat, target, method, _, _, reason),) = world.rows()["dead_letters"]
    assert (world.vats["b"], world.core.state.vats[VatId(world.vats["b"])].root, "poke") == (vat, target, method)
    assert "o-999" in reason
