"""What the pages show of a terminal is what a terminal shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import REPOSITORY
from tests.docs.console import PART, Shown, open_page

PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "README.md"]
CONSOLES = [page for page in PAGES if PART.search(page.read_text())]


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_consoles_show_what_happens(page: Path) -> None:
    with open_page(page) as opened:
        wrong = [shown for shown in opened.run() if not shown.is_true]
    assert [] == wrong, "\n".join(f"$ {it.command}\n{it.actual}" for it in wrong)


def test_pages_have_consoles() -> None:
    names = {page.name for page in CONSOLES}
    assert {"README.md", "tutorial.md", "command-line.md"} <= names


def test_dots_stand_for_any_text() -> None:
    assert Shown("", "a ... c\n", "a b\nb c\n").is_true
    assert not Shown("", "a ... c\n", "a b d\n").is_true
    assert not Shown("", "a\n", "a\nb\n").is_true
