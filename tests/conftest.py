"""What holds for every test: which are slow, and that none is skipped where everything they need has to be there.

Slow are those in folders whose tests start processes or whole kernels. `make check` leaves them to `make test`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

# Elsewhere every run draws other examples; there the same commit has the same result.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

SLOW_FOLDERS = {"cli", "clusters", "crash", "daemon", "docs", "lifecycle", "panel", "ready_made", "ring", "services"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(tests) and item.path.relative_to(tests).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def none_is_skipped(report: Report) -> Report:
    """In CI a skip is a failure: what is not there says nothing of what it was to show."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return none_is_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return none_is_skipped((yield))
