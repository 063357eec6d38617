"""Configs of counters, and what tests do with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from ocap import ClusterConfig, Kernel, Subcluster, VatConfig


def counters(
    source: Path, names: Sequence[str] = ("a",), *, services: Sequence[str] = (), **options: Any
) -> ClusterConfig:
    """Counters by name; the first is bootstrapped, and keeps the roots of the others and the services."""
    return ClusterConfig(names[0], {name: VatConfig(str(source), **options) for name in names}, services, name="test")


def change(config: ClusterConfig, vat: str, **fields: Any) -> ClusterConfig:
    """The config with other fields of one vat, which may be new."""
    known = config.vats.get(vat) or next(iter(config.vats.values()))
    return evolve(config, vats={**config.vats, vat: evolve(known, **fields)})


def without(config: ClusterConfig, vat: str) -> ClusterConfig:
    return evolve(config, vats={name: it for name, it in config.vats.items() if name != vat})


def edit(source: Path, old: str, new: str) -> None:
    """Change a source file; its text has changed for sure."""
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))


def variant(source: Path, name: str, old: str = 'VERSION = "one"', new: str = 'VERSION = "two"') -> Path:
    """A changed copy beside a source file."""
    made = source.with_name(f"{name}.py")
    made.write_text(source.read_text())
    edit(made, old, new)
    return made


def states(kernel: Kernel) -> dict[str, str]:
    """Vats and their states, by id."""
    return {vat.id: vat.state for vat in kernel.get_vats()}


def ids(subcluster: Subcluster) -> dict[str, str]:
    """Its vats' ids by name."""
    return {name: vat.id for name, vat in subcluster.vats.items()}
