"""Every passable value arrives as the type it was sent (rules 1 to 3 of `ocap.protocol.marshal`)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import assume, given, settings

from ocap.protocol.capdata import CapData
from ocap.protocol.errors import (
    DecodeError,
    KernelClosedError,
    NotPassableError,
    ObjectGoneError,
    RemoteError,
    VatTerminatedError,
)
from ocap.protocol.marshal import MAX_BODY, MAX_DEPTH, MAX_SLOTS, Decoder, encode, encode_error
from ocap.protocol.passable import Registry, loading_into, passable
from tests.protocol.strategies import Pending, Point, Thing, exact, passables

DECODER = Decoder(lambda slot, _: Thing(slot), Pending)


def sent(value: Any) -> CapData:
    body, references = encode(value)
    return CapData(body, tuple(reference.slot for reference in references))


def arrived(value: Any) -> Any:
    return DECODER.decode(sent(value))


def complaint(value: Any) -> NotPassableError:
    with pytest.raises(NotPassableError) as caught:
        encode(value, "args")
    return caught.value


WHEN = datetime(2026, 10, 25, 2, 30, 0, 1)  # noqa: DTZ001 - naive on purpose
SCALARS = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        23,
        24,
        255,
        256,
        65535,
        65536,
        2**63,
        2**64 - 1,
        2**64,
        -(2**64),
        -(2**64) - 1,
        10**400,
    ),
    *(0.0, -0.0, 1.0, 0.1, 1.5, 1e300, 5e-324, float("inf"), float("-inf"), float("nan")),
    *("", "a", "ünï", "\U0001f980", "\0", "𐀀", "x" * 300, b"", b"\xf7\xe0", b"\0" * 300),
    *(
        Decimal(0),
        Decimal("-0"),
        Decimal("1E+5"),
        Decimal("0.10"),
        Decimal("NaN"),
        Decimal("-sNaN12"),
        Decimal("-Infinity"),
    ),
    *(WHEN, WHEN.replace(fold=1), WHEN.replace(tzinfo=timezone.utc), datetime.min, datetime.max),  # noqa: UP017, DTZ901
    WHEN.replace(tzinfo=timezone(timedelta(hours=-3, minutes=-30, seconds=-7))),
    UUID("12345678-1234-5678-1234-567812345678"),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars_arrive_as_they_were(value: Any) -> None:
    assert exact(value) == exact(arrived(value))


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars_arrive_as_they_were_inside_containers(value: Any) -> None:
    wrappings: list[Any] = [[value], (value,), {"k": value}, Point(value), KeyError(value)]
    if not (isinstance(value, Decimal) and value.is_snan()):  # it cannot be hashed
        wrappings += [{value}, frozenset([value]), {value: value}]
    for wrapped in wrappings:
        assert exact(wrapped) == exact(arrived(wrapped))


CONTAINERS = [
    *([], (), {}, set(), frozenset(), [[]], ((),), [()], ([],), {()}, {"": {}}),
    [True, 1, 1.0, False, 0, -0.0],
    (1, (2, (3, [4, (5,)]))),
    {(1, 2), (1, (2, 3)), ()},
    {frozenset(), frozenset({1}), frozenset({frozenset({1})})},
    {"b": 1, "a": 2},
    {1: "int", "1": "text", b"1": "bytes", (1,): "tuple", None: "none", 1.5: "float", frozenset({1}): "set"},
    {True: "yes", 0: "zero"},
    {Decimal(1): UUID(int=1), WHEN: [WHEN]},
    {(): {(): {(): ()}}},
    [{1, 2}, {"a": {"b": ({"c": None},)}}],
    {"mixed": [1, "two", [3]], "plain": [1, 2]},
]


@pytest.mark.parametrize("value", CONTAINERS, ids=lambda it: type(it).__name__)
def test_containers_arrive_as_they_were(value: Any) -> None:
    assert exact(value) == exact(arrived(value))


@settings(max_examples=300, deadline=None)
@given(passables)
def test_every_passable_round_trips(value: Any) -> None:
    assert exact(value) == exact(arrived(value))


@settings(max_examples=100, deadline=None)
@given(passables)
def test_what_arrived_encodes_to_the_same_bytes(value: Any) -> None:
    """Errors aside: their text may show a set, in no order, or an address."""
    assume("Error(" not in repr(value))
    data = sent(value)
    assert data == sent(DECODER.decode(data))


def test_dicts_keep_their_order() -> None:
    assert ["z", "a", "m"] == list(arrived({"z": 1, "a": 2, "m": 3}))
    assert [2, "a", (1,)] == list(arrived({2: 1, "a": 2, (1,): 3}))


def test_a_set_has_one_encoding_however_it_was_built() -> None:
    assert encode({f"k{i}" for i in range(50)}) == encode({f"k{i}" for i in reversed(range(50))})


def test_a_zone_by_name_arrives_as_its_offset() -> None:
    """No rules of time zones travel; the moment and the fold do."""
    value = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Zurich"), fold=1)
    made = arrived(value)
    assert (timedelta(hours=1), 1) == (made.utcoffset(), made.fold)


# errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        *(
            ValueError("no"),
            ValueError(),
            KeyError(("a", 1)),
            TypeError("a", 2, None),
            StopIteration(3),
            ZeroDivisionError("z"),
        ),
        OSError(2, "gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        VatTerminatedError("the vat is gone"),
        ObjectGoneError("gone"),
        NotPassableError("args[0]", "no"),
        RemoteError("Odd", "what", "e-7"),
        RemoteError("Odd", "", None),
        ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [KeyError("k")])]),
    ],
    ids=repr,
)
def test_builtin_errors_and_ours_keep_class_and_arguments(error: Exception) -> None:
    assert exact(error) == exact(arrived(error))


def test_an_error_of_another_class_arrives_as_remote_error() -> None:
    assert exact(RemoteError("KernelClosedError", "s7")) == exact(arrived(KernelClosedError("s7")))


def test_a_class_that_borrows_a_builtin_name_does_not_become_the_builtin() -> None:
    error = type("ValueError", (Exception,), {})("mine")
    assert exact(RemoteError("ValueError", "mine")) == exact(arrived(error))


@pytest.mark.parametrize("error", [ValueError("no"), KernelClosedError("s7")], ids=repr)
def test_the_error_id_travels_with_the_error(error: Exception) -> None:
    error.error_id = "e-1"  # type: ignore[attr-defined]
    assert "e-1" == arrived(error).error_id


def test_unpassable_arguments_of_an_error_become_its_message() -> None:
    value = ValueError("about", object)
    assert exact(ValueError(str(value))) == exact(arrived(value))


def test_references_in_arguments_that_did_not_pass_leave_no_slot() -> None:
    kept, lost = Thing("o-1"), Thing("o-2")
    assert ("o-1",) == sent([ValueError(lost, object), kept, ValueError(kept, object)]).slots


def test_an_error_in_a_group_that_is_not_builtin_arrives_as_remote_error() -> None:
    group = arrived(ExceptionGroup("several", [ValueError(1), KernelClosedError("s7")]))
    assert [ValueError, RemoteError] == [type(error) for error in group.exceptions]


def test_an_error_whose_constructor_refuses_its_arguments_arrives_as_remote_error() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")
    error.args = ("changed",)
    made = arrived(error)
    assert (RemoteError, "UnicodeDecodeError") == (type(made), made.name)


def test_text_that_cannot_be_encoded_does_not_keep_an_error_from_arriving() -> None:
    assert exact(ValueError("\\udc80")) == exact(arrived(ValueError("\udc80")))
    assert exact(RemoteError("E", "\\udc80", "\\udc81")) == exact(arrived(RemoteError("E", "\udc80", "\udc81")))


def test_a_remote_error_with_odd_attributes_arrives_as_text() -> None:
    assert exact(RemoteError("7", "[1]", "8")) == exact(arrived(RemoteError(7, [1], 8)))  # type: ignore[arg-type]


def test_the_kernels_own_errors_have_no_slots() -> None:
    assert exact(VatTerminatedError("x")) == exact(DECODER.decode(encode_error(VatTerminatedError("x"))))


# records -----------------------------------------------------------------------------------------


def test_a_record_arrives_as_its_class() -> None:
    value = Point((1, Point(2)), {"k": Thing("o-4")})
    assert exact(value) == exact(arrived(value))


def test_a_vats_own_record_is_known_to_that_vat_alone() -> None:
    registry = Registry()
    with loading_into(registry):
        plain = type("Own", (), {"__module__": "bank@v1", "__annotations__": {"a": int}})
        own: Any = passable(attrs.frozen(plain))
    body, _ = encode(own(3))
    assert own(3) == Decoder(lambda slot, _: Thing(slot), Pending, registry).decode(CapData(body))
    with pytest.raises(DecodeError, match=r"no class bank\.Own is registered"):
        DECODER.decode(CapData(body))


def test_a_subclass_of_a_record_must_register_itself() -> None:
    class Other(Point):
        pass

    assert "Other is not passable" in complaint(Other(1)).reason


@pytest.mark.parametrize("cls", [attrs.define(type("Loose", (), {})), type("Plain", (), {})])
def test_only_frozen_attrs_classes_register(cls: type) -> None:
    with pytest.raises(TypeError, match="frozen"):
        passable(cls)


def test_two_classes_of_one_name_do_not_register() -> None:
    class Twin:
        pass

    first, second = (attrs.frozen(type("Twin", (), {"__module__": "m"})) for _ in range(2))
    passable(first)
    with pytest.raises(TypeError, match=r"two passable classes are called m\.Twin"):
        passable(second)


# references --------------------------------------------------------------------------------------


def test_slots_are_numbered_by_first_appearance_without_repeats() -> None:
    first, second, third = Thing("o-9"), Pending("p-3"), Thing("o-1")
    data = sent([first, {"k": second}, (first, third), second])
    assert ("o-9", "p-3", "o-1") == data.slots


def test_one_object_twice_decodes_through_the_same_slot() -> None:
    thing = Thing("o-9")
    assert ["o-9", "o-9"] == [made.slot for made in arrived([thing, thing])]


def test_a_single_object_reference_is_recognised() -> None:
    assert sent(Thing("o-1")).is_single_reference()
    for value in (Pending("p-1"), [Thing("o-1")], 5, "o-1"):
        assert not sent(value).is_single_reference()


def test_the_interface_name_travels() -> None:
    body, _ = encode(Thing("o-1"))
    assert ("o-4", "Thing") == Decoder(lambda *seen: seen, Pending).decode(CapData(body, ("o-4",)))


# refusals ----------------------------------------------------------------------------------------


class Handle:
    pass


FH = Handle()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (FH, "args"),
        ([0, FH], "args[1]"),
        ([{"rows": [1, 2, 3, Point(FH)]}], 'args[0]["rows"][3].x'),
        ({1: FH}, "args[1]"),
        ({(1, 2): FH}, "args[<tuple>]"),
        ({b"k": (FH,)}, "args[b'k'][0]"),
        ({FH: 1}, f"args[<{__name__}.Handle>]"),
        ({FH}, f"args{{<{__name__}.Handle>}}"),
        ({"ü": FH}, 'args["ü"]'),
        ({"k" * 100: FH}, f'args["{"k" * 40}"…]'),
        ({10**5000: FH}, "args[<int>]"),
    ],
)
def test_a_refusal_names_the_path_to_the_culprit(value: Any, path: str) -> None:
    assert path == complaint(value).path


def test_a_refusal_says_what_to_send_instead() -> None:
    async def behaviour() -> None:
        pass

    coroutine = behaviour()
    assert "Handle is not passable; make its class an Exo" in complaint(FH).reason
    assert "await it first" in complaint(coroutine).reason
    assert "only exceptions below Exception are" in complaint(KeyboardInterrupt()).reason
    coroutine.close()


def test_nesting_is_passable_up_to_the_limit() -> None:
    for wrap in (lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: {1: x}, Point, ValueError):
        value: Any = 0
        for _ in range(MAX_DEPTH if wrap is not ValueError else MAX_DEPTH // 2):
            value = wrap(value)
        assert exact(value) == exact(arrived(value))


def test_deeper_nesting_is_refused() -> None:
    value: Any = 0
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    assert f"nested deeper than {MAX_DEPTH}" in complaint(value).reason


def test_a_body_over_the_limit_is_refused() -> None:
    encode(b"x" * (MAX_BODY - 5))
    assert "send it in parts" in complaint(b"x" * (MAX_BODY - 4)).reason


def test_too_many_references_are_refused() -> None:
    encode([Thing("o-1") for _ in range(MAX_SLOTS)])
    assert f"more than {MAX_SLOTS} references" in complaint([Thing("o-1") for _ in range(MAX_SLOTS + 1)]).reason


GOLDEN = [
    (None, "f6"),
    (True, "f5"),
    (1, "01"),
    (-1, "20"),
    (2**64, "c249010000000000000000"),
    (1.5, "fb3ff8000000000000"),
    (-0.0, "fb8000000000000000"),
    (float("nan"), "f97e00"),
    ("é", "62c3a9"),
    (b"\xf7", "41f7"),
    ([1, "a"], "82016161"),
    ((1, "a"), "d9ca0282016161"),
    ({2, 1}, "d9ca03820102"),
    (frozenset({1}), "d9ca048101"),
    ({"b": 1, "a": 2}, "a2616201616102"),
    ({1: "a"}, "d9ca0582016161"),
    (Decimal("-0"), "d9ca06622d30"),
    (datetime(2026, 1, 2, 3, 4, 5, fold=1), "d9ca078273323032362d30312d30325430333a30343a303501"),  # noqa: DTZ001
    (UUID(int=5), "d9ca085000000000000000000000000000000005"),
    (ValueError("no"), "d9ca09846a56616c75654572726f72626e6f81626e6ff6"),
    (RemoteError("E", "m", "e1"), "d9ca098461456" + "16df6626531"),
    ([Thing("o-1"), Pending("p-1")], "82d9ca008200655468696e67d9ca0101"),
]


@pytest.mark.parametrize(("value", "body"), GOLDEN, ids=lambda part: repr(part)[:30])
def test_golden_bodies(value: Any, body: str) -> None:
    """Stored bodies outlive versions: a change here is a change of the store's format."""
    assert body == encode(value)[0].hex()


def test_a_golden_record() -> None:
    point = Point(1, 2)
    name = f"{Point.__module__}.Point".encode()
    assert b"\xd9\xca\x0a\x83" + b"\x78" + bytes([len(name)]) + name + b"\x01\x02" == encode(point)[0]
