"""Whose a file is, where others may have laid it for us.

In a folder that everybody may write to, such as /tmp, another user can put a file or link of theirs in the place of one
that we are about to make: they would choose what we read, or read what we write.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def stranger(path: Path) -> str | None:
    """Why `path`, or the link of that name, is not to be trusted; None if there is nothing against it."""
    try:
        owner, folder = path.lstat().st_uid, path.parent.stat()
    except OSError:
        return None  # who opens it is told why
    if owner in (os.geteuid(), 0) or not folder.st_mode & stat.S_IWOTH:
        return None
    return f"belongs to another user (uid {owner}), in a folder that everybody may write to; use one of your own"
