"""What a user can type, catch or exceed is mentioned in the documentation."""

from __future__ import annotations

import ast
import inspect
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
from tests.commands import REPOSITORY

REFERENCE = REPOSITORY / "docs/reference"
NOT_LIMITS = {"APPLICATION_ID", "FIRST_CLASS_KIND", "ROOTS", "SERVICE_KIND", "VERSION"}  # identities, not sizes


def code_on(page: str) -> set[str]:
    """The words inside backticks."""
    spans = re.findall(r"`([^`\n]+)`", (REFERENCE / page).read_text())
    return {word for span in spans for word in re.findall(r"[\w-]+", span)}


COMMANDS = {name: cli.app[name].default_command for name in cli.app if not name.startswith("-")}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_and_options(name: str) -> None:
    text = (REFERENCE / "command-line.md").read_text()
    section = re.search(rf"^## ocap {name}\b.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, name
    command = COMMANDS[name]
    assert command is not None
    for parameter in inspect.signature(command).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert f"--{parameter.name.replace('_', '-')}" in section[0], (name, parameter.name)


def test_no_command_is_forgotten() -> None:
    assert {"run", "log", "verify", "why", "gc", "start", "send", "list"} < COMMANDS.keys()


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


def test_log_fields() -> None:
    fields = json.loads(to_json_line(from_event(Event(0, 0, "note", None), str)))
    assert fields.keys() - code_on("message-log.md") == set()


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
