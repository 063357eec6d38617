"""What a daemon serves beside its kernel, where what it serves misbehaves."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from ocap.daemon import beside
from ocap.daemon.beside import Wanted, open_beside
from ocap.host.kernel import Kernel


async def test_what_a_panel_prints_beside_its_links_ends_nothing(
    db: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    says = "import sys; print('warning: \\x1b[31mred', '\"http://a\"', sep=chr(10), flush=True); sys.stdin.read(); sys.stdin.read()"
    monkeypatch.setattr(beside, "_CHILD", says)
    links: list[str] = []
    with caplog.at_level(logging.WARNING), open_beside(Wanted(panel=0)) as it:
        async with Kernel(db) as kernel, trio.open_nursery() as nursery:
            await it.start(nursery, kernel, database=db, announce=links.append)
            assert it.link == "http://a"
            nursery.cancel_scope.cancel()
    assert links == ["http://a"]
    (line,) = [it.getMessage() for it in caplog.records if it.name == beside.logger.name]
    assert "red" in line
    assert "\x1b" not in line
