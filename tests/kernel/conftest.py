"""Every store that a kernel test leaves behind is verified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import puppet


@pytest.fixture(autouse=True)
def verified() -> Iterator[None]:
    puppet.worlds.clear()
    yield
    for world in puppet.worlds:
        assert [] == world.verify()
        world.backend.close()
