"""Says in how many parts a vat reports: run with one hash seed and with another by `test_cycles.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ocap.protocol.deliveries import ReportEdges
from tests.collection.live import Live
from vats import Exo, SetStore, edges


class Root(Exo):
    async def bootstrap(self, vats: dict[str, Any], services: dict[str, Any]) -> None:
        self.rows = SetStore[Any]()

    async def fill(self) -> None:
        """Sets and rows of texts, in which paths of different length begin."""
        self.names = {(f"n{i}", ((f"m{i}",),)) if i % 7 == 0 else (f"n{i}",) for i in range(400)}


edges.STEP, edges.GROUP = 50, 10
live = Live({"a": lambda *_: Root()})
live.ask("a", "fill")
parts = 1
while live.vats[live.id_of("a")].deliver(ReportEdges()).unfinished:
    parts += 1
sys.stdout.write(f"{parts}\n")
