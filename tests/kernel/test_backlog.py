"""Bounds on what waits: who sends beyond them is told who is behind, and nothing is dropped unsaid."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.kernel import backlog
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import BacklogError
from tests.kernel.puppet import World, data, messages, reference, rejection, resolve, send


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_ITEMS", 10)
    monkeypatch.setattr(backlog, "MAX_BYTES", 5000)


def ready(names: str = "ab") -> tuple[World, str]:
    """Vats at rest, and the first one's vref for the second's root."""
    world = World(names)
    world.run()
    return world, world.import_root("a", "b")


def test_a_sender_beyond_the_bound_is_told_which_vat_is_behind() -> None:
    world, b = ready()
    seen = world.do("a", *[send(b, "m", f"p+{n}") for n in range(15)])
    assert 10 == len([name for name, _ in messages(seen) if name == "b"])
    for number in range(10, 15):
        error = rejection(seen, "a", f"p+{number}")
        assert isinstance(error, BacklogError)
        assert "10 items wait to be delivered, 10 of them to b (v2, live), which is behind" == str(error)


def test_one_that_wants_no_answer_is_not_dropped_unsaid() -> None:
    """Its crank is undone, and its message is a dead letter, to be sent again."""
    world, b = ready()
    seen = world.do("a", *[send(b) for _ in range(15)])
    assert [] == messages(seen)
    reason = "10 items wait to be delivered, 10 of them to b (v2, live), which is behind"
    assert [f"sent m, which cannot be queued: {reason}"] == world.faults()
    assert 1 == world.count()["dead_letters"]


def test_bytes_count_as_well() -> None:
    world, b = ready()
    large = syscalls.Send(b, "m", data([[bytes(3000)], {}]), "p+1")
    seen = world.do("a", large, syscalls.Send(b, "m", large.args, "p+2"), send(b, "m", "p+3"))
    assert 2 == len([name for name, _ in messages(seen) if name == "b"])
    assert isinstance(rejection(seen, "a", "p+3"), BacklogError)


def test_a_suspended_vat_holds_so_many_messages_and_no_more() -> None:
    world, b = ready()
    vat = world.vats["b"]
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.core.state.vats[vat], "for the test"))
    for number in range(12):
        seen = world.do("a", send(b, "m", f"p+{number}"))
        if number >= 10:
            expected = f"10 messages wait for b ({vat}, suspended), which is behind"
            assert expected == str(rejection(seen, "a", f"p+{number}"))
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[vat]))
    assert 10 == len([name for name, _ in messages(world.run()) if name == "b"])


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_what_no_answer_is_wanted_of_waits_or_its_sender_faults(at_once: int) -> None:
    """None is dropped: those of a crank all wait, or the crank is undone."""
    world, b = ready()
    vat = world.vats["b"]
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.core.state.vats[vat], "for the test"))
    sent = 0
    while not world.faults():
        world.do("a", *[send(b) for _ in range(at_once)])
        sent += at_once
    sent -= at_once
    assert 10 - at_once < sent <= 10
    (fault,) = world.faults()
    assert f"messages wait for b ({vat}, suspended), which is behind" in fault
    assert 1 == world.count()["dead_letters"]
    world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[vat]))
    assert sent == len([name for name, _ in messages(world.run()) if name == "b"])


def test_what_waits_at_two_promises_goes_on_together_when_one_follows_the_other() -> None:
    world, b = ready()
    world.do("a", send(b, "decide", "p+50"), send(b, "decide", "p+51"))
    one, other = [it.result for _, it in world.seen if isinstance(it, deliveries.Message) and it.method == "decide"]
    for promise in ("p+50", "p+51"):
        world.do("a", *[send(promise) for _ in range(8)])
    assert one is not None
    assert other is not None
    world.do("b", syscalls.Forward(one, other))
    seen = world.do("b", resolve((other, reference("o+0"))))
    assert 16 == len([name for name, _ in messages(seen) if name == "b"])
    assert [] == world.faults()


def test_so_does_a_promise_and_its_decider_is_behind() -> None:
    world, b = ready()
    world.do("a", send(b, "decide", "p+50"))
    for number in range(12):
        seen = world.do("a", send("p+50", "m", f"p+{number}"))
        if number >= 10:
            assert "messages wait for b (v2, live), which is behind" in str(rejection(seen, "a", f"p+{number}"))


def test_the_bound_holds_over_a_restart_and_an_undone_crank() -> None:
    world, b = ready()
    vat = world.vats["b"]
    world.core.between_cranks(lambda: world.core.lifecycle.suspend(world.core.state.vats[vat], "for the test"))
    for number in range(10):
        world.do("a", send(b, "m", f"p+{number}"))
    weight = world.core.state.queue.weight_at(vat)
    world.restart()
    assert weight == world.core.state.queue.weight_at(vat)

    def crime(delivery: Any) -> Any:
        return [send("o+0"), send("o-999")] if isinstance(delivery, deliveries.Message) else []

    world.on("a", crime)
    world.host(syscalls.Send(world.host_ref(world.vats["a"]), "go", data([[], {}])))
    world.run()
    assert 1 == len(world.faults())
    assert (0, weight) == (world.core.state.queue.weight, world.core.state.queue.weight_at(vat))


def test_host_input_has_its_turn_while_two_vats_talk_for_ever() -> None:
    world, b = ready()
    a = world.import_root("b", "a")

    def talk(peer: str) -> Any:
        return lambda d: [send(peer, "talk")] if isinstance(d, deliveries.Message) and d.method == "talk" else []

    world.on("a", talk(b))
    world.on("b", talk(a))
    world.host(syscalls.Send(world.host_ref(world.vats["a"]), "talk", data([[], {}])))
    for _ in range(50):
        world.step()
    world.host(syscalls.Send(world.host_ref(world.vats["b"]), "host", data([[], {}])))
    for _ in range(3):
        world.step()
    assert ("b", "host") in messages(world.seen)
    world.on("a", lambda _: [])
    world.run()
