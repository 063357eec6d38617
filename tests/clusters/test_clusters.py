"""The two given clusters, unmodified, give exactly the results their TOML files state, however they are run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocap.cli.app import run_app
from ocap.verify import verify
from tests.commands import ocap

CapFd = pytest.CaptureFixture[str]

HERE = Path(__file__).parent
PATTERNS = (
    "broken_promise_breaks_what_was_pipelined callback every_value_comes_back_equal foreign_await_is_named introduction"
    " keyword_arguments many_at_once message_to_data_is_refused my_object_comes_home_as_itself order_along_one_reference"
    " pipeline pipelined_to_a_third_party promise_argument_settles_in_the_receiver promise_cycle_in_data"
    " promise_inside_data promise_settles_to_an_object_messages_follow rejection_keeps_its_class"
    " their_object_is_one_presence their_promise_settles_later unknown_method_is_refused unpassable_names_the_place"
)
RESULTS: dict[str, Any] = {
    "patterns": dict.fromkeys(PATTERNS.split(), "ok"),
    "exchange": {
        "alice": {"moola": 70, "simoleons": 7},
        "bob": {"moola": 30, "simoleons": 93},
        "cheat": "TypeError",
        "overdraft": "ValueError: insufficient funds",
    },
}
KEYS = ["crank", "cause", "kind", "vat", "name", "op", "kernel", "vatside", "text", "time", "took"]
KINDS = {"deliver", "syscall", "log", "error", "fault", "suspend", "resume", "terminate", "note"}

cluster = pytest.mark.parametrize("name", sorted(RESULTS))


def toml(name: str) -> str:
    return str(HERE / name / f"{name}.toml")


def said(name: str) -> str:
    return f"{name}: {json.dumps(RESULTS[name])}\n"


@cluster
def test_result_is_printed(name: str, capfd: CapFd) -> None:
    assert run_app(["run", toml(name)]) == 0
    assert capfd.readouterr() == (said(name), "")


@cluster
def test_command_prints_the_result(name: str) -> None:
    done = ocap("run", toml(name))
    assert (done.returncode, done.stdout, done.stderr) == (0, said(name), "")


@cluster
def test_json_is_one_line_of_results_by_subcluster(name: str, tmp_path: Path, capfd: CapFd) -> None:
    db = str(tmp_path / "k.db")
    for _ in range(2):
        assert run_app(["run", toml(name), "--db", db, "--json"]) == 0
        (line,) = capfd.readouterr().out.splitlines()
        assert json.loads(line) == {name: RESULTS[name]}


@cluster
@pytest.mark.parametrize("way", ["in this process", "as commands"])
def test_second_run_on_a_database_resumes_with_the_same_result(
    name: str, way: str, tmp_path: Path, capfd: CapFd
) -> None:
    db = str(tmp_path / "k.db")
    for _ in range(2):
        if way == "as commands":
            done = ocap("run", toml(name), "--db", db)
            assert (done.returncode, done.stdout, done.stderr) == (0, said(name), "")
        else:
            assert run_app(["run", toml(name), "--db", db]) == 0
            assert capfd.readouterr() == (said(name), "")
        assert verify(db) == []
        assert run_app(["verify", db]) == 0
        assert capfd.readouterr().out == "all invariants hold\n"


def test_several_clusters_share_a_database(tmp_path: Path, capfd: CapFd) -> None:
    db = str(tmp_path / "k.db")
    for name in ("patterns", "exchange", "patterns"):
        assert run_app(["run", toml(name), "--db", db]) == 0
        assert capfd.readouterr() == (said(name), "")
    assert verify(db) == []


def test_one_file_may_have_several_subclusters(tmp_path: Path, capfd: CapFd) -> None:
    text = ""
    for name in RESULTS:
        text += (HERE / name / f"{name}.toml").read_text().replace('source = "', f'source = "{HERE / name}/')
    (tmp_path / "both.toml").write_text(text)
    assert run_app(["run", str(tmp_path / "both.toml"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == RESULTS


@cluster
def test_log_goes_to_standard_error_a_line_for_each_delivery_and_syscall(name: str, capfd: CapFd) -> None:
    assert run_app(["run", toml(name), "--log"]) == 0
    out, err = capfd.readouterr()
    assert out == said(name)
    lines = err.splitlines()
    assert len(lines) > 100
    for line in lines:
        cranks, vat, kind, *rest = line.split(maxsplit=4)
        crank, cause = map(int, cranks.split("<"))
        assert 0 <= cause <= crank
        assert kind in KINDS
        assert rest
        assert ":" in vat or (vat, kind) == ("kernel", "note")


@cluster
def test_log_json_has_the_documented_keys_on_each_line(name: str, tmp_path: Path, capfd: CapFd) -> None:
    log = tmp_path / "log.jsonl"
    assert run_app(["run", toml(name), "--log-json", str(log)]) == 0
    assert capfd.readouterr() == (said(name), "")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(entries) > 100
    for entry in entries:
        assert list(entry) == KEYS
        assert entry["kind"] in KINDS
        assert (entry["op"] is not None) == (entry["kind"] in ("deliver", "syscall"))
        assert (entry["vat"] is None) == (entry["name"] is None)
        if entry["op"] in ("message", "send"):
            ours, theirs = entry["kernel"], entry["vatside"]
            assert ours["target"].startswith("k")
            assert not theirs["target"].startswith("k")
            assert [slot[0] for slot in theirs["slots"]] == [slot[1] for slot in ours["slots"]]
            assert ours["method"] == theirs["method"]


@cluster
def test_log_names_for_every_crank_the_crank_that_caused_it(name: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert run_app(["run", toml(name), "--log-json", str(log)]) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    causes = {entry["crank"]: entry["cause"] for entry in entries}
    for entry in entries:
        assert entry["cause"] == causes[entry["crank"]]  # one crank has one cause
        crank = entry["crank"]
        while crank:  # every chain ends at the host
            assert causes[crank] < crank
            crank = causes[crank]
            assert crank in causes or crank == 0


@cluster
def test_every_message_delivered_was_sent_by_its_cause(name: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert run_app(["run", toml(name), "--log-json", str(log)]) == 0
    sent: dict[int, list[tuple[str, str | None]]] = {}
    for entry in map(json.loads, log.read_text().splitlines()):
        if entry["op"] == "send":
            sent.setdefault(entry["crank"], []).append((entry["kernel"]["method"], entry["kernel"]["result"]))
        if entry["op"] == "message" and entry["cause"]:
            assert (entry["kernel"]["method"], entry["kernel"]["result"]) in sent[entry["cause"]]


def test_log_json_is_appended_to(tmp_path: Path, capfd: CapFd) -> None:
    log = tmp_path / "log.jsonl"
    sizes = []
    for _ in range(2):
        assert run_app(["run", toml("exchange"), "--log-json", str(log)]) == 0
        sizes.append(len(log.read_text().splitlines()))
    assert sizes[1] == 2 * sizes[0]
