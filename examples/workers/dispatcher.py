"""Gives each job to a vat of its own, made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vats import Baggage, E, Exo, Ref, VatPowers, gather

if TYPE_CHECKING:
    from examples.workers.worker import Worker


class Dispatcher(Exo):
    def __init__(self, jobs: list[int], baggage: Baggage) -> None:
        self.jobs = jobs
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> list[int]:
        self.baggage["vat_admin"] = services["vat_admin"]
        return await self.run(self.jobs)

    async def run(self, jobs: list[int]) -> list[int]:
        return await gather(*(self._do(number, job) for number, job in enumerate(jobs, 1)))

    async def _do(self, number: int, job: int) -> int:
        create = E(self.baggage["vat_admin"]).create_vat
        worker: Ref[Worker]
        worker, admin = await create("worker.py", name=f"worker-{number}", parameters={"factor": 2})
        try:
            return await E(worker).work(job)
        finally:
            E.send_only(admin).terminate("the job is over")

    async def hire(self, name: str) -> Ref[Worker]:
        """A worker that stays; whoever gets it can give it work, and only we can end it."""
        worker: Ref[Worker]
        worker, admin = await E(self.baggage["vat_admin"]).create_vat("worker.py", name=name, parameters={"factor": 3})
        self.baggage[name] = worker, admin
        return worker

    async def delegate(self, name: str, job: int) -> int:
        worker: Ref[Worker] = self.baggage[name][0]
        return await E(worker).work(job)

    async def fire(self, name: str) -> str:
        _, admin = self.baggage.pop(name)
        E.send_only(admin).terminate("no more work")
        try:
            await E(admin).done()
        except Exception as end:
            return f"{type(end).__name__}: {end}"
        return "it left by itself"


def build_root_object(vat_powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Dispatcher:
    return Dispatcher(parameters["jobs"], baggage)
