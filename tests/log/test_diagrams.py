"""Sequence diagrams of the traffic."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ocap.log import Entry, from_json_line
from ocap.log.mermaid import to_mermaid
from ocap.log.svg import to_svg
from ocap.log.traffic import LABEL, MAX_STEPS, Step, Traffic, traffic_of
from ocap.protocol.refs import KERNEL
from tests.log.made import entry, message, settled

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "]]>",
    "a;b",
    "#35;",
    "%% c",
    "wrap: x",
    "nowrap:x",
    "a\nb",
    "--> v1: x",
    "<br/>",
    "&lt;",
    "`$$~|^\\",
    "\x1b[2J",
    "\u202e\x00\ufffe\uffff\ud800",
    "javascript:alert(1)",
]


def steps(traffic: Traffic) -> list[tuple[str, str, str, str]]:
    return [(step.kind, step.source, step.target, step.text) for step in traffic.steps]


def test_message_goes_from_its_sender_and_answer_from_who_settled_it() -> None:
    log = [
        message(0, 0, "host", "greet", "kp1", "syscall"),
        message(1, 0, "v1", "greet", "kp1"),
        message(1, 0, "v1", "sign", None, "syscall"),
        message(1, 0, "v1", "help", "kp2", "syscall"),
        message(2, 1, "v2", "sign", None),
        message(3, 1, "v3", "help", "kp2"),
        settled(3, 1, "v3", "kp2", 5, "syscall"),
        settled(4, 3, "v1", "kp2", 5),
    ]
    assert steps(traffic_of(log)) == [
        ("message", "host", "v1", "greet() → kp1"),
        ("message", "v1", "v2", "sign()"),
        ("message", "v1", "v3", "help() → kp2"),
        ("fulfilled", "v3", "v1", "kp2: 5"),
    ]


def test_answer_to_a_promise_that_follows_another_comes_from_who_settled_the_last() -> None:
    follow = {"promise": "kp1", "to": "kp2"}
    log = [
        entry(1, 0, "syscall", "v1", op="forward", kernel=follow, vatside=follow),
        settled(2, 1, "v2", "kp2", 5, "syscall"),
        settled(3, 2, "host", "kp1", 5),
    ]
    assert steps(traffic_of(log)) == [("fulfilled", "v2", "host", "kp1: 5")]


def test_what_nobody_settled_comes_from_the_kernel() -> None:
    assert steps(traffic_of([settled(3, 2, "host", "kp1", 5)])) == [("fulfilled", KERNEL, "host", "kp1: 5")]


def test_fate_of_a_vat_is_a_note() -> None:
    call = message(1, 0, "v1", "greet", None).kernel
    log = [
        message(0, 0, "host", "greet", None, "syscall"),
        entry(1, 0, "fault", "v1", op="message", kernel=call, vatside=call, text="too much"),
        entry(2, 0, "terminate", "v1", text="it exited"),
        entry(3, 0, "log", "v1", text="hello"),
        entry(4, 0, "error", "v1", text="e7\nTraceback"),
    ]
    texts = [step.text for step in traffic_of(log).steps]
    assert texts == ["greet()", "fault: too much", "terminated: it exited", "says: hello", "raised, see e7"]


def test_what_was_not_asked_for_still_tells_who_sent(exchange: list[Entry]) -> None:
    found = traffic_of(exchange, lambda it: it.vat == "v4")
    assert {step.target for step in found.steps} == {"v4"}
    assert "v1" in {step.source for step in found.steps if step.kind == "message"}


def test_every_delivery_of_a_run_is_a_step(exchange: list[Entry]) -> None:
    found = traffic_of(exchange)
    deliveries = [it for it in exchange if it.op == "message"] + [
        one for it in exchange if it.op == "notify" for one in it.settlements()
    ]
    assert len(deliveries) == sum(step.kind != "note" for step in found.steps)
    assert next(iter(found.names)) == "host"
    assert [step.crank for step in found.steps] == sorted(step.crank for step in found.steps)
    assert not [it for it in found.steps if it.kind == "message" and it.source == KERNEL]


def test_long_log_is_cut_and_says_so() -> None:
    found = traffic_of(message(number, 0, "v1", "x", None) for number in range(MAX_STEPS + 7))
    assert (len(found.steps), found.count) == (MAX_STEPS, MAX_STEPS + 7)


def test_long_text_is_cut() -> None:
    (step,) = traffic_of([entry(text="x" * 300)]).steps
    assert len(step.text) == LABEL
    assert len(step.whole) == 300 + len("says: ")


# ---- as Mermaid -----------------------------------------------------------------------------------

_ID = r"(?:host|kernel|v\d+|p\d+)"
_TEXT = r"(?:[^#;<>&%`$\\|~^\n]|#\d+;)+"
GRAMMAR = re.compile(
    rf"sequenceDiagram|    participant {_ID} as {_TEXT}|    Note over {_ID}: {_TEXT}|    {_ID}(?:->>|-->>|--x){_ID}: {_TEXT}"
)


def test_mermaid_is_participants_then_steps() -> None:
    log = [
        message(1, 0, "v1", "greet", "kp1"),
        settled(1, 0, "v1", "kp1", "hi", "syscall"),
        settled(2, 1, "host", "kp1"),
    ]
    assert to_mermaid(traffic_of(log)) == (
        "sequenceDiagram\n"
        "    participant host as host\n"
        "    participant v1 as v1 name of v1\n"
        "    host->>v1: greet() → kp1\n"
        "    v1-->>host: kp1: null\n"
    )


def test_every_line_of_mermaid_is_of_its_grammar(exchange: list[Entry]) -> None:
    for line in to_mermaid(traffic_of(exchange)).splitlines():
        assert GRAMMAR.fullmatch(line), line


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_mermaid_is_not_led_astray_by_what_a_vat_says(text: str) -> None:
    lines = to_mermaid(hostile(text)).splitlines()
    assert len(lines) == 7
    for line in lines:
        assert GRAMMAR.fullmatch(line), line
        assert not re.match(r"[^:]*: (no)?wrap:", line)


# ---- as SVG ---------------------------------------------------------------------------------------


def hostile(text: str) -> Traffic:
    """A traffic that a forged log made."""
    log = [
        entry(1, 0, "log", text, name=text, text=text),
        message(2, 0, text, text, text),
        settled(2, 0, text, text, text, "syscall"),
        settled(3, 2, "v1", text, text),
    ]
    return traffic_of(log)


def texts(svg: str) -> list[str]:
    return [it.text or "" for it in ET.fromstring(svg).iter(f"{SVG}text")]


def test_svg_shows_every_participant_twice_and_every_step_once(exchange: list[Entry]) -> None:
    found = traffic_of(exchange)
    svg = to_svg(found)
    shown = texts(svg)
    for vat, name in found.names.items():
        assert shown.count(name) == 2
        assert shown.count(vat) == 2
    for step in found.steps:
        assert step.text in shown
    tips = [it.text for it in ET.fromstring(svg).iter(f"{SVG}title")]
    assert tips[1:] == [f"crank {step.crank}: {step.whole}" for step in found.steps]


def test_svg_knows_light_and_dark() -> None:
    svg = to_svg(traffic_of([entry()]))
    assert "prefers-color-scheme: dark" in svg
    light, _, dark = svg.partition("@media")
    names = set(re.findall(r"(--[a-z-]+): #", light))
    assert set(re.findall(r"(--[a-z-]+): #", dark)) == names
    assert set(re.findall(r"var\((--[a-z-]+)\)", svg)) <= names


def test_labels_of_svg_have_room(exchange: list[Entry]) -> None:
    """No label is wider than what is between the ends of its arrow, and all is on the picture."""
    root = ET.fromstring(to_svg(traffic_of(exchange)))
    width = float(root.attrib["viewBox"].split()[2])
    arrows = 0
    for group in root.iter(f"{SVG}g"):
        shaft = group.find(f"{SVG}path[@class='shaft']")
        label = group.find(f"{SVG}text[@class='halo']")
        if shaft is None or label is None:
            continue
        arrows += 1
        begin, end = map(float, re.findall(r"[MH] ([\d.]+)", shaft.attrib["d"]))
        assert len(label.text or "") * 7 <= abs(end - begin)
        assert min(begin, end) >= 40
        assert max(begin, end) <= width
    assert arrows > 30


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_svg_is_not_led_astray_by_what_a_vat_says(text: str) -> None:
    expected, found = ([it.tag for it in ET.fromstring(to_svg(hostile(it))).iter()] for it in ("harmless", text))
    assert found == expected
    assert not {"script", "a", "image", "foreignObject"} & {tag.removeprefix(SVG) for tag in found}


def test_nothing_to_draw() -> None:
    assert to_mermaid(Traffic()) == "sequenceDiagram\n"
    assert texts(to_svg(Traffic())) == []


def test_vat_that_talks_to_itself_has_a_loop() -> None:
    svg = to_svg(Traffic({"v1": "ann"}, [Step("message", 1, "v1", "v1", "again()", "again()")], 1))
    assert "again()" in texts(svg)


def test_log_of_a_cluster_is_drawn(patterns_log: Path) -> None:
    found = traffic_of(map(from_json_line, patterns_log.read_bytes().splitlines()))
    assert {step.kind for step in found.steps} == {"message", "fulfilled", "rejected", "note"}
    ET.fromstring(to_svg(found))
