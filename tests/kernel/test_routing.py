"""Where messages go: routing happens at delivery, and each end of the road has its error."""

from __future__ import annotations

import pytest

from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import ObjectGoneError, VatTerminatedError
from tests.kernel.puppet import World, args, data, messages, reference, rejection, resolve, send, told


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def test_an_unknown_object_gets_a_fresh_import(world: World) -> None:
    first = world.introduce("a", "o+5", "b")
    assert first.startswith("o-")
    assert first != world.introduce("a", "o+6", "b")


def test_the_same_object_twice_is_the_same_import(world: World) -> None:
    assert world.introduce("a", "o+5", "b") == world.introduce("a", "o+5", "b")


def test_an_object_echoed_home_has_its_own_name(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    seen = world.do("b", send(world.import_root("b", "a"), "echo", slots=(there,)))
    assert [("a", deliveries.Message("o+0", "echo", args(slots=("o+5",))))] == seen


def test_a_third_party_talks_straight_to_the_owner(world: World) -> None:
    to_b = world.introduce("b", "o+7", "a")
    to_c = world.introduce("a", to_b, "c")
    assert [("b", deliveries.Message("o+7", "hello", args()))] == world.do("c", send(to_c, "hello"))


def test_the_argument_and_the_target_may_be_one_object(world: World) -> None:
    there = world.introduce("a", "o+5", "b")
    seen = world.do("b", send(there, "meet", slots=(there, there)))
    assert [("a", deliveries.Message("o+5", "meet", args(slots=("o+5", "o+5"))))] == seen


def test_a_message_to_self_comes_back_under_the_own_name(world: World) -> None:
    seen = world.do("a", send("o+5", "self", slots=("o+6",)))
    assert ("a", deliveries.Message("o+5", "self", args(slots=("o+6",)))) == seen[0]
    # Nobody else ever held them: the vat is told so, and they are gone.
    assert [deliveries.DropExports, deliveries.RetireExports] == [type(d) for _, d in seen[1:]]
    assert None is world.kref("a", "o+5") is world.kref("a", "o+6")


def test_sends_arrive_in_the_order_they_were_made(world: World) -> None:
    root = world.import_root("a", "b")
    assert [("b", f"m{n}") for n in range(9)] == messages(world.do("a", *(send(root, f"m{n}") for n in range(9))))


class TestPipelining:
    """Messages to promises: parked until it settles, then sent on in order."""

    def test_parked_messages_keep_their_order_when_it_settles_to_an_object(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "first"), send("p+1", "second"))
        seen = world.do("b", resolve((world.asked("b"), reference("o+5"))))
        assert [("b", "first"), ("b", "second")] == messages(seen)

    def test_parked_messages_follow_to_an_object_of_a_third_vat(self, world: World) -> None:
        to_c = world.introduce("c", "o+9", "b")
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "first"), send("p+1", "second"))
        seen = world.do("b", resolve((world.asked("b"), reference(to_c))))
        assert [("c", "first"), ("c", "second")] == messages(seen)

    def test_messages_sent_after_do_not_overtake_those_parked_before(self, world: World) -> None:
        """m1 waits at the promise when m2, sent after it, is still in the run queue."""
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"))
        asked = world.asked("b")
        world.on("b", lambda d: [resolve((asked, reference("o+5")))] if getattr(d, "method", "") == "now" else [])
        seen = world.do("a", send("p+1", "m1"), send(root, "now"), send("p+1", "m2"), send("p+1", "m3"))
        assert [("b", "now"), ("b", "m1"), ("b", "m2"), ("b", "m3")] == messages(seen)

    def test_a_promise_settled_to_data_has_no_messages(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "frobnicate", "p+2"))
        seen = world.do("b", resolve((world.asked("b"), data(17))))
        error = rejection(seen, "a", "p+2")
        assert isinstance(error, TypeError)
        assert "frobnicate" in str(error)

    def test_a_reference_inside_of_data_is_no_object(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "frobnicate", "p+2"))
        seen = world.do("b", resolve((world.asked("b"), data([1], slots=("o+5",)))))
        assert "frobnicate" in str(rejection(seen, "a", "p+2"))

    def test_a_body_that_calls_a_promise_an_object_is_not_followed(self, world: World) -> None:
        """Only a hostile worker can make one. It must not send the router in circles."""
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "m", "p+2"))
        lie = CapData(reference("o").body, (world.asked("b"),))
        seen = world.do("b", resolve((world.asked("b"), lie)))
        assert isinstance(rejection(seen, "a", "p+2"), TypeError)
        world.backend._db.execute("UPDATE promises SET body = x'f6' WHERE body IS NOT NULL")  # V14 says so too

    def test_a_rejected_promise_rejects_what_was_sent_to_it_with_the_same_data(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"), send("p+1", "m", "p+2"))
        error = data(ValueError("no"), slots=("o+5",))
        seen = world.do("b", resolve((world.asked("b"), error), rejected=True))
        first, second = told(seen, "a")
        assert ["p+1", "p+2"] == [first.promise, second.promise]
        assert first.data == second.data
        assert first.data.body == error.body

    def test_what_was_sent_to_a_chain_of_answers_arrives(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.on("b", lambda d: [resolve((d.result, reference("o+5")))] if getattr(d, "result", None) else [])
        chain = [send(root, "m0", "p+1"), *(send(f"p+{n}", f"m{n}", f"p+{n + 1}") for n in range(1, 10))]
        assert [("b", f"m{n}") for n in range(10)] == messages(world.do("a", *chain))

    def test_the_result_may_be_among_the_arguments(self, world: World) -> None:
        root = world.import_root("a", "b")
        seen = world.do("a", send(root, "m", "p+1", slots=("p+1",)))
        ((_, message),) = seen
        assert message.result == message.args.slots[0]
        assert [deliveries.Notify] == [type(d) for _, d in world.do("b", resolve((message.result, data(1))))]

    def test_a_delivered_result_may_be_passed_on_as_the_result_of_another_send(self, world: World) -> None:
        root = world.import_root("a", "b")
        world.do("a", send(root, "get", "p+1"))
        to_c = world.import_root("b", "c")
        seen = world.do("b", send(to_c, "get", world.asked("b")))
        ((_, message),) = seen
        seen = world.do("c", resolve((message.result, data("from c"))))
        assert {"a", "b"} == {name for name, d in seen if isinstance(d, deliveries.Notify)}

    def test_a_promise_resolved_before_the_message_that_brings_it_is_told_once(self, world: World) -> None:
        root = world.import_root("a", "b")
        seen = world.do("a", send(root, "m", slots=("p+1",)), resolve(("p+1", data(1))))
        assert [deliveries.Message, deliveries.Notify] == [type(d) for _, d in seen]


class TestTheGone:
    def test_a_message_to_an_object_of_a_dead_vat_is_rejected(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        row = world.core.state.vats[world.vats["b"]]
        world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
        seen = world.do("a", send(there, "m", "p+1"))
        assert isinstance(rejection(seen, "a", "p+1"), ConnectionError)

    def test_before_the_cleanup_the_error_is_the_same(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        row = world.core.state.vats[world.vats["b"]]
        root = world.import_root("a", "b")
        world.on(
            "a", lambda d: [send(there, "m", "p+1"), send(root, "m", "p+2")] if getattr(d, "method", "") == "go" else []
        )
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        world.step()
        world.core.between_cranks(lambda: world.core.lifecycle.terminate(row, "for the test"))
        for _ in range(2):  # before `clean_up` had its turn
            world.core._queue_crank()
        seen = world.run()
        for vref in ("p+1", "p+2"):
            assert isinstance(rejection(seen, "a", vref), VatTerminatedError)

    def test_an_abandoned_object_says_so_and_keeps_its_identity(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        world.do("b", syscalls.AbandonExports(("o+5",)))
        seen = world.do("a", send(there, "m", "p+1"))
        assert isinstance(rejection(seen, "a", "p+1"), ObjectGoneError)
        assert there == world.vref("a", world.kref("a", there))

    def test_an_abandoned_object_passed_back_to_its_vat_is_an_import(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        world.do("b", syscalls.AbandonExports(("o+5",)))
        seen = world.do("a", send(world.import_root("a", "b"), "m", slots=(there,)))
        assert seen[0][1].args.slots[0].startswith("o-")

    def test_an_undeliverable_message_without_a_result_is_dropped_quietly(self, world: World) -> None:
        there = world.introduce("b", "o+5", "a")
        world.do("b", syscalls.AbandonExports(("o+5",)))
        assert [] == messages(world.do("a", send(there, "m", slots=("o+3",))))


def test_the_method_of_a_message_is_text_fit_for_a_log(world: World) -> None:
    root = world.import_root("a", "b")
    for method in ("", "\ud800", "a\nb", "\x00", "m" * 1001):
        world.do("a", send(root, method))
        world.core.lifecycle.resume(world.core.state.vats[world.vats["a"]])
    assert 5 == len(world.faults())
    assert [deliveries.Message] == [type(d) for _, d in world.do("c", send(world.import_root("c", "b"), "café"))]
