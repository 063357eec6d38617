"""A vat that creates others, has them talk, and ends them: many at once, some of them faulty."""

from __future__ import annotations

from typing import Any

from vats import Baggage, E, Exo, Ref, VatPowers, gather, spawn


class Director(Exo):
    def __init__(self, powers: VatPowers, baggage: Baggage) -> None:
        self.powers = powers
        self.baggage = baggage

    async def bootstrap(self, vats: dict[str, Ref[Any]], services: dict[str, Ref[Any]]) -> None:
        for name, ref in {**vats, **services}.items():
            if ref is not self:
                self.baggage[name] = ref

    async def go(self, rounds: int) -> None:
        self.playing = spawn(self.play(rounds))

    async def play(self, rounds: int) -> None:
        for number in range(rounds):
            await gather(*[self.scene(f"{number}.{index}", index) for index in range(4)])

    async def scene(self, name: str, index: int) -> None:
        """One vat from its creation to its end, by one of four ways."""
        create = E(self.baggage["vat_admin"]).create_vat
        if index == 3:
            try:
                await create("counter.py", name=name, parameters={"broken": name})
            except RuntimeError as error:
                self.powers.log(f"{name}: {error}")
            return
        root, admin = await create(
            "counter.py", name=name, parameters={"friend": self.baggage["other"], "set": {"x", "y"}}
        )
        done = E(admin).done()
        await gather(E(root).count(), E(self.baggage["other"]).hear(root), E(root).count())
        if index == 0:
            await E(admin).upgrade(parameters={"new": name})
            E.send_only(root).leave([name, root])
        elif index == 1:
            E.send_only(root).break_down()
            await E(admin).suspend()
            E.send_only(root).fail({name: root})
            await E(admin).resume()
        else:
            await E(admin).restart()
            await E(root).count()
            await E(admin).terminate(ValueError(name))
        try:
            self.powers.log(f"{name}: {await done}")
        except Exception as error:
            self.powers.log(f"{name}: {error!r}")

    async def hear(self, root: Ref[Any]) -> Any:
        return await E(root).count()


def build_root_object(powers: VatPowers, parameters: dict[str, Any], baggage: Baggage) -> Director:
    return Director(powers, baggage)
