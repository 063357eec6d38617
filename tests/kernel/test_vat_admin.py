"""The kernel's own objects: vat-admin creates vats, an admin object administers one of them."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from ocap.kernel.effects import Event
from ocap.kernel.options import VatOptions
from ocap.protocol import deliveries, syscalls
from ocap.protocol.capdata import CapData
from ocap.protocol.errors import (
    DisconnectedError,
    LaunchError,
    NotPassableError,
    UpgradeError,
    VatNotFoundError,
    VatSuspendedError,
    VatTerminatedError,
)
from ocap.protocol.refs import VatId
from tests.kernel.puppet import (
    PromiseSlot,
    Seen,
    Slot,
    World,
    call,
    data,
    fulfilment,
    host_kref,
    messages,
    rejection,
    resolve,
    send,
    told,
    value_of,
    whole,
)


@pytest.fixture
def world() -> World:
    world = World("ab", vat_admin=True)
    world.run()
    return world


def create(world: World, result: str = "p+1", source: str = "/d.py", **options: Any) -> tuple[str, str]:
    """Have a create a vat, called d; a's vrefs of its root and its admin object."""
    seen = world.do("a", call(world.vat_admin, "create_vat", source, result=result, **options))
    root, admin = fulfilment(seen, "a", result)
    world.vats["d"] = VatId(world.core.state.objects[world.kref("a", root)].owner or "")
    return root, admin


def ask(world: World, admin: str, method: str, *args: Any, result: str = "p+9", **kwargs: Any) -> Seen:
    return world.do("a", call(admin, method, *args, result=result, **kwargs))


def vats(world: World) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in world.rows()["vats"] if row[0] not in ("host", "kernel")]


class TestCreate:
    def test_it_answers_with_the_root_and_the_admin_object(self, world: World) -> None:
        root, admin = create(world, name="dora", parameters={"x": 1})
        assert [("d", deliveries.StartVat(0, data({"x": 1})))] == [
            ("d", d) for name, d in world.seen if name == world.vats["d"]
        ]
        assert [("d", "hello")] == messages(world.do("a", send(root, "hello")))
        assert "dora" == world.row("d").name
        assert isinstance(rejection(ask(world, admin, "nothing"), "a", "p+9"), AttributeError)

    def test_it_belongs_to_the_subcluster_and_ends_with_it(self, world: World) -> None:
        create(world)
        row = world.core.state.subclusters["s1"]
        assert "s1" == world.row("d").subcluster
        world.core.between_cranks(lambda: world.core.subclusters.terminate(row))
        world.run()
        assert ([], []) == (vats(world), world.rows()["facets"])

    def test_ids_are_given_in_the_order_of_the_requests(self, world: World) -> None:
        requests = [call(world.vat_admin, "create_vat", f"/{n}.py", result=f"p+{n}", name=f"n{n}") for n in range(1, 6)]
        world.do("a", *requests)
        assert [(f"v{n + 2}", f"n{n}") for n in range(1, 6)] == vats(world)[2:]
        starts = [name for name, d in world.seen if isinstance(d, deliveries.StartVat)]
        assert [f"v{n + 2}" for n in range(1, 6)] == starts[2:]

    def test_the_id_of_one_that_failed_is_not_given_again(self, world: World) -> None:
        world.scripts[VatId("v3")] = lambda _: syscalls.Outcome(fault="no")
        world.do("a", call(world.vat_admin, "create_vat", "/x.py", result="p+1"))
        create(world, "p+2")
        assert "v4" == world.vats["d"]

    def test_a_message_to_the_promise_of_its_answer_waits(self, world: World) -> None:
        seen = world.do("a", call(world.vat_admin, "create_vat", "/d.py", result="p+1"), call("p+1", "m", result="p+2"))
        assert isinstance(rejection(seen, "a", "p+2"), TypeError)  # a tuple has no methods

    def test_without_a_result_it_lives_all_the_same(self, world: World) -> None:
        world.do("a", call(world.vat_admin, "create_vat", "/d.py"))
        assert [("v1", "a"), ("v2", "b"), ("v3", "dynamic")] == vats(world)

    def test_what_its_start_did_is_kept_with_it(self, world: World) -> None:
        world.scripts[VatId("v3")] = lambda d: syscalls.Outcome((), ((b"k", b"v"),))
        create(world)
        assert [("v3", b"k", b"v")] == world.rows()["vatstore"]

    def test_it_is_a_crank_of_its_own_and_the_kernel_is_not_idle_meanwhile(self, world: World) -> None:
        request = call(world.vat_admin, "create_vat", "/d.py", result="p+1")
        world.on("a", lambda d: [request] if messages([("", d)]) else [])
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        assert ["v1", None, "v3", "v1"] == [world.step().vat for _ in range(4)]
        assert None is world.core.next_crank()

    def test_a_crash_between_request_and_creation_loses_nothing(self, world: World) -> None:
        request = call(world.vat_admin, "create_vat", "/d.py", result="p+1")
        world.on("a", lambda d: [request] if messages([("", d)]) else [])
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        world.step()
        world.step()
        world.restart()
        world.run()
        assert [("v1", "a"), ("v2", "b"), ("v3", "dynamic")] == vats(world)
        assert "live" == world.core.state.vats["v3"].state

    def test_relative_sources_are_beside_that_of_the_first_vat(self, world: World) -> None:
        create(world, source="d.py")
        assert "d.py" == world.row("d").source
        world.core.lifecycle.set_vat(world.row("a"), "source", "/folder/a.py")
        create(world, "p+2", source="d.py")
        assert "/folder/d.py" == world.row("d").source
        create(world, "p+3", source="some.module")
        assert "some.module" == world.row("d").source


class TestParameters:
    def test_references_arrive_and_are_held_while_it_lives(self, world: World) -> None:
        b = world.import_root("a", "b")
        create(world, parameters={"friend": Slot(b), "own": [Slot("o+7")]})
        start = next(d for name, d in world.seen if name == "v3")
        assert {
            "friend": world.vref("d", world.kref("a", b)),
            "own": [world.vref("d", world.kref("a", "o+7"))],
        } == value_of(start.parameters)
        drop = tuple(start.parameters.slots)
        own = world.kref("a", "o+7")
        world.do("d", syscalls.DropImports(drop), syscalls.RetireImports(drop))
        assert 1 == world.core.state.objects[own].reachable
        world.do("d", syscalls.Exit(False, data()))
        assert None is world.kref("a", "o+7")

    def test_they_are_held_while_it_is_queued(self, world: World) -> None:
        request = call(world.vat_admin, "create_vat", "/d.py", parameters={"own": Slot("o+d1/7")})
        world.on("a", lambda d: [request] if messages([("", d)]) else [])
        world.host(send(world.host_ref(world.vats["a"]), "go"))
        world.step()
        world.step()
        world.restart()
        world.run()
        assert 2 == world.core.state.objects[world.kref("a", "o+d1/7")].reachable  # the vat, and its parameters

    @pytest.mark.parametrize(
        ("parameters", "place"),
        [
            (PromiseSlot("p+5"), "parameters"),
            ({"a": PromiseSlot("p+5")}, "parameters['a']"),
            ({"a": [1, {"b": (PromiseSlot("p+5"),)}]}, "parameters['a'][1]['b'][0]"),
            ([ValueError("x", PromiseSlot("p+5"))], "parameters[0].args[1]"),
        ],
    )
    def test_a_promise_is_refused_with_its_path(self, world: World, parameters: Any, place: str) -> None:
        before = vats(world)
        seen = world.do("a", call(world.vat_admin, "create_vat", "/d.py", result="p+1", parameters=parameters))
        error = rejection(seen, "a", "p+1")
        assert isinstance(error, NotPassableError)
        assert place in str(error)
        assert before == vats(world)

    def test_none_given_is_an_empty_dict(self, world: World) -> None:
        create(world)
        assert {} == value_of(world.row("d").parameters)


BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no source": ((), {}, TypeError, "source"),
    "two positional": (("/d.py", "x"), {}, TypeError, "positional"),
    "a source that is no text": ((3,), {}, TypeError, "source: expected str, got int"),
    "an unknown option": (("/d.py",), {"color": 1}, TypeError, "color"),
    "a name that is no text": (("/d.py",), {"name": 3}, TypeError, "name: expected str, got int"),
    "a name too long": (("/d.py",), {"name": "x" * 201}, ValueError, "name: at most 200"),
    "a name with a line end": (("/d.py",), {"name": "x\ny"}, ValueError, "name: at most 200 printable"),
    "an unknown policy": (("/d.py",), {"on_fault": "explode"}, ValueError, "on_fault: 'suspend' or 'terminate'"),
    "a policy of no hashable kind": (("/d.py",), {"on_fault": []}, ValueError, "on_fault"),
    "panic": (("/d.py",), {"on_fault": "panic"}, ValueError, "'panic' is for system"),
    "critical": (("/d.py",), {"critical": True}, ValueError, "critical: only a system subcluster"),
    "critical that is no bool": (("/d.py",), {"critical": 1}, TypeError, "critical: expected bool, got int"),
    "a limit that is no number": (("/d.py",), {"fault_limit": "3"}, TypeError, "fault_limit: expected int, got str"),
    "a limit that is a bool": (("/d.py",), {"fault_limit": True}, TypeError, "fault_limit: expected int, got bool"),
    "a limit of none": (("/d.py",), {"fault_limit": 0}, ValueError, "fault_limit: at least 1, not 0"),
    "a limit beyond what is stored": (("/d.py",), {"fault_limit": 2**70}, ValueError, "fault_limit"),
    "imports that are one text": (("/d.py",), {"imports": "math"}, TypeError, "imports: expected list, got str"),
    "imports of numbers": (("/d.py",), {"imports": [3]}, TypeError, "imports: expected str, got int"),
}


class TestBadRequests:
    @pytest.mark.parametrize("bad", BAD)
    def test_one_is_refused_with_a_clear_text_and_changes_nothing(self, world: World, bad: str) -> None:
        args, kwargs, kind, text = BAD[bad]
        world.do("a")
        before = world.count()
        error = rejection(ask(world, world.vat_admin, "create_vat", *args, **kwargs), "a", "p+9")
        assert (kind, True) == (type(error), text in str(error)), error
        assert before == world.count()

    def test_a_system_subcluster_may_have_critical_vats(self) -> None:
        world = World("a", vat_admin=True, is_system=True)
        world.run()
        create(world, critical=True, on_fault="panic")
        assert VatOptions(critical=True, on_fault="panic") == world.row("d").options

    def test_names_of_a_hundred_and_ninety_nine_characters_are_fine(self, world: World) -> None:
        create(world, name="x" * 199)
        assert "x" * 199 == world.row("d").name

    def test_a_body_that_is_no_call_is_refused(self, world: World) -> None:
        for body in (data(3), data([1]), data([[], {}, {}]), CapData(b"\xff"), CapData(b""), data([[], {3: 4}])):
            seen = world.do("a", syscalls.Send(world.vat_admin, "create_vat", body, "p+9"))
            error = rejection(seen, "a", "p+9")
            assert isinstance(error, TypeError) or getattr(error, "name", "") == "DecodeError", error

    def test_no_bytes_bring_the_kernel_down(self, world: World) -> None:
        """A worker that is not ours may send anything as a body."""
        random_ = random.Random(5)
        _, admin = create(world)
        good = [
            call(world.vat_admin, "create_vat", "/d.py", parameters={"x": [1, (2,), {3}, ValueError("x", 4)]}).args,
            call(admin, "terminate", {"reason": [None, 1.5, b"x"]}).args,
        ]
        live = True
        for turn in range(600):
            body = bytearray(random_.choice(good).body)
            for _ in range(random_.randrange(1, 4)):
                body[random_.randrange(len(body))] = random_.randrange(256)
            slots = tuple(random_.choice(("o+5", "p+77", world.vat_admin)) for _ in range(random_.randrange(3)))
            target, method = (admin, "terminate") if turn % 7 == 0 and live else (world.vat_admin, "create_vat")
            world.do("a", syscalls.Send(target, method, CapData(bytes(body), slots), f"p+{turn + 100}"))
            assert [] == world.faults()
            assert [f"p+{turn + 100}"] == [it.promise for it in told(world.seen[-3:], "a")][-1:]


class TestFailure:
    @pytest.mark.parametrize(
        ("crime", "text"),
        [
            (
                syscalls.Outcome(fault="build_root_object raised KeyError: 'x'"),
                "build_root_object raised KeyError: 'x'",
            ),
            ([send("o-999")], "named o-999"),
            ([syscalls.Exit(True, data("why"))], "it exited with failure while starting"),
        ],
    )
    def test_who_asked_is_told_why_and_nothing_stays(self, world: World, crime: Any, text: str) -> None:
        world.do("a")
        before = world.count()
        world.scripts[VatId("v3")] = lambda _: crime
        seen = world.do("a", call(world.vat_admin, "create_vat", "/x.py", result="p+1", parameters={"x": Slot("o+7")}))
        error = rejection(seen, "a", "p+1")
        assert isinstance(error, LaunchError)
        assert f"vat dynamic: {text}" in str(error)
        after = world.count()
        assert before == after

    def test_a_critical_one_that_exits_at_its_start_only_fails(self) -> None:
        world = World("a", vat_admin=True, is_system=True)
        world.run()
        world.scripts[VatId("v2")] = lambda _: [syscalls.Exit(False, data())]
        seen = world.do("a", call(world.vat_admin, "create_vat", "/x.py", result="p+1", critical=True))
        assert isinstance(rejection(seen, "a", "p+1"), LaunchError)
        assert None is world.core.panic

    def test_one_that_exits_with_a_value_at_its_start_was_created_and_is_done(self, world: World) -> None:
        world.scripts[VatId("v3")] = lambda _: [syscalls.Exit(False, data("the answer"))]
        seen = world.do("a", call(world.vat_admin, "create_vat", "/x.py", result="p+1"))
        _, admin = fulfilment(seen, "a", "p+1")
        assert "the answer" == fulfilment(ask(world, admin, "done"), "a", "p+9")

    @pytest.mark.parametrize("cranks", [0, 1])
    def test_one_of_a_subcluster_terminated_meanwhile_is_answered(self, world: World, cranks: int) -> None:
        """The host program has the power; the subcluster ends before the request is read, or before it is done."""
        answer = ask_as_host(world, world.vat_admin, "create_vat", "/d.py", parameters={"x": 1})
        for _ in range(cranks):
            world.step()
        world.core.between_cranks(partial(world.core.subclusters.terminate, world.core.state.subclusters["s1"]))
        world.run()
        error = world.answer_to(answer)
        texts = ["subcluster s1 was terminated: no vats can be created in it", "vat terminated"]
        assert ((VatNotFoundError, VatTerminatedError)[cranks], texts[cranks]) == (type(error), str(error))
        assert ([], []) == (vats(world), world.rows()["queue"])


def ask_as_host(world: World, vref: str, method: str, *args: Any, **kwargs: Any) -> str:
    """The host sends to what a calls `vref`; the kref of the answer."""
    facet = world.kref("a", vref)
    target = world.core.between_cranks(lambda: world.core.lifecycle.keeper("host").to_vat(facet))
    world.host(call(target, method, *args, result="p+1", **kwargs))
    return host_kref(world, "p+1")


class TestDone:
    def test_an_exit_value_arrives_with_its_references(self, world: World) -> None:
        b = world.import_root("a", "b")
        _, admin = create(world, parameters={"b": Slot(b)})
        inside = next(d for name, d in world.seen if name == "v3").parameters.slots[0]
        ask(world, admin, "done", result="p+5")
        seen = world.do("d", syscalls.Exit(False, whole(["bye", Slot(inside), Slot("o+5")])))
        text, friend, own = fulfilment(seen, "a", "p+5")
        assert ("bye", b) == (text, friend)
        assert [("b", "m")] == messages(world.do("a", send(friend, "m")))
        assert isinstance(rejection(world.do("a", send(own, "m", "p+6")), "a", "p+6"), VatTerminatedError)

    def test_a_failure_arrives_as_it_was_given(self, world: World) -> None:
        b = world.import_root("a", "b")
        _, admin = create(world, parameters={"b": Slot(b)})
        inside = next(d for name, d in world.seen if name == "v3").parameters.slots[0]
        ask(world, admin, "done", result="p+5")
        seen = world.do("d", syscalls.Exit(True, whole({"reason": "tired", "because": Slot(inside)})))
        assert {"reason": "tired", "because": b} == rejection(seen, "a", "p+5")

    def test_a_failure_that_names_what_went_with_the_crank_says_only_that_it_failed(self, world: World) -> None:
        _, admin = create(world)
        ask(world, admin, "done", result="p+5")
        seen = world.do("d", syscalls.Exit(True, whole(["new", Slot("o+55")])))
        error = rejection(seen, "a", "p+5")
        assert (VatTerminatedError, "it exited with failure") == (type(error), str(error))

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ((), "VatTerminatedError('its administrator terminated it')"),
            (("enough",), "VatTerminatedError('enough')"),
            ((ValueError("wrong", 3),), "ValueError('wrong', 3)"),
            (({"code": [7]},), "{'code': [7]}"),
            ((None,), "None"),
        ],
    )
    def test_a_reason_for_termination_arrives(self, world: World, reason: Any, expected: str) -> None:
        _, admin = create(world)
        ask(world, admin, "done", result="p+5")
        assert expected == repr(rejection(ask(world, admin, "terminate", *reason), "a", "p+5"))

    def test_a_reason_may_hold_references(self, world: World) -> None:
        _, admin = create(world)
        ask(world, admin, "done", result="p+5")
        seen = ask(world, admin, "terminate", {"see": Slot("o+7")})
        assert {"see": "o+7"} == rejection(seen, "a", "p+5")
        assert [] == [e for e in world.effects if isinstance(e, Event) and "0x" in (e.text or "")]

    def test_it_answers_also_long_after_the_end(self, world: World) -> None:
        _, admin = create(world)
        world.do("d", syscalls.Exit(False, data("bye")))
        world.restart()
        assert "bye" == fulfilment(ask(world, admin, "done", result="p+5"), "a", "p+5")
        assert "bye" == fulfilment(ask(world, admin, "done", result="p+6"), "a", "p+6")

    def test_peers_learn_nothing_of_it(self, world: World) -> None:
        root, admin = create(world)
        world.do("a", send(root, "m", "p+5"))
        error = rejection(ask(world, admin, "terminate", "secret"), "a", "p+5")
        assert (VatTerminatedError, "vat terminated") == (type(error), str(error))

    def test_a_fault_that_ends_it_is_told_in_detail(self, world: World) -> None:
        _, admin = create(world, on_fault="terminate", fault_limit=1)
        ask(world, admin, "done", result="p+5")
        error = rejection(world.do("d", send("o-999")), "a", "p+5")
        assert (VatTerminatedError, "it faulted: named o-999, which it does not hold") == (type(error), str(error))

    def test_the_end_of_its_subcluster_is_one(self, world: World) -> None:
        _, admin = create(world)
        answer = ask_as_host(world, admin, "done")
        world.run()
        world.core.between_cranks(lambda: world.core.subclusters.terminate(world.core.state.subclusters["s1"]))
        world.run()
        assert isinstance(world.answer_to(answer), VatTerminatedError)


class TestAdmin:
    def test_upgrade_answers_with_the_incarnation(self, world: World) -> None:
        _, admin = create(world, parameters={"x": 1})
        seen = ask(world, admin, "upgrade", "/e.py", parameters={"x": 2})
        assert 1 == fulfilment(seen, "a", "p+9")
        assert ("/e.py", data({"x": 2})) == (world.row("d").source, world.row("d").parameters)

    def test_upgrade_of_nothing_keeps_source_and_parameters(self, world: World) -> None:
        _, admin = create(world, parameters={"x": 1})
        assert 1 == fulfilment(ask(world, admin, "upgrade"), "a", "p+9")
        assert ("/d.py", data({"x": 1})) == (world.row("d").source, world.row("d").parameters)

    def test_an_upgrade_that_fails_says_why(self, world: World) -> None:
        _, admin = create(world)
        world.on("d", lambda _: syscalls.Outcome(fault="broken"))
        error = rejection(ask(world, admin, "upgrade", parameters={"x": Slot("o+7")}), "a", "p+9")
        assert (UpgradeError, "broken") == (type(error), str(error))
        assert None is world.kref("a", "o+7")

    @pytest.mark.parametrize(
        ("args", "kwargs", "kind", "text"),
        [
            ((3,), {}, TypeError, "source: expected str, got int"),
            ((), {"parameters": {"a": PromiseSlot("p+5")}}, NotPassableError, "parameters['a']"),
            ((), {"color": 1}, TypeError, "color"),
        ],
    )
    def test_a_wrong_upgrade_is_refused(self, world: World, args: Any, kwargs: Any, kind: Any, text: str) -> None:
        _, admin = create(world)
        error = rejection(ask(world, admin, "upgrade", *args, **kwargs), "a", "p+9")
        assert (kind, True) == (type(error), text in str(error)), error
        assert 0 == world.row("d").incarnation

    def test_restart_gives_up_the_heap(self, world: World) -> None:
        root, admin = create(world)
        assert None is fulfilment(ask(world, admin, "restart"), "a", "p+9")
        assert [("d", deliveries.StartVat(1, data({})))] == world.do("a", send(root, "m"))[:1]

    def test_suspend_holds_messages_and_resume_lets_them_go(self, world: World) -> None:
        root, admin = create(world)
        ask(world, admin, "suspend")
        assert [] == messages(world.do("a", send(root, "m1"), send(root, "m2")))
        assert ("suspended", "its administrator asked for it") == (world.row("d").state, world.row("d").reason)
        assert [("d", "m1"), ("d", "m2")] == messages(ask(world, admin, "resume"))

    def test_ping_answers_true_and_starts_it_if_need_be(self, world: World) -> None:
        _, admin = create(world)
        assert True is fulfilment(ask(world, admin, "ping"), "a", "p+9")
        ask(world, admin, "restart")
        seen = ask(world, admin, "ping")
        assert True is fulfilment(seen, "a", "p+9")
        assert [deliveries.StartVat, deliveries.Ping] == [type(d) for name, d in seen if name == "d"]

    def test_ping_of_a_suspended_one_is_refused(self, world: World) -> None:
        _, admin = create(world)
        ask(world, admin, "suspend")
        assert isinstance(rejection(ask(world, admin, "ping"), "a", "p+9"), VatSuspendedError)

    def test_ping_of_one_that_faults_at_it_is_answered(self, world: World) -> None:
        _, admin = create(world)
        world.on("d", lambda d: [send("o-999")] if isinstance(d, deliveries.Ping) else [])
        error = rejection(ask(world, admin, "ping"), "a", "p+9")
        assert (DisconnectedError, "vat faulted") == (type(error), str(error))

    def test_terminate_ends_it(self, world: World) -> None:
        root, admin = create(world)
        assert None is fulfilment(ask(world, admin, "terminate"), "a", "p+9")
        assert [("v1", "a"), ("v2", "b")] == vats(world)
        assert isinstance(rejection(world.do("a", send(root, "m", "p+5")), "a", "p+5"), DisconnectedError)

    def test_a_critical_one_is_not_terminated_by_it(self) -> None:
        world = World("a", vat_admin=True, is_system=True)
        world.run()
        _, admin = create(world, critical=True)
        assert isinstance(rejection(ask(world, admin, "terminate"), "a", "p+9"), ValueError)
        assert "live" == world.row("d").state

    @pytest.mark.parametrize("method", ["upgrade", "restart", "suspend", "resume", "ping", "terminate"])
    def test_of_a_dead_vat_every_request_but_done_says_so(self, world: World, method: str) -> None:
        _, admin = create(world)
        world.do("d", syscalls.Exit(False, data()))
        error = rejection(ask(world, admin, method), "a", "p+9")
        assert (VatNotFoundError, "vat v3 was terminated") == (type(error), str(error))

    @pytest.mark.parametrize("method", ["upgrade", "ping"])
    def test_what_is_queued_when_it_dies_is_answered(self, world: World, method: str) -> None:
        _, admin = create(world)
        seen = world.do("a", call(admin, "terminate"), call(admin, method, result="p+5"))
        error = rejection(seen, "a", "p+5")
        assert (VatTerminatedError, "vat terminated") == (type(error), str(error))

    def test_an_upgrade_after_its_end_was_asked_for_lets_go_of_its_parameters(self, world: World) -> None:
        _, admin = create(world)
        world.do("a", call(admin, "terminate"), call(admin, "upgrade", parameters={"x": Slot("o+7")}, result="p+5"))
        assert None is world.kref("a", "o+7")


class TestFacets:
    def test_one_that_nobody_holds_is_gone(self, world: World) -> None:
        _, admin = create(world)
        assert 2 == world.count()["facets"]
        drop = (admin, world.vat_admin)
        world.do("a", syscalls.DropImports(drop), syscalls.RetireImports(drop))
        assert 0 == world.count()["facets"]
        assert [] == [row for row in world.rows()["clist"] if row[0] == "kernel"]
        assert "live" == world.row("d").state

    def test_one_that_is_held_survives_the_process(self, world: World) -> None:
        root, admin = create(world)
        for _ in range(2):
            world.restart()
            assert True is fulfilment(ask(world, admin, "ping"), "a", "p+9")
        create(world, "p+2")
        assert [("d", "m")] == messages(world.do("a", send(root, "m"), send(fulfil(world), "m")))[-1:]

    def test_one_can_be_revoked(self, world: World) -> None:
        kref = world.kref("a", world.vat_admin)
        objects = world.core.state.objects

        def revoke() -> None:
            objects.edit(kref, objects[kref]).gone = "it was revoked"

        world.core.between_cranks(revoke)
        seen = world.do("a", call(world.vat_admin, "create_vat", "/d.py", result="p+1"))
        assert "it was revoked" in str(rejection(seen, "a", "p+1"))

    def test_making_and_dropping_many_leaves_nothing(self, world: World) -> None:
        sizes = []
        for turn in range(20):
            root, admin = create(world, f"p+{turn + 10}", parameters={"x": Slot(f"o+{turn + 10}")})
            ask(world, admin, "upgrade", parameters={"x": Slot(f"o+{turn + 50}")})
            ask(world, admin, "terminate")
            world.do("a", syscalls.DropImports((root, admin)), syscalls.RetireImports((root, admin)))
            if turn in (4, 19):
                sizes.append(world.count())
        assert sizes[0] == sizes[1]

    def test_a_unit_undone_takes_its_facets_with_it(self, world: World) -> None:
        before = world.rows(without=["counters"])

        def change() -> None:
            world.core.facets.make("vat_admin", "s1")
            raise RuntimeError

        with pytest.raises(RuntimeError):
            world.core.between_cranks(change)
        assert before == world.rows(without=["counters"])


def fulfil(world: World) -> str:
    """The vref of d's root, as a has it."""
    vref: str = world.vref("a", world.row("d").root or "")
    return vref


def test_two_runs_of_one_program_create_the_same_ids_in_the_same_order() -> None:
    def program(seed: int) -> list[Any]:
        world = World("abc", vat_admin=True)
        world.run()
        power = {"a": world.vat_admin, "b": world.introduce("a", world.vat_admin, "b")}
        random_ = random.Random(seed)

        def script(name: str) -> Any:
            def react(delivery: Any) -> list[syscalls.Syscall]:
                if not messages([("", delivery)]):
                    return []
                number = random_.randrange(1000, 10**9)
                fails = random_.random() < 0.3
                parameters = {"fails": fails}
                return [call(power[name], "create_vat", f"/{name}.py", result=f"p+{number}", parameters=parameters)]

            return react

        for name in power:
            world.on(name, script(name))
        for vat in range(4, 40):
            world.scripts[VatId(f"v{vat}")] = lambda d: (
                syscalls.Outcome(fault="no")
                if isinstance(d, deliveries.StartVat) and value_of(d.parameters)["fails"]
                else []
            )
        for turn in range(12):
            world.host(send(world.host_ref(world.vats["ab"[turn % 2]]), "go"))
        world.run()
        return [vats(world), world.rows(), [repr(effect) for effect in world.effects]]

    assert program(7) == program(7)


def test_resolve_is_not_open_to_others(world: World) -> None:
    """The promise of how a vat ends is the kernel's: who asked for it cannot settle it."""
    _, admin = create(world)
    ask(world, admin, "done", result="p+5")
    world.do("a", resolve(("p+5", data())))
    assert ["resolved p+5, which it does not decide"] == world.faults()
