"""The page of security names tests that are there, and leaves no case of the operator's side without one."""

from __future__ import annotations

import ast
import re

from tests.commands import REPOSITORY

PAGE = (REPOSITORY / "docs/reference/security.md").read_text()
ROWS = [row.split(" | ") for row in re.findall(r"^\| (\d+ \|.*) \|$", PAGE, re.MULTILINE)]


def test_cases_are_numbered_without_a_gap() -> None:
    assert [str(number) for number in range(1, len(ROWS) + 1)] == [row[0] for row in ROWS]
    assert len(ROWS) >= 49


def test_every_case_has_tests_that_are_there() -> None:
    for number, _, _, tests, _ in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert len(named) == tests.count("`") / 2 > 0, number
        for path, name in named:
            tree = ast.parse((REPOSITORY / path).read_text())
            names = {it.name for it in tree.body if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in names, (number, path, name)


def test_every_test_about_security_is_named() -> None:
    for path in ("tests/panel/test_security.py", "tests/panel/test_hostile_page.py", "tests/panel/test_load.py"):
        tree = ast.parse((REPOSITORY / path).read_text())
        for it in tree.body:
            if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) and it.name.startswith("test_"):
                assert f"`{path}::{it.name}`" in PAGE, it.name
