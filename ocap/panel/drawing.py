"""Small pictures for the pages: plots of numbers over time, and the graph of who holds whose objects.

Drawn here, as SVG without any style of its own: the pages' stylesheet colours it, light or dark, and the strict
content security policy stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from ocap.legible import safe_text
from ocap.panel.reading import HIDDEN, Edge

WIDTH, HEIGHT = 360, 110
"""Units of a plot."""

MAX_GAP = 4.0
"""Seconds between two points that are joined."""

MAX_NODES = 40
"""Vats of one graph: with more, lines hide each other."""


FEW = 10
"""Vats of a graph that can be read however narrow the window is."""

ROOM = 30
"""Units of an arrow that has its number beside it."""

Lines = Mapping[str, Sequence[tuple[float, float]]]
"""Of a plot, by name: points, of which the first number is a time in seconds that grows."""


def plot(lines: Lines, unit: str, label: str, *, now: float, span: float) -> Markup:
    """Numbers over time: one line, or several by name, the first of them drawn through and the others dashed.

    Args:
        lines: of each the points: seconds, growing, and values.
        unit: of the values.
        label: what is shown, for those who hear the page.
        now: the time at the right.
        span: seconds from left to right.
    """
    svg = _svg(WIDTH, HEIGHT, "plot", label)
    top, bottom, left, right = 12, HEIGHT - 18, 44, WIDTH - 6
    seen = {name: [(at, value) for at, value in points if now - at <= span] for name, points in lines.items()}
    high = _nice(max((value for points in seen.values() for _, value in points), default=0))
    for part in (0, 0.5, 1):
        y = bottom - (bottom - top) * part
        SubElement(
            svg, "line", {"x1": str(left), "x2": str(right), "y1": f"{y:.1f}", "y2": f"{y:.1f}", "class": "grid"}
        )
        _text(svg, left - 6, y + 4, _short(high * part), "axis", "end")
    _text(svg, left, HEIGHT - 4, f"{_short(span)} s ago", "axis", "start")
    _text(svg, right, HEIGHT - 4, "now", "axis", "end")
    for number, points in enumerate(seen.values()):
        places = [
            (right - (now - at) / span * (right - left), bottom - value / high * (bottom - top)) for at, value in points
        ]
        for piece in _unbroken(places, MAX_GAP / span * (right - left)):
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            if number == 0:
                ground = f"{piece[0][0]:.1f},{bottom} {line} {piece[-1][0]:.1f},{bottom}"
                SubElement(svg, "polygon", {"points": ground, "class": "area"})
            SubElement(svg, "polyline", {"points": line, "class": "line" if number == 0 else "line other"})
    if latest := latest_of(seen, unit):
        SubElement(svg, "title").text = f"{label}: {latest}"
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 - made by ElementTree, which escapes


def latest_of(lines: Lines, unit: str = "") -> str:
    """The last values, of several with their names; empty if there are none."""
    found = (f"{name} {_short(points[-1][1])} {unit}".strip() for name, points in lines.items() if points)
    return ", ".join(found)


def _unbroken(places: Sequence[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    """The parts of a line between which nothing is known."""
    parts: list[list[tuple[float, float]]] = []
    for place in places:
        if not parts or place[0] - parts[-1][-1][0] > gap:
            parts.append([])
        parts[-1].append(place)
    return parts


def _nice(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _short(value: float) -> str:
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def graph(names: Mapping[str, str], edges: Sequence[Edge], chosen: str = "") -> Markup:
    """Vats on a circle, with an arrow to each whose objects they hold.

    Args:
        names: of the vats, by id.
        edges: who holds how many objects of whom.
        chosen: a vat whose arrows stand out.
    """
    vats = list(names)[:MAX_NODES]
    size = max(300, 120 + 34 * len(vats))
    width, height = size + 160, size
    svg = _svg(width, height, "graph large" if len(vats) > FEW else "graph", "who holds objects of whom")
    defs = SubElement(svg, "defs")
    for kind in ("arrow", "arrow-chosen"):
        marker = SubElement(defs, "marker", {"id": kind, "viewBox": "0 0 8 8", "refX": "8", "refY": "4", "class": kind})
        marker.attrib.update({"markerWidth": "8", "markerHeight": "8", "orient": "auto-start-reverse"})
        SubElement(marker, "path", {"d": "M 0 0 L 8 4 L 0 8 z"})
    places: dict[str, tuple[float, float]] = {}
    for number, vat in enumerate(vats):
        angle = 2 * math.pi * number / max(1, len(vats)) - math.pi / 2
        radius = 0.0 if len(vats) == 1 else size / 2 - 42
        places[vat] = (width / 2 + (radius + 30) * math.cos(angle), height / 2 + radius * math.sin(angle))
    shown = {vat: _cut(safe_text(names[vat])) for vat in vats}
    halves = {vat: max(34.0, 4.2 * len(name) + 12) for vat, name in shown.items()}
    for edge in edges:
        if edge.source in places and edge.target in places:
            _arrow(svg, edge, places, halves, is_chosen=chosen in (edge.source, edge.target))
    for vat, (x, y) in places.items():
        name, half = shown[vat], halves[vat]
        is_vat = vat not in HIDDEN
        parent = SubElement(svg, "a", {"href": f"/vats/{vat}"}) if is_vat else svg
        group = SubElement(parent, "g", {"class": "node chosen" if vat == chosen else "node"})
        box = {"x": f"{x - half:.1f}", "y": f"{y - 19:.1f}", "width": f"{2 * half:.1f}", "height": "38", "rx": "8"}
        SubElement(group, "rect", box)
        _text(group, x, y - 2 if is_vat else y + 4, name, "name", "middle")
        if is_vat:
            _text(group, x, y + 12, vat, "id", "middle")
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 - made by ElementTree, which escapes


def _cut(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _arrow(
    svg: Element,
    edge: Edge,
    places: Mapping[str, tuple[float, float]],
    halves: Mapping[str, float],
    *,
    is_chosen: bool,
) -> None:
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    # Bent to its right, so that the way back is another line; ended where the box begins.
    middle = ((x1 + x2) / 2 - dy * length * 0.09, (y1 + y2) / 2 + dx * length * 0.09)
    start = _edge_of_box((x1, y1), middle, halves[edge.source])
    end = _edge_of_box((x2, y2), middle, halves[edge.target])
    way = f"M {start[0]:.1f} {start[1]:.1f} Q {middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    group = SubElement(svg, "g", {"class": "edge chosen" if is_chosen else "edge"})
    marker = "url(#arrow-chosen)" if is_chosen else "url(#arrow)"
    SubElement(group, "path", {"d": way, "marker-end": marker})
    x, y = (start[0] + 2 * middle[0] + end[0]) / 4, (start[1] + 2 * middle[1] + end[1]) / 4
    if math.hypot(end[0] - start[0], end[1] - start[1]) > ROOM:
        _text(group, x, y + 4, str(edge.count), "count", "middle")
    SubElement(group, "title").text = f"{edge.source} holds {edge.count} of {edge.target}"


def _edge_of_box(place: tuple[float, float], towards: tuple[float, float], half: float) -> tuple[float, float]:
    dx, dy = towards[0] - place[0], towards[1] - place[1]
    scale = min((half + 4) / abs(dx) if dx else math.inf, 22 / abs(dy) if dy else math.inf, 1.0)
    return place[0] + dx * scale, place[1] + dy * scale


def _svg(width: float, height: float, kind: str, label: str) -> Element:
    return Element(
        "svg", {"viewBox": f"0 0 {width:.0f} {height:.0f}", "class": kind, "role": "img", "aria-label": label}
    )


def _text(parent: Element, x: float, y: float, text: str, kind: str, anchor: str) -> None:
    at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind, "text-anchor": anchor}
    SubElement(parent, "text", at).text = text
