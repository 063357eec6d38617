"""What becomes of a vat that faults or ends: its policy, its limit, whether it is critical."""

from __future__ import annotations

from typing import Any

import pytest

from ocap.kernel import failures
from ocap.kernel.effects import Event
from ocap.kernel.items import PingVat, TerminateVat
from ocap.kernel.options import FaultPolicy, VatOptions
from ocap.protocol import deliveries, syscalls
from ocap.protocol.errors import DisconnectedError, VatTerminatedError
from tests.kernel.puppet import World, args, call, data, messages, rejection, resolve, send

CRIME = send("o-999")


def with_options(path: Any = None, **options: Any) -> World:
    world = World("ab", path=path, options={"b": VatOptions(**options)})
    world.run()
    return world


def commit_crimes(world: World, count: int) -> None:
    for _ in range(count):
        world.do("b", CRIME)


class TestLimit:
    @pytest.mark.parametrize("limit", [1, 2, 5])
    @pytest.mark.parametrize(("policy", "state"), [("suspend", "suspended"), ("terminate", None)])
    def test_the_policy_acts_at_the_limit_and_not_before(self, limit: int, policy: FaultPolicy, state: Any) -> None:
        world = with_options(on_fault=policy, fault_limit=limit)
        commit_crimes(world, limit - 1)
        assert ("live", limit - 1) == (world.row("b").state, world.row("b").faults)
        commit_crimes(world, 1)
        row = world.core.state.vats.get(world.vats["b"])
        assert state == (row and row.state)

    def test_at_the_limit_of_panic_the_kernel_stops(self) -> None:
        world = with_options(on_fault="panic", fault_limit=2)
        commit_crimes(world, 1)
        assert None is world.core.panic
        commit_crimes(world, 1)
        assert "vat b (v2): named o-999, which it does not hold" == world.core.panic

    def test_faults_are_forgiven_when_it_is_reaped(self) -> None:
        world = with_options(fault_limit=3)
        commit_crimes(world, 2)
        world.do("b")
        world.core.collector.schedule_reap(world.vats["b"])
        world.run()
        assert 0 == world.row("b").faults
        commit_crimes(world, 2)
        assert "live" == world.row("b").state

    def test_they_are_not_forgiven_by_a_new_process(self) -> None:
        world = with_options(fault_limit=3)
        commit_crimes(world, 2)
        world.restart()
        commit_crimes(world, 1)
        assert "suspended" == world.row("b").state

    @pytest.mark.parametrize("policy", ["suspend", "terminate"])
    def test_one_that_does_not_start_again_is_suspended_not_lost(self, policy: FaultPolicy) -> None:
        world = with_options(on_fault=policy, fault_limit=100)
        world.core.between_cranks(lambda: world.core.end(world.vats["b"], "it was restarted"))
        world.on("b", lambda d: syscalls.Outcome(fault="no"))
        world.do("a", send(world.import_root("a", "b"), "m", "p+1"))
        assert "suspended" == world.row("b").state
        assert 1 == world.core.state.queue.waiting_at(world.vats["b"])

    def test_every_fault_of_a_message_leaves_a_dead_letter(self) -> None:
        world = with_options(fault_limit=10)
        commit_crimes(world, 4)
        letters = world.rows()["dead_letters"]
        assert [1, 2, 3, 4] == [row[0] for row in letters]
        assert {"named o-999, which it does not hold"} == {row[-1] for row in letters}

    def test_of_dead_letters_the_newest_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(failures, "MAX_DEAD_LETTERS", 3)
        world = with_options(fault_limit=10)
        world.on("b", lambda d: [CRIME] if messages([("", d)]) else [])
        root = world.import_root("a", "b")
        for turn in range(5):
            world.do("a", send(root, f"crime_{turn}", slots=(f"o+{turn + 1}",)))
        assert ["crime_2", "crime_3", "crime_4"] == [row[4] for row in world.rows()["dead_letters"]]
        notes = [e.text for e in world.effects if isinstance(e, Event) and e.kind == "note"]
        assert [
            f"dead letter {number} was dropped: there are more than 3, or 33554432 bytes" for number in (1, 2)
        ] == notes
        held = [world.kref("a", f"o+{turn + 1}") for turn in range(5)]
        assert [True, True, False, False, False] == [kref is None for kref in held]  # a was told to drop them

    def test_of_large_dead_letters_the_newest_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(failures, "MAX_LETTER_BYTES", 2500)
        world = with_options(fault_limit=10)
        world.on("b", lambda d: [CRIME] if messages([("", d)]) else [])
        root = world.import_root("a", "b")
        for turn in range(4):
            world.do("a", call(root, f"crime_{turn}", bytes(1000)))
        assert ["crime_2", "crime_3"] == [row[4] for row in world.rows()["dead_letters"]]

    def test_the_log_has_suspension_and_resumption(self) -> None:
        world = with_options(fault_limit=1)
        commit_crimes(world, 1)
        world.core.between_cranks(lambda: world.core.lifecycle.resume(world.row("b")))
        world.run()
        events = [(e.kind, e.text) for e in world.effects if isinstance(e, Event) and e.vat == world.vats["b"]]
        reason = "named o-999, which it does not hold"
        assert [
            ("fault", reason),
            ("suspend", f"it faulted: {reason}"),
            ("resume", f"it was suspended: it faulted: {reason}"),
        ] == [event for event in events if event[0] in ("fault", "suspend", "resume")]


class TestTermination:
    def test_its_peers_learn_that_it_was_terminated_and_no_more(self) -> None:
        world = with_options(on_fault="terminate", fault_limit=1)
        root = world.import_root("a", "b")
        world.do("a", send(root, "wait", "p+1"))
        world.on("b", lambda d: [CRIME] if messages([("", d)]) else [])
        seen = world.do("a", send(root, "crime", "p+2"), send(root, "after", "p+3"))
        texts = {vref: str(rejection(seen, "a", vref)) for vref in ("p+1", "p+2", "p+3")}
        assert {
            "p+1": "incarnation 0 of v2 ended: it faulted",
            "p+2": "vat faulted",
            "p+3": "vat terminated",
        } == texts

    def test_the_log_has_the_fault_and_the_end(self) -> None:
        world = with_options(on_fault="terminate", fault_limit=1)
        commit_crimes(world, 1)
        events = [(e.kind, e.text) for e in world.effects if isinstance(e, Event) and e.kind in ("fault", "terminate")]
        reason = "named o-999, which it does not hold"
        assert [("fault", reason), ("terminate", f"it faulted: {reason}")] == events


CRITICAL_DEATHS: dict[str, tuple[dict[str, Any], Any]] = {
    "an exit with a value": ({}, [syscalls.Exit(False, data())]),
    "an exit with failure": ({}, [syscalls.Exit(True, data("no"))]),
    "a fault by the policy terminate": ({"on_fault": "terminate", "fault_limit": 1}, [CRIME]),
    "a fault by the policy panic": ({"on_fault": "panic", "fault_limit": 1}, [CRIME]),
    "a lost worker": ({"on_fault": "terminate", "fault_limit": 1}, syscalls.Outcome(fault="its worker was lost")),
}


class TestCritical:
    @pytest.mark.parametrize("death", CRITICAL_DEATHS)
    @pytest.mark.parametrize("kind", [deliveries.Message, deliveries.Notify, deliveries.BringOutYourDead])
    def test_its_death_stops_the_kernel_and_the_crank_left_no_trace(self, death: str, kind: Any) -> None:
        options, outcome = CRITICAL_DEATHS[death]
        world = with_options(critical=True, **options)
        there = world.introduce("a", "p+1", "b")
        assert there
        if kind is deliveries.Message:
            world.host(syscalls.Send(world.host_ref(world.vats["b"]), "m", args()))
        elif kind is deliveries.Notify:
            world.host(syscalls.Send(world.host_ref(world.vats["a"]), "m", args()))
            settle = [resolve(("p+1", data()))]
            world.on("a", lambda d: settle if messages([("", d)]) else [])
            world.step()
        else:
            world.core.collector.schedule_reap(world.vats["b"])
        before = world.rows(without=["counters"])
        world.on("b", lambda d: outcome if isinstance(d, kind) else [])
        world.run()
        assert world.core.panic is not None
        assert "vat b (v2): " in world.core.panic
        assert before == world.rows(without=["counters"])
        last = [e for e in world.effects if isinstance(e, Event)][-1]
        assert ("note", f"the kernel stops: {world.core.panic}") == (last.kind, last.text)

    @pytest.mark.parametrize("death", CRITICAL_DEATHS)
    def test_what_killed_it_is_tried_again_at_the_next_start(self, death: str) -> None:
        options, outcome = CRITICAL_DEATHS[death]
        world = with_options(critical=True, **options)
        world.host(syscalls.Send(world.host_ref(world.vats["b"]), "m", args()))
        world.host(syscalls.Send(world.host_ref(world.vats["b"]), "m2", args()))
        world.on("b", lambda d: outcome if messages([("", d)]) else [])
        world.run()
        for _ in range(2):
            world.restart()
            assert [("b", "m")] == messages(world.run())
            assert world.core.panic is not None
        world.restart()
        world.scripts.clear()  # its code was mended
        assert [("b", "m"), ("b", "m2")] == messages(world.run())
        assert None is world.core.panic

    def test_a_fault_below_the_limit_does_not_stop_the_kernel(self) -> None:
        world = with_options(critical=True, on_fault="terminate", fault_limit=2)
        commit_crimes(world, 1)
        assert (None, "live") == (world.core.panic, world.row("b").state)

    def test_it_may_be_suspended_by_its_faults(self) -> None:
        world = with_options(critical=True, fault_limit=1)
        commit_crimes(world, 1)
        assert (None, "suspended") == (world.core.panic, world.row("b").state)

    def test_the_host_program_may_terminate_it(self) -> None:
        world = with_options(critical=True, on_fault="panic")
        world.core.between_cranks(lambda: world.core.state.queue.push(TerminateVat(world.vats["b"], "enough", 0)))
        world.run()
        assert (None, None) == (world.core.panic, world.core.state.vats.get(world.vats["b"]))

    def test_its_subcluster_may_be_terminated(self) -> None:
        world = with_options(critical=True, on_fault="panic")
        world.core.between_cranks(lambda: world.core.subclusters.terminate(world.core.state.subclusters["s1"]))
        world.run()
        assert (None, None) == (world.core.panic, world.core.state.vats.get(world.vats["b"]))

    def test_a_launch_that_fails_with_it_does_not_stop_the_kernel(self) -> None:
        world = World("ab", options={"b": VatOptions(critical=True, on_fault="panic", fault_limit=1)})
        world.on("b", lambda d: syscalls.Outcome(fault="no"))
        world.run()
        assert (None, []) == (world.core.panic, [row for row in world.rows()["vats"] if row[0] in ("v1", "v2")])


class TestPing:
    def ping(self, world: World) -> str:
        return world.ask(lambda result: PingVat(world.vats["b"], result, 0))

    def test_it_is_answered_by_a_vat_that_runs(self) -> None:
        world = with_options()
        answer = self.ping(world)
        assert [("b", deliveries.Ping())] == world.run()
        assert True is world.answer_to(answer)

    def test_a_vat_that_does_not_run_is_started_for_it(self) -> None:
        world = with_options()
        world.restart()
        answer = self.ping(world)
        assert [deliveries.StartVat, deliveries.Ping] == [type(d) for _, d in world.run()]
        assert True is world.answer_to(answer)

    @pytest.mark.parametrize(
        ("outcome", "kind", "text"),
        [
            ([CRIME], DisconnectedError, "vat faulted"),
            ([syscalls.Exit(True, data())], VatTerminatedError, "vat terminated"),
        ],
    )
    def test_a_vat_that_breaks_at_it_answers_so(self, outcome: Any, kind: Any, text: str) -> None:
        world = with_options()
        world.on("b", lambda d: outcome if isinstance(d, deliveries.Ping) else [])
        answer = self.ping(world)
        world.run()
        error = world.answer_to(answer)
        assert (kind, text) == (type(error), str(error))
        assert [] == world.rows()["dead_letters"]

    def test_a_vat_that_exits_at_it_with_a_value_answered_it(self) -> None:
        world = with_options()
        world.on("b", lambda d: [syscalls.Exit(False, data())] if isinstance(d, deliveries.Ping) else [])
        answer = self.ping(world)
        world.run()
        assert True is world.answer_to(answer)
        assert None is world.core.state.vats.get(world.vats["b"])

    def test_a_vat_that_cannot_start_for_it_is_suspended_and_answers_so(self) -> None:
        world = with_options()
        world.restart()
        world.on("b", lambda d: syscalls.Outcome(fault="no"))
        answer = self.ping(world)
        world.run()
        assert "vat b (v2) is suspended" == str(world.answer_to(answer))
