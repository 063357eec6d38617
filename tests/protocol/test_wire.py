from __future__ import annotations

import random
from typing import Any, get_args

import cbor2
import pytest

from ocap.protocol import deliveries, syscalls, wire
from ocap.protocol.capdata import CapData, Settlement
from ocap.protocol.deliveries import (
    BringOutYourDead,
    Delivery,
    DropExports,
    Message,
    Notify,
    Ping,
    ReportEdges,
    StartVat,
)
from ocap.protocol.errors import DecodeError
from ocap.protocol.marshal import MAX_BODY, MAX_SLOTS
from ocap.protocol.syscalls import (
    AbandonExports,
    DropImports,
    Exit,
    Forward,
    Keep,
    Outcome,
    Resolve,
    Send,
    Subscribe,
    Syscall,
)
from ocap.protocol.wire import MAX_ITEMS, MAX_WIRE, from_wire, to_wire

DATA = CapData(b"\x01", ("o+1",))
SETTLEMENT = Settlement("p-3", True, DATA)  # 83 14 41 01 81 63 'o+1'
WIRE_DATA = "8314410181636f2b31"
WIRE_SETTLEMENT = "841563702d33f5" + WIRE_DATA

GOLDEN = [
    (StartVat(2, DATA), "840102" + WIRE_DATA + "80"),
    (StartVat(0, DATA, (("random", "o-1"),)), "840100" + WIRE_DATA + "81826672616e646f6d636f2d31"),
    (Ping(), "8109"),
    (Message("o+0", "hi", DATA), "850263" + b"o+0".hex() + "626869" + WIRE_DATA + "f6"),
    (Message("o+0", "hi", DATA, "p-3"), "850263" + b"o+0".hex() + "626869" + WIRE_DATA + "6370" + "2d33"),
    (Notify((SETTLEMENT,)), "820381" + WIRE_SETTLEMENT),
    (DropExports(("o+1", "o+2")), "82048263" + b"o+1".hex() + "63" + b"o+2".hex()),
    (deliveries.RetireExports(("o+1",)), "82058163" + b"o+1".hex()),
    (deliveries.RetireImports(("o-1",)), "82068163" + b"o-1".hex()),
    (ReportEdges(), "8108"),
    (BringOutYourDead(("o-3",)), "82078163" + "6f2d33"),
    (Send("o-1", "hi", DATA), "850a63" + b"o-1".hex() + "626869" + WIRE_DATA + "f6"),
    (Send("o-1", "hi", DATA, "p+1"), "850a63" + b"o-1".hex() + "626869" + WIRE_DATA + "63" + b"p+1".hex()),
    (Subscribe("p-3"), "820b63" + b"p-3".hex()),
    (Resolve((SETTLEMENT, SETTLEMENT)), "820c82" + WIRE_SETTLEMENT * 2),
    (Forward("p+1", "p-3"), "830d63" + b"p+1".hex() + "63" + b"p-3".hex()),
    (DropImports(("o-1",)), "820e8163" + b"o-1".hex()),
    (syscalls.RetireImports(("o-1",)), "820f8163" + b"o-1".hex()),
    (syscalls.RetireExports(("o+1",)), "82108163" + b"o+1".hex()),
    (AbandonExports(()), "821180"),
    (Keep("p-3", decision=True), "831363702d33f5"),
    (Exit(is_failure=False, data=DATA), "8312f4" + WIRE_DATA),
    (DATA, WIRE_DATA),
    (CapData(b""), "83144080"),
    (SETTLEMENT, WIRE_SETTLEMENT),
    (Outcome(), "88168080f68080f480"),
    (
        Outcome(
            (Subscribe("p-3"),),
            ((b"k", b"v"), (b"d", None)),
            "why",
            (("e1", "text"),),
            ("hi",),
            True,
            (("", ("o-1",)),),
        ),
        "881681820b6370" + "2d33" + "82" + "82416b4176" + "824164f6" + "63776879" + "81" + "82626531" + "6474657874"
        "81626869f5" + "81" + "8260" + "81636f2d31",
    ),
]
EVERY = (*get_args(Delivery), *get_args(Syscall), CapData, Settlement, Outcome)
SMALL = [value for value, _ in GOLDEN]


def refused(data: bytes, expected: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        from_wire(data, expected)
    return str(caught.value)


@pytest.mark.parametrize(("value", "data"), GOLDEN, ids=lambda part: repr(part)[:40])
def test_golden_bytes(value: Any, data: str) -> None:
    """Two versions may stand at the two ends of a pipe or a file: codes and order never change."""
    assert data == to_wire(value).hex()
    assert value == from_wire(bytes.fromhex(data), type(value))


def test_every_class_has_golden_bytes_and_a_code_of_its_own() -> None:
    assert set(EVERY) == {type(value) for value, _ in GOLDEN} == {form.cls for form in wire._FORMS}
    assert len(EVERY) == len({form.code for form in wire._FORMS})


@pytest.mark.parametrize("value", SMALL, ids=lambda part: repr(part)[:40])
@pytest.mark.parametrize("expected", [Delivery, Syscall, Outcome, Settlement, CapData], ids=str)
def test_only_the_expected_classes_are_read(value: Any, expected: Any) -> None:
    if type(value) in (get_args(expected) or (expected,)):
        assert value == from_wire(to_wire(value), expected)
    else:
        assert refused(to_wire(value), expected).startswith("expected ")


@pytest.mark.parametrize("value", SMALL, ids=lambda part: repr(part)[:40])
def test_a_field_too_few_or_too_many_is_refused(value: Any) -> None:
    items = cbor2.loads(to_wire(value))
    fields = len(items) - 1
    assert f"expected the {fields} fields of" in refused(cbor2.dumps([*items, None]), type(value))
    if fields:
        assert f"expected the {fields} fields of" in refused(cbor2.dumps(items[:-1]), type(value))


@pytest.mark.parametrize("value", SMALL, ids=lambda part: repr(part)[:40])
def test_a_field_of_another_type_is_refused(value: Any) -> None:
    items = cbor2.loads(to_wire(value))
    for at in range(1, len(items)):
        others: tuple[Any, ...] = (1.5, {}, -1, 1 << 63, [[]], [None], [{}])
        for other in others:
            refused(cbor2.dumps([*items[:at], other, *items[at + 1 :]]), type(value))


@pytest.mark.parametrize(
    ("items", "expected", "complaint"),
    [
        (5, Delivery, "expected one of StartVat, Message"),
        ([], Outcome, "expected Outcome, not list"),
        (["22"], Outcome, "expected Outcome, not list"),
        ([True, 0, [20, b"", []]], Delivery, "expected one of StartVat"),
        ([99], Outcome, "expected Outcome, not code 99"),
        ([11, 5], Syscall, "promise: expected text, not int"),
        ([1, True, [20, b"", []], []], Delivery, "incarnation: expected a count, not bool"),
        ([18, 0, [20, b"", []]], Syscall, "is_failure: expected true or false, not int"),
        ([2, "o+0", "m", [20, "", []], None], Delivery, "args.body: expected bytes, not str"),
        ([2, "o+0", "m", [20, b"", ["o-1", 7]], None], Delivery, "args.slots[1]: expected text, not int"),
        ([2, "o+0", "m", [20, b"", []], b"p"], Delivery, "result: expected text, not bytes"),
        ([3, [[20, b"", []]]], Delivery, "settlements[0]: expected Settlement, not code 20"),
        (
            [22, [[11, "p-1"], [13, "p-1", 1]], [], None, [], [], False, []],
            Outcome,
            "syscalls[1].to: expected text, not int",
        ),
        (
            [22, [[2, "o+0", "m", [20, b"", []], None]], [], None, [], [], False, []],
            Outcome,
            "syscalls[0]: expected one of Send",
        ),
        (
            [22, [], [[b"k"]], None, [], [], False, []],
            Outcome,
            "checkpoint[0]: expected a pair of bytes and bytes or null, not 1 members",
        ),
        ([22, [], [[b"k", "v"]], None, [], [], False, []], Outcome, "checkpoint[0][1]: expected bytes, not str"),
        ([22, [], [], None, [["e1", 2]], [], False, []], Outcome, "complaints[0][1]: expected text, not int"),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(items: Any, expected: Any, complaint: str) -> None:
    assert refused(cbor2.dumps(items), expected).startswith(complaint)


@pytest.mark.parametrize(
    "data", ["", "8107" + "00", "9f07ff", "81d9ca0207", "c28107", "81c24107", "d9d9f78107", "81f7", "8107f7", "a0"]
)
def test_cbor_outside_the_profile_is_refused(data: str) -> None:
    refused(bytes.fromhex(data), Delivery)


@pytest.mark.parametrize("body", [b"", b"\xff" * 9, b"\xd8\x1c\x81\xd8\x1d\x00", bytes(range(256))])
def test_bodies_are_never_read(body: bytes) -> None:
    assert CapData(body) == from_wire(to_wire(CapData(body)), CapData)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (5, "expected one of StartVat"),
        (Message("o+0", b"m", DATA), "method: expected text, not bytes"),  # type: ignore[arg-type]
        (Subscribe(type("Text", (str,), {})("p-1")), "promise: expected text, not Text"),
        (Subscribe(cbor2.CBORTag(1, 2)), "promise: expected text, not CBORTag"),  # type: ignore[arg-type]
        (DropImports(["o-1"]), "vrefs: expected an array of text, not list"),  # type: ignore[arg-type]
        (Resolve((Settlement("p", 0, DATA),)), "settlements[0].rejected: expected true or false"),  # type: ignore[arg-type]
        (Outcome((BringOutYourDead(),)), "syscalls[0]: expected one of Send"),  # type: ignore[arg-type]
        (StartVat(-1, DATA), "incarnation: -1 is not from 0"),
    ],
    ids=str,
)
def test_a_value_with_a_field_of_another_type_is_not_written(value: Any, complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        to_wire(value)
    assert complaint in str(caught.value)


def test_sizes_are_capped_both_ways() -> None:
    assert "bytes are over the limit" in refused(cbor2.dumps([20, b"x" * (MAX_BODY + 1), []]), CapData)
    assert "members are over the limit" in refused(cbor2.dumps([20, b"", ["o-1"] * (MAX_SLOTS + 1)]), CapData)
    assert "members are over the limit" in refused(cbor2.dumps([4, ["o+1"] * (MAX_ITEMS + 1)]), Delivery)
    assert "bytes are over the limit" in refused(bytes(MAX_WIRE + 1), Delivery)
    with pytest.raises(TypeError, match="over the limit"):
        to_wire(CapData(b"x" * (MAX_BODY + 1)))
    with pytest.raises(ValueError, match="over the limit"):
        to_wire(Outcome(checkpoint=((b"k", bytes(MAX_WIRE)),)))


def test_a_swarm_of_small_items_is_refused_before_it_takes_memory() -> None:
    assert "items" in refused(b"\x9a\x00\x20\x00\x00" + b"\x80" * (1 << 21), Outcome)


def test_a_large_outcome_passes() -> None:
    value = Outcome((Send("o-1", "m", CapData(b"x" * MAX_BODY)),) * 2, ((b"k", bytes(MAX_BODY)),))
    assert value == from_wire(to_wire(value), Outcome)


def test_mutants_raise_decode_errors_only() -> None:
    choice = random.Random(7)
    for _ in range(20_000):
        value, text = choice.choice(GOLDEN)
        mutant = bytearray.fromhex(text)
        for _ in range(choice.randint(1, 3)):
            mutant[choice.randrange(len(mutant))] = choice.randrange(256)
        try:
            made = from_wire(bytes(mutant), type(value))
        except DecodeError:
            continue
        assert type(made) is type(value)
        assert made == from_wire(to_wire(made), type(value))
