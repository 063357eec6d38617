"""Starting an incarnation, ending it, and loading its code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ocap.protocol.deliveries import BringOutYourDead, DropExports, RetireExports, StartVat
from ocap.protocol.syscalls import DropImports, Exit, Resolve, RetireImports
from ocap.protocol.syscalls import RetireExports as RetireExportsCall
from tests.vats.puppet_kernel import Obj, Puppet, Rows, data, settled
from vats import Baggage, DurableExo, E, Exo, VatPowers, make_promise_kit
from vats.liveslots import Liveslots
from vats.loader import VatSource


class Root(Exo):
    def __init__(self, powers: Any = None, baggage: Any = None) -> None:
        self.powers = powers
        self.baggage = baggage
        self.kept: Any = None

    async def leave(self, value: Any) -> None:
        self.powers.exit(value)
        self.powers.exit("ignored")

    async def give_up(self, reason: str) -> None:
        self.powers.exit_with_failure(ValueError(reason))

    async def say(self, *words: Any) -> None:
        self.powers.log(*words)

    async def keep(self, what: Any) -> None:
        self.kept = what

    async def store(self, what: Any) -> None:
        self.baggage["it"] = what

    async def make(self) -> Exo:
        return Exo()

    async def itself(self) -> Exo:
        return self

    async def make_durable(self) -> Any:
        self.baggage["it"] = [Thing(name="x")]
        return self.baggage["it"][0]

    async def get_kept(self) -> Any:
        return self.kept


class Thing(DurableExo):
    name: str
    other: Any = None


def build(vat_powers: VatPowers, parameters: Any, baggage: Baggage) -> Root:
    return Root(vat_powers, baggage)


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(build)
    puppet.start()
    return puppet


async def _unsettled(*_: Any) -> Exo:
    return await make_promise_kit().promise  # type: ignore[no-any-return]


async def _settled(*_: Any) -> Exo:
    kit = make_promise_kit()
    kit.resolve(Exo())
    return await kit.promise  # type: ignore[no-any-return]


def _raising(*_: Any) -> Exo:
    raise ValueError("bad parameter")


def _sent(powers: Any, parameters: Any, baggage: Any) -> Exo:
    root = Exo()
    E(parameters["x"]).hello(root)
    return root


@pytest.mark.parametrize(
    ("build_root_object", "text"),
    [
        (lambda *_: 3, "returned a int, not an Exo"),
        (lambda *_: Thing(name="x"), "must live on the heap"),
        (_unsettled, "did not settle"),
        (_raising, "raised ValueError: bad parameter"),
        (_raising, "test_start_and_end.py, line "),
        (_sent, "was sent before it was returned"),
        (Exo, "raised TypeError"),
    ],
)
def test_failure_to_start_is_a_fault_that_says_why(build_root_object: Any, text: str) -> None:
    outcome = Puppet(build_root_object).start({"x": Obj("o-3")})
    assert outcome.fault is not None
    assert text in outcome.fault


def test_build_may_be_async_if_it_settles() -> None:
    assert Puppet(_settled).start().fault is None


def test_incarnation_starts_once(vat: Puppet) -> None:
    outcome = vat.deliver(StartVat(0, data({})))
    assert outcome.fault is not None
    assert "twice" in outcome.fault


def test_root_is_the_same_name_in_every_incarnation(vat: Puppet) -> None:
    vat.call("say", 1)
    vat.restart()
    vat.call("say", 2)
    assert vat.lines == ["1", "2"]
    assert vat.call("itself").vref == "o+0"


def test_exit_is_the_last_syscall_and_the_first_counts(vat: Puppet) -> None:
    outcome = vat.send("o+0", "leave", 7)
    assert outcome.syscalls == (Resolve((settled("p-1", None),)), Exit(False, data(7)))
    assert vat.send("o+0", "say").syscalls[1:] == ()


def test_exit_with_failure_carries_the_error(vat: Puppet) -> None:
    vat.send("o+0", "give_up", "no")
    assert vat.outcome.syscalls[-1] == Exit(True, data(ValueError("no")))


def test_log_is_put_together_like_print(vat: Puppet) -> None:
    vat.call("say", "a", 1, None)
    assert vat.lines == ["a 1 None"]


def test_close_ends_suspended_behaviours() -> None:
    ended = []

    class Waiter(Exo):
        async def wait(self) -> None:
            try:
                await make_promise_kit().promise
            finally:
                ended.append(True)

    puppet = Puppet(lambda *_: Waiter())
    puppet.start()
    puppet.send("o+0", "wait")
    assert (puppet.vat.suspended, ended) == (1, [])
    puppet.vat.close()
    assert (puppet.vat.suspended, ended) == (0, [True])


# Garbage


def test_dropped_presence_is_reported_at_the_reap_and_not_before(vat: Puppet) -> None:
    vat.send("o+0", "keep", Obj("o-5"), result=None)
    assert vat.deliver(BringOutYourDead()).syscalls == ()
    assert vat.send("o+0", "keep", None, result=None).syscalls == ()
    assert vat.deliver(BringOutYourDead()).syscalls == (DropImports(("o-5",)), RetireImports(("o-5",)))
    assert vat.deliver(BringOutYourDead()).syscalls == ()


def test_import_in_durable_data_is_kept(vat: Puppet) -> None:
    vat.send("o+0", "store", Obj("o-5"), result=None)
    assert vat.deliver(BringOutYourDead()).syscalls == ()
    vat.restart()
    vat.send("o+0", "store", None, result=None)
    assert vat.deliver(BringOutYourDead()).syscalls == (DropImports(("o-5",)), RetireImports(("o-5",)))


def test_dropped_and_dead_export_is_retired(vat: Puppet) -> None:
    vref = vat.call("make").vref
    assert vat.deliver(BringOutYourDead()).syscalls == ()
    vat.deliver(DropExports((vref,)))
    assert vat.deliver(BringOutYourDead()).syscalls == (RetireExportsCall((vref,)),)


def test_export_retired_by_the_kernel_is_not_retired_again(vat: Puppet) -> None:
    vref = vat.call("make").vref
    vat.deliver(DropExports((vref,)))
    vat.deliver(RetireExports((vref,)))
    assert vat.deliver(BringOutYourDead()).syscalls == ()


def test_durable_object_that_nobody_reaches_is_deleted(vat: Puppet) -> None:
    vref = vat.call("make_durable").vref
    vat.send("o+0", "store", None, result=None)
    vat.deliver(BringOutYourDead())
    assert b"s" + vref.encode() in vat.rows.rows  # the kernel still reaches it
    vat.deliver(DropExports((vref,)))
    assert vat.deliver(BringOutYourDead()).syscalls == (RetireExportsCall((vref,)),)
    assert not [key for key in vat.rows.rows if vref.encode() in key]


# Code


SOURCE = """
from vats import Exo, passable
import attrs

@passable
@attrs.frozen
class Point:
    x: int

class Root(Exo):
    async def get(self):
        return Point(1)

def build_root_object(vat_powers, parameters, baggage):
    return Root()
"""


def start(path: Path, vat_id: str = "v7") -> tuple[Any, VatSource]:
    source = VatSource(str(path), vat_id)
    vat = Liveslots(vat_id, Rows(), source, registry=source.registry)
    return vat.deliver(StartVat(0, data({}))), source


def test_each_vat_gets_its_own_instance_of_its_module(tmp_path: Path) -> None:
    path = tmp_path / "point.py"
    path.write_text(SOURCE)
    (first, one), (second, two) = start(path, "v7"), start(path, "v8")
    assert first.fault is second.fault is None
    assert sys.modules["point@v7"] is not sys.modules["point@v8"]
    assert one.registry.find("point.Point") is not two.registry.find("point.Point")
    one.unload()
    two.unload()
    assert not {"point@v7", "point@v8"} & set(sys.modules)


def test_edited_source_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "point.py"
    path.write_text(SOURCE)
    start(path)[1].unload()
    path.write_text(SOURCE.replace("Root()", "None "))  # same size, same second
    outcome, source = start(path)
    source.unload()
    assert "NoneType" in outcome.fault


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 1\ndef f(:\n", ["SyntaxError", "vat.py, line 2"]),
        ("x = 1\n\n1 / 0\n", ["ZeroDivisionError", "vat.py, line 3"]),
        ("x = 1\n", ["vat.py defines no build_root_object"]),
        ("def build_root_object(a, b, c):\n    return c['x']\n", ["KeyError", "vat.py, line 2"]),
    ],
)
def test_code_that_fails_is_named_by_file_and_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "vat.py"
    path.write_text(text)
    outcome, source = start(path)
    source.unload()
    for part in parts:
        assert part in outcome.fault


def test_missing_code_is_named() -> None:
    assert "no/such.py" in start(Path("no/such.py"))[0].fault
    vat = Liveslots("v1", Rows(), VatSource("no_such_package.vat", "v1"))
    outcome = vat.deliver(StartVat(0, data({})))
    assert outcome.fault is not None
    assert "no_such_package" in outcome.fault
