"""Runs the bank and kills it, again and again, while money moves: what `make run` does.

Each run is the same command. It goes on where the one before was killed, and in the end the auditor
finds every coin: a crank's messages and its changes are kept together, or not at all.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import trio

from ocap import E, Kernel

HERE = Path(__file__).parent
DATABASE = Path(".run/bank.db")
OCAP = [sys.executable, "-m", "ocap"]
RUN = ["run", os.path.relpath(HERE / "bank.toml"), "--db", str(DATABASE)]
KILLS = 5
TRAFFIC = 12  # lines of it to show


def run_for(seconds: float | None, *, show_traffic: bool = False) -> bool:
    """Run the bank, and kill it after some seconds of moving money; whether it came to its own end."""
    with subprocess.Popen(
        [*OCAP, *RUN, *(["--log"] if show_traffic else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        killer = threading.Timer(seconds or 0, process.kill)
        shown = 0
        for line in process.stdout:
            if line.startswith("bank:") and seconds is not None:
                killer.start()
            is_traffic = show_traffic and ("  deliver  " in line or "  syscall  " in line)
            shown += is_traffic
            if not is_traffic or 20 < shown <= 20 + TRAFFIC:
                print(f"    {line.rstrip()[:150]}", flush=True)
        killer.cancel()
    if process.returncode not in (0, -9):
        sys.exit(f"the run failed with exit code {process.returncode}")
    return process.returncode == 0


async def open_next_day() -> None:
    """Talk to a bank that an earlier process launched: it is as it was left."""
    async with Kernel(DATABASE) as kernel:
        for bank in kernel.get_subclusters():
            totals = await E(bank.root).get_totals()
            if totals[-1] is not None:
                print(f"The bank is there from an earlier run; the totals of its days so far: {totals}")
                print(await E(bank.root).open_day())


def main() -> None:
    DATABASE.parent.mkdir(exist_ok=True)
    if DATABASE.exists():
        trio.run(open_next_day)
    print(f"$ ocap {' '.join(RUN)} --log")
    finished = run_for(random.uniform(0.2, 0.4), show_traffic=True)
    kills = 0
    while not finished:
        kills += 1
        print(f"*** kill -9, number {kills} ***\n$ ocap {' '.join(RUN)}", flush=True)
        finished = run_for(random.uniform(0.2, 1.0) if kills < KILLS else None)
    print(f"$ ocap verify {DATABASE}", flush=True)
    subprocess.run([*OCAP, "verify", DATABASE], check=True)
    print(
        f"\nKilled {kills} times, and no coin was lost or made. The code is in {os.path.relpath(HERE)}/; docs/ says how"
        "\nit works. `make run` again for the bank's next day, `make clean` to found it anew."
    )


if __name__ == "__main__":
    main()
