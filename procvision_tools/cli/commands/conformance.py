"""`procvision conformance`: does a host, in whatever language, keep to the protocol?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from procvision_tools.argument_types import FiniteRange, WholeRange
from procvision_tools.cli import exits
from procvision_tools.cli.completing import row_ids

if TYPE_CHECKING:
    from procvision_testing.conformance import HostFacts, Outcome, ProcessTarget, Row
    from procvision_tools.cli.errors import CommandError

DEFAULT_PATIENCE_S = 10.0
DEFAULT_DEADLINE_S = 60.0
_ARROWS = {"runner": "runner -> host  ", "host": "host -> runner  "}
_COLOURS = {"ok": "green", "failed": "red", "skipped": "cyan"}


@click.command(epilog=exits.EPILOG, short_help="Hold a host or runner, of any language, against the protocol.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--runner", "of_runner", is_flag=True,
              help="COMMAND has a runner inspect once; hold that runner against hosts that misbehave.")  # fmt: skip
@click.option(
    "--row",
    "ids",
    multiple=True,
    metavar="ID",
    shell_complete=row_ids,
    help="Play this row, or fault, alone; repeatable.",
)
@click.option("--pid", help="A product id that the host's algorithm takes.  [default: one of its manifest, or A01]")
@click.option("--list", "list_only", is_flag=True, help="Show the rows and what each claims, and play none.")
@click.option("--without-options", is_flag=True,
              help="Skip the rows that start the host with an option, such as --handshake-timeout-s 0.5.")  # fmt: skip
@click.option("--patience-s", type=FiniteRange(min=0, min_open=True), default=DEFAULT_PATIENCE_S,
              show_default=True, help="How long one frame is waited for.")  # fmt: skip
@click.option("--deadline-s", type=FiniteRange(min=0, min_open=True), default=DEFAULT_DEADLINE_S,
              show_default=True, help="How long one row may take in all.")  # fmt: skip
@click.option("--jobs", type=WholeRange(min=1), default=2, show_default=True, help="So many hosts at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def conformance(
    command: tuple[str, ...],
    of_runner: bool,
    ids: tuple[str, ...],
    pid: str | None,
    list_only: bool,
    without_options: bool,
    patience_s: float,
    deadline_s: float,
    jobs: int,
    as_json: bool,
) -> int:
    """Hold a host, or a runner, of any language against the protocol, and give a scorecard.

    COMMAND starts the host, with an algorithm of your choice; each row of the tables starts one of its own. The rows
    ask nothing of the algorithm but that it loads: its product ids, steps and parameters are its manifest's, as the
    host tells it. For each row that fails stand the frames that show it, and the paragraph of the reference that it
    breaks.

    With --runner COMMAND is a program of yours. It is started with a host's command line as its last arguments, has
    your runner launch that host and execute one call, prints OK, NG or ERROR as its last line, and ends. Each fault
    starts it with a host that misbehaves in another way.

    \b
    Examples:
      procvision conformance -- procvision-host --algo pcb-compare
      procvision conformance --json --without-options -- ./my-host --config line3.toml
      procvision conformance --row zero-length -- ./my-host
      procvision conformance --runner -- ./inspect-once
    """
    from procvision_tools.cli.errors import usage_error

    rows = _chosen(_faults() if of_runner else _rows(), ids)
    if list_only:
        for name, row in rows.items():
            click.echo(f"{name}: {row.title}")
        return exits.OK
    if not command:
        raise usage_error("no command is given", "procvision conformance -- procvision-host --algo NAME")
    left_out = [row for row in rows.values() if without_options and row.options]
    wanted = [row for row in rows.values() if row not in left_out]
    played: Iterator[Outcome]
    if of_runner:
        from procvision_testing.conformance.faults import FAULTS, play_faults

        faults = [fault for fault in FAULTS if fault.id in rows]
        played = play_faults(command, faults, deadline_s=deadline_s, jobs=jobs)
    else:
        from procvision_testing.conformance import ProcessTarget, fitted, play

        def launch(row: Row) -> ProcessTarget:
            return ProcessTarget(command, row.options, arena=row.arena)

        facts = _asked(command, patience_s)
        wanted = [fitted(row, facts.manifest, pid) for row in wanted]
        played = play(wanted, launch, patience_s=patience_s, deadline_s=deadline_s, jobs=jobs)
    from procvision_testing.conformance import Outcome

    outcomes: list[Outcome] = []
    try:
        with click.progressbar(
            played, length=len(wanted), label="rows", file=sys.stderr, hidden=as_json or not sys.stderr.isatty()
        ) as shown:
            outcomes += shown
    except OSError as error:
        raise _not_started(command, error) from error
    outcomes += [Outcome(row, "skipped", "--without-options") for row in left_out]
    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of(_report(command, outcomes)))
    else:
        _show(command, outcomes)
    return exits.NG if any(outcome.level == "failed" for outcome in outcomes) else exits.OK


def _asked(command: Sequence[str], patience_s: float) -> HostFacts:
    """Return what the host says of itself. Raises CommandError for one that says that it can't start."""
    from procvision_testing.conformance import ProcessTarget, ask_host
    from procvision_tools.cli.errors import CommandError
    from procvision_tools.hints import split_hint

    try:
        with ProcessTarget(command) as target:
            facts = ask_host(target, patience_s)
    except OSError as error:
        raise _not_started(command, error) from error
    if facts.failure is not None:
        message, hint = split_hint(facts.failure)
        text = f"{shlex.join(command)} can't start: {message}"
        raise CommandError(text, hint or "options of this command stand before --, the host's own behind it")
    return facts


def _not_started(command: Sequence[str], error: OSError) -> CommandError:
    from procvision_tools.cli.errors import CommandError

    return CommandError(
        f"{command[0]} can't be started: {error.strerror or error}", "the command is what stands behind --"
    )


def _rows() -> dict[str, Row]:
    from procvision_testing.conformance import load_rows

    return {row.id: row for row in load_rows(role="host", kind="process")}


def _faults() -> dict[str, Row]:
    from procvision_testing.conformance.faults import FAULTS

    return {fault.id: fault.row for fault in FAULTS}


def _chosen(rows: dict[str, Row], ids: Sequence[str]) -> dict[str, Row]:
    from procvision_tools.cli.errors import usage_error

    for name in ids:
        if name not in rows:
            raise usage_error(f"--row {name[:80]}: there is no such row", "procvision conformance --list shows them")
    return {name: row for name, row in rows.items() if not ids or name in ids}


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {level: sum(outcome.level == level for outcome in outcomes) for level in _COLOURS}


def _report(command: Sequence[str], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    from procvision_testing.conformance import by_paragraph

    counts = _counts(outcomes)
    return {
        "ok": counts["failed"] == 0,
        "command": list(command),
        "counts": counts,
        "paragraphs": {
            name: {"held": held, "played": played} for name, (held, played) in by_paragraph(outcomes).items()
        },
        "rows": [
            {
                "table": outcome.row.table,
                "id": outcome.row.id,
                "claim": outcome.row.title,
                "reference": outcome.reference,
                "level": outcome.level,
                "reason": outcome.reason,
                "step": outcome.step,
                "seconds": round(outcome.seconds, 3),
                "frames": [attrs.asdict(exchanged) for exchanged in outcome.exchanged],
                "evidence": outcome.evidence,
            }
            for outcome in outcomes
        ],
    }


def _show(command: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    from procvision_testing.conformance import by_paragraph
    from procvision_tools.report.text import printable

    for outcome in outcomes:
        if outcome.level == "failed":
            _show_failure(outcome)
    click.secho(printable(shlex.join(command)), bold=True)
    for name, (held, played) in by_paragraph(outcomes).items():
        colour = "green" if held == played else "red"
        click.echo(f"  {name:<20} {click.style(f'{held:>3} of {played}', fg=colour)}")
    counts = _counts(outcomes)
    told = [click.style(f"{count} {level}", fg=_COLOURS[level]) for level, count in counts.items() if count]
    click.echo(", ".join(told))
    reasons = sorted({outcome.reason for outcome in outcomes if outcome.level == "skipped"})
    for reason in reasons:
        click.echo(f"skipped: {reason}")


def _show_failure(outcome: Outcome) -> None:
    from procvision_tools.report.text import printable

    row = outcome.row
    click.echo(f"{click.style('FAILED', fg='red', bold=True)} {row.table}/{row.id}: {row.title}")
    click.echo(f"  {outcome.reference}")
    where = f"step {outcome.step}: " if outcome.step else "on the way to its start: " if row.steps else ""
    first, *others = outcome.reason.splitlines()
    click.echo(f"  {where}{printable(first)}")
    for line in (*others, *outcome.evidence.splitlines()):
        click.echo(f"    {printable(line.strip())}")
    for exchanged in outcome.exchanged:
        times = f"  ({exchanged.times} times)" if exchanged.times > 1 else ""
        click.echo(f"    {_ARROWS[exchanged.sender]}{printable(exchanged.text)}{times}")
    click.echo()
