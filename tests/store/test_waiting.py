"""`ocap promises`: what waits for what, and since when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocap import E, Kernel
from ocap.cli.app import run_app
from ocap.verify import verify
from ocap.waiting import waiting
from tests.ring.clusters import launch


async def test_each_promise_says_who_decides_who_waits_and_what_it_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "k.db"
    async with Kernel(path) as kernel:
        subcluster, a, b = await launch(kernel)
        vats = {name: vat.id for name, vat in subcluster.vats.items()}
        assert waiting(path) == []
        later = E(a).later("x")
        await kernel.suspend_vat(vats["b"])
        other = E(b).get("other")
        await kernel.idle()
        found = waiting(path)
        carried = next(it for it in found if it.answer_to is not None)
        assert carried.answer_to is not None
        assert carried.answer_to.startswith("get to ko")
        assert carried.answer_to.endswith(f", held at {vats['b']}")
        assert (None, ["host"]) == (carried.decider, carried.heard_by)
        decided = next(it for it in found if it.decider == f"{vats['a']} a" and it.heard_by == ["host"])
        assert all(0 <= it.seconds < 120 for it in found)
        assert found == sorted(found, key=lambda it: int(it.promise[2:]))
        assert run_app(["promises", str(path), "--json"]) == 0
        shown = json.loads(capfd.readouterr().out)["promises"]
        assert [it["promise"] for it in shown] == [it.promise for it in found]
        assert run_app(["promises", str(path)]) == 0
        assert f"{decided.promise} " in capfd.readouterr().out
        del later, other
    assert verify(path) == []
