"""The two example clusters run unmodified through a toy router."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tests.vats.puppet_kernel import Router


def run_cluster(name: str) -> Any:
    """The result of the cluster `name`."""
    folder = Path(__file__).parents[1] / "clusters" / name
    config = tomllib.loads((folder / f"{name}.toml").read_text())["subclusters"][name]
    router = Router({name: (folder / vat["source"], vat.get("parameters", {})) for name, vat in config["vats"].items()})
    try:
        return router.run(config["bootstrap"])
    finally:
        router.close()


def test_every_pattern_is_ok() -> None:
    report = run_cluster("patterns")
    assert len(report) == 21
    assert set(report.values()) == {"ok"}


def test_exchange_ends_with_the_right_balances() -> None:
    assert run_cluster("exchange") == {
        "alice": {"moola": 70, "simoleons": 7},
        "bob": {"moola": 30, "simoleons": 93},
        "cheat": "TypeError",
        "overdraft": "ValueError: insufficient funds",
    }
