"""`procvision station`: a line from one file. The command is found by its entry point of `procvision.commands`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procvision_station.journal.audit import Audit

OK, FAILED = 0, 1
_FOLDER = click.Path(file_okay=False, path_type=Path)
_THERE = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(short_help="Run a line from one file, and keep its ledger.")
def station() -> None:
    """Run a line from a folder: its configuration, its recipes, and a ledger of what was found and told.

    \b
    Examples:
      procvision station new line-3
      procvision station run line-3
    """


@station.command(short_help="Make a station's folder, with a simulated camera.")
@click.argument("folder", type=_FOLDER)
@click.option("--count", type=click.IntRange(min=1), help="End after so many products; else it goes on.")
def new(folder: Path, count: int | None) -> int:
    """Make a folder with a station that runs as it is: a simulated camera, generated boards, pcb-compare.

    \b
    Examples:
      procvision station new line-3
      procvision station new line-3 --count 20
    """
    from procvision_station.scaffold import make_station

    for path in make_station(folder, count):
        click.echo(f"wrote {path}")
    click.echo(f"\nprocvision station run {folder}")
    return OK


@station.command(short_help="Check the configuration, with file, line and column.")
@click.argument("folder", type=_THERE)
def check(folder: Path) -> int:
    """Check station.toml and the recipes against their keys, and against what is installed.

    Nothing is started. Each error has file, line and column. The exit status is 0 where nothing is wrong, and 2 else.

    \b
    Examples:
      procvision station check line-3
    """
    from procvision_station.configuration.reading import read_station

    found = read_station(folder)
    for name, line in found.lines.items():
        recipe = line.recipe
        steps = ", ".join(f"{step.camera} -> {step.algorithm} {step.version}" for step in recipe.steps)
        click.echo(f"{name}: recipe {recipe.name} {recipe.version}: {steps}")
    click.echo("nothing is wrong")
    return OK


@station.command(short_help="Run the lines until they end, or Ctrl-C.")
@click.argument("folder", type=_THERE)
def run(folder: Path) -> int:
    """Run the station's lines until their triggers end, or until Ctrl-C or SIGTERM.

    What is on its way then is told and recorded. The exit status is 0 where every product that was told is recorded.

    \b
    Examples:
      procvision station run line-3
    """
    from procvision_station.configuration.reading import read_station
    from procvision_station.running import StationError, run_station
    from procvision_tools.report.text import printable

    runners = run_station(read_station(folder), lambda text: click.echo(printable(text), err=True))
    for name, runner in runners.items():
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(runner.verdicts.items()))
        click.echo(f"{name}: {runner.verdicts.total()} products: {told or 'none'}", err=True)
    missing = {name: runner.unrecorded for name, runner in runners.items() if runner.unrecorded}
    if missing:
        told = ", ".join(f"{name}: {count}" for name, count in missing.items())
        raise StationError(
            f"products that were told ERROR are not in the ledger: {told}\nhint: is there room on the disk?"
        )
    return OK


@station.command(short_help="Verify the ledger, and name the first break.")
@click.argument("folder", type=_THERE)
@click.option("--expect", metavar="LINE:SEQUENCE:CHAIN", multiple=True,
              help="A head that an audit showed before: what was cut off since is found. Repeatable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def audit(folder: Path, expect: tuple[str, ...], as_json: bool) -> int:
    """Verify the journals of all lines: lengths, checksums, hashes and the chain.

    The exit status is 0 where every journal is what was written, and 1 where one is broken; its first break is named. A
    chain alone can't show that its end was cut off: note the head that is printed elsewhere, and give it to --expect.

    \b
    Examples:
      procvision station audit line-3
      procvision station audit line-3 --expect main:4711:9f86d0…
    """
    from procvision_station.journal.audit import audit as audit_journal
    from procvision_station.journal.disk import FolderDisk

    expected = dict(map(_expected, expect))
    journals = _journals(folder)
    unknown = expected.keys() - journals.keys()
    if unknown:
        raise click.UsageError(f"--expect: there is no line {min(unknown)}; there are {', '.join(journals) or 'none'}")
    reports = {name: audit_journal(FolderDisk(path), expected.get(name)) for name, path in journals.items()}
    if as_json:
        click.echo(json.dumps({name: _as_plain(report) for name, report in reports.items()}, indent=2))
    else:
        for name, report in reports.items():
            _show(name, report)
        if not reports:
            click.echo("there is no journal yet")
    return FAILED if any(report.first_break for report in reports.values()) else OK


@station.command(short_help="Write the ledger as CSV or JSON.")
@click.argument("folder", type=_THERE)
@click.option("--csv", "form", flag_value="csv", default=True, help="One row a product, with what was told.")
@click.option("--json", "form", flag_value="json", help="One object a line: every record, events too.")
@click.option("--line", "only", help="Of this line alone.")
def export(folder: Path, form: str, only: str | None) -> int:
    """Write what the ledger has to stdout, in the order of each line's records.

    \b
    Examples:
      procvision station export line-3 --csv > products.csv
      procvision station export line-3 --json --line main
    """
    from procvision_station.exporting import records, rows

    journals = _journals(folder)
    if only is not None and only not in journals:
        raise click.UsageError(f"--line {only}: there are {', '.join(journals) or 'none'}")
    chosen = {name: path for name, path in journals.items() if only in (None, name)}
    if form == "json":
        for name, path in chosen.items():
            for record in records(name, path):
                click.echo(json.dumps(record))
    else:
        writer = csv.writer(sys.stdout)
        header = True
        for name, path in chosen.items():
            for row in rows(name, path, header=header):
                writer.writerow(row)
            header = False
    return OK


def _journals(folder: Path) -> dict[str, Path]:
    """Return the lines that have a journal, whatever station.toml says of them today."""
    below = folder / "data" / "journal"
    return {path.name: path for path in sorted(below.iterdir()) if path.is_dir()} if below.is_dir() else {}


def _expected(text: str) -> tuple[str, tuple[int, str]]:
    line, _, rest = text.partition(":")
    sequence, _, chain = rest.partition(":")
    if not (line and sequence.isdecimal() and len(chain) == 64):
        raise click.UsageError(f"--expect {text}: it is LINE:SEQUENCE:CHAIN, as an audit shows a head")
    return line, (int(sequence), chain.lower())


def _show(name: str, report: Audit) -> None:
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(report.counts.items())) or "no records"
    if report.first_break is not None:
        click.echo(f"{name}: BROKEN: {report.first_break}")
    else:
        click.echo(f"{name}: whole: {counts}")
    for text in _remarks(report):
        click.echo(f"  {text}")
    if report.sequence:
        click.echo(f"  head {name}:{report.sequence}:{report.chain}")


def _remarks(report: Audit) -> Iterator[str]:
    if report.tail is not None:
        yield f"an unfinished record at the end, never acknowledged: {report.tail}"
    if report.erased:
        yield f"erased: {', '.join(map(str, report.erased))}"
    if report.not_yet_erased:
        yield f"to be erased at the next start: {', '.join(map(str, report.not_yet_erased))}"
    if report.clock_steps:
        yield f"the clock went back before {', '.join(map(str, report.clock_steps))}"


def _as_plain(report: Audit) -> dict[str, Any]:
    return {
        "whole": report.first_break is None,
        "first_break": str(report.first_break) if report.first_break is not None else None,
        "unfinished": str(report.tail) if report.tail is not None else None,
        "sequence": report.sequence,
        "chain": report.chain,
        "counts": dict(report.counts),
        "erased": list(report.erased),
        "not_yet_erased": list(report.not_yet_erased),
        "clock_steps": list(report.clock_steps),
    }
