"""Pages and docstrings are for readers whose first language is another."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HARD = re.compile(r"\b(whoever|has it look|what is to be)\b", re.IGNORECASE)
"""What such a reader has to take apart; there is always a plainer word."""


def test_no_page_and_no_docstring_has_a_hard_word() -> None:
    """Each is told with its place."""
    folders = [ROOT / name for name in ("benchmarks", "docs", "plugins", "tests")] + [*ROOT.glob("procvision_*/")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".md", ".py")]
    found = []
    for path in {*ROOT.glob("*.md"), *paths} - {Path(__file__)}:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if word := HARD.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {word[0]}")
    assert len(paths) > 500
    assert found == []
