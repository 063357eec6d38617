"""Logs of real runs, and entries made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocap.cli.app import run_app
from ocap.log import Entry, from_json_line

CLUSTERS = Path(__file__).parents[1] / "clusters"


@pytest.fixture(scope="session")
def exchange_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _log_of("exchange", tmp_path_factory)


@pytest.fixture(scope="session")
def patterns_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _log_of("patterns", tmp_path_factory)


def _log_of(name: str, factory: pytest.TempPathFactory) -> Path:
    log = factory.mktemp(name) / "log.jsonl"
    assert run_app(["run", str(CLUSTERS / name / f"{name}.toml"), "--log-json", str(log)]) == 0
    return log


@pytest.fixture(scope="session")
def exchange(exchange_log: Path) -> list[Entry]:
    return [from_json_line(line) for line in exchange_log.read_bytes().splitlines()]
