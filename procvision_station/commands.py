"""`procvision station`: a line from one file. The command is found by its entry point of `procvision.commands`."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from procvision_tools.argument_types import FiniteRange, Folder, WholeRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from procvision_station.journal.audit import Audit
    from procvision_station.running import LineRunner
    from procvision_station.web.accounts import Accounts

OK, FAILED = 0, 1
INTERRUPTED = 130
"""Of Ctrl-C, which is how lines end that go on: the shell's own number, and no error."""
ROLES = ("viewer", "operator", "engineer", "administrator")
_FOLDER = Folder()
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
@click.option("--count", type=WholeRange(min=1), help="End after so many products; else it goes on.")
@click.option("--port", type=WholeRange(0, 65535), help="With a page on this port of this machine.")
def new(folder: Path, count: int | None, port: int | None) -> int:
    """Make a folder with a station that runs as it is: a simulated camera, generated boards, pcb-compare.

    \b
    Examples:
      procvision station new line-3
      procvision station new line-3 --count 20
      procvision station new line-3 --port 8700
    """
    from procvision_station.scaffold import make_station

    for path in make_station(folder, count, port=port):
        click.echo(f"wrote {path}")
    click.echo(f"\nRun it:  procvision station run {folder}")
    return OK


@station.command(short_help="Check the configuration, with file, line and column.")
@click.argument("folder", type=_THERE)
@click.option("--per-second", type=FiniteRange(0, min_open=True),
              help="Products a second of lines of which neither the trigger nor the ledger says it.")  # fmt: skip
def check(folder: Path, per_second: float | None) -> int:
    """Check station.toml and the recipes against their keys, what is installed, folders and programs, and the disk.

    Nothing is started or opened. Each error of a file has line and column. What the kept pictures and the ledger take
    of the disk is computed: for how long there is room, and where that is less than station.toml asks for. The exit
    status is 0 where nothing is wrong, also with warnings, and 2 else.

    \b
    Examples:
      procvision station check line-3
      procvision station check line-3 --per-second 2.5
    """
    from procvision_station.configuration.reading import read_station
    from procvision_station.disk_need import disk_need, in_words
    from procvision_station.parts import StationError
    from procvision_station.pictures import encoder_warning
    from procvision_station.readiness import hold_ready

    found = read_station(folder)
    for name, line in found.lines.items():
        recipe = line.recipe
        steps = ", ".join(f"{step.camera} -> {step.algorithm} {step.version}" for step in recipe.steps)
        click.echo(f"{name}: recipe {recipe.name} {recipe.version}: {steps}")
    hold_ready(found)
    for level, text, hint in in_words(disk_need(found, per_second), found.file.pictures):
        if level == "error":
            raise StationError(f"{text}\nhint: {hint}")
        click.echo(text if level == "info" else f"warning: {text}\nhint: {hint}", err=level == "warning")
    slow = encoder_warning()
    if slow is not None:
        click.echo(f"warning: pictures: {slow[0]}\nhint: {slow[1]}", err=True)
    click.echo("nothing is wrong")
    return OK


@station.command(short_help="Run the lines until they end, or Ctrl-C.")
@click.argument("folder", type=_THERE)
@click.option("--page/--no-page", "with_page", default=True, help="Serve the page too, if there is a table [web].")
def run(folder: Path, *, with_page: bool) -> int:
    """Run the station's lines until their triggers end, or until Ctrl-C or SIGTERM.

    What is on its way then is told and recorded. The exit status is 0 where every product that was told is recorded.
    Processes beside it fill the projection and, where station.toml has a table [web], serve the page. Whatever becomes
    of them, the lines go on.

    \b
    Examples:
      procvision station run line-3
    """
    from procvision_station.companions import commands as beside
    from procvision_station.companions import companions
    from procvision_station.configuration.reading import read_station
    from procvision_station.readiness import hold_installed
    from procvision_station.station import run_station
    from procvision_tools.report.text import printable

    configuration = read_station(folder)
    hold_installed(configuration, page=with_page)

    def notice(text: str) -> None:
        click.echo(printable(text), err=True)

    wanted = {name: command for name, command in beside(configuration).items() if with_page or name != "page"}
    try:
        with companions(wanted, notice):
            runners = run_station(configuration, notice)
    except KeyboardInterrupt:
        return INTERRUPTED
    _hold_recorded(runners)
    return OK


def _hold_recorded(runners: Mapping[str, LineRunner]) -> None:
    """Raise StationError where a product that was told has no record."""
    from procvision_station.parts import StationError

    missing = {name: runner.unrecorded for name, runner in runners.items() if runner.unrecorded}
    if missing:
        told = ", ".join(f"{name}: {count}" for name, count in missing.items())
        raise StationError(
            f"products that were told ERROR are not in the ledger: {told}\nhint: is there room on the disk?"
        )


@station.command(short_help="Show a station with generated boards, and its page.")
@click.argument("folder", type=_FOLDER, default=Path("procvision-station-demo"))
@click.option("--count", type=WholeRange(min=1), help="End after so many products; else it goes on.")
@click.option("--browser/--no-browser", default=True, help="Whether the page is opened.")
def demo(folder: Path, count: int | None, browser: bool) -> int:
    """Make a station in FOLDER, unless there is one, run it, and open its page. Ctrl-C ends it.

    A simulated camera takes generated boards, each fifth of them bad. Each verdict is a line in FOLDER/told.jsonl. The
    page is of this machine alone; its first start prints a name and a one-time password.

    \b
    Examples:
      procvision station demo
      procvision station demo line-3 --count 20 --no-browser
    """
    from procvision_station.companions import commands as beside
    from procvision_station.companions import companions, free_port, opened_page
    from procvision_station.configuration.files import STATION_FILE
    from procvision_station.configuration.reading import read_station
    from procvision_station.readiness import hold_installed
    from procvision_station.scaffold import make_station
    from procvision_station.station import run_station
    from procvision_tools.report.text import printable

    if not (folder / STATION_FILE).exists():
        for path in make_station(folder, count, port=free_port(), every_s=1.0):
            click.echo(f"wrote {path}", err=True)
    configuration = read_station(folder)
    hold_installed(configuration)

    def notice(text: str) -> None:
        click.echo(printable(text), err=True)

    try:
        with companions(beside(configuration), notice), opened_page(configuration, open_it=browser):
            runners = run_station(configuration, notice)
    except KeyboardInterrupt:
        return INTERRUPTED
    _hold_recorded(runners)
    return OK


@station.command(short_help="Serve the page and the REST interface alone.")
@click.argument("folder", type=_THERE)
@click.option("--host", help="Listen here instead of web.host.")
@click.option("--port", type=WholeRange(0, 65535), help="Listen here instead of web.port; 0 for any.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, resolve_path=True), help="For TLS: PEM.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False, resolve_path=True), help="For TLS: PEM.")
@click.option("--parent", type=int, hidden=True, help="End with this process.")
def page(folder: Path, parent: int | None, **instead: str | int | None) -> int:
    """Serve the station's page until Ctrl-C or SIGTERM, whether or not its lines run.

    `procvision station run` starts this beside the lines where station.toml has a table [web]. At the first start a
    one-time password is printed.

    \b
    Examples:
      procvision station page line-3
      procvision station page line-3 --port 8080
    """
    from procvision_station.configuration.page import read_web
    from procvision_station.web.server import serve_page
    from procvision_tools.report.text import printable

    configuration = read_web(folder, {key: value for key, value in instead.items() if value is not None})
    serve_page(configuration, lambda text: click.echo(printable(text), err=True), parent)
    return OK


@station.group(short_help="Keep the users of the page.")
def user() -> None:
    """Keep the users of the page: from the machine itself no password is needed, and it is recorded as `station`."""


def _accounts(folder: Path) -> contextlib.closing[Accounts]:
    from procvision_station.configuration.files import DATA
    from procvision_station.web.accounts import WEB_FOLDER, Accounts

    return contextlib.closing(Accounts(folder / DATA / WEB_FOLDER))


@user.command("add", short_help="Make a user with a one-time password.")
@click.argument("folder", type=_THERE)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What they may do.")
def user_add(folder: Path, name: str, role: str) -> int:
    """Make a user, and print the one-time password, which holds for a day.

    \b
    Examples:
      procvision station user add line-3 anna --role operator
    """
    from procvision_station.web.accounts import Role

    with _accounts(folder) as accounts, _account_errors():
        made, password = accounts.add_user(name, Role(role), "station")
    click.echo(f"{made.name} ({made.role}): one-time password {password}")
    return OK


@user.command("list", short_help="Show the users.")
@click.argument("folder", type=_THERE)
def user_list(folder: Path) -> int:
    """Show the users with their ids, which are what the ledger has of them, and their roles.

    \b
    Examples:
      procvision station user list line-3
    """
    with _accounts(folder) as accounts:
        for each in accounts.users():
            click.echo(f"{each.id}  {each.role:13}  {each.name}{'  (one-time password)' if each.one_time else ''}")
    return OK


@user.command("remove", short_help="Remove a user.")
@click.argument("folder", type=_THERE)
@click.argument("name")
def user_remove(folder: Path, name: str) -> int:
    """Remove a user, their sessions and their tokens. What they did stays in the ledger under their id.

    \b
    Examples:
      procvision station user remove line-3 anna
    """
    with _accounts(folder) as accounts, _account_errors():
        accounts.remove_user(accounts.find(name).id, "station")
    click.echo(f"{name} is removed")
    return OK


@user.command("password", short_help="Give a user a one-time password.")
@click.argument("folder", type=_THERE)
@click.argument("name")
def user_password(folder: Path, name: str) -> int:
    """Give a user a one-time password. Their sessions end, and so does a lock-out.

    \b
    Examples:
      procvision station user password line-3 anna
    """
    with _accounts(folder) as accounts, _account_errors():
        password = accounts.reset_password(accounts.find(name).id, "station")
    click.echo(f"{name}: one-time password {password}")
    return OK


@contextlib.contextmanager
def _account_errors() -> Iterator[None]:
    """Tell a refused change in words, as the page does."""
    from procvision_station.parts import StationError
    from procvision_station.web.accounts import AccountError
    from procvision_station.web.texts import texts_of

    try:
        yield
    except AccountError as error:
        text = texts_of("en")
        what, hint = (text(f"error.{error.code}.{part}", **error.facts) for part in ("what", "hint"))
        raise StationError(f"{what}\nhint: {hint}") from error


@station.command(short_help="Verify the ledger, and name the first break.")
@click.argument("folder", type=_THERE)
@click.option("--expect", metavar="LINE:SEQUENCE:CHAIN", multiple=True,
              help="A head that an audit showed before: what was cut off since is found. Repeatable.")  # fmt: skip
@click.option("--heads", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file of signed heads, which the journals must agree with; with --public.")  # fmt: skip
@click.option("--public", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The public key of the heads.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def audit(folder: Path, expect: tuple[str, ...], heads: Path | None, public: Path | None, as_json: bool) -> int:
    """Verify the journals of all lines: lengths, checksums, hashes and the chain.

    The exit status is 0 where every journal is what was written, and 1 where one is broken; its first break is named. A
    chain alone can't show that its end was cut off: note the head that is printed elsewhere, and give it to --expect.

    \b
    Examples:
      procvision station audit line-3
      procvision station audit line-3 --expect main:4711:9f86d0…
      procvision station audit line-3 --heads /mnt/heads.jsonl --public station.pub
    """
    from procvision_station.heads import read_heads
    from procvision_station.journal.audit import audit as audit_journal
    from procvision_station.journal.disk import FolderDisk

    if (heads is None) != (public is None):
        raise click.UsageError("--heads and --public come together")
    expected = read_heads(heads, public) if heads is not None and public is not None else {}
    for line, noted in map(_expected, expect):
        expected.setdefault(line, {}).update([noted])
    journals = _journals(folder)
    unknown = expected.keys() - journals.keys()
    if unknown:
        raise click.UsageError(f"there is no journal of {min(unknown)}; there are {', '.join(journals) or 'none'}")
    reports = {name: audit_journal(FolderDisk(path), expected.get(name, {})) for name, path in journals.items()}
    if as_json:
        click.echo(json.dumps({name: _as_plain(report) for name, report in reports.items()}, indent=2))
    else:
        for name, report in reports.items():
            _show(name, report)
        if not reports:
            click.echo("there is no journal yet")
    return FAILED if any(report.first_break for report in reports.values()) else OK


@station.command(short_help="Copy a station, also while it runs.")
@click.argument("folder", type=_THERE)
@click.argument("target", type=_FOLDER)
def backup(folder: Path, target: Path) -> int:
    """Copy a station's folder into TARGET, or what is new since: configuration, journals, pictures, accounts.

    The copied journals are verified. What can be computed again is left out. To restore is to copy TARGET back.

    \b
    Examples:
      procvision station backup line-3 /mnt/backup/line-3
    """
    from procvision_station.backup import back_up

    copied = back_up(folder, target)
    click.echo(f"copied {copied.files} files, {copied.bytes / 1e6:.1f} MB; the journals are whole")
    return OK


@station.command(short_help="Erase a record's body; the chain holds.")
@click.argument("folder", type=_THERE)
@click.argument("line")
@click.argument("sequence", type=WholeRange(min=1))
@click.option("--why", required=True, help="Recorded in its place.")
def erase(folder: Path, line: str, sequence: int, why: str) -> int:
    """Erase what a record says, as a person's right may ask for, while the station stands still.

    The record's place, time and hash stay, and an event says that it was erased. Copies are not reached.

    \b
    Examples:
      procvision station erase line-3 main 4711 --why "asked for by the person"
    """
    from procvision_station.journal.writer import open_journal
    from procvision_station.parts import StationError

    path = _journals(folder).get(line)
    if path is None:
        raise click.UsageError(f"there is no journal of {line}; there are {', '.join(_journals(folder)) or 'none'}")
    with open_journal(path) as journal:
        try:
            journal.erase(sequence, why)
        except (KeyError, ValueError) as error:
            raise StationError(f"{line}: {error.args[0]}\nhint: procvision station export --json") from error
    click.echo(f"{line}: record {sequence} is erased")
    return OK


@station.command(short_help="Write the ledger as CSV or JSON.")
@click.argument("folder", type=_THERE)
@click.option("--csv", "form", flag_value="csv", default=True, help="One row a product, with what was told.")
@click.option("--json", "form", flag_value="json", help="One object a line: every record, events too.")
@click.option("--coco", "target", type=_FOLDER,
              help="Write kept pictures and their truth into this new folder: a data set.")  # fmt: skip
@click.option("--overruled", is_flag=True, help="With --coco: of products that a person overruled alone.")
@click.option("--line", "only", help="Of this line alone.")
def export(folder: Path, form: str, target: Path | None, only: str | None, *, overruled: bool) -> int:
    """Write what the ledger has to stdout, in the order of each line's records; or a data set with --coco.

    In the data set a person's verdict and boxes are the truth, where there are some. `procvision evaluate` and
    `procvision train` read it.

    \b
    Examples:
      procvision station export line-3 --csv > products.csv
      procvision station export line-3 --json --line main
      procvision station export line-3 --coco boards && procvision evaluate pcb-compare boards
    """
    from procvision_station.dataset import write_dataset
    from procvision_station.exporting import records, rows

    journals = _journals(folder)
    if only is not None and only not in journals:
        raise click.UsageError(f"--line {only}: there are {', '.join(journals) or 'none'}")
    if overruled and target is None:
        raise click.UsageError("--overruled comes with --coco")
    chosen = {name: path for name, path in journals.items() if only in (None, name)}
    if target is not None:
        made = write_dataset(chosen, folder / "data" / "pictures", target, only_overruled=overruled)
        boxes, people = len(made["annotations"]), sum(image["overruled"] for image in made["images"])
        click.echo(f"wrote {len(made['images'])} pictures with {boxes} boxes, {people} overruled, into {target}")
        return OK
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
