"""Another user of the same machine, really: a process that has become one."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

STRANGER = 65_534
"""The user nobody."""

NEEDS_ROOT = (
    "only root can become another user; the same rules are shown with a simulated user in tests/daemon/test_place.py, "
    "tests/daemon/test_server.py and tests/test_http_server.py"
)

T = TypeVar("T")


def become_stranger() -> None:
    """Be another user, for good."""
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)


def in_process(act: Callable[[], T]) -> T:
    """What `act` returns in a process of its own; raises what it raises there."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child uses nothing that other threads may have held
        child = os.fork()
    if child == 0:
        try:
            outcome: tuple[bool, object] = True, act()
        except BaseException as error:
            outcome = False, error
        try:
            os.write(writer, pickle.dumps(outcome))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    is_good, value = pickle.loads(found)
    if not is_good:
        raise value
    result: T = value
    return result


def as_stranger(act: Callable[[], T]) -> T:
    """What `act` returns when another user does it; raises what it raises there."""

    def acting() -> T:
        become_stranger()
        return act()

    return in_process(acting)


def tried(act: Callable[[], object]) -> str:
    """The name of the error with which `act` fails for another user, or `done`."""
    try:
        as_stranger(act)
    except OSError as error:
        return type(error).__name__
    return "done"


@pytest.fixture
def root() -> None:
    """Needs to be root. In CI the tests are."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like /tmp: everybody may put files there, and nobody may take away another's."""
    folder = Path(tempfile.mkdtemp(prefix="ocap-public-"))
    folder.chmod(0o1777)
    monkeypatch.setenv("OCAP_RUNTIME_DIR", str(folder / "run"))
    yield folder
    shutil.rmtree(folder)
