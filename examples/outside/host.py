"""A host program with a service of its own: a folder whose files a vat may read, and no others.

python examples/outside/host.py
"""

from __future__ import annotations

from pathlib import Path

import trio

from ocap import ClusterConfig, E, Kernel, VatConfig

HERE = Path(__file__).parent


class Folder:
    """Public methods can be called by whoever holds the service. They may be async, under trio."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, name: str) -> str:
        if name not in {it.name for it in self._path.iterdir()}:
            raise LookupError(f"there is no file {name!r} here")
        return await trio.Path(self._path / name).read_text()


async def main() -> None:
    kernel = Kernel()
    kernel.provide("folder", Folder(HERE))  # before the kernel is entered
    async with kernel:
        reader = VatConfig(str(HERE / "reader.py"), endowments=["folder"])
        reading = await kernel.launch_subcluster(ClusterConfig("reader", {"reader": reader}))
        print(await E(reading.root).count_lines("lottery.toml"), "lines")
        try:
            await E(reading.root).count_lines("../../pyproject.toml")
        except LookupError as error:
            print("LookupError:", error)


if __name__ == "__main__":
    trio.run(main)
