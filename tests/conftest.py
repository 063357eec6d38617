"""What is slow: folders whose tests start processes or whole kernels. `make check` leaves them to `make test`."""

from __future__ import annotations

import os
from pathlib import Path

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
