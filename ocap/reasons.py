"""Why the system refused something, in the same words everywhere."""

from __future__ import annotations


def reason(error: OSError) -> str:
    """What follows the name of a file in a message."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror or str(error)).lower()
