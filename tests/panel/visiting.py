"""A kernel with its panel in the test's own process, and one who is let in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import define

from ocap.log.writing import LogFile
from ocap.panel.access import cookie_name
from ocap.panel.reading import Reader
from ocap.panel.serving import serve_panel
from ocap.services.cluster_file import ClusterFile
from tests.daemon.serving import Served, serving, toml, until


@define
class Visit:
    """A panel, and a client that has logged in.

    Attributes:
        links: those that the panel has printed, the newest last.
        token: of the session, for the header.
    """

    served: Served
    links: list[str]
    client: httpx.AsyncClient
    token: str = ""

    @property
    def base(self) -> str:
        return self.links[0].partition("/#")[0]

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    @property
    def cookie_name(self) -> str:
        return cookie_name(self.port)

    @property
    def code(self) -> str:
        return self.links[-1].partition("#")[2]

    async def login(self) -> None:
        answer = await self.client.post("/login", json={"code": self.code}, headers={"origin": self.base})
        assert 200 == answer.status_code
        found = re.search('name="token" content="([^"]+)"', (await self.client.get("/")).text)
        assert found
        self.token = found[1]

    @property
    def headers(self) -> dict[str, str]:
        """Of a good POST."""
        return {"origin": self.base, "x-ocap-token": self.token, "content-type": "application/json"}

    async def do(self, action: str, **fields: str) -> dict[str, Any]:
        answer = await self.client.post(f"/do/{action}", json=fields, headers=self.headers)
        found: dict[str, Any] = answer.json()
        return found

    async def raw(self, data: bytes, seconds: float = 5) -> bytes:
        """What the panel answers to these bytes, up to its end of the connection or the time."""
        found = b""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            with trio.move_on_after(seconds):
                with suppress(trio.BrokenResourceError):  # it may be refused before all is sent
                    await stream.send_all(data)
                with suppress(trio.BrokenResourceError):
                    while more := await stream.receive_some():
                        found += more
        return found

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """What the pages read, of this moment."""
        with closing(Reader(Path(self.served.folder) / "k.db")) as reader, reader.snapshot():
            yield reader

    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())


@asynccontextmanager
async def visiting(
    db: Path, *, launched: bool = True, log: LogFile | None = None, file: ClusterFile | None = None
) -> AsyncIterator[Visit]:
    """The panel of a kernel, which has the subcluster `c` of the vats `a` and `b`; it may be that of a file."""
    links: list[str] = []
    async with serving(db, log, file, folder=str(db.parent)) as it, trio.open_nursery() as nursery:
        if launched:
            await it.client.call("launch", text=toml(), folder=it.folder)
        nursery.start_soon(serve_panel, db, 0, links.append)
        await until(lambda: links)
        async with httpx.AsyncClient(base_url=links[0].partition("/#")[0], timeout=20) as client:
            visit = Visit(it, links, client)
            await visit.login()
            yield visit
        nursery.cancel_scope.cancel()
