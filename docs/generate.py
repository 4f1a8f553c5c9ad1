"""Writes what the code knows into the documents: `python docs/generate.py`; with `--check` it only compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from generating import (
    commands,
    evaluation,
    hooks,
    host,
    leadership,
    manifest,
    protocol,
    rest,
    runner,
    station,
    supervision,
    trust,
    tutorial,
)
from generating.markdown import Regions, filled

DOCS = Path(__file__).parent
PAGES: dict[str, Regions] = {
    "explanation/architecture.md": leadership.REGIONS,
    "explanation/trust.md": trust.REGIONS,
    "reference/evaluation.md": evaluation.REGIONS,
    "reference/hooks.md": hooks.REGIONS,
    "reference/manifest.md": manifest.REGIONS,
    "reference/procvision-host.md": host.REGIONS,
    "reference/procvision.md": commands.REGIONS,
    "reference/protocol.md": protocol.REGIONS,
    "reference/runner.md": runner.REGIONS,
    "reference/station.md": station.REGIONS,
    "reference/station-rest.md": rest.REGIONS,
    "reference/supervision.md": supervision.REGIONS,
    "tutorial/first-algorithm.md": tutorial.REGIONS,
}
FILES = {"reference/manifest.schema.json": manifest.schema_text}
"""What no person writes a word of."""


def main(words: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write what is out of date and say so; with --check say so alone, and the exit status is 1."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    check = arguments.parse_args(words).check
    made = {name: filled((docs / name).read_text("utf-8"), regions) for name, regions in PAGES.items()}
    made |= {name: text() for name, text in FILES.items()}
    stale = [name for name, text in made.items() if not _holds(docs / name, text)]
    for name in stale:
        if check:
            print(f"docs/{name} is not what the code says; hint: python docs/generate.py")
        else:
            (docs / name).write_text(made[name], "utf-8")
            print(f"docs/{name} is written anew")
    return int(check and bool(stale))


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
