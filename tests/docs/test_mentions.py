"""What a user can type, catch or exceed is mentioned in the documentation."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import ocap as host_side
import vats
from ocap.cli import app as cli
from ocap.kernel.effects import Event
from ocap.log import from_event, to_json_line
from ocap.log.entry import KINDS, OPERATION_FIELDS
from tests.commands import REPOSITORY

REFERENCE = REPOSITORY / "docs/reference"
NOT_LIMITS = {"APPLICATION_ID", "FIRST_CLASS_KIND", "ROOTS", "SERVICE_KIND", "VERSION"}  # identities, not sizes


def code_on(page: str) -> set[str]:
    """The words inside backticks."""
    spans = re.findall(r"`([^`\n]+)`", (REFERENCE / page).read_text())
    return {word for span in spans for word in re.findall(r"[\w-]+", span)}


COMMANDS = [name for name in cli.app if not name.startswith("-")]
PAGE = (REFERENCE / "command-line.md").read_text()
SECTIONS = {
    found[1]: found for found in re.finditer(r"^## ocap ([\w-]+)(.*)\n(?s:(.*?))(?=^## |\Z)", PAGE, re.MULTILINE)
}


def names_of(command: str) -> dict[bool, set[str]]:
    """What the command line itself takes: its options (True), and what is given by its place."""
    names = {name for it in cli.app[command].assemble_argument_collection() for name in it.names}
    return {is_option: {name for name in names if name.startswith("--") is is_option} for is_option in (True, False)}


def test_every_command_has_a_section_and_no_other() -> None:
    assert {"run", "log", "verify", "why", "gc", "start", "send", "list"} < set(COMMANDS)
    assert sorted(COMMANDS) == sorted(SECTIONS)


@pytest.mark.parametrize("name", COMMANDS)
def test_section_has_every_option_of_its_command_and_no_other(name: str) -> None:
    _, head, text = SECTIONS[name].groups()
    own = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)  # consoles show other commands too
    own = re.sub(rf"`ocap (?!{name}\b)[^`]*`", "", own)
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", own))
    names = names_of(name)
    assert names[True] == found - NOT_OF.get(name, set())
    given = {word.strip("[].") for word in head.split()}
    assert names[False] == given


NOT_OF = {"log": {"--log-json"}, "panel": {"--panel"}}
"""Options of other commands, of which a section speaks."""


def test_page_has_what_every_command_takes_and_what_is_none() -> None:
    head = PAGE.partition("## ")[0]
    for name in ("--help", "-h", "--version", "--install-completion"):
        assert f"`ocap {name}`" in head or f"`{name}`" in head, name
    assert {"--help", "-h", "--version", "--install-completion"} == {it for it in cli.app if it.startswith("-")}


def test_exported_names() -> None:
    assert set(vats.__all__) - code_on("vats.md") == set()
    assert set(host_side.__all__) - code_on("host.md") == set()


def test_methods_of_the_kernel() -> None:
    methods = {name for name in vars(host_side.Kernel) if not name.startswith("_")}
    assert methods - code_on("host.md") == set()


def test_error_classes() -> None:
    found = {
        node.name
        for _, tree in modules()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
    }
    assert found - code_on("errors.md") == set()


def test_log_fields_kinds_and_operations() -> None:
    fields = json.loads(to_json_line(from_event(Event(0, 0, "note", None), str)))
    assert {*fields, *KINDS, *OPERATION_FIELDS} - code_on("message-log.md") == set()


def test_limits_and_their_values() -> None:
    text = (REFERENCE / "limits.md").read_text()
    for path, tree in modules():
        for name, value in numbers(tree):
            assert f"| `{name}` | `{path}` | {value:,} " in text


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("ocap", "vats"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text())


def numbers(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """The public constants of a module that are numbers."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant() | ast.BinOp() as value):
                if not re.fullmatch(r"[A-Z][A-Z_0-9]*", name) or name in NOT_LIMITS or name.startswith("TAG_"):
                    continue
                parts = [part for part in ast.walk(value) if isinstance(part, ast.Constant)]
                if all(type(part.value) in (int, float) for part in parts):
                    yield name, eval(ast.unparse(value))
