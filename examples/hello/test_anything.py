"""Whatever is sent to a greeter, it answers or refuses; needs Hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings

from ocap import E, Kernel, load_toml
from vats.testing import passables

HELLO = load_toml(Path(__file__).with_name("hello.toml"))["hello"]


@settings(max_examples=30, deadline=None)
@given(passables())
def test_a_guest_is_a_text(guest: Any) -> None:
    async def greet() -> None:
        async with Kernel() as kernel:
            ann = (await kernel.launch_subcluster(HELLO)).root
            if isinstance(guest, str):
                assert f"Hello {guest}, " in await E(ann).greet(guest)
            else:
                with pytest.raises(TypeError, match="guest"):
                    await E(ann).greet(guest)

    trio.run(greet)
