"""Files of the log: rotated within a size and an age, read from the first line to the last, and followed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocap.log import to_json_line
from ocap.log.reading import parts_of, read_lines
from ocap.log.writing import DAY, MIN_SIZE, PARTS, LogFile, Retention, parse_retention, parse_size
from ocap.protocol.errors import ConfigError
from tests.log.made import entry


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def read(path: Path) -> list[bytes]:
    return [line.text for line in read_lines(path)]


def written(path: Path, lines: list[str], retention: Retention | None = None) -> None:
    log = LogFile(path, retention)
    for line in lines:
        log.write(line)
    log.close()


# ---- writing --------------------------------------------------------------------------------------


def test_nothing_is_lost_or_told_twice_while_what_is_kept_has_room(path: Path) -> None:
    lines = [f"{number:05}" * 20 for number in range(2_000)]
    written(path, lines, Retention(size=MIN_SIZE * 8))
    assert len(parts_of(path)) > 0
    assert read(path) == [line.encode() for line in lines]


def test_only_the_oldest_parts_go_and_all_is_within_the_size(path: Path) -> None:
    lines = [f"{number:05}" * 20 for number in range(3_000)]
    written(path, lines, Retention(size=MIN_SIZE))
    kept = read(path)
    assert kept == [line.encode() for line in lines][-len(kept) :]
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    assert MIN_SIZE * (PARTS - 2) / PARTS < size <= MIN_SIZE
    numbers = [number for number, _ in parts_of(path)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_line_longer_than_a_part_is_kept_whole(path: Path) -> None:
    lines = ["a", "b" * MIN_SIZE, "c"]
    written(path, lines, Retention(size=MIN_SIZE * 2))
    assert read(path) == [line.encode() for line in lines]


def test_parts_go_with_age(path: Path) -> None:
    clock = Clock()
    log = LogFile(path, Retention(seconds=8 * DAY), clock)
    for day in range(30):
        for hour in range(24):
            log.write(f"{day} {hour}")
            os.utime(path, (clock.now, clock.now))
            clock.now += DAY / 24
    log.close()
    days = [int(line.split()[0]) for line in read(path)]
    assert days[-1] == 29
    assert days[0] in (20, 21)
    assert len(days) == 720 - read_before(days[0], read(path))


def read_before(first: int, lines: list[bytes]) -> int:
    """How many lines were written before those that are left."""
    return first * 24 + int(lines[0].split()[1])


def test_age_of_a_file_counts_from_its_first_line_over_many_runs(path: Path) -> None:
    """Runs that are short and many rotate too, though each begins soon after the last."""
    clock = Clock()
    for _ in range(11):
        log = LogFile(path, Retention(seconds=8 * DAY), clock)
        log.write(to_json_line(entry(time=datetime.fromtimestamp(clock.now, UTC).isoformat())))
        log.close()
        clock.now += DAY / 4
    assert len(parts_of(path)) == 2
    assert len(read(path)) == 11


def test_a_line_cut_short_is_ended_before_the_next(path: Path) -> None:
    path.write_text("whole\nhal")
    written(path, ["next"])
    assert path.read_text() == "whole\nhal\nnext\n"


def test_log_is_private(path: Path) -> None:
    written(path, ["x"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_that_is_rotated_has_one_writer(path: Path) -> None:
    first = LogFile(path, Retention(size=MIN_SIZE))
    for retention in (None, Retention(size=MIN_SIZE)):
        with pytest.raises(ConfigError, match="has one writer"):
            LogFile(path, retention)
    first.close()
    shared = [LogFile(path), LogFile(path)]
    with pytest.raises(ConfigError, match="has one writer"):
        LogFile(path, Retention(size=MIN_SIZE))
    for log in shared:
        log.close()


def test_log_that_cannot_be_rotated_closes_no_file_but_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(path, Retention(size=MIN_SIZE))
    log.write("a" * MIN_SIZE)
    rename = Path.rename

    def occupied(this: Path, target: Path) -> Path:
        done = rename(this, target)
        this.mkdir()  # in the place of the new file
        return done

    monkeypatch.setattr(Path, "rename", occupied)
    with pytest.raises(OSError, match="log"):
        log.write("b")
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]  # which get the numbers that are free
    log.close()
    for other in others:
        os.close(other)


def test_what_is_no_plain_file_is_not_rotated(tmp_path: Path) -> None:
    log = LogFile(Path(os.devnull), Retention(size=MIN_SIZE))
    for _ in range(100):
        log.write("x" * MIN_SIZE)
    log.close()
    assert parts_of(Path(os.devnull)) == []


def test_foreign_files_are_let_alone(path: Path) -> None:
    others = [path.with_name(f"{path.name}{end}") for end in (".1", ".gz", ".000001.gz", ".backup", "000002")]
    for other in others:
        other.write_text("mine")
    written(path, ["x" * 1000] * 500, Retention(size=MIN_SIZE))
    assert all(other.read_text() == "mine" for other in others)
    assert b"mine" not in read(path)


def test_name_with_marks_of_patterns(tmp_path: Path) -> None:
    path = tmp_path / "log[1]*?.jsonl"
    written(path, [f"{number:05}" * 20 for number in range(200)], Retention(size=MIN_SIZE))
    assert len(parts_of(path)) > 0
    assert len(read(path)) == 200


@pytest.mark.parametrize(
    ("text", "size"), [("64000", 64_000), ("64k", 64_000), ("64K", 64_000), ("5MB", 5_000_000), ("2G", 2_000_000_000)]
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "-5", "1.5G", "63999", "0", "٦٤٠٠٠"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--log-keep-size: "):
        parse_size(text)


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_what_is_no_number_of_days_is_refused(days: float) -> None:
    with pytest.raises(ConfigError, match=r"^--log-keep-days: "):
        parse_retention(None, days)
    assert parse_retention("64k", 0.5) == Retention(64_000, DAY / 2)


# ---- following ------------------------------------------------------------------------------------


def follow(path: Path, steps: Iterator[None], last: int | None = None) -> list[bytes]:
    """What one who follows a log sees, if `steps` happen where it would wait."""
    found: list[bytes] = []

    def wait() -> None:
        if next(steps, "over") == "over":
            raise OverError

    with pytest.raises(OverError):
        found.extend(line.text for line in read_lines(path, follow=True, wait=wait, last=last))
    return found


class OverError(Exception):
    """Nothing more happens."""


@settings(max_examples=40, deadline=None)
@given(plan=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=8))
def test_follower_sees_every_line_once_however_often_it_is_rotated_meanwhile(
    plan: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("followed") / "log"
    log = LogFile(path, Retention(size=MIN_SIZE * 100))
    expected: list[bytes] = []

    def go_on() -> Iterator[None]:
        for count, rotates in plan:
            for _ in range(count):
                line = f"{len(expected)}".rjust(100)
                expected.append(line.encode())
                log.write(line)
            if rotates:
                log._rotate()
            yield

    assert follow(path, go_on()) == expected
    log.close()


def test_follower_waits_for_the_rest_of_a_line(path: Path) -> None:
    path.write_bytes(b"one\nt")

    def go_on() -> Iterator[None]:
        with path.open("ab") as file:
            file.write(b"w")
            file.flush()
            yield
            file.write(b"o\nthree\n")
            file.flush()
            yield

    assert follow(path, go_on()) == [b"one", b"two", b"three"]


def test_follower_begins_anew_when_the_file_is_emptied(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n")

    def go_on() -> Iterator[None]:
        path.write_bytes(b"3\n")
        yield
        yield

    assert follow(path, go_on()) == [b"one", b"two", b"3"]


def test_follower_goes_on_when_another_program_renames_the_file(path: Path) -> None:
    """As logrotate does."""
    path.write_bytes(b"one\n")

    def go_on() -> Iterator[None]:
        path.rename(path.with_name("log.jsonl.1"))
        yield
        path.write_bytes(b"two\n")
        yield
        yield

    assert follow(path, go_on()) == [b"one", b"two"]


def test_following_is_live(path: Path) -> None:
    """Another process sees a line soon after it was written, across a rotation."""
    log = LogFile(path, Retention(size=MIN_SIZE))
    log.write(to_json_line(entry(text="first")))
    code = "import sys; from ocap.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "log", str(path), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "1<0 v1:name of v1  log  first\n"
            log._rotate()
            log.write(to_json_line(entry(text="second")))
            assert process.stdout.readline() == "1<0 v1:name of v1  log  second\n"
            assert process.poll() is None
        finally:
            process.terminate()
    log.close()


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=4),
    last=st.integers(1, 400),
)
def test_end_of_a_log_is_its_lines_that_begin_there(
    parts: list[list[int]], last: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However it is cut into parts, and wherever in a line its end is taken to begin."""
    path = tmp_path_factory.mktemp("end") / "log"
    data = [b"".join(b"%d" % (size % 10) * size + b"\n" for size in part) for part in parts]
    for number, part in enumerate(data[:-1], 1):
        path.with_name(f"log.{number:06}").write_bytes(part)
    path.write_bytes(data[-1])
    end = sum(map(len, data))
    expected, begin = [], 0
    for line in b"".join(data).splitlines(keepends=True):
        if begin >= end - last:
            expected.append(line.rstrip(b"\n"))
        begin += len(line)
    assert [line.text for line in read_lines(path, last=last)] == expected


def test_follower_of_the_end_sees_what_comes_across_rotations(path: Path) -> None:
    log = LogFile(path, Retention(size=MIN_SIZE * 100))
    for number in range(100):
        log.write(f"{number:03}")

    def go_on() -> Iterator[None]:
        log.write("first")
        log._rotate()
        log.write("second")
        yield
        yield

    assert follow(path, go_on(), last=8) == [b"098", b"099", b"first", b"second"]
    log.close()


def test_place_of_a_line_is_its_file_and_number(path: Path) -> None:
    path.write_text("a\nb\n\nd")
    path.with_name("log.jsonl.000007").write_text("z\n")
    places = ["log.jsonl.000007 line 1", *(f"log.jsonl line {number}" for number in range(1, 5))]
    assert [line.place for line in read_lines(path)] == places
