"""The same program makes the same things happen in the same order, whenever its tasks run."""

from __future__ import annotations

import os
import random
import subprocess
import sys

from tests.commands import ENVIRONMENT, REPOSITORY

SEED = int(os.environ.get("OCAP_TIMING_SEED", random.randrange(2**32)))
RUNS = 4


def test_the_message_log_does_not_depend_on_the_timing_of_tasks() -> None:
    """Nor on the order of sets, which differs from process to process."""
    print(f"OCAP_TIMING_SEED={SEED}")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.lifecycle.timing", str(SEED + number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
            env={**ENVIRONMENT, "PYTHONHASHSEED": str((SEED + number) % 2**32)},
        )
        for number in range(RUNS)
    ]
    logs = [process.communicate()[0].splitlines() for process in running]
    assert [0] * RUNS == [process.returncode for process in running]
    kinds = {
        kind: sum(f"kind='{kind}'" in line for line in logs[0]) for kind in ("deliver", "log", "fault", "terminate")
    }
    assert {"log": 24, "fault": 12, "terminate": 24} == {kind: kinds[kind] for kind in ("log", "fault", "terminate")}
    assert kinds["deliver"] > 200
    for log in logs[1:]:
        assert logs[0] == log
