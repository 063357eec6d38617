"""A host program: opens a kernel, launches a subcluster the first time, and talks to it every time.

python examples/hello/host.py [FILE]    without FILE, everything is kept in memory and forgotten
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from ocap import ClusterConfig, E, Kernel, VatConfig

GREETER = Path(__file__).with_name("greeter.py")
HELLO = ClusterConfig(
    bootstrap="ann",
    vats={
        "ann": VatConfig(str(GREETER), parameters={"name": "Ann"}),
        "bob": VatConfig(str(GREETER), parameters={"name": "Bob"}),
    },
    name="hello",
)


async def main(path: str | None) -> None:
    async with Kernel(path) as kernel:
        known = kernel.get_subclusters()
        hello = known[0] if known else await kernel.launch_subcluster(HELLO)
        print("bootstrap returned:", hello.result)
        print(await E(hello.root).greet("host program"))
        book = E(hello.root).get_book()  # a promise, and a target at once
        print("visits to Ann:", await E(book).sign())


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
