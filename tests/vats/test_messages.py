"""Messages in, answers out; what may be called and with what."""

from __future__ import annotations

import gc
from typing import Any, Literal

import pytest

from ocap.protocol.capdata import CapData
from ocap.protocol.deliveries import Message, Notify
from ocap.protocol.errors import NotPassableError, RemoteError
from ocap.protocol.syscalls import Outcome, Resolve, Send
from tests.vats.puppet_kernel import Obj, Prom, Puppet, data, root_of, settled, value_of
from vats import E, Exo, Promise, Ref, make_promise_kit, spawn
from vats.budget import Budget


class Child(Exo):
    def __init__(self, name: str) -> None:
        self.name = name

    async def get_name(self) -> str:
        return self.name


class OwnError(Exception):
    """An exception that is no builtin."""


class Root(Exo):
    field = 3

    def __init__(self) -> None:
        self.callback = print
        self.seen: list[Any] = []

    async def double(self, n: int) -> int:
        return 2 * n

    def plain(self, n: int) -> int:
        return n + 1

    async def fail(self, text: str) -> None:
        raise OwnError(text)

    async def exit_process(self) -> None:
        raise SystemExit(3)

    async def child(self, name: str) -> Child:
        return Child(name)

    async def echo(self, *args: Any, **kwargs: Any) -> Any:
        return [list(args), kwargs]

    async def ask(self, other: Ref[Any], method: str, *args: Any) -> Any:
        return await getattr(E(other), method)(*args)

    async def tell(self, other: Ref[Any], *args: Any) -> None:
        assert E.send_only(other).hear(*args) is None

    async def send_changed(self, other: Ref[Any]) -> None:
        rows = [1]
        E(other).hear(rows)
        rows.append(2)

    async def order(self) -> list[str]:
        child = Child("x")
        promise = E(self).note("turn")
        self.seen.append("statement")
        await promise
        assert await E(child).get_name() == "x"
        return self.seen

    async def note(self, what: str) -> None:
        self.seen.append(what)

    async def take(
        self,
        rows: list[int],
        table: dict[str, float] | None = None,
        mode: Literal["r", "w"] = "r",
        child: Child | None = None,
        pair: tuple[int, str] = (1, ""),
        promise: Promise[Any] | None = None,
        **others: bytes,
    ) -> str:
        return "taken"

    async def local_copy(self) -> bool:
        rows: list[Any] = [self]
        back = await E(self).echo(rows)
        return back[0][0] is not rows and back[0][0][0] is self

    async def foreign(self) -> str:
        class Foreign:
            def __await__(self) -> Any:
                yield None

        try:
            await Foreign()
        except TypeError as error:
            return str(error)
        return ""

    async def forever(self) -> None:
        kit = make_promise_kit()
        kit.resolve(1)
        while True:
            try:
                await kit.promise
            except BaseException:
                continue

    async def flood(self, other: Ref[Any]) -> None:
        while True:
            try:
                E.send_only(other).hear()
            except BaseException:
                return

    async def start_failing(self) -> None:
        _ = spawn(self.fail("alone"))


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(root_of(Root))
    assert puppet.start().fault is None
    return puppet


def test_answer_is_one_resolve_and_no_more(vat: Puppet) -> None:
    outcome = vat.send("o+0", "double", 4)
    assert outcome == Outcome((Resolve((settled("p-1", 8),)),))


def test_plain_methods_answer_too(vat: Puppet) -> None:
    assert vat.call("plain", n=1) == 2


def test_send_only_makes_no_syscall(vat: Puppet) -> None:
    assert vat.send("o+0", "double", 4, result=None).syscalls == ()


def test_failure_rejects_with_an_id_whose_traceback_is_a_complaint(vat: Puppet) -> None:
    with pytest.raises(RemoteError) as raised:
        vat.call("fail", "no")
    assert (raised.value.name, raised.value.message) == ("OwnError", "no")
    ((error_id, text),) = vat.outcome.complaints
    assert raised.value.error_id == error_id == "error:v1.0.1"
    assert "raise OwnError(text)" in text
    assert vat.call("double", 1) == 2


def test_failure_of_send_only_goes_to_the_log_alone(vat: Puppet) -> None:
    outcome = vat.send("o+0", "fail", "no", result=None)
    assert outcome.syscalls == ()
    assert len(outcome.complaints) == 1


def test_error_passing_through_keeps_its_id_and_is_not_reported_again(vat: Puppet) -> None:
    vat.send("o+0", "ask", Obj("o-5"), "f")
    answer = vat.sends()[0].result
    assert answer is not None
    vat.notify(answer, RemoteError("Boom", "b", "error:v9.0.1"))
    (settlement,) = vat.settlements()
    assert value_of(settlement.data).error_id == "error:v9.0.1"
    assert vat.outcome.complaints == ()


def test_what_is_no_exception_is_a_fault_and_ends_the_incarnation(vat: Puppet) -> None:
    outcome = vat.send("o+0", "exit_process")
    assert outcome.fault is not None
    assert "SystemExit" in outcome.fault
    assert outcome.syscalls == ()
    assert vat.send("o+0", "double", 1).fault == outcome.fault


@pytest.mark.parametrize("method", ["no_such", "_private", "field", "callback", "__init__", "_eventual_send"])
def test_only_public_methods_are_callable(vat: Puppet, method: str) -> None:
    with pytest.raises(AttributeError) as raised:
        vat.call(method)
    assert method in str(raised.value)
    assert "Root" in str(raised.value)
    assert "double" in str(raised.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ([["x"]], {}, "Root.take: rows[0]: expected int, came str"),
        ([1], {}, "Root.take: rows: expected list, came int"),
        ([[]], {"table": {"a": "b"}}, "Root.take: table['a']: expected float, came str"),
        ([[]], {"table": 3}, "Root.take: table: expected dict or None, came int"),
        ([[]], {"mode": "x"}, "Root.take: mode: expected one of 'r', 'w', came str"),
        ([[]], {"child": Obj("o-7", "Child")}, "Root.take: child: expected Child or None, came a reference to a Child"),
        ([[]], {"pair": (1, 2)}, "Root.take: pair[1]: expected str, came int"),
        ([[]], {"promise": 3}, "Root.take: promise: expected a promise or None, came int"),
        ([[]], {"more": 3}, "Root.take: more: expected bytes, came int"),
        ([], {}, "missing 1 required positional argument"),
    ],
)
def test_guards_name_method_parameter_expected_and_came(vat: Puppet, args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(TypeError) as raised:
        vat.call("take", *args, **kwargs)
    assert text in str(raised.value)


def test_guards_let_pass_what_type_checkers_do(vat: Puppet) -> None:
    arguments: dict[str, Any] = {
        "table": {"a": 1},
        "mode": "w",
        "pair": (True, ""),
        "promise": Prom("p-9"),
        "more": b"",
    }
    assert vat.call("take", [True, 1], **arguments) == "taken"


def test_every_reference_fits_a_ref(vat: Puppet) -> None:
    for reference in (Obj("o-3"), Obj("o+0"), Prom("p-8")):
        assert vat.send("o+0", "tell", reference).fault is None
    assert len(vat.settlements()) == 1
    with pytest.raises(TypeError, match="expected a reference, came int"):
        vat.call("tell", 3)


def test_send_carries_arguments_and_a_fresh_result(vat: Puppet) -> None:
    outcome = vat.send("o+0", "ask", Obj("o-5"), "put", 1)
    assert outcome.syscalls == (Send("o-5", "put", data([[1], {}]), "p+1"),)
    assert vat.notify("p+1", 7).syscalls == (Resolve((settled("p-1", 7),)),)
    assert vat.vat.suspended == 0


def test_send_only_names_no_result(vat: Puppet) -> None:
    outcome = vat.send("o+0", "tell", Obj("o-5"), 1, result=None)
    assert outcome.syscalls == (Send("o-5", "hear", data([[1], {}]), None),)


def test_arguments_are_those_of_the_call(vat: Puppet) -> None:
    vat.send("o+0", "send_changed", Obj("o-5"))
    assert value_of(vat.sends()[0].args) == [[[1]], {}]


def test_local_send_runs_in_a_later_turn(vat: Puppet) -> None:
    assert vat.call("order") == ["statement", "turn"]


def test_local_send_copies_data_and_keeps_objects(vat: Puppet) -> None:
    assert vat.call("local_copy") is True


def test_exports_are_named_once_and_come_home_as_themselves(vat: Puppet) -> None:
    child = vat.call("child", "c")
    assert child.vref == "o+1"
    assert vat.call("get_name", target="o+1") == "c"
    assert vat.call("echo", child)[0] == [child]


def test_foreign_await_is_refused_with_advice(vat: Puppet) -> None:
    text = vat.call("foreign")
    assert "can await only promises" in text
    assert "timer" in text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what will not end is cut off
def test_loop_of_awaits_is_a_fault_that_nothing_swallows() -> None:
    vat = Puppet(root_of(Root), budget=Budget(turns=50))
    vat.start()
    assert vat.send("o+0", "forever").fault == "used more than 50 turns in one crank"
    gc.collect()


def test_flood_of_sends_is_a_fault_even_if_swallowed() -> None:
    vat = Puppet(root_of(Root), budget=Budget(syscalls=50))
    vat.start()
    outcome = vat.send("o+0", "flood", Obj("o-5"))
    assert outcome.fault == "made more than 50 syscalls in one crank"
    assert outcome.syscalls == ()


def test_flood_of_bytes_is_a_fault() -> None:
    vat = Puppet(root_of(Root), budget=Budget(body_bytes=1000))
    vat.start()
    assert vat.send("o+0", "tell", Obj("o-5"), "x" * 2000).fault == "sent more than 1000 bytes in one crank"


class Flooder(Exo):
    """Sends to what lives in its own vat, which makes no syscall, and never lets a turn end."""

    async def flood_an_object(self) -> None:
        while True:
            E.send_only(self).nothing()

    async def flood_a_promise(self) -> None:
        promise: Any = make_promise_kit().promise
        while True:
            E.send_only(promise).nothing()

    async def flood_with_bytes(self) -> None:
        while True:
            E.send_only(self).take(bytes(300))

    async def nothing(self) -> None:
        pass

    async def take(self, data: bytes) -> None:
        pass


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("flood_an_object", "sent more than 50 messages to itself in one crank"),
        ("flood_a_promise", "sent more than 50 messages to itself in one crank"),
        ("flood_with_bytes", "sent more than 9000 bytes in one crank"),
    ],
)
def test_flood_within_the_vat_is_a_fault(method: str, fault: str) -> None:
    vat = Puppet(root_of(Flooder), budget=Budget(turns=50, body_bytes=9000))
    vat.start()
    assert vat.send("o+0", method).fault == fault


def test_failure_of_a_spawned_coroutine_is_a_complaint(vat: Puppet) -> None:
    outcome = vat.send("o+0", "start_failing")
    assert [text.splitlines()[-1] for _, text in outcome.complaints] == ["tests.vats.test_messages.OwnError: alone"]


def test_unpassable_argument_names_its_place(vat: Puppet) -> None:
    class Sender(Exo):
        async def send(self, other: Any) -> str:
            try:
                E(other).put(1, rows=[object()])
            except NotPassableError as error:
                return error.path
            return ""

    sender = Puppet(root_of(Sender))
    sender.start()
    assert sender.call("send", Obj("o-5")) == 'kwargs["rows"][0]'
    assert sender.sends() == []


def test_undecodable_arguments_reject_the_result(vat: Puppet) -> None:
    outcome = vat.deliver(Message("o+0", "double", CapData(b"\xff"), "p-1"))
    assert outcome.fault is None
    assert vat.settlements()[0].rejected


def test_message_to_what_was_never_exported_is_a_fault(vat: Puppet) -> None:
    outcome = vat.send("o+99", "double", 1)
    assert outcome.fault is not None
    assert "o+99" in outcome.fault


def test_unknown_notify_is_ignored(vat: Puppet) -> None:
    assert vat.deliver(Notify((settled("p-77", 1),))) == Outcome()


def test_presences_have_no_methods_of_their_own(vat: Puppet) -> None:
    class Caller(Exo):
        async def call(self, other: Any) -> None:
            other.get_name()

    caller = Puppet(root_of(Caller))
    caller.start()
    with pytest.raises(AttributeError, match=r"use E\(x\)\.get_name\(\)"):
        caller.call("call", Obj("o-5"))


def test_e_takes_no_data_and_works_only_in_a_vat() -> None:
    untyped: Any = 3
    with pytest.raises(TypeError, match="not a int"):
        E(untyped)
    with pytest.raises(RuntimeError, match="only inside a vat"):
        E.send_only(Child("x")).get_name()
    with pytest.raises(AttributeError, match="_private"):
        E.send_only(Child("x"))._private()
