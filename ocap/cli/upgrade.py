"""`ocap upgrade --check`."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import asdict

from ocap.cli.progress import progress
from ocap.legible import safe_text
from ocap.takeover import check_upgrade


def check(path: Path, vat: str, source: str, *, as_json: bool) -> int:
    """Print what of a vat's state new code cannot take over; 1 if there is any.

    Raises:
        StoreError: the database cannot be read.
        VatNotFoundError: it has no such vat.
    """
    with progress("check") as told:
        misfits = check_upgrade(path, vat, source, told)
    if as_json:
        print(json.dumps({"misfits": [asdict(misfit) for misfit in misfits]}))
    else:
        for misfit in misfits:
            print(safe_text(str(misfit)))
        if not misfits:
            print("the code can take over")
    return 1 if misfits else 0
