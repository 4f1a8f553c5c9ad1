"""What the pages take from the code is up to date, and every page is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import generate
import pytest
from generating.markdown import BEGIN, filled, table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_generated_pages_are_up_to_date() -> None:
    """If this fails: python docs/generate.py"""
    command = [sys.executable, DOCS / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_with_a_region_is_generated() -> None:
    """So that the test above leaves none out."""
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if BEGIN in path.read_text("utf-8")}
    assert pages == set(generate.PAGES)


def test_a_page_that_is_out_of_date_is_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It alone; what a person wrote around its regions stays."""
    docs = shutil.copytree(DOCS, tmp_path / "docs")
    page = docs / "reference" / "evaluation.md"
    whole = page.read_text("utf-8")
    page.write_text(re.sub(r"(\n\| `truths` \|).*", r"\1 gone |", whole) + "A person's last word.\n", "utf-8")
    (docs / "reference" / "manifest.schema.json").unlink()
    names = ["docs/reference/evaluation.md", "docs/reference/manifest.schema.json"]
    for words, status in (["--check"], 1), ([], 0):
        assert generate.main(words, docs) == status
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    assert page.read_text("utf-8") == whole + "A person's last word.\n"
    assert generate.main(["--check"], docs) == 0


@pytest.mark.parametrize("names", [["a"], ["a", "b", "b"], ["a", "b", "c"], ["a", "b", "b c"]], ids=" ".join)
def test_a_region_that_is_missing_doubled_unknown_or_misspelt_is_an_error(names: list[str]) -> None:
    """No table that is made from the code is left out."""
    page = "".join(f"{BEGIN} {name} -->\nold\n<!-- end generated -->\n" for name in names)
    with pytest.raises(ValueError, match="those that are made are a, b"):
        filled(page, {"a": str, "b": str})


def test_a_cell_may_hold_what_would_end_it() -> None:
    """A line's end and the sign between cells."""
    assert table(("", "b"), [("x|y", "one\n  two")]) == "| | b |\n|---|---|\n| x\\|y | one two |"


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach isn't written."""
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert [page for page in pages if f" {page}\n" not in nav] == []


def test_every_plugin_is_tested_and_has_a_page() -> None:
    """In the suite's requirements, and among the documents."""
    requirements = (ROOT / "tests" / "requirements.txt").read_text("utf-8")
    pages = "".join(path.read_text("utf-8") for path in (DOCS / "plugins").glob("*.md"))
    for plugin in sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")):
        assert f"-e ./plugins/{plugin}[test]" in requirements
        assert f"plugins/{plugin}/README.md" in pages
