"""What came of several inspections: shown as they come, written when all are there."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from procvision_tools.cli import exits, output
from procvision_tools.cli.errors import CommandError
from procvision_tools.cli.inspecting import InspectionOutcome
from procvision_tools.report import terminal
from procvision_tools.report.inspection import VERDICTS, Inspection
from procvision_tools.report.text import printable
from procvision_tools.sources.picture_files import Frame

if TYPE_CHECKING:
    from procvision_tools.report.live import LiveView

MAX_KEPT = 100
"""Of inspections without an end so many are kept for the page, those that are not OK before the others."""
MAX_PINNED = 5
"""So many verdicts stay on a terminal while other things scroll by."""
_SEVERITY: Mapping[str, int] = {verdict: at for at, verdict in enumerate(VERDICTS)}


@frozen(kw_only=True)
class Wanted:
    """Where results go."""

    title: str
    as_json: bool = False
    endless: bool = False
    """Whether nobody knows how many will come: then JSON is a line each, and only what the page shows is kept."""
    overlay: Path | None = None
    """A folder for the pictures with boxes."""
    page: Path | None = None
    reference: Path | None = None
    bits: int | None = None
    """Of samples of 16 bits, how many are used."""


@frozen
class _Kept:
    image: Path | Frame
    outcome: InspectionOutcome


class Results:
    """Takes inspections one by one."""

    def __init__(self, wanted: Wanted, *, quiet: bool = False, view: LiveView | None = None) -> None:
        """``quiet`` shows the lines in the end, for a terminal that has a bar until then.

        ``view`` is drawn on the terminal on which the lines appear, and so has to make room for them.
        """
        self._wanted, self._quiet = wanted, quiet
        self._show = terminal.echo if view is None or not sys.stdout.isatty() else view.show
        self._note = _to_stderr if view is None else view.show
        self._kept: list[_Kept] = []
        self._overlays: set[Path] = set()
        self._notes: list[str] = []
        self._worst: list[Inspection] = []
        self.counts: Counter[str] = Counter()

    def note(self, text: str) -> None:
        """Say something of the pictures as a whole: which were left out, and why."""
        self._notes.append(text)
        if self._wanted.endless:
            self._note(f"note: {printable(text)}")

    def take(self, image: Path | Frame, outcome: InspectionOutcome) -> None:
        """Show one, write its picture with boxes, and keep what is needed later. Raises CommandError."""
        inspection = outcome.inspection
        # Kept first: what was shown is in the reports, also when Ctrl-C comes in between.
        if not self._wanted.endless or self._wanted.page is not None:
            self._kept.append(_Kept(image, outcome))
        self.counts[inspection.verdict] += 1
        self._worst = sorted([*self._worst, inspection], key=lambda one: -_SEVERITY[one.verdict])[:MAX_PINNED]
        if self._wanted.endless and len(self._kept) > MAX_KEPT:
            self._kept.remove(min(self._kept, key=lambda kept: _SEVERITY[kept.outcome.inspection.verdict]))
        if self._wanted.overlay is not None:
            self._write_overlay(self._wanted.overlay, image, inspection)
        if self._wanted.as_json and self._wanted.endless:
            self._show(output.json_of(inspection.as_record(), indent=None))
            sys.stdout.flush()
        elif not self._wanted.as_json and not self._quiet:
            self._show(terminal.line(inspection))
            sys.stdout.flush()

    def finish(self, logs: Sequence[Mapping[str, Any]] = ()) -> int:
        """Show and write what is left, and give the exit status: the worst verdict's. Raises CommandError."""
        told = [kept.outcome.with_logs(logs, alone=False) for kept in self._kept]
        if self._wanted.as_json and not self._wanted.endless:
            record = {
                "counts": dict(self.counts),
                "notes": self._notes,
                "inspections": [inspection.as_record() for inspection in told],
            }
            click.echo(output.json_of(record))
        elif not self._wanted.as_json:
            for inspection in told if self._quiet else ():
                self._show(terminal.line(inspection))
            self._show(terminal.summary(self.counts))
            for note in () if self._wanted.endless else self._notes:
                self._show(f"note: {printable(note)}")
        if self._wanted.page is not None:
            self._write_page(self._wanted.page, told)
        return self.status

    def verdicts(self) -> str:
        """Give what came of the last pictures in a few lines, the worst first, and when."""
        shown = [terminal.line(inspection) for inspection in self._worst]
        if self.counts.total() > 1:
            shown.append(terminal.summary(self.counts))
        return "\n".join([f"at {time.strftime('%H:%M:%S')}:", *shown])

    @property
    def status(self) -> int:
        """The exit status of the worst verdict so far; without any there is none."""
        worst = max(self.counts, key=lambda verdict: _SEVERITY[verdict], default="ERROR")
        return exits.BY_VERDICT[worst]

    def _write_overlay(self, folder: Path, image: Path | Frame, inspection: Inspection) -> None:
        whole = output.with_pictures(inspection, image, None, self._wanted.bits)
        if whole.picture is None:
            return
        stem = image.stem if isinstance(image, Path) else image.name
        path = next(path for path in _numbered(folder, stem) if path not in self._overlays)
        self._overlays.add(path)
        for note in output.write_overlay(path, whole.picture, whole.defects):
            if note not in self._notes:
                self.note(note)

    def _write_page(self, page: Path, told: Sequence[Inspection]) -> None:
        worst_first = sorted(range(len(told)), key=lambda at: -_SEVERITY[told[at].verdict])
        shown = output.all_with_pictures(
            [(told[at], self._kept[at].image) for at in worst_first], self._wanted.reference, self._wanted.bits
        )
        total = sum(self.counts.values())
        title = self._wanted.title if total == len(told) else f"{self._wanted.title}: {len(told)} of {total}"
        output.write_page(page, shown, title, counts=self.counts, notes=self._notes)
        self._note(f"wrote {page}")


def _to_stderr(text: str) -> None:
    click.echo(text, err=True)


def _numbered(folder: Path, stem: str) -> Iterable[Path]:
    yield folder / f"{stem}.png"
    number = 2
    while True:
        yield folder / f"{stem}-{number}.png"
        number += 1


def overlay_folder(path: Path, inspected: Iterable[Path]) -> Path:
    """Make the folder for pictures with boxes. Raises CommandError where that fails, or it is one of those inspected.

    Inspected pictures would be overwritten there, and in a folder that is followed the boxes would be inspected.
    """
    if any(folder.resolve() == path.resolve() for folder in inspected):
        raise CommandError(
            f"--overlay {path} is the folder of the inspected pictures, they would be overwritten",
            "name another folder",
            status=exits.USAGE,
        )
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise CommandError(f"--overlay {path} can't be made a folder: {error.strerror}", status=exits.USAGE) from error
    return path
