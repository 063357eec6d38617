"""A vat that holds the kernel up until it is let go: until a file is there."""

from __future__ import annotations

import time
from pathlib import Path

from vats import Exo


def until_there(path: str) -> None:
    deadline = time.monotonic() + 20  # so that a test that fails does so
    while not Path(path).exists() and time.monotonic() < deadline:
        pass  # held here


class Root(Exo):
    async def bootstrap(self, vats: dict, services: dict) -> str:
        return "ok"

    async def hold(self, path: str) -> str:
        until_there(path)
        return "let go"

    async def quick(self) -> int:
        return 1


def build_root_object(vat_powers: object, parameters: dict, baggage: object) -> Root:
    if "start" in parameters:
        until_there(parameters["start"])
    return Root()
