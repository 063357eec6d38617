"""Code on the pages is that of the examples, and the examples run.

A block is marked by the line before it: `<!-- PATH -->` for a whole file, `<!-- part of PATH -->` for an excerpt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT, OCAP, REPOSITORY, ocap

BLOCK = re.compile(r"^<!-- (part of )?(examples/\S+) -->\n```\w*\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "README.md"]
BLOCKS = [(page.name, *found) for page in PAGES for found in BLOCK.findall(page.read_text())]
HELLO = REPOSITORY / "examples/hello"


@pytest.mark.parametrize(
    ("page", "part", "path", "code"), BLOCKS, ids=[f"{page}-{path}" for page, _, path, _ in BLOCKS]
)
def test_blocks_are_of_the_examples(page: str, part: str, path: str, code: str) -> None:
    text = (REPOSITORY / path).read_text()
    assert f"{code}\n" in text if part else f"{code}\n" == text


def test_the_tutorial_has_code_of_examples_only() -> None:
    text = (REPOSITORY / "docs/tutorial.md").read_text()
    assert len(re.findall(r"^```(python|toml)$", text, re.MULTILINE)) == len(BLOCK.findall(text)) > 0


def test_hello_runs_and_resumes(tmp_path: Path) -> None:
    for _ in range(2):
        done = ocap("run", HELLO / "hello.toml", "--db", tmp_path / "hello.db")
        assert (done.stdout, done.returncode) == ('hello: "Hello Ann, I am Bob. You are visitor 1."\n', 0)


def test_host_program_finds_what_it_left(tmp_path: Path) -> None:
    command = [sys.executable, str(HELLO / "host.py"), str(tmp_path / "hello.db")]
    tutorial = (REPOSITORY / "docs/tutorial.md").read_text()
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT)
        assert f"$ python examples/hello/host.py hello.db\n{done.stdout}" in tutorial


def test_ready_made_vats_do_what_the_page_says() -> None:
    command = [sys.executable, str(REPOSITORY / "examples/ready_made/host.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT)
    page = (REPOSITORY / "docs/reference/ready-made-vats.md").read_text()
    assert f"$ python examples/ready_made/host.py\n{done.stdout}```" in page


def test_chain_and_diagram_on_the_page_are_what_the_command_shows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert ocap("run", HELLO / "hello.toml", "--log-json", log).returncode == 0
    page = (REPOSITORY / "docs/reference/command-line.md").read_text()
    assert f"$ ocap log log.jsonl --why 5\n{ocap('log', log, '--why', '5').stdout}```" in page
    drawn = ocap("log", log, "--diagram", "mermaid", "--vat", "bob").stdout
    assert f"$ ocap log log.jsonl --diagram mermaid --vat bob\n{drawn}$" in page


def test_jq_on_the_page_finds_what_it_says(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert ocap("run", HELLO / "hello.toml", "--log-json", log).returncode == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    found = [it["kernel"]["method"] for it in entries if it["op"] == "message" and it["name"] == "bob"]
    page = (REPOSITORY / "docs/reference/message-log.md").read_text()
    assert "\n".join(["log.jsonl", *found, "```"]) in page


def test_traced_example_prints_what_the_page_shows() -> None:
    command = [sys.executable, str(HELLO / "traced.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT)
    assert (
        f"```\n$ python examples/hello/traced.py\n{done.stdout}```"
        in (REPOSITORY / "docs/reference/traces.md").read_text()
    )


def test_prompt_answers_as_the_page_shows() -> None:
    page = (REPOSITORY / "docs/reference/command-line.md").read_text()
    found = re.search(r"\$ echo '(.*)' \| ocap repl examples/hello/hello.toml --json\n(.*)\n(.*)\n```", page)
    assert found
    line, told, answer = found.groups()
    command = [*OCAP, "repl", str(HELLO / "hello.toml"), "--json"]
    done = subprocess.run(command, input=line, capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == (f"{answer}\n", f"{told}\n")
