"""Guards: annotations of parameters and returns, with constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

import annotated_types as at
import attrs
import pytest

from ocap.protocol.deliveries import Message
from tests.effort import steps_of
from tests.vats.puppet_kernel import Obj, Prom, Puppet, data
from vats import DurableExo, E, Exo, MapStore, Promise, Ref, VirtualExo

if TYPE_CHECKING:
    from elsewhere import Unseen  # type: ignore[import-not-found]

Amount = Annotated[int, at.Ge(0), at.Lt(1000)]
Name = NewType("Name", str)


@attrs.frozen
class Between:
    """Known by its attributes alone."""

    gt: int
    lt: int


class Root(Exo):
    async def amount(self, amount: Amount) -> None: ...
    async def name(self, name: Annotated[str, at.Len(1, 3)]) -> None: ...
    async def longest(self, rows: Annotated[list[Amount], at.MaxLen(2)]) -> None: ...
    async def even(self, n: Annotated[int, at.MultipleOf(2)]) -> None: ...
    async def interval(self, n: Annotated[float, at.Interval(ge=0, lt=1)]) -> None: ...
    async def own(self, n: Annotated[int, Between(1, 3), "a note", Between]) -> None: ...
    async def predicate(self, text: Annotated[str, at.Predicate(str.islower)]) -> None: ...
    async def untyped(self, n: Annotated[Any, at.Gt(0)]) -> None: ...
    async def table(self, table: dict[str, Annotated[int, at.Ge(0)]]) -> None: ...
    async def either(self, x: Annotated[int, at.Ge(0)] | Literal["all"] | None) -> None: ...
    async def promise(self, x: Promise[int]) -> None: ...
    async def reference(self, x: Ref[Unseen]) -> None: ...
    async def nested(self, x: list[tuple[Name, set[int]]]) -> None: ...
    async def keyword(self, *, n: Amount = 0) -> None: ...
    async def store(self, x: MapStore[str, int]) -> None: ...

    async def wrong_return(self) -> int:
        return "text"  # type: ignore[return-value]

    async def wrong_item(self) -> list[int]:
        return [1, "2"]  # type: ignore[list-item]

    async def constrained_return(self, n: int) -> Amount:
        return n

    def plain_return(self) -> int:
        return None  # type: ignore[return-value]

    async def none_return(self) -> None:
        return 3  # type: ignore[return-value]

    async def promise_return(self) -> int:
        return E(self).constrained_return(3)  # type: ignore[return-value]

    async def reference_return(self) -> Ref[Root]:
        return 3  # type: ignore[return-value]

    async def local(self) -> Any:
        return await E(self).wrong_return()

    async def ask_raw(self, n: Any) -> Any:
        return await E(Raw()).take(n)


class Raw(Exo, guard=False):
    async def take(self, n: int) -> str:
        return n  # type: ignore[return-value]


class Derived(Raw):
    async def take_too(self, n: int) -> None: ...


class Guarded(Raw, guard=True):
    async def take_too(self, n: int) -> None: ...


@pytest.fixture
def vat() -> Puppet:
    puppet = Puppet(lambda *_: Root())
    assert puppet.start().fault is None
    return puppet


@pytest.mark.parametrize(
    ("method", "value", "complaint"),
    [
        ("amount", -1, "amount: expected >= 0, came -1"),
        ("amount", 1000, "amount: expected < 1000, came 1000"),
        ("amount", "x", "amount: expected int, came str"),
        ("name", "", "name: expected at least 1 long, came ''"),
        ("name", "abcd", "name: expected at most 3 long, came 'abcd'"),
        ("longest", [1, 2, 3], "rows: expected at most 2 long, came list of length 3"),
        ("longest", [1, -2], "rows[1]: expected >= 0, came -2"),
        ("even", 3, "n: expected a multiple of 2, came 3"),
        ("interval", 1.0, "n: expected < 1, came 1.0"),
        ("interval", float("nan"), "n: expected >= 0, came nan"),
        ("own", 3, "n: expected < 3, came 3"),
        ("predicate", "Abc", "text: expected what islower accepts, came 'Abc'"),
        ("untyped", "x", "n: expected > 0, came 'x'"),
        ("table", {"a": -1}, "table['a']: expected >= 0, came -1"),
        ("either", "some", "x: expected int or one of 'all' or None, came str"),
        ("promise", 3, "x: expected a promise, came int"),
        ("reference", 3, "x: expected a reference, came int"),
        ("nested", [("a", {1}), ("b", {"c"})], "x[1][1][0]: expected int, came str"),
        ("store", Obj("o-5", "MapStore"), "x: expected MapStore, came a reference to a MapStore elsewhere"),
    ],
)
def test_wrong_argument_names_method_parameter_path_expected_and_got(
    vat: Puppet, method: str, value: Any, complaint: str
) -> None:
    with pytest.raises(TypeError) as raised:
        vat.call(method, value)
    assert str(raised.value) == f"Root.{method}: {complaint}"


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("amount", 0),
        ("name", "abc"),
        ("longest", [1, 999]),
        ("even", 4),
        ("interval", 0),
        ("own", 2),
        ("predicate", "abc"),
        ("either", None),
        ("either", "all"),
        ("promise", Prom("p-7")),
        ("reference", Obj("o-5")),
        ("reference", Prom("p-7")),
        ("nested", [("a", {1})]),
    ],
)
def test_right_argument_passes(vat: Puppet, method: str, value: Any) -> None:
    assert vat.call(method, value) is None


def test_keyword_is_checked(vat: Puppet) -> None:
    with pytest.raises(TypeError, match=r"Root\.keyword: n: expected >= 0, came -1"):
        vat.call("keyword", n=-1)


@pytest.mark.parametrize(
    ("method", "args", "complaint"),
    [
        ("wrong_return", (), "its return: expected int, came str"),
        ("wrong_item", (), "its return[1]: expected int, came str"),
        ("constrained_return", (-1,), "its return: expected >= 0, came -1"),
        ("plain_return", (), "its return: expected int, came None"),
        ("none_return", (), "its return: expected None, came int"),
        ("reference_return", (), "its return: expected a reference, came int"),
    ],
)
def test_wrong_return_is_the_methods_fault(vat: Puppet, method: str, args: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(TypeError) as raised:
        vat.call(method, *args)
    assert str(raised.value) == f"Root.{method}: {complaint}"
    assert complaint in vat.outcome.complaints[0][1]


def test_a_returned_promise_is_not_checked_and_local_calls_are(vat: Puppet) -> None:
    assert vat.call("promise_return") == 3
    with pytest.raises(TypeError, match="its return: expected int, came str"):
        vat.call("local")


def test_a_class_may_opt_out_with_its_subclasses(vat: Puppet) -> None:
    assert vat.call("ask_raw", "text") == "text"
    for cls, is_guarded in ((Derived, False), (Guarded, True)):
        one = Puppet(lambda *_, cls=cls: cls())
        one.start()
        if is_guarded:
            with pytest.raises(TypeError, match=r"Guarded\.take_too: n: expected int"):
                one.call("take_too", "x")
        else:
            assert one.call("take_too", "x") is None


def test_off_heap_classes_opt_out_too() -> None:
    class Free(DurableExo, guard=False):
        n: int = 0

    class Loose(VirtualExo, guard=False):
        n: int = 0

    assert not Free._ocap_guard
    assert not Loose._ocap_guard


def effort(cls: type[Exo]) -> int:
    """Python's instructions of ten calls through liveslots, without a kernel, once all that is learnt is learnt."""
    one = Puppet(lambda *_: cls())
    one.start()
    args = data([[1, "x", [1, 2, 3]], {}])

    def calls(start: int) -> None:
        for number in range(start, start + 10):
            one.vat.deliver(Message("o+0", "ping", args, f"p-{number}"))

    calls(1)
    return steps_of(lambda: calls(11))


class GuardedPing(Exo):
    async def ping(self, n: int, text: str, rows: list[int]) -> int:
        return n


class RawPing(Exo, guard=False):
    async def ping(self, n: int, text: str, rows: list[int]) -> int:
        return n


def test_a_guarded_call_costs_at_most_half_as_much_again() -> None:
    """What it costs in time is a case of the benchmarks."""
    assert effort(RawPing) < effort(GuardedPing) < 1.5 * effort(RawPing)
