"""`ocap repl`, on a terminal and from a pipe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from ocap.verify import verify
from tests.commands import ENVIRONMENT, OCAP, REPOSITORY

HELLO = REPOSITORY / "examples/hello/hello.toml"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    db = tmp_path / "k.db"
    yield db
    if db.exists():
        assert verify(db) == []


def piped(lines: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*OCAP, "repl", *map(str, arguments)]
    return subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT
    )


# ---- from a pipe ----------------------------------------------------------------------------------


def test_lines_are_run_and_values_shown() -> None:
    done = piped('await E(roots["hello"]).greet("x")\nx = 5\nfor i in range(2):\n    print(i * x)\n\n_\nNone\n', HELLO)
    assert done.stdout.splitlines() == [
        "'Hello x, I am Ann. You are visitor 1.'",
        "0",
        "5",
        "'Hello x, I am Ann. You are visitor 1.'",
    ]
    assert (done.returncode, done.stderr) == (0, 'hello: "Hello Ann, I am Bob. You are visitor 1."\n')


def test_names_last_from_line_to_line() -> None:
    done = piped('p = E(roots["hello"]).greet("x")\nasync def f():\n    return await p\n\n(await f())[:5]\n', HELLO)
    assert done.stdout == "'Hello'\n"


def test_values_as_json() -> None:
    done = piped('{"a": [1, b"x", None]}\nkernel.stats()\nNone\n', "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {"a": [1, "eA==", None]}
    assert second.keys() == {"cranks", "commits", "last_crank"}


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("await E(roots['hello']).nope()", "AttributeError: "),
        ("x y", "SyntaxError: invalid syntax"),
        ("(", "the input ends within a statement"),
        ('raise ValueError("\\x1b[2J\\u202e")', "ValueError: \\u001b[2J\\u202e"),
        ("kernel.get_vat('v99')", "ocap.protocol.errors.VatNotFoundError: there is no vat v99"),
    ],
)
def test_failing_line_is_told_and_the_next_is_run(line: str, last: str) -> None:
    done = piped(f"{line}\n" if line == "(" else f"{line}\n'on'\n", HELLO)
    assert done.stderr.splitlines()[-1].startswith(last)
    assert all(text.isprintable() for text in done.stderr.splitlines())
    assert "repl.py" not in done.stderr
    assert done.stdout == ("" if line == "(" else "'on'\n")
    assert done.returncode == 1


def test_values_are_inert_on_a_terminal() -> None:
    done = piped('class X:\n    def __repr__(self):\n        return "a\\x1b[2J\\nb\\u202e"\n\nX()\n')
    assert done.stdout == "a\\u001b[2J\nb\\u202e\n"


def test_exit_ends() -> None:
    done = piped("1\nraise SystemExit\n2\n")
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_what_is_done_is_kept(db: Path) -> None:
    for visitor in (1, 2):
        done = piped('await E(roots["hello"]).greet("x")\n', HELLO, "--db", db)
        assert done.stdout == f"'Hello x, I am Ann. You are visitor {visitor}.'\n"
    assert piped("list(roots)\n", "--db", db).stdout == "['hello']\n"


def test_bootstrap_that_never_answers_does_not_keep_the_prompt_away(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from vats import Exo, make_promise_kit\n\n\nclass Root(Exo):\n    async def bootstrap(self, vats, services):\n"
        "        await make_promise_kit().promise\n\n\ndef build_root_object(*_):\n    return Root()\n"
    )
    (tmp_path / "c.toml").write_text('[subclusters.c]\nbootstrap = "a"\n[subclusters.c.vats.a]\nsource = "a.py"\n')
    done = piped("roots\n", tmp_path / "c.toml")
    assert done.stdout == "{}\n"
    assert "nobody can give" in done.stderr


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for arguments, line in (
        ([tmp_path / "no.toml"], f"ocap: {tmp_path / 'no.toml'}: no such file\n"),
        (
            ["--db", tmp_path / "no" / "k.db"],
            f"ocap: {tmp_path / 'no' / 'k.db'}: cannot be opened: no such file\n",
        ),
    ):
        done = piped("1\n", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


# ---- on a terminal --------------------------------------------------------------------------------


@pytest.fixture
def terminal(db: Path) -> Iterator[pexpect.spawn[str]]:
    environment = ENVIRONMENT | {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-m", "ocap", "repl", str(HELLO), "--db", str(db)],
        env=environment,
        encoding="utf-8",
        timeout=30,
        dimensions=(40, 200),
    )
    child.expect("await works")
    child.expect(">>>")
    yield child
    child.close(force=True)


def say(terminal: pexpect.spawn[str], line: str, answer: str) -> None:
    terminal.sendline(line)
    terminal.expect_exact(answer)


def test_terminal_awaits_and_ends_at_ctrl_d(terminal: pexpect.spawn[str]) -> None:
    say(terminal, 'await E(roots["hello"]).greet("you")', "'Hello you, I am Ann. You are visitor 1.'")
    say(terminal, "for i in range(2):", "...")
    say(terminal, "    print(i + 100)", "...")
    say(terminal, "", "101")
    say(terminal, "print(kernel.dump())", "vats with a heap: v1 v2")
    terminal.expect(">>>")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_gives_up_what_is_awaited_and_only_that(terminal: pexpect.spawn[str]) -> None:
    terminal.sendline("print('n' + 'ow'); await trio.sleep_forever()")
    terminal.expect_exact("now")
    terminal.sendintr()
    terminal.expect_exact("interrupted")
    for _ in range(3):  # at whatever moment: before there is a prompt, or at it
        terminal.sendintr()
    say(terminal, "6 * 7", "42")
    terminal.send("1 +")
    terminal.expect_exact("1 +")
    terminal.sendintr()  # gives up the line
    say(terminal, "6 * 8", "48")
    terminal.expect_exact(">>>")  # before that, the key is the terminal's business
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_term_ends_at_the_prompt_and_gives_the_terminal_back(terminal: pexpect.spawn[str]) -> None:
    say(terminal, "6 * 7", "42")
    terminal.expect_exact(">>>")
    terminal.kill(signal.SIGTERM)
    terminal.expect(pexpect.EOF)
    assert "\x1b[?2004l" in (terminal.before or "")  # no longer takes what is pasted for a block
    terminal.close()
    assert terminal.exitstatus == 130


def test_missing_extra_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['prompt_toolkit'] = None; from ocap.__main__ import main; sys.exit(main())"
    db = tmp_path / "k.db"
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, ["-c", code, "repl", "--db", str(db)], env=ENVIRONMENT, encoding="utf-8", timeout=30
    )
    child.expect_exact("ocap: the prompt needs prompt_toolkit, which is not installed; the extra ocap[repl] brings it")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    assert not db.exists()
