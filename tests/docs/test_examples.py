"""Code on the pages is that of the examples, and the examples run.

A block is marked by the line before it: `<!-- PATH -->` for a whole file, `<!-- part of PATH -->` for an excerpt.
"""

from __future__ import annotations

import re
from pathlib import Path

import jq  # type: ignore[import-not-found]  # an extension module, of which mypy knows nothing
import pytest

from tests.commands import REPOSITORY, ocap
from tests.docs.console import PART

DOCS = REPOSITORY / "docs"
BLOCK = re.compile(r"^<!-- (part of )?(examples/\S+) -->\n```\w*\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
PAGES = [*sorted(DOCS.rglob("*.md")), REPOSITORY / "README.md"]
BLOCKS = [(page.name, *found) for page in PAGES for found in BLOCK.findall(page.read_text())]
HELLO = REPOSITORY / "examples/hello"
EXCHANGE = REPOSITORY / "tests/clusters/exchange/exchange.toml"


@pytest.mark.parametrize(
    ("page", "part", "path", "code"), BLOCKS, ids=[f"{page}-{path}" for page, _, path, _ in BLOCKS]
)
def test_blocks_are_of_the_examples(page: str, part: str, path: str, code: str) -> None:
    text = (REPOSITORY / path).read_text()
    assert f"{code}\n" in text if part else f"{code}\n" == text


@pytest.mark.parametrize(
    "page", ["tutorial.md", *(f"how-to/{page.name}" for page in sorted((DOCS / "how-to").iterdir()))]
)
def test_who_learns_sees_code_of_examples_only(page: str) -> None:
    text = (DOCS / page).read_text()
    assert len(re.findall(r"^```(python|toml)$", text, re.MULTILINE)) == len(BLOCK.findall(text))
    assert BLOCK.search(text) or PART.search(text)


def test_hello_runs_and_resumes(tmp_path: Path) -> None:
    for _ in range(2):
        done = ocap("run", HELLO / "hello.toml", "--db", tmp_path / "hello.db")
        assert (done.stdout, done.returncode) == ('hello: "Hello Ann, I am Bob. You are visitor 1."\n', 0)


def test_jq_of_the_page_finds_what_it_says(tmp_path: Path) -> None:
    page = (DOCS / "reference/message-log.md").read_text()
    first, *others = re.findall(r"^(?:\$ )?jq -[cr] '([^']+)' log\.jsonl", page, re.MULTILINE)
    hello, exchange = (
        logged(cluster, tmp_path / name) for name, cluster in (("a", HELLO / "hello.toml"), ("b", EXCHANGE))
    )
    found = jq.compile(first).input_text(hello).all()
    assert "\n".join(["log.jsonl", *found, "```"]) in page
    assert 4 == len(others)
    for program in others:
        assert [] != jq.compile(program).input_text(hello + exchange).all(), program


def logged(cluster: Path, log: Path) -> str:
    assert ocap("run", cluster, "--log-json", log).returncode == 0
    return log.read_text()
