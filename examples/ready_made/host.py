"""A host program that launches the ready-made vats and talks to each.

python examples/ready_made/host.py
"""

from __future__ import annotations

from pathlib import Path

import trio

from ocap import ClusterConfig, E, Kernel, VatConfig
from ocap.services import TIMER, Clock

EAR = VatConfig(str(Path(__file__).with_name("ear.py")))
READY_MADE = {name: VatConfig(f"vats.{name}") for name in ("registry", "mint", "topics", "chat", "supervisor")}


async def main() -> None:
    kernel = Kernel()
    kernel.provide("clock", Clock(), system_only=True)
    kernel.declare("timer", TIMER)
    async with kernel:
        config = ClusterConfig("ear", {"ear": EAR, **READY_MADE}, services=["timer", "vat_admin"])
        ear = (await kernel.launch_subcluster(config)).root

        registry = await E(ear).get("registry")
        await E(registry).register("ear", await E(ear).make_ear())
        lookup = await E(registry).get_lookup()
        print("registry:", await E(lookup).get_names())

        mint = await E(await E(ear).get("mint")).make_mint("florin")
        purse, other = await E(mint).make_money(100), await E(await E(mint).get_currency()).make_purse()
        payment = await E(purse).withdraw(30)
        await E(await E(other).get_payee()).deposit(payment)
        print("mint:", await E(purse).get_balance(), await E(other).get_balance())

        publisher = await E(await E(ear).get("topics")).make_topic("news")
        topic = await E(publisher).get_topic()
        listener = await E(lookup).get("ear")
        await E(topic).subscribe(listener)
        print("topics: told", await E(publisher).publish("it rains"))

        chat = await E(ear).get("chat")
        seat = await E(chat).join("ann", listener)
        await E(seat).say("hello")
        await kernel.idle()
        print("heard:", await E(listener).get_heard())

        supervisor = await E(ear).get("supervisor")
        await E(supervisor).start("child", "vats.registry", limit=1)
        print("supervisor:", await E(supervisor).get_state("child"))


if __name__ == "__main__":
    trio.run(main)
