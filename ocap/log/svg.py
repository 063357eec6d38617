"""A sequence diagram as SVG, in light and dark, that needs nothing else.

Drawn by ourselves: the libraries that draw one without a browser take ten seconds for a hundred arrows and
know one theme, or are no longer kept. Text is monospaced, so that its width is known without measuring it.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ocap.legible import safe_text
from ocap.log.traffic import Step, Traffic

_CHAR = 7.25
"""Width of a character of the labels, in units of the picture, a little more than what fonts need."""

_ROW = 32
_TOP = 76
_GUTTER = 54
_BOX = 44
_LOOP = 34

_STYLE = """
svg { --paper: #ffffff; --ink: #1f2430; --faint: #6b7280; --line: #d4d8e0; --box: #f1f4f9; --edge: #c3cad6;
  --message: #2457c5; --fulfilled: #1a7f4b; --rejected: #c4302b; --note: #fff6d6; --note-edge: #e3cf86; --stripe: #f8f9fb;
  background: var(--paper); font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #14171d; --ink: #e4e7ec; --faint: #8d95a3; --line: #343b47; --box: #1f2530; --edge: #3d4654;
    --message: #7fa8ff; --fulfilled: #5cc98d; --rejected: #ff7b72; --note: #332d17; --note-edge: #6a5c2a; --stripe: #181c23; } }
text { fill: var(--ink); }
.crank, .id { fill: var(--faint); font-size: 11px; }
.name { font-weight: 600; font-size: 13px; }
.box { fill: var(--box); stroke: var(--edge); }
.life { stroke: var(--line); stroke-width: 1.5; }
.stripe { fill: var(--stripe); }
.halo { stroke: var(--paper); stroke-width: 5; stroke-linejoin: round; paint-order: stroke; }
.odd .halo { stroke: var(--stripe); }
.note rect { fill: var(--note); stroke: var(--note-edge); }
path { fill: none; stroke-width: 1.5; }
.message path, .message circle { stroke: var(--message); } .message .head { fill: var(--message); }
.fulfilled path { stroke: var(--fulfilled); } .fulfilled .head { fill: var(--fulfilled); }
.rejected path { stroke: var(--rejected); } .rejected text { fill: var(--rejected); }
.fulfilled .shaft, .rejected .shaft { stroke-dasharray: 5 4; }
"""


def to_svg(traffic: Traffic) -> str:
    """The diagram, as a document of its own."""
    columns = list(traffic.names)
    x = _places(columns, traffic)
    last = x[columns[-1]] if columns else 0
    right = max([last + _head_width(traffic, columns[-1]) / 2 if columns else 200, *_overhangs(traffic, x)]) + 24
    rows = _rows(traffic.steps)
    bottom = _TOP + 16 + len(rows) * _ROW
    height = bottom + _BOX + 20
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {right:.0f} {height}", role="img")
    svg.set("width", f"{right:.0f}")
    svg.set("height", str(height))
    SubElement(svg, "title").text = f"Message traffic, {len(traffic.steps)} steps"
    SubElement(svg, "style").text = _STYLE
    SubElement(svg, "rect", width="100%", height="100%", style="fill: var(--paper)")
    stripes = SubElement(svg, "g")
    lives = SubElement(svg, "g")
    for vat in columns:
        _line(lives, "life", x[vat], _TOP - 4, x[vat], bottom)
        for y in (_TOP - 4 - _BOX, bottom):
            _participant(svg, traffic, vat, x[vat], y)
    cranks = 0
    for index, (step, opens) in enumerate(rows):
        y = _TOP + 16 + index * _ROW
        cranks += opens
        if cranks % 2:
            _rect(stripes, "stripe", 0, y - 4, right, _ROW)
        group = SubElement(svg, "g", {"class": f"{step.kind}{' odd' if cranks % 2 else ''}"})
        SubElement(group, "title").text = _valid(f"crank {step.crank}: {step.whole}")
        if opens:
            _text(group, "crank", _GUTTER - 14, y + 19, str(step.crank), "end")
        _step(group, step, x, y)
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"


def _rows(steps: list[Step]) -> list[tuple[Step, bool]]:
    """Each step, and whether its crank begins with it."""
    before = [None, *(step.crank for step in steps)]
    return [(step, step.crank != crank) for step, crank in zip(steps, before, strict=False)]


# ---- where things stand -----------------------------------------------------------------------------


def _places(columns: list[str], traffic: Traffic) -> dict[str, float]:
    """The middle of each column: as near to each other as what stands between them allows."""
    index = {vat: number for number, vat in enumerate(columns)}
    heads = [_head_width(traffic, vat) for vat in columns]
    gaps = [(left + right) / 2 + 24 for left, right in pairwise(heads)]
    needs: dict[tuple[int, int], float] = {}
    margin = 0.0
    for step in traffic.steps:
        first, last = sorted((index[step.source], index[step.target]))
        width = _width(step.text)
        if step.kind == "note":
            half = width / 2 + 14
            if first == 0:
                margin = max(margin, half - heads[0] / 2)
            for pair in ((first - 1, first), (first, first + 1)):
                needs[pair] = max(needs.get(pair, 0), half + 16)
        elif first == last:
            needs[first, first + 1] = max(needs.get((first, first + 1), 0), width + _LOOP + 24)
        else:
            needs[first, last] = max(needs.get((first, last), 0), width + 36)
    for (first, last), need in sorted(needs.items(), key=lambda it: it[0][1] - it[0][0]):
        if first < 0 or last >= len(columns):
            continue
        lack = need - sum(gaps[first:last])
        if lack > 0:
            for number in range(first, last):
                gaps[number] += lack / (last - first)
    places: dict[str, float] = {}
    at = _GUTTER + margin + (heads[0] / 2 if heads else 0)
    for number, vat in enumerate(columns):
        places[vat] = at
        at += gaps[number] if number < len(gaps) else 0
    return places


def _overhangs(traffic: Traffic, x: dict[str, float]) -> list[float]:
    """How far to the right what stands at the last column reaches."""
    found = []
    for step in traffic.steps:
        if step.kind == "note":
            found.append(x[step.target] + _width(step.text) / 2 + 14)
        elif step.source == step.target:
            found.append(x[step.target] + _LOOP + _width(step.text) + 12)
    return found


def _width(text: str) -> float:
    return _CHAR * sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _head(traffic: Traffic, vat: str) -> tuple[str, str]:
    name = _valid(safe_text(traffic.names[vat]))
    name = name if len(name) <= 24 else f"{name[:23]}…"
    return name, "" if vat == traffic.names[vat] else _valid(safe_text(vat))[:12]


def _head_width(traffic: Traffic, vat: str) -> float:
    return max(72.0, *(_width(text) * 1.1 + 24 for text in _head(traffic, vat)))


# ---- what is drawn ------------------------------------------------------------------------------------


def _participant(svg: Element, traffic: Traffic, vat: str, x: float, y: float) -> None:
    name, id_ = _head(traffic, vat)
    width = _head_width(traffic, vat)
    _rect(svg, "box", x - width / 2, y, width, _BOX, "7")
    _text(svg, "name", x, y + (20 if id_ else 27), name, "middle")
    if id_:
        _text(svg, "id", x, y + 35, id_, "middle")


def _step(group: Element, step: Step, x: dict[str, float], y: float) -> None:
    text = _valid(step.text)
    if step.kind == "note":
        width = _width(text) + 20
        _rect(group, "", x[step.target] - width / 2, y + 2, width, 21, "4")
        _text(group, "", x[step.target], y + 17, text, "middle")
        return
    source, target = x[step.source], x[step.target]
    line = y + 21
    if source == target:
        _path(group, "shaft", f"M {source:.1f} {line - 12} h {_LOOP - 10} q 6 0 6 6 q 0 6 -6 6 H {source + 8:.1f}")
        _head_of_arrow(group, step.kind, source + 1, line, -1)
        _text(group, "halo", source + _LOOP + 4, line - 2, text, "start")
        return
    way = 1 if target > source else -1
    _path(group, "shaft", f"M {source:.1f} {line} H {target - 8 * way:.1f}")
    _head_of_arrow(group, step.kind, target - way, line, way)
    _text(group, "halo", (source + target) / 2, line - 6, text, "middle")


def _head_of_arrow(group: Element, kind: str, x: float, y: float, way: int) -> None:
    if kind == "rejected":
        _path(group, "", f"M {x - 9 * way:.1f} {y - 4} l {8 * way} 8 m 0 -8 l {-8 * way} 8")
    else:
        _path(group, "head", f"M {x:.1f} {y} l {-8 * way} -4 v 8 z")


def _rect(parent: Element, kind: str, x: float, y: float, width: float, height: float, radius: str = "0") -> None:
    at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}", "rx": radius}
    SubElement(parent, "rect", at | ({"class": kind} if kind else {}))


def _line(parent: Element, kind: str, x: float, y: float, x_end: float, y_end: float) -> None:
    at = {"x1": f"{x:.1f}", "y1": f"{y:.1f}", "x2": f"{x_end:.1f}", "y2": f"{y_end:.1f}"}
    SubElement(parent, "line", at | {"class": kind})


def _path(parent: Element, kind: str, way: str) -> None:
    SubElement(parent, "path", {"d": way} | ({"class": kind} if kind else {}))


def _text(parent: Element, kind: str, x: float, y: float, text: str, anchor: str) -> None:
    at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    SubElement(parent, "text", at | ({"class": kind} if kind else {})).text = text


def _valid(text: str) -> str:
    """Without the two characters that `safe_text` lets pass and XML does not."""
    return re.sub("[\ufffe\uffff]", "�", text)
