"""A process that keeps to itself what it knows: operators' secrets, and what vats tell each other."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Leave no core files; let no other process of this user look into the memory; make files for this user alone.

    The system then counts what is in `/proc/PID` as root's, so debuggers and profilers need root. What the kernel is
    doing is told at SIGUSR1.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
