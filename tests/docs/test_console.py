"""What the pages show of a terminal is what a terminal shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import REPOSITORY
from tests.docs.console import CONSOLE, Shown, run_page

PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "README.md"]
CONSOLES = [page for page in PAGES if CONSOLE.search(page.read_text())]


@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_consoles_show_what_happens(page: Path, tmp_path: Path) -> None:
    wrong = [shown for shown in run_page(page, tmp_path) if not shown.is_true]
    assert [] == wrong, "\n".join(f"$ {it.command}\n{it.actual}" for it in wrong)


def test_dots_stand_for_any_text() -> None:
    assert Shown("", "a ... c\n", "a b\nb c\n").is_true
    assert not Shown("", "a ... c\n", "a b d\n").is_true
