"""Does one thing: multiplies what is positive."""

from __future__ import annotations

from typing import Any

from vats import Baggage, Exo, VatPowers


class Worker(Exo):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def work(self, job: int) -> int:
        if job <= 0:
            raise ValueError(f"job {job} is not positive")
        return self.factor * job


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Worker:
    return Worker(parameters["factor"])
