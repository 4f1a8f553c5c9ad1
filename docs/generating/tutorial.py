"""The files of the tutorial's project, which is a real one and tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from generating.markdown import Regions

PROJECT = Path(__file__).parents[1] / "tutorial" / "hole-count"


def shown(name: str, language: str) -> Callable[[], str]:
    """A file, under its name."""
    return lambda: f'```{language} title="{name}"\n{(PROJECT / name).read_text("utf-8").rstrip()}\n```'


REGIONS: Regions = {
    "pyproject.toml": shown("pyproject.toml", "toml"),
    "manifest.json": shown("hole_count/manifest.json", "json"),
    "algorithm.py": shown("hole_count/algorithm.py", "python"),
    "plates.py": shown("plates.py", "python"),
    "test_hole_count.py": shown("test_hole_count.py", "python"),
}
