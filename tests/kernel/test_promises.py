"""The life of promises: who decides, who follows, who is told, and that each is told once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ocap.protocol import deliveries, syscalls
from tests.kernel.puppet import World, data, messages, reference, rejection, resolve, send, told, value_of


@pytest.fixture
def world() -> World:
    world = World("abc")
    world.run()
    return world


def ask(world: World, result: str = "p+1", *more: syscalls.Syscall) -> str:
    """A asks b for something; the promise b decides then."""
    world.do("a", send(world.import_root("a", "b"), "get", result), *more)
    return world.asked("b")


def faulty(world: World, name: str, *calls: syscalls.Syscall) -> str:
    """What the vat's fault was."""
    before = len(world.faults())
    world.do(name, *calls)
    (text,) = world.faults()[before:]
    return text


class TestDecider:
    def test_the_receiver_of_a_message_decides_its_result(self, world: World) -> None:
        seen = world.do("b", resolve((ask(world), data("x"))))
        assert ["x"] == [value_of(s.data) for s in told(seen, "a")]

    def test_the_sender_does_not_decide_it_any_more(self, world: World) -> None:
        ask(world)
        assert "which it does not decide" in faulty(world, "a", resolve(("p+1", data())))

    def test_nobody_decides_it_while_it_is_on_its_way(self, world: World) -> None:
        root = world.import_root("a", "b")
        assert "does not decide" in faulty(world, "a", send(root, "m", "p+1"), resolve(("p+1", data())))

    def test_whoever_was_only_shown_a_promise_does_not_decide_it(self, world: World) -> None:
        ask(world)
        for call in (
            lambda p: resolve((p, data())),
            lambda p: syscalls.Forward(p, "p+9"),
            lambda p: send("o+0", "m", p),
        ):
            there = world.introduce("a", "p+1", "c")
            assert "does not decide" in faulty(world, "c", call(there))
            world.core.between_cranks(lambda: world.core.lifecycle.resume(world.core.state.vats[world.vats["c"]]))

    def test_an_exported_promise_is_decided_by_its_vat(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        seen = world.do("a", resolve(("p+1", data(7))))
        assert [(there, 7)] == [(s.promise, value_of(s.data)) for s in told(seen, "b")]

    def test_resolving_twice_is_a_fault_at_once_and_later(self, world: World) -> None:
        asked = ask(world)
        assert "does not hold" in faulty(world, "b", resolve((asked, data(1)), (asked, data(2))))
        world.do("a", send(world.import_root("a", "b"), "get", "p+2"))
        world.do("b", resolve((world.asked("b"), data(1))))
        assert "does not hold" in faulty(world, "b", resolve((world.asked("b"), data(2))))

    def test_a_batch_with_one_bad_settlement_settles_nothing(self, world: World) -> None:
        asked = ask(world)
        faulty(world, "b", resolve((asked, data(1)), ("p-99", data(2))))
        assert isinstance(rejection(world.seen, "a", "p+1"), ConnectionError)

    def test_a_resolved_promise_has_left_the_clist(self, world: World) -> None:
        asked = ask(world)
        world.do("b", resolve((asked, data())))
        assert world.kref("a", "p+1") is world.kref("b", asked) is None

    def test_the_sender_of_a_message_to_itself_decides_its_own_result(self, world: World) -> None:
        world.do("a", send("o+0", "self", "p+5"))
        assert "p+5" == world.asked("a")
        seen = world.do("a", resolve(("p+5", data(1))))
        assert [] == told(seen, "a")  # it knows
        assert None is world.kref("a", "p+5")

    def test_a_result_sent_to_itself_and_shown_to_others_reaches_them(self, world: World) -> None:
        world.do("a", send("o+0", "self", "p+5"), send(world.import_root("a", "b"), "look", slots=("p+5",)))
        seen = world.do("a", resolve(("p+5", data("done"))))
        assert ["done"] == [value_of(s.data) for s in told(seen, "b")]


class TestForward:
    def test_a_follower_settles_as_the_other_does(self, world: World) -> None:
        asked = ask(world)
        world.do("b", syscalls.Forward(asked, "p+1"))
        assert [] == told(world.seen, "a")
        seen = world.do("b", resolve(("p+1", data("late"))))
        assert ["late"] == [value_of(s.data) for s in told(seen, "a")]

    def test_a_follower_rejects_as_the_other_does(self, world: World) -> None:
        asked = ask(world)
        world.do("b", syscalls.Forward(asked, "p+1"))
        seen = world.do("b", resolve(("p+1", data(ValueError("no"))), rejected=True))
        assert isinstance(rejection(seen, "a", "p+1"), ValueError)

    def test_following_a_promise_of_a_third_vat_survives_the_death_of_the_middle(self, world: World) -> None:
        asked = ask(world)
        world.do("b", send(world.import_root("b", "c"), "get", "p+1"), syscalls.Forward(asked, "p+1"))
        world.do("b", syscalls.Exit(False, data()))
        seen = world.do("c", resolve((world.asked("c"), data("from c"))))
        assert ["from c"] == [value_of(s.data) for s in told(seen, "a")]

    def test_forwarding_to_a_settled_promise_settles_at_once(self, world: World) -> None:
        asked = ask(world)
        there = world.introduce("a", "p+7", "b")  # not told yet when it forwards, in one crank
        world.on("c", lambda _: ())
        world.do("a", resolve(("p+7", data("soon"))), send(world.import_root("a", "c"), "x"))
        assert None is world.kref("b", there)
        world.do("b", resolve((asked, data("other"))))
        assert ["other"] == [value_of(s.data) for s in told(world.seen, "a")]

    def test_forwarding_to_what_settled_meanwhile_settles_at_once(self, world: World) -> None:
        asked, there = ask(world), world.introduce("a", "p+7", "b")
        world.on("b", lambda d: [syscalls.Forward(asked, there)] if getattr(d, "method", "") == "now" else [])
        seen = world.do("a", send(world.import_root("a", "b"), "now"), resolve(("p+7", data("soon"))))
        assert ["soon"] == [value_of(s.data) for s in told(seen, "a")]

    def test_messages_parked_on_a_follower_go_where_the_other_goes(self, world: World) -> None:
        asked = ask(world, "p+1", send("p+1", "m1"), send("p+1", "m2"))
        world.do("b", syscalls.Forward(asked, "p+1"))
        world.do("a", send("p+1", "m3"))
        seen = world.do("b", resolve(("p+1", reference("o+5"))))
        assert [("b", "m1"), ("b", "m2"), ("b", "m3")] == messages(seen)

    def test_a_forwarded_promise_cannot_be_settled_or_forwarded_again(self, world: World) -> None:
        asked = ask(world)
        world.do("b", syscalls.Forward(asked, "p+1"))
        assert "does not hold" in faulty(world, "b", resolve((asked, data())))
        assert "does not hold" in faulty(world, "b", syscalls.Forward(asked, "p+2"))

    def test_an_object_cannot_be_followed(self, world: World) -> None:
        asked = ask(world)
        assert "an object, as a promise" in faulty(world, "b", syscalls.Forward(asked, "o+5"))

    def test_a_promise_that_follows_itself_is_rejected(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        assert isinstance(rejection(world.do("a", syscalls.Forward("p+1", "p+1")), "b", there), TypeError)

    @pytest.mark.parametrize("half", [1, 2, 5, 500])
    def test_a_cycle_is_rejected_all_around_and_collected(self, world: World, half: int) -> None:
        """Each vat forwards its own to the other's: neither names a promise that has left its clist."""
        own = [f"p+{n}" for n in range(1, half + 1)]
        world.do("a", send(world.import_root("a", "b"), "look", slots=tuple(own)))
        of_a = world.seen[-1][1].args.slots
        world.do("b", send(world.import_root("b", "a"), "look", slots=tuple(own)))
        of_b = world.seen[-1][1].args.slots
        world.do("a", *(syscalls.Forward(mine, theirs) for mine, theirs in zip(own, of_b, strict=True)))
        assert [] == told(world.seen, "a")
        around = (*of_a[1:], of_a[0])
        seen = world.do("b", *(syscalls.Forward(mine, theirs) for mine, theirs in zip(own, around, strict=True)))
        for name, imports in (("a", of_b), ("b", of_a)):
            assert sorted(imports) == sorted(s.promise for s in told(seen, name))
            assert {TypeError} == {type(value_of(s.data)) for s in told(seen, name)}
        assert 1 == world.count()["promises"]  # the launch's

    def test_a_promise_left_by_forwarding_is_another_when_named_again(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        world.do("a", syscalls.Forward("p+1", "p+2"), syscalls.Forward("p+2", "p+1"))
        assert [] == told(world.seen, "b")
        assert [(there, 1)] == [
            (s.promise, value_of(s.data)) for s in told(world.do("a", resolve(("p+1", data(1)))), "b")
        ]

    def test_a_chain_of_a_thousand_settles_as_one(self, world: World) -> None:
        chain = [f"p+{n}" for n in range(1, 1001)]
        world.do("a", send(world.import_root("a", "b"), "look", slots=tuple(chain)))
        world.do("a", *(syscalls.Forward(p, q) for p, q in pairwise(chain)))
        seen = world.do("a", resolve((chain[-1], data("x"))))
        assert ["x"] * 1000 == [value_of(s.data) for s in told(seen, "b")]

    def test_a_follower_that_nobody_holds_goes_and_leaves_no_subscription(self, world: World) -> None:
        asked = ask(world)
        world.do("b", send(world.import_root("b", "c"), "get", "p+1"), syscalls.Forward(asked, "p+1"))
        world.do("a", syscalls.Exit(False, data()))
        world.run()
        assert 1 == len(world.rows()["subscribers"])  # b, to what c decides
        world.do("c", resolve((world.asked("c"), data())))
        assert [] == world.rows()["subscribers"]


class TestNotify:
    def test_what_settled_together_is_told_together(self, world: World) -> None:
        for vref in ("p+1", "p+2", "p+3"):
            world.introduce("a", vref, "b")
        seen = world.do(
            "a", resolve(("p+1", data(0, slots=("p+2",))), ("p+2", data(0, slots=("p+3",))), ("p+3", data(0)))
        )
        (batch,) = [d for _, d in seen if isinstance(d, deliveries.Notify)]
        assert 3 == len(batch.settlements)

    def test_a_cycle_through_data_is_told_once_and_collected(self, world: World) -> None:
        for vref in ("p+1", "p+2"):
            world.introduce("a", vref, "b")
        seen = world.do("a", resolve(("p+1", data(0, slots=("p+2",))), ("p+2", data(0, slots=("p+1",)))))
        first, second = told(seen, "b")
        assert (first.data.slots, second.data.slots) == ((second.promise,), (first.promise,))

    def test_the_second_notify_of_a_batch_is_dropped(self, world: World) -> None:
        for vref in ("p+1", "p+2"):
            world.introduce("a", vref, "b")
        seen = world.do("a", resolve(("p+1", data(0, slots=("p+2",))), ("p+2", data(1))))
        assert 1 == len([d for _, d in seen if isinstance(d, deliveries.Notify)])
        assert 0 == len(world.core.state.queue)

    def test_unsettled_promises_in_data_are_introduced(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        seen = world.do("a", resolve(("p+1", data(0, slots=("p+2",)))))
        (settlement,) = told(seen, "b")
        assert there == settlement.promise
        (inner,) = settlement.data.slots
        seen = world.do("a", resolve(("p+2", data("inner"))))
        assert [(inner, "inner")] == [(s.promise, value_of(s.data)) for s in told(seen, "b")]

    def test_subscribing_to_a_settled_promise_tells_at_once(self, world: World) -> None:
        world.on("b", lambda _: syscalls.Outcome())  # does not subscribe yet
        world.do("a", send(world.import_root("a", "b"), "look", slots=("p+1",)), resolve(("p+1", data("x"))))
        del world.scripts[world.vats["b"]]
        (there,) = [row[2] for row in world.rows()["clist"] if row[0] == world.vats["b"] and row[2].startswith("p-")]
        assert ["x"] == [value_of(s.data) for s in told(world.do("b", syscalls.Subscribe(there)), "b")]

    def test_subscribing_twice_tells_once(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        world.do("b", syscalls.Subscribe(there), syscalls.Subscribe(there))
        assert 1 == len(told(world.do("a", resolve(("p+1", data()))), "b"))

    def test_all_subscribers_are_told(self, world: World) -> None:
        for name in "bc":
            world.introduce("a", "p+1", name)
        seen = world.do("a", resolve(("p+1", data("x"))))
        assert ["b", "c"] == [name for name, d in seen if isinstance(d, deliveries.Notify)]

    def test_a_promise_comes_again_under_a_new_name(self, world: World) -> None:
        there = world.introduce("a", "p+1", "b")
        keeper = world.introduce("a", "p+1", "c")
        world.on("c", lambda _: syscalls.Outcome())
        world.do("a", resolve(("p+1", data(1))))
        assert None is world.kref("c", keeper)
        assert None is world.kref("b", there)

    def test_a_cycle_of_data_goes_when_its_last_holder_does(self, world: World) -> None:
        ring = [f"p+{n}" for n in range(1, 101)]
        world.introduce("a", "p+1", "b")
        batch = [(p, data(0, slots=(q,))) for p, q in zip(ring, [*ring[1:], ring[0]], strict=True)]
        world.scripts[world.vats["b"]] = lambda _: syscalls.Outcome()
        world.do("a", send(world.import_root("a", "b"), "look", slots=("p+50",)), resolve(*batch))
        assert 1 == world.count()["promises"]

    def test_a_cycle_of_data_stays_while_a_parked_message_names_it(self, world: World) -> None:
        ask(world)
        world.do(
            "a",
            send("p+1", "later", slots=("p+2",)),
            resolve(("p+2", data(0, slots=("p+3",))), ("p+3", data(0, slots=("p+2",)))),
        )
        assert 4 == world.count()["promises"]
        seen = world.do("b", resolve((world.asked("b"), reference("o+5"))))
        assert 2 == len(told(seen, "b"))
        assert 1 == world.count()["promises"]

    def test_a_promise_in_its_own_data_is_collected(self, world: World) -> None:
        world.introduce("a", "p+1", "b")
        world.do("a", resolve(("p+1", data(0, slots=("p+1",)))))
        assert 1 == world.count()["promises"]

    def test_resolutions_that_cross_leave_no_residue(self, world: World) -> None:
        before = world.count()
        to_b, to_a = world.introduce("a", "p+1", "b"), world.introduce("b", "p+1", "a")
        world.scripts[world.vats["a"]] = lambda d: (
            [resolve(("p+1", data(0, slots=(to_a,))))] if getattr(d, "method", "") == "go" else []
        )
        world.scripts[world.vats["b"]] = lambda d: (
            [resolve(("p+1", data(0, slots=(to_b,))))] if getattr(d, "method", "") == "go" else []
        )
        for name in "ab":
            world.host(send(world.host_ref(world.vats[name]), "go"))
        seen = world.run()
        assert 2 <= len(told(seen, "a")) + len(told(seen, "b"))
        after = world.count()
        assert before["promises"] == after["promises"]
        assert 0 == after["queue"] + after["subscribers"]

    @pytest.mark.parametrize("decider", ["a", "b"])
    @pytest.mark.parametrize("early", [False, True])
    def test_the_names_of_a_settled_promise_are_retired_on_both_sides(
        self, world: World, decider: Any, early: Any
    ) -> None:
        if decider == "a":
            there = world.introduce("a", "p+1", "b")
            if early:
                world.do("b", syscalls.Subscribe(there))
            world.do("a", resolve(("p+1", data())))
        else:
            there = ask(world)
            if early:
                world.do("a", syscalls.Subscribe("p+1"))
            world.do("b", resolve((there, data())))
        assert None is world.kref("a", "p+1") is world.kref("b", there)


def test_a_message_whose_target_is_its_own_result_is_rejected(world: World) -> None:
    """It could never be delivered, and its promise would be held by nothing but itself."""
    seen = world.do("a", send("p+1", "m", "p+1"))
    assert isinstance(rejection(seen, "a", "p+1"), TypeError)
