"""Bad input to the commands that ask a daemon gets one clear line, and the exit code that is documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocap.cli.app import run_app
from ocap.verify import verify
from tests.commands import ocap
from tests.daemon.serving import VAT, toml


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A daemon that no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "vat.py").write_text(VAT)
    (folder / "c.toml").write_text(toml())
    assert 0 == ocap("start", folder / "c.toml", "--db", folder / "k.db").returncode
    yield folder
    assert 0 == ocap("stop", "--db", folder / "k.db").returncode
    assert verify(folder / "k.db") == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "nope"), 2, "there is no subcluster or vat nope"),
        (("send", "a", "echo", "x"), 2, """argument 1: x: is not JSON; text is written '"like this"'"""),
        (("send", "a", "fail"), 1, "KeyError: 'no'"),
        (("send", "a", "nope"), 1, "AttributeError: Root has no method nope"),
        (("upgrade", "a", "nowhere.py"), 2, "nowhere.py: no such file"),
        (("upgrade", "a", "broken.py"), 1, "the code cannot be loaded: RuntimeError: as it was told to"),
        (("upgrade", "a", "--parameters", "[]"), 2, "--parameters: must be a JSON object"),
        (("launch", "nope.toml"), 2, "nope.toml: no such file"),
        (("launch", "c.toml"), 2, "subclusters.c: there is a subcluster of this name; update or reload it"),
        (("dead-letters", "--retry", "7"), 2, "there is no dead letter 7"),
        (("dead-letters", "--retry", "7", "--drop", "7"), 2, "--retry, --drop: one of them at a time"),
        (("start", "--db", "x.db", "--log-keep-days", "3"), 2, "there is nothing to keep without --log-json FILE"),
        (("start",), 2, "--db"),
        (("list", "--db", "other.db"), 2, "other.db, which does not exist; start one with `ocap start`"),
        (("start", "c.toml", "--db", "."), 2, "--db: .: is a folder; name a file"),
        (("start", "c.toml", "--db", ""), 2, "--db: .: is a folder; name a file"),
        (("start", "c.toml", "--db", "/"), 2, "--db: /: is a folder; name a file"),
        (("run", "c.toml", "--db", "."), 2, ".: is a folder; name a file"),
        (("verify", "."), 2, ".: is a folder; name a file"),
        (("gc", "."), 2, ".: is a folder; name a file"),
        (("why", ".", "ko1"), 2, ".: is a folder; name a file"),
        (("frobnicate",), 2, "frobnicate"),
        (("send", "a", "echo", "--timeout", "nan"), 2, "--timeout: nan: must be a number of seconds"),
        (("send", "a", "echo", "--timeout", "-1"), 2, "--timeout: -1.0: must be a number of seconds"),
        (("dead-letters", "--retry", "7", "--timeout", "nan"), 2, "--timeout: nan: must be a number of seconds"),
        (("start", "--db", "x.db", "--slow-crank", "nan"), 2, "--slow-crank: nan: must be a number of seconds, or 0"),
        (("revoke", "a"), 2, "a: is no kref of an object, such as ko7"),
        (("revoke", "ko99"), 2, "there is no object ko99"),
        (("log",), 2, "FILE: the daemon writes no message log"),
    ],
)
def test_bad_input_is_one_line(
    shared: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shared)
    (shared / "broken.py").write_text("raise RuntimeError('as it was told to')")
    assert code == run_app(list(arguments))
    out, error = capfd.readouterr()
    assert "" == out
    (line,) = error.splitlines()
    assert line.startswith("ocap: ")
    assert message in line
