"""What CI installs by hash is what the project asks for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

requirements = pytest.importorskip("packaging.requirements", reason="packaging reads requirements")
utils = pytest.importorskip("packaging.utils")

ROOT = Path(__file__).parents[2]
LOCKED = (ROOT / "tests" / "locked.txt").read_text("utf-8")
PINS = {
    utils.canonicalize_name(name): version
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ]+) ", LOCKED, re.MULTILINE)
}


def asked_for() -> Iterator[tuple[str, str]]:
    """Every requirement of what `tests/requirements.txt` installs, its extras included, and who asks for it."""
    for place, extras in re.findall(r"^-e (\S+?)(?:\[([\w,]+)\])?$", REQUIREMENTS, re.MULTILINE):
        project = tomllib.loads((ROOT / place / "pyproject.toml").read_text("utf-8"))["project"]
        optional = project.get("optional-dependencies", {})
        for text in [
            *project.get("dependencies", []),
            *(text for extra in extras.split(",") for text in optional.get(extra, [])),
        ]:
            yield text, project["name"]


REQUIREMENTS = (ROOT / "tests" / "requirements.txt").read_text("utf-8")


@pytest.mark.parametrize(("text", "who"), sorted(set(asked_for())))
def test_what_is_asked_for_is_locked(text: str, who: str) -> None:
    """If this fails: nox -s lock"""
    requirement = requirements.Requirement(text)
    name = utils.canonicalize_name(requirement.name)
    if name.startswith("procvision"):
        return
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return
    assert name in PINS, f"{who} asks for {text}"
    assert requirement.specifier.contains(PINS[name], prereleases=True)


def test_every_file_has_its_hash_and_no_place_it_comes_from() -> None:
    """No matter who serves the files: they are these."""
    blocks = re.split(r"^(?=\S)", LOCKED, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINS) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCKED
    assert "-e " not in LOCKED
