"""`ocap log`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import pytest

from ocap.cli.app import run_app
from ocap.host.kernel import Kernel
from ocap.log import from_json_line
from ocap.log.selection import Selection
from ocap.log.writing import MIN_SIZE
from tests.commands import ocap, start_ocap
from tests.daemon.serving import toml

EXCHANGE = Path(__file__).parents[1] / "clusters" / "exchange" / "exchange.toml"
CapFd = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A log file, and the lines that `ocap run --log` showed of the same run."""
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    done = ocap("run", EXCHANGE, "--log-json", log, "--log")
    assert done.returncode == 0
    return log, done.stderr.splitlines()


@pytest.fixture
def log(kept: tuple[Path, list[str]], tmp_path: Path) -> Path:
    return Path(shutil.copy(kept[0], tmp_path))


def lines_of(capfd: CapFd, *arguments: str | Path, code: int = 0) -> list[str]:
    assert run_app(["log", *map(str, arguments)]) == code
    out, error = capfd.readouterr()
    assert error == ""
    return out.splitlines()


def complaint(capfd: CapFd, *arguments: str | Path, code: int = 2) -> str:
    assert run_app(["log", *map(str, arguments)]) == code
    out, error = capfd.readouterr()
    assert out == ""
    (line,) = error.splitlines()
    return line


def test_lines_are_those_of_run(kept: tuple[Path, list[str]], capfd: CapFd) -> None:
    assert lines_of(capfd, kept[0]) == kept[1]


def test_json_gives_the_file_back(log: Path, capfd: CapFd) -> None:
    assert lines_of(capfd, log, "--json") == log.read_text().splitlines()


def test_filters_narrow(log: Path, capfd: CapFd) -> None:
    everything = lines_of(capfd, log)
    alice = lines_of(capfd, log, "--vat", "alice")
    assert alice == [line for line in everything if " v4:alice  " in line]
    both = lines_of(capfd, log, "--vat", "alice", "--vat", "v5")
    assert both == [line for line in everything if " v4:alice  " in line or " v5:bob  " in line]
    assert lines_of(capfd, log, "--crank", "7..8") == [line for line in everything if line.startswith(("7<", "8<"))]
    assert lines_of(capfd, log, "--ref", "ko7") == [line for line in everything if "ko7" in line]
    deposits = Selection(methods=frozenset({"deposit"}))
    expected = [line for line in log.read_text().splitlines() if deposits.has(from_json_line(line))]
    assert lines_of(capfd, log, "--method", "deposit", "--json") == expected
    assert 0 < len(expected) < len(everything)
    assert lines_of(capfd, log, "--since", "1d") == lines_of(capfd, log, "--until", "2999-01-01") == everything
    assert lines_of(capfd, log, "--until", "1d") == lines_of(capfd, log, "--since", "2999-01-01") == []


def test_times_stand_in_front(log: Path, capfd: CapFd) -> None:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    plain = lines_of(capfd, log)
    timed = lines_of(capfd, log, "--times")
    took = ["-" if it["took"] is None else f"{it['took'] * 1000:.3f} ms" for it in entries]
    heads = [f"{entry['time']} {its:>12}" for entry, its in zip(entries, took, strict=True)]
    assert timed == [f"{head}  {line}" for head, line in zip(heads, plain, strict=True)]
    cranks = [(entry["crank"], entry["time"], entry["took"]) for entry in entries if entry["crank"]]
    assert cranks == sorted(cranks)
    assert all(took > 0 for _, _, took in cranks)


def test_slower_selects_by_what_cranks_took(log: Path, capfd: CapFd) -> None:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    middle = sorted(it["took"] for it in entries if it["took"] is not None)[len(entries) // 3]
    found = [json.loads(line) for line in lines_of(capfd, log, "--slower", str(middle), "--json")]
    assert found == [it for it in entries if it["took"] is not None and it["took"] > middle] != []


def test_tail_is_the_last_of_what_is_selected(log: Path, capfd: CapFd) -> None:
    everything = lines_of(capfd, log)
    assert lines_of(capfd, log, "--tail", "3") == everything[-3:]
    assert lines_of(capfd, log, "--tail", "0") == []
    assert lines_of(capfd, log, "--tail", "all") == lines_of(capfd, log, "--tail", "9" * 40) == everything
    assert lines_of(capfd, log, "--vat", "alice", "--tail", "2") == lines_of(capfd, log, "--vat", "alice")[-2:]


@pytest.mark.parametrize("selecting", [[], ["--vat", "alice"]])
def test_follower_is_shown_the_last_ten_and_what_comes(selecting: list[str], log: Path, capfd: CapFd) -> None:
    known = lines_of(capfd, log, *selecting)
    line = next(it for it in reversed(log.read_text().splitlines()) if '"name": "alice"' in it)
    with start_ocap("log", log, "--follow", *selecting) as follower:
        assert follower.stdout is not None
        shown = [follower.stdout.readline().rstrip("\n") for _ in known[-10:]]
        with log.open("a") as file:
            file.write(f"{line}\n")
        shown.append(follower.stdout.readline().rstrip("\n"))
        follower.terminate()
    assert shown[:-1] == known[-10:]
    assert shown[-1] in known


@pytest.mark.parametrize("option", ["--vat", "--method", "--ref"])
def test_name_that_the_log_lacks_is_said(option: str, log: Path, capfd: CapFd) -> None:
    assert complaint(capfd, log, option, "nosuch", code=1) == f"ocap: {option}: nosuch: not in the log"
    known = {"--vat": "alice", "--method": "deposit", "--ref": "ko7"}[option]
    assert run_app(["log", str(log), option, known, option, "nosuch"]) == 1
    out, error = capfd.readouterr()
    assert (out != "", error) == (True, f"ocap: {option}: nosuch: not in the log\n")
    assert lines_of(capfd, log, option, known, "--crank", "900000..") == []  # it is there, and nothing was asked for


def test_why_is_a_chain_of_lines(log: Path, capfd: CapFd) -> None:
    everything = lines_of(capfd, log)
    chain = lines_of(capfd, log, "--why", "40")
    assert chain[0].startswith("6<0 ")
    assert chain[-1].startswith("40<")
    assert set(chain) <= set(everything)
    as_json = [json.loads(line) for line in lines_of(capfd, log, "--why", "40", "--json")]
    assert [f"{it['crank']}<{it['cause']}" for it in as_json] == [line.split()[0] for line in chain]


def test_why_of_a_crank_that_is_not_there(log: Path, capfd: CapFd) -> None:
    assert complaint(capfd, log, "--why", "4000", code=1) == "ocap: the log has no crank 4000"


def test_why_says_when_the_log_does_not_go_back_far_enough(log: Path, capfd: CapFd) -> None:
    rest = [line for line in log.read_text().splitlines(keepends=True) if json.loads(line)["crank"] > 20]
    log.write_text("".join(rest))
    assert run_app(["log", str(log), "--why", "40"]) == 0
    out, error = capfd.readouterr()
    assert out.splitlines()[-1].startswith("40<")
    assert error == "ocap: the log does not go back to crank 20, which caused crank 24\n"


def test_bad_lines_are_named_and_passed_over(log: Path, capfd: CapFd) -> None:
    good = lines_of(capfd, log)
    with log.open("ab") as file:
        file.write(b'{"crank": 1}\nnoise \x1b[2J\xff\n')
        file.write(b'{"crank": 1, "ca')
    for arguments in ([], ["--why", "40"]):
        assert run_app(["log", str(log), *arguments]) == 0
        out, error = capfd.readouterr()
        if not arguments:
            assert out.splitlines() == good
        number = len(good)
        assert [line.partition(", ")[0] for line in error.splitlines()] == [
            f"ocap: log.jsonl line {number + more}: passed over" for more in (1, 2, 3)
        ]
        assert error.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--crank", "5..3"], "ocap: --crank: 5..3: ends before it begins"),
        (["--since", "x"], "ocap: --since: x: a time is given as 2026-01-31T12:00, or as 30s, 15m, 2h or 7d ago"),
        (["--slower", "nan"], "ocap: --slower: nan: must be a number of seconds"),
        (["--slower", "-1"], "ocap: --slower: -1.0: must be a number of seconds"),
        (["--tail", "-1"], "ocap: --tail: is a number of entries, or all"),
        (["--tail", "1", "--why", "3"], "ocap: --tail: is for lines, not for --why and --diagram"),
        (
            ["--why", "3", "--vat", "v1"],
            "ocap: --why: shows a whole chain: it cannot be followed or narrowed by other options",
        ),
    ],
)
def test_bad_options(arguments: list[str], line: str, log: Path, capfd: CapFd) -> None:
    assert complaint(capfd, log, *arguments) == line


def test_no_such_log(tmp_path: Path, capfd: CapFd) -> None:
    for arguments in ([], ["--follow"], ["--why", "3"]):
        assert complaint(capfd, tmp_path / "no", *arguments) == f"ocap: {tmp_path / 'no'}: no such file"


def test_folder_is_no_log(tmp_path: Path, capfd: CapFd) -> None:
    assert complaint(capfd, tmp_path) == f"ocap: {tmp_path}: is a directory"


def test_pipe_is_read(log: Path, tmp_path: Path, capfd: CapFd) -> None:
    expected = lines_of(capfd, log, "--why", "40")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feed = threading.Thread(target=lambda: pipe.write_bytes(log.read_bytes()))
    feed.start()
    assert lines_of(capfd, pipe, "--why", "40") == expected
    feed.join()


def test_run_writes_its_whole_log_to_who_reads_a_pipe(tmp_path: Path, capfd: CapFd) -> None:
    """Whatever is tried before: who reads a pipe takes its first end for the end."""
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert 0 == run_app(["run", str(EXCHANGE), "--log-json", str(pipe)])
    reader.join()
    capfd.readouterr()
    assert read[0].count(b"\n") > 100


FAULTS = """
from vats import E, Exo

class Root(Exo):
    async def bootstrap(self, vats, services):
        try:
            await E(vats["b"]).burst(vats["a"])
        except ConnectionError as error:
            return str(error)

    async def burst(self, other):
        while True:
            E.send_only(other).take("y" * 3_000_000)

def build_root_object(vat_powers, parameters, baggage):
    return Root()
"""


def test_chain_that_led_to_a_dead_letter_says_who_sent_it(tmp_path: Path, capfd: CapFd) -> None:
    (tmp_path / "vat.py").write_text(FAULTS)
    (tmp_path / "c.toml").write_text(toml())
    log, db = tmp_path / "log.jsonl", tmp_path / "k.db"
    assert 0 == run_app(["run", str(tmp_path / "c.toml"), "--db", str(db), "--log-json", str(log)])
    assert 'c: "vat faulted"\n' == capfd.readouterr().out
    kernel = Kernel(db)
    (letter,) = kernel.get_dead_letters()
    kernel.close()
    *_, sent, fault = lines_of(capfd, log, "--why", str(letter.crank))
    assert re.match(r"\d+<\d+ v1:a  syscall  send ko\d+=o-\d+ \.burst\(", sent)
    assert re.match(rf"{letter.crank}<\d+ v2:b  fault  message ko\d+=o\+0 \.burst\(", fault)


def test_interrupt_ends_following(log: Path) -> None:
    with start_ocap("log", log, "--follow", "--crank", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1<0 ")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")


def test_follower_sees_a_run_to_its_end_through_rotations(tmp_path: Path) -> None:
    """A whole run, in parts, by one who follows it from the beginning."""
    log = tmp_path / "log.jsonl"
    log.touch()
    with start_ocap("log", log, "--follow", "--tail", "all", "--json") as follower:
        done = ocap("run", EXCHANGE, "--log-json", log, "--log-keep-size", str(3 * MIN_SIZE), "--log-keep-days", "30")
        assert done.returncode == 0
        parts = sorted(tmp_path.glob("log.jsonl.*"))
        assert len(parts) > 1
        expected = [line for part in (*parts, log) for line in part.read_text().splitlines()]
        assert follower.stdout is not None
        assert [follower.stdout.readline().rstrip("\n") for _ in expected] == expected
        follower.terminate()


def test_nothing_to_keep(tmp_path: Path, capfd: CapFd) -> None:
    assert run_app(["run", str(EXCHANGE), "--log-keep-days", "3"]) == 2
    reason = "--log-keep-size, --log-keep-days: there is nothing to keep without --log-json FILE"
    assert capfd.readouterr() == ("", f"ocap: {reason}\n")


def test_diagram_is_of_what_was_selected(log: Path, capfd: CapFd) -> None:
    lines = lines_of(capfd, log, "--diagram", "mermaid", "--vat", "alice")
    assert lines[0] == "sequenceDiagram"
    steps = [line for line in lines if "->>" in line or "--x" in line]
    assert steps
    assert all("->>v4: " in line or "--xv4: " in line for line in steps)
    (line,) = lines_of(capfd, log, "--diagram", "mermaid", "--vat", "alice", "--json")
    found = json.loads(line)
    assert found["participants"]["v4"] == "alice"
    assert len([step for step in found["steps"] if step["kind"] != "note"]) == len(steps)


def test_diagram_of_a_chain_says_who_settled_what(log: Path, capfd: CapFd) -> None:
    lines = lines_of(capfd, log, "--diagram", "mermaid", "--why", "40")
    assert "kernel" not in "".join(lines)
    assert "host->>v1: " in lines[6 if "v5" in lines[5] else 5]
    assert complaint(capfd, log, "--diagram", "svg", "--why", "4000", code=1) == "ocap: the log has no crank 4000"


def test_diagram_as_a_picture(log: Path, capfd: CapFd) -> None:
    lines = lines_of(capfd, log, "--diagram", "svg")
    assert lines[0].startswith("<svg ")
    assert lines[-1] == "</svg>"


def test_diagram_that_is_too_long_says_so(log: Path, capfd: CapFd) -> None:
    log.write_bytes(log.read_bytes() * 12)
    assert run_app(["log", str(log), "--diagram", "mermaid"]) == 0
    out, error = capfd.readouterr()
    assert sum("->>" in line or "--x" in line or "Note" in line for line in out.splitlines()) == 500
    assert error.startswith("ocap: the diagram has the first 500 of ")


@pytest.mark.parametrize("option", ["--follow", "--times"])
def test_diagram_cannot_be_followed(option: str, log: Path, capfd: CapFd) -> None:
    assert complaint(capfd, log, "--diagram", "svg", option).startswith("ocap: --diagram: ")


def test_unknown_form_of_diagram(log: Path, capfd: CapFd) -> None:
    assert "Choose from" in complaint(capfd, log, "--diagram", "png")
