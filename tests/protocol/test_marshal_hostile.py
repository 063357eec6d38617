"""What another vat's bytes, or a vat's own strange objects, cannot do (rule 4 of `ocap.protocol.marshal`).

Each input hung, crashed or misled cbor2 with its defaults, or would mislead ours.
"""

from __future__ import annotations

import contextlib
import random
import time
from decimal import Decimal
from typing import Any

import attrs
import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocap.protocol import marshal
from ocap.protocol.capdata import TAG_OBJECT, TAG_PROMISE, CapData
from ocap.protocol.errors import DecodeError, NotPassableError, RemoteError
from ocap.protocol.marshal import MAX_BODY, MAX_COLLISIONS, Decoder, Remotable, encode
from ocap.protocol.passable import passable
from tests.protocol.strategies import Pending, Point, Thing, exact, passables

DECODER = Decoder(lambda slot, _: Thing(slot), Pending)
OURS = {value for name, value in vars(marshal).items() if name.startswith("TAG_")}
BIG_INTEGERS = {2, 3}
POINT = cbor2.dumps(f"{Point.__module__}.Point")


def refused(body: bytes, *slots: str) -> str:
    with pytest.raises(DecodeError) as caught:
        DECODER.decode(CapData(body, slots))
    return str(caught.value)


def head(major: int, number: int) -> bytes:
    """The head of a CBOR item, in its longest form."""
    return bytes([major << 5 | 27]) + number.to_bytes(8, "big")


def tagged(tag: int, content: bytes) -> bytes:
    return head(6, tag) + content


# tags --------------------------------------------------------------------------------------------

CONTENTS = [
    bytes.fromhex(text)
    for text in ("00", "f6", "6161", "4161", "80", "820102", "a0", "6a323032362d30312d3031", "d81c80")
]


@pytest.mark.parametrize("tag", [*range(1101), *range(0xC9F0, 0xCA10), 43000, 55799, 2**16, 2**32, 2**64 - 1])
def test_no_tag_but_ours_has_a_meaning(tag: int) -> None:
    if tag in OURS | BIG_INTEGERS:
        return
    for content in CONTENTS:
        refused(tagged(tag, content))
        refused(b"\x81" + tagged(tag, content))


def test_every_tag_this_cbor2_gives_a_meaning_is_refused() -> None:
    """A new cbor2 may know more: those it decodes to anything but a CBORTag must be in our table."""
    known = set()
    for tag in [*range(70_000), 0x10000 * 3]:
        for content in CONTENTS:
            try:
                made = cbor2.loads(tagged(tag, content))
            except cbor2.CBORDecodeError:
                known.add(tag)
            else:
                if type(made) is not cbor2.CBORTag:
                    known.add(tag)
    assert known <= set(marshal.NO_TAGS)


@pytest.mark.parametrize("tag", sorted(OURS - {TAG_OBJECT, TAG_PROMISE}))
def test_our_tags_refuse_content_they_never_have(tag: int) -> None:
    for content in (
        "00",
        "f5",
        "f97e00",
        "6161",
        "41ff",
        "a0",
        "a1616101",
        "810a",
        "8101",
        "82f601",
        "8300f600",
        "84010203f4",
    ):
        if (tag, content) in {
            *((marshal.TAG_TUPLE, c) for c in ("810a", "8101", "82f601", "8300f600", "84010203f4")),
            *(
                (kind, c)
                for kind in (marshal.TAG_SET, marshal.TAG_FROZENSET)
                for c in ("810a", "8101", "82f601", "84010203f4")
            ),
            *((marshal.TAG_DICT, c) for c in ("82f601", "84010203f4")),
        }:
            continue
        refused(tagged(tag, bytes.fromhex(content)))


@pytest.mark.parametrize(
    "fold",
    ["02", "20", "f5", "f4", "f90000", "6130", "f6"],
)
def test_the_fold_of_a_datetime_is_0_or_1(fold: str) -> None:
    refused(tagged(marshal.TAG_DATETIME, b"\x82\x6a2026-01-01" + bytes.fromhex(fold)))


def test_a_set_with_repeated_members_and_a_dict_with_repeated_keys_are_refused() -> None:
    assert "repeated members" in refused(tagged(marshal.TAG_SET, b"\x82\x01\x01"))
    assert "repeated members" in refused(tagged(marshal.TAG_FROZENSET, b"\x82\x01\xf5"))
    assert "repeated keys" in refused(tagged(marshal.TAG_DICT, b"\x84\x01\x00\xf9\x3c\x00\x00"))


def test_an_unhashable_member_is_refused() -> None:
    refused(tagged(marshal.TAG_SET, b"\x81" + tagged(marshal.TAG_SET, b"\x80")))
    refused(tagged(marshal.TAG_DICT, b"\x82" + tagged(marshal.TAG_DICT, b"\x80") + b"\x00"))


@pytest.mark.parametrize("fields", [b"", b"\0\0\0"])
def test_a_record_with_the_wrong_number_of_fields_is_refused(fields: bytes) -> None:
    refused(tagged(marshal.TAG_RECORD, bytes([0x81 + len(fields)]) + POINT + fields))


def test_a_record_whose_constructor_raises_is_refused() -> None:
    @passable
    @attrs.frozen
    class Picky:
        value: Any = attrs.field(validator=attrs.validators.instance_of(int))

    body, _ = encode(Picky(1))
    refused(body[:-1] + b"\xf6")


# structure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *("9fff", "9f01ff", "bfff", "bf616101ff", "5f4161ff", "7f6161ff", "819f01ff", "d9ca029f01ff"),  # indefinite
        *("ff", "81ff", "1c", "3e", "5d", "7c", "9c", "bd", "dc", "fc", "fd", "fe"),  # break, reserved
        *("a2616101616102", "a2616101616101", "a2416101416102"),  # duplicate keys
        *("a10102", "a1f500", "a1f600", "a1fb3ff800000000000000", "a1200a"),  # keys that are not text
        *("a18000", "a1a000", "a1d9ca02800000", "a1d9ca00820061610000"),
        *("a2011bffffffffffffffff00", "a1c24900ffffffffffffffff00"),
        *("61ff", "62c328", "63eda080", "66eda081edb080", "64f4908080", "62c0af"),  # not UTF-8, surrogates
        *(
            "",
            "18",
            "19ff",
            "1bffff",
            "62",
            "61",
            "8201",
            "a1",
            "a16161",
            "d9ca",
            "d9ca02",
            "fb3ff8",
            "c2",
        ),  # truncated
        *("f818", "f8ff", "e0", "f3", "f7", "f800", "f813"),  # simple values
    ],
)
def test_malformed_bodies_are_refused(body: str) -> None:
    refused(bytes.fromhex(body))


@pytest.mark.parametrize("rest", ["00", "f6", "80", "ff", "6161", "c2", "d9ca00", "50" + "00" * 16])
def test_bytes_after_the_end_are_refused(rest: str) -> None:
    for body in (b"\x01", b"\x80", b"\x61a", b"\xa0"):
        refused(body + bytes.fromhex(rest))


def test_the_mark_that_shows_the_end_cannot_be_guessed_from_its_place() -> None:
    """The end is found by a random item put behind the body; a body that swallows it is refused."""
    for length in range(64):
        refused(b"\x01\x58" + bytes([length]))
        refused(b"\x01" + bytes([0x40 + length % 24]))


@pytest.mark.parametrize("simple", ["e0", "f3", "f7", "f820", "f8ff"])
@pytest.mark.parametrize(
    "around",
    [
        *("{}", "81{}", "8201{}", "a16161{}", "818181{}", "d9ca0281{}", "d9ca0381{}", "d9ca0481{}"),
        *("d9ca058201{}", "d9ca0582{}01", "82d9ca06623130{}", "82d9ca06623130a16161{}", "82d9ca06623130d9ca0381{}"),
    ],
)
def test_simple_values_are_refused_wherever_they_stand(simple: str, around: str) -> None:
    refused(bytes.fromhex(around.format(simple)))


@pytest.mark.parametrize("simple", ["e0", "f7", "f8ff"])
def test_simple_values_are_refused_inside_instances(simple: str) -> None:
    """The check of the whole body does not see into records and errors; they check what they are made of."""
    value = bytes.fromhex(simple)
    for content in (
        value,
        b"\x81" + value,
        tagged(marshal.TAG_TUPLE, b"\x81" + value),
        tagged(marshal.TAG_UUID, b"\x50" + value),
    ):
        refused(tagged(marshal.TAG_RECORD, b"\x82" + POINT + content))
        refused(b"\x81" + tagged(marshal.TAG_RECORD, b"\x82" + POINT + b"\x81" + content))
        refused(tagged(marshal.TAG_ERROR, b"\x84\x6aValueError\x60\x81" + content + b"\xf6"))
        refused(tagged(marshal.TAG_RECORD, b"\x82" + POINT + tagged(marshal.TAG_RECORD, b"\x82" + POINT + content)))


@pytest.mark.parametrize(
    "value",
    [
        *(
            "\ue000",
            "\u0800",
            "\U000c0000",
            "漢字",
            bytes(range(256)),
            list(range(224, 260)),
            0xF7,
            [0xF8FF, -0xE0],
            1e-300,
        ),
        [Decimal("1.5"), "漢", (Thing("o-1"), {1, 0xF7}), {247: {"à": [Point(0xE0)]}}],
        {"k" * 0xF7: "v" * 0xE0},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_bytes_that_look_like_simple_values_pass_as_what_they_are(value: Any) -> None:
    body, references = encode(value)
    assert marshal._MAYBE_SIMPLE.search(body)
    assert exact(value) == exact(DECODER.decode(CapData(body, tuple(reference.slot for reference in references))))


# size, depth and time ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "level", ["81", "a16161", "d9ca0281", "d9ca00", "d81c", "d81c81", "c2", "9f", "d9010281", "d9d9f7", "bf6161"]
)
@pytest.mark.parametrize("depth", [200, 100_000, 1_000_000])
def test_deep_bodies_are_refused(level: str, depth: int) -> None:
    refused(bytes.fromhex(level) * depth + b"\x00")


@pytest.mark.parametrize("major", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [2**20, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_declared_lengths_allocate_nothing(major: int, length: int) -> None:
    refused(head(major, length))
    refused(head(major, length) * 60)
    refused(tagged(marshal.TAG_SET, head(major, length)))
    refused(b"\xa1" + head(major, length))


def test_shared_references_are_refused() -> None:
    cycle = bytes.fromhex("d81c81d81d00")
    laughs = b"\x8a" + b"".join(
        tagged(28, b"\x8a" + (b"\x60" * 10 if level == 0 else tagged(29, bytes([level - 1])) * 10))
        for level in range(10)
    )
    assert "not one of ours" in refused(cycle)
    assert "not one of ours" in refused(laughs)


@pytest.mark.parametrize(
    "body",
    [
        tagged(4, b"\x82\x00" + tagged(2, head(2, 200_000) + b"\x7f" * 200_000)),
        tagged(5, b"\x82" + head(0, 10**9) + b"\x01"),
        tagged(30, b"\x82" + (tagged(2, head(2, 200_000) + b"\x7f" * 200_000)) * 2),
        tagged(35, head(3, 1_000_000) + b"(a+)+" * 200_000),
        tagged(36, head(3, 1_000_000) + b"a" * 1_000_000),
        tagged(256, b"\x82" + head(3, 400_000) + b"a" * 400_000 + tagged(25, b"\x00")),
        b"\x80" * 100,
    ],
    ids=["decimal", "bigfloat", "rational", "regex", "mime", "string refs", "many items"],
)
def test_costly_tags_are_refused_at_once(body: bytes) -> None:
    start = time.perf_counter()
    refused(body)
    assert time.perf_counter() - start < 0.5


def test_a_body_over_the_limit_is_refused_unread() -> None:
    assert "over the limit" in refused(b"\xff" * (MAX_BODY + 1))


def colliding(count: int) -> bytes:
    return b"".join(cbor2.dumps(number * (2**61 - 1)) for number in range(1, count + 1))


def test_keys_chosen_to_collide_are_refused() -> None:
    count = 20_000
    start = time.perf_counter()
    assert "share a hash" in refused(tagged(marshal.TAG_SET, head(4, count) + colliding(count)))
    assert "share a hash" in refused(tagged(marshal.TAG_FROZENSET, head(4, count) + colliding(count)))
    assert "share a hash" in refused(
        tagged(
            marshal.TAG_DICT,
            head(4, 2 * count) + b"".join(b"%s\x00" % cbor2.dumps(n * (2**61 - 1)) for n in range(1, count + 1)),
        )
    )
    refused(head(5, count) + colliding(2 * count))
    assert time.perf_counter() - start < 1


def test_honest_collisions_pass() -> None:
    value = {(a, b, c, d) for a in (-1, -2) for b in (-1, -2) for c in (-1, -2) for d in (-1, -2)} | set(
        range(MAX_COLLISIONS)
    )
    assert value == DECODER.decode(CapData(encode(value)[0]))


# slots -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", ["02", "1903e8", "20", "f5", "f4", "f6", "f90000", "6130", "80", "c240", "c34100", "c24101"]
)
def test_a_slot_index_is_an_integer_in_range(index: str) -> None:
    content = bytes.fromhex(index)
    promise_at_1 = index == "c24101"  # 1, at length
    if not promise_at_1:
        refused(tagged(TAG_PROMISE, content), "o-1", "p-1")
    refused(tagged(TAG_OBJECT, b"\x82" + content + b"\x60"), "p-1", "p-2")


@pytest.mark.parametrize("content", ["00", "8100", "820000", "8200f6", "83006000", "80", "a0", "f6"])
def test_an_object_reference_is_an_index_and_an_interface(content: str) -> None:
    refused(tagged(TAG_OBJECT, bytes.fromhex(content)), "o-1")


@pytest.mark.parametrize(
    ("tag", "content", "slot"),
    [(0xCA00, "820060", "p-1"), (0xCA00, "820060", "kp1"), (0xCA01, "00", "o-1"), (0xCA01, "00", "ko1")],
)
def test_an_object_is_not_declared_as_a_promise_nor_the_reverse(tag: int, content: str, slot: str) -> None:
    assert "declared as" in refused(tagged(tag, bytes.fromhex(content)), slot)


def test_a_refused_body_leaves_the_decoder_as_it_was() -> None:
    refused(b"\x81\xff", "o-1")
    body, _ = encode(Thing("o-1"))
    assert "no slot 0 among 0" in refused(body)
    assert "o-2" == DECODER.decode(CapData(body, ("o-2",))).slot


# what a vat may try to send ----------------------------------------------------------------------


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Mapping(dict[str, int]):
    pass


class Liar:
    """Claims to be something that passes."""

    def __init__(self, claim: type) -> None:
        self.claim = claim

    @property
    def __class__(self) -> Any:
        return self.claim

    @__class__.setter
    def __class__(self, _: Any) -> None: ...

    def _interface_name(self) -> str:
        return "Liar"


class Evil:  # noqa: PLW1641 - its __hash__ is below
    def __repr__(self) -> str:
        raise SystemError("repr")

    __str__ = __iter__ = __len__ = __reduce__ = __getattr__ = __hash__ = __bool__ = __repr__  # type: ignore[assignment,misc]

    def __eq__(self, other: object) -> bool:
        raise SystemError("eq")


class EvilKey(Evil):
    def __hash__(self) -> int:  # type: ignore[override]
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


class EvilMeta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise SystemError("module")


class EvilClass(metaclass=EvilMeta):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *(cbor2.CBORTag(TAG_OBJECT, [0, "x"]), cbor2.CBORSimpleValue(5), cbor2.undefined),
        *(
            Text("a"),
            Number(1),
            Mapping(a=1),
            type("L", (list,), {})([1]),
            type("T", (tuple,), {})([1]),
            type("F", (float,), {})(1),
        ),
        *(type("B", (bytes,), {})(b"a"), type("S", (set,), {})([1]), type("D", (Decimal,), {})(1)),
        *(
            Liar(int),
            Liar(list),
            Liar(Remotable),
            Liar(ValueError),
            Evil(),
            EvilClass(),
            EvilClass,
            object(),
            type,
            len,
            ...,
            NotImplemented,
        ),
        *(bytearray(b"a"), memoryview(b"a"), range(3), 1j, iter([]), {}.keys(), iter(())),
        *("\ud800", ["a", "\udfff"], {"\ud800": 1}, {1: "\ud800"}, {"\ud800", "b"}, Point("\ud800")),
        *({EvilKey(): 1}, {EvilKey()}, [Evil()], {"k": Evil()}, {1: Evil()}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_passable_is_refused_and_nothing_else_is_raised(value: Any) -> None:
    for wrapped in (value, [value], (value,), {"k": value}, {1: value}, Point(value)):
        with pytest.raises(NotPassableError):
            encode(wrapped)


def test_a_list_that_contains_itself_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    mapping: dict[str, Any] = {}
    mapping["m"] = (mapping,)
    for value in (cycle, mapping):
        with pytest.raises(NotPassableError, match="contains itself"):
            encode(value)


def test_a_list_100_000_deep_is_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotPassableError, match="nested deeper"):
        encode(value)
    while value:  # or freeing it overruns the stack
        value = value.pop()


def test_a_list_that_holds_one_list_many_times_over_is_refused_in_time() -> None:
    value: list[Any] = []
    for _ in range(20):
        value = [value] * 1000
    with pytest.raises(NotPassableError, match="over the limit"):
        encode(value)


def test_an_error_cannot_smuggle_what_is_not_passable() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    for smuggler in (
        RemoteError(cbor2.CBORTag(TAG_OBJECT, [0, "x"]), deep, deep),  # type: ignore[arg-type]
        RemoteError(Evil(), Evil(), Evil()),  # type: ignore[arg-type]
        type("ValueError", (Exception,), {"__str__": Evil.__repr__, "error_id": deep})(),
        ValueError(Evil()),
        ValueError(cbor2.undefined),
        ValueError(deep),
    ):
        body, references = encode(smuggler)
        assert [] == references
        assert isinstance(DECODER.decode(CapData(body)), ValueError | RemoteError)
    while deep:
        deep = deep.pop()


# fuzz --------------------------------------------------------------------------------------------


def decode_or_refuse(body: bytes, slots: tuple[str, ...]) -> None:
    with contextlib.suppress(DecodeError):
        DECODER.decode(CapData(body, slots))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64))
def test_random_bytes_raise_decode_errors_only(body: bytes) -> None:
    decode_or_refuse(body, ("o-1", "p-2"))


@settings(max_examples=60, deadline=None)
@given(passables, st.randoms(use_true_random=False))
def test_mutated_bodies_raise_decode_errors_only(value: Any, choice: random.Random) -> None:
    body, references = encode(value)
    slots = tuple(reference.slot for reference in references)
    for _ in range(60):
        mutant = bytearray(body)
        for _ in range(choice.randint(1, 3)):
            at = choice.randrange(len(mutant) + 1)
            match choice.randrange(4):
                case 0:
                    mutant[at : at + 1] = bytes([choice.randrange(256)])
                case 1:
                    mutant[at:at] = bytes(
                        [choice.choice((0x80, 0x9F, 0xA1, 0xC2, 0xD9, 0xF7, 0xF8, 0xFB, 0xFF, 0x5B, 0x7B))]
                    )
                case 2:
                    del mutant[at : at + choice.randint(1, 4)]
                case _:
                    mutant[at:at] = mutant[at : at + choice.randint(1, 8)]
        decode_or_refuse(bytes(mutant), slots)
