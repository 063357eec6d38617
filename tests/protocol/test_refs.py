from __future__ import annotations

import pytest

from ocap.protocol import refs
from ocap.protocol.refs import Kref


def test_names_are_built_from_their_numbers() -> None:
    assert "ko7" == refs.object_kref(7)
    assert "kp3" == refs.promise_kref(3)
    assert "v1" == refs.vat_id(1)
    assert "s2" == refs.subcluster_id(2)
    assert "o+5" == refs.object_export(5)
    assert "p+1" == refs.promise_export(1)
    assert "o+d3/7" == refs.durable_export(3, 7)


@pytest.mark.parametrize(("kref", "vref"), [("ko20", "o-4"), ("kp20", "p-4")])
def test_an_import_keeps_the_kind_of_its_kref(kref: str, vref: str) -> None:
    assert vref == refs.imported(Kref(kref), 4)


@pytest.mark.parametrize(
    "text",
    ["o+0", "o-1", "p+12", "p-3", "o+d1/0", "o+d10/22", "o+v3/4", "o+d10/3:0", "o+v10/3:12", "o+999999999999999999"],
)
def test_vrefs_of_the_grammar_are_well_formed(text: str) -> None:
    assert refs.is_well_formed_vref(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "o",
            "o+",
            "o5",
            "+5",
            "ko5",
            "x+5",
            "O+5",
            "o +5",
            " o+5",
            "o+5 ",
            "o+5\n",
            "o+05",
            "o-00",
            "o+-5",
            "o+5.0",
        ),
        *("o+٣", "o+1e3", "o+1_0", "o+1000000000000000000", "p+d1/2", "o-d1/2", "o+d1", "o+d1/", "o+d/1", "o+d01/2"),
        *("o+d1/2:", "o+d1/2:01", "o+d1/2:1:2", "o+5:1", "o-5:1", "o+d1/02", "o+d1/2/3", "o+x1/2", "o+5\0", "𝟎+5"),
        *(None, 5, b"o+5", ("o", "+", "5"), type("Text", (str,), {})("o+5")),
    ],
)
def test_whatever_else_a_vat_names_is_not(text: object) -> None:
    assert not refs.is_well_formed_vref(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ko0", True),
        ("kp41", True),
        ("ko01", False),
        ("k5", False),
        ("o5", False),
        ("ko5 ", False),
        ("kd5", False),
        (7, False),
    ],
)
def test_krefs_have_a_grammar_too(text: object, expected: bool) -> None:
    assert expected is refs.is_well_formed_kref(text)


def test_a_reference_says_its_kind_and_who_allocated_it() -> None:
    assert [False, True] == [refs.is_promise_kref("ko1"), refs.is_promise_kref("kp1")]
    assert [False, True] == [refs.is_promise_vref("o+1"), refs.is_promise_vref("p-1")]
    assert [True, False] == [refs.is_vat_allocated("o+1"), refs.is_vat_allocated("p-1")]


@pytest.mark.parametrize(
    ("vref", "expected"),
    [("o+0", True), ("o+d1/2", True), ("o+1", False), ("o+v1/2", False), ("p+0", False), ("o-2", False)],
)
def test_the_root_and_durable_objects_outlive_an_incarnation(vref: str, expected: bool) -> None:
    assert expected is refs.is_durable(vref)


def test_a_durable_vref_comes_apart_as_it_was_built() -> None:
    assert (13, 207) == refs.durable_parts(refs.durable_export(13, 207))


def test_a_facet_has_a_base_and_an_index() -> None:
    facet = refs.facet_export(refs.virtual_export(13, 207), 4)
    assert "o+v13/207:4" == facet
    assert ("o+v13/207", 4, (13, 207)) == (refs.base_of(facet), refs.facet_of(facet), refs.durable_parts(facet))
    assert ("o+5", None) == (refs.base_of("o+5"), refs.facet_of("o+d1/2"))
    assert [True, False] == [refs.is_durable("o+d1/2:0"), refs.is_durable(facet)]
    assert [True, True, False, False] == [refs.is_off_heap(vref) for vref in ("o+d1/2", facet, "o+0", "o-2")]


@pytest.mark.parametrize(("ref", "number"), [("ko20", 20), ("kp3", 3), ("v3", 3), ("s14", 14)])
def test_number_of_is_the_trailing_number(ref: str, number: int) -> None:
    assert number == refs.number_of(ref)


def test_references_sort_by_kind_then_by_number() -> None:
    assert ["ko2", "ko10", "kp1", "kp11"] == sorted(["kp11", "ko10", "kp1", "ko2"], key=refs.sort_key)
