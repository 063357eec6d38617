"""The bank of the examples does what its demonstration shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ocap import E, Kernel, load_toml
from ocap.verify import verify
from tests.commands import ENVIRONMENT, REPOSITORY

BANK = REPOSITORY / "examples" / "bank"


@pytest.mark.slow
def test_demonstration_kills_the_bank_and_finds_every_coin_day_after_day(tmp_path: Path) -> None:
    for day in (1, 2):
        done = subprocess.run(
            [sys.executable, str(BANK / "demo.py")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=ENVIRONMENT,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ("The bank is there from an earlier run" in done.stdout) == (day > 1)
        assert "deliver  message" in done.stdout
        kills = done.stdout.count("*** kill -9")
        assert 1 <= kills <= 5
        assert re.findall(r"day (\d+): all purses together hold (\d+)", done.stdout) == [(str(day), "3000")]
        assert f"all invariants hold\n\nKilled {kills} times, and no coin was lost or made." in done.stdout


async def test_money_moves_and_its_total_stays(tmp_path: Path) -> None:
    db = tmp_path / "bank.db"
    async with Kernel(db, durability="process") as kernel:
        bank = await kernel.launch_subcluster(load_toml(BANK / "bank.toml")["bank"])
        with pytest.raises(RuntimeError, match="open already"):
            await E(bank.root).open_day()
        assert await E(bank.root).get_totals() == [None]
        await kernel.idle()
        assert await E(bank.root).get_totals() == [3000]
        assert await E(bank.root).open_day() == "day 2 is open"
    assert verify(db) == []
