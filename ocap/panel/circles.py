"""Vats that wait for each other: circles of who waits for a promise and who decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def circles(waits: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Those among vats of which each first waits for its second; of each circle the shortest way round."""
    following: dict[str, set[str]] = {}
    for vat, other in waits:
        following.setdefault(vat, set()).add(other)
    found: list[list[str]] = []
    seen: set[str] = set()
    for vat in sorted(following):
        circle = [] if vat in seen else _way_back(vat, following)
        if not seen.intersection(circle):
            seen.update(circle)
            found += [circle] if circle else []
    return found


def _way_back(start: str, following: Mapping[str, set[str]]) -> list[str]:
    """The shortest way from a vat to itself."""
    before: dict[str, str] = {}
    reached = [start]
    for vat in reached:
        for other in sorted(following.get(vat, ())):
            if other == start:
                way = [vat]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if other not in before:
                before[other] = vat
                reached.append(other)
    return []
