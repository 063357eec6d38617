"""Revoked objects: nobody's reference works any more, identity and counting go on."""

from __future__ import annotations

import pytest

from ocap.kernel.core import REVOKED
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import ObjectGoneError, RevokedError
from ocap.protocol.refs import Kref
from tests.kernel.puppet import World, args, messages, reference, rejection, resolve, send


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def revoke(world: World, kref: Kref) -> None:
    objects = world.core.state.objects

    def change() -> None:
        objects.edit(kref, objects[kref]).gone = REVOKED

    world.core.between_cranks(change)


def test_messages_to_it_reject_whoever_sends_them(world: World) -> None:
    in_a, in_b = world.introduce("c", "o+5", "a"), world.introduce("c", "o+5", "b")
    revoke(world, world.kref("c", "o+5"))
    for name, vref in (("a", in_a), ("b", in_b), ("c", "o+5")):
        error = rejection(world.do(name, send(vref, "m", "p+9")), name, "p+9")
        assert (RevokedError, "the object is gone: it was revoked") == (type(error), str(error))


def test_a_message_on_its_way_rejects_too(world: World) -> None:
    there = world.introduce("c", "o+5", "a")
    world.on("a", lambda d: [send(there, "m", "p+1")] if messages([("", d)]) else [])
    world.host(send(world.host_ref(world.vats["a"]), "go"))
    world.step()
    revoke(world, world.kref("c", "o+5"))
    assert isinstance(rejection(world.run(), "a", "p+1"), RevokedError)


def test_a_message_to_a_promise_for_it_rejects(world: World) -> None:
    promise = world.introduce("a", "p+1", "b")
    world.do("b", send(promise, "m", "p+5"))
    revoke(world, world.kref("c", "o+0"))
    root = world.import_root("a", "c")
    assert isinstance(rejection(world.do("a", resolve(("p+1", reference(root)))), "b", "p+5"), RevokedError)


def test_it_passes_on_as_any_other(world: World) -> None:
    there = world.introduce("c", "o+5", "a")
    revoke(world, world.kref("c", "o+5"))
    in_b = world.introduce("a", there, "b")
    assert world.kref("b", in_b) == world.kref("c", "o+5")
    seen = world.do("b", send(world.import_root("b", "c"), "m", slots=(in_b,)))
    assert [("c", deliveries.Message("o+0", "m", args(slots=("o+5",))))] == [it for it in seen if it[0] == "c"]


def test_its_vat_still_has_it_and_nobody_else_is_hurt(world: World) -> None:
    there, other = world.introduce("c", "o+5", "a"), world.introduce("c", "o+6", "a")
    revoke(world, world.kref("c", "o+5"))
    seen = world.do("a", send(there, "m"), send(other, "m"))
    assert [("c", deliveries.Message("o+6", "m", args()))] == seen


def test_it_is_collected_as_any_other(world: World) -> None:
    there = world.introduce("c", "o+5", "a")
    kref = world.kref("c", "o+5")
    revoke(world, kref)
    seen = world.do("a", syscalls.DropImports((there,)), syscalls.RetireImports((there,)))
    assert [("c", deliveries.DropExports(("o+5",))), ("c", deliveries.RetireExports(("o+5",)))] == seen
    assert kref not in [row[0] for row in world.rows()["objects"]]


@pytest.mark.parametrize("death", ["restart", "terminate", "abandon"])
def test_one_that_loses_its_owner_later_stays_revoked(world: World, death: str) -> None:
    there = world.introduce("c", "o+5", "a")
    revoke(world, world.kref("c", "o+5"))
    if death == "restart":
        world.core.between_cranks(lambda: world.core.end(world.vats["c"], "it was restarted"))
    elif death == "terminate":
        world.core.between_cranks(lambda: world.core.lifecycle.terminate(world.row("c"), "for the test"))
        world.run()
    else:
        world.do("c", syscalls.AbandonExports(("o+5",)))
    assert isinstance(rejection(world.do("a", send(there, "m", "p+9")), "a", "p+9"), RevokedError)


def test_one_that_lost_its_owner_before_stays_gone_for_that_reason(world: World) -> None:
    there = world.introduce("c", "o+5", "a")
    world.do("c", syscalls.AbandonExports(("o+5",)))
    error = rejection(world.do("a", send(there, "m", "p+9")), "a", "p+9")
    assert (ObjectGoneError, "the object is gone: its vat gave it up") == (type(error), str(error))


def test_it_is_for_good(world: World) -> None:
    there = world.introduce("c", "o+d1/5", "a")
    revoke(world, world.kref("c", "o+d1/5"))
    for _ in range(2):
        world.restart()
        assert isinstance(rejection(world.do("a", send(there, "m", "p+9")), "a", "p+9"), RevokedError)
    world.do("c", send(world.import_root("c", "a"), "again", slots=("o+d1/5",)))
    assert isinstance(rejection(world.do("a", send(there, "m", "p+8")), "a", "p+8"), RevokedError)
