"""`ocap verify`."""

from __future__ import annotations

import json
from pathlib import Path

from ocap.cli.progress import progress
from ocap.legible import safe_text
from ocap.store.sqlite import check_is_there
from ocap.verify import verify


def verify_file(path: Path, *, as_json: bool) -> int:
    """Check a database; 1 if anything is broken.

    Raises:
        StoreError: it cannot be checked.
    """
    check_is_there(path)
    with progress("verify") as told:
        problems = verify(path, told)
    if as_json:
        fields = ("rule", "key", "expected", "found")
        print(json.dumps({"problems": [{name: getattr(it, name) for name in fields} for it in problems]}))
    else:
        for problem in problems:
            print(safe_text(str(problem)))
        if not problems:
            print("all invariants hold")
    return 1 if problems else 0
