"""`procvision validate`: is an algorithm fit to be installed?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from procvision_tools.argument_types import TimeoutRange
from procvision_tools.cli import exits
from procvision_tools.cli.completing import projects_and_names
from procvision_tools.cli.needs import need_names

if TYPE_CHECKING:
    from procvision_runner.options import IsolationLevel
    from procvision_testing import Finding

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
DEFAULT_TIMEOUT_S = 120.0


@click.command(epilog=exits.EPILOG, short_help="Check an algorithm as a line will, before others do.")
@click.argument("subject", metavar="[PATH | NAME]", default=".", shell_complete=projects_and_names)
@click.option("--image", "images", type=_FILE, multiple=True, help="A sample picture of yours; repeatable.")
@click.option("--timeout-s", type=TimeoutRange(), default=DEFAULT_TIMEOUT_S, show_default=True,
              help="How long the setup, and each call, may take.")  # fmt: skip
@click.option("--keys", "store", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The trusted keys.  [default: $PROCVISION_KEYS, or the user's configuration]")  # fmt: skip
@click.option("--allow-unsigned", is_flag=True, help="Install and run a bundle that nobody has signed, too.")
@click.option("--isolation", type=click.Choice(("off", "basic", "strict")), default="strict", show_default=True,
              help="How far its code is shut in: strict keeps it from the network and from files.")  # fmt: skip
@click.option("--grant", "grants", multiple=True, metavar="NEED", callback=need_names,
              help="A need of its manifest that it gets meanwhile; repeatable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def validate(
    subject: str,
    images: tuple[Path, ...],
    timeout_s: float,
    store: Path | None,
    allow_unsigned: bool,
    isolation: IsolationLevel,
    grants: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check a project's folder, a wheel, a bundle or an installed algorithm: manifest, code and answers.

    Its code runs in processes of its own, shut in, through the real host, on sample pictures. A bundle is installed
    into an environment of its own, from its own wheels, if a key that is trusted here signed it. Nothing is left
    behind.

    \b
    Examples:
      procvision validate
      procvision validate dist/weld_check-0.1.0-py3-none-any.whl
      procvision validate weld-check-0.1.0-cp311-manylinux_2_28_x86_64.zip --allow-unsigned
      procvision validate pcb-compare --image board.png --json
    """
    from procvision_testing.findings import Finding
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.cli.findings_output import tell
    from procvision_tools.hints import split_hint
    from procvision_tools.scratch import NoScratchError
    from procvision_tools.validation.subject import NoSubjectError, opened

    pictures = dict(_pictures(images))
    reports = []
    try:
        with opened(subject, store, allow_unsigned=allow_unsigned) as opened_subject:
            if not opened_subject.names:
                reports.append(tell(subject, opened_subject.findings, as_json))
            for name in opened_subject.names:
                from procvision_tools.validation.checklist import checklist

                rows = checklist(name, opened_subject.environment, pictures, timeout_s, opened_subject.python,
                                 isolation=isolation, grants=grants)  # fmt: skip
                reports.append(tell(name, _chained(opened_subject.findings, rows), as_json))
    except NoScratchError as error:
        reports.append(tell(subject, [Finding("temporary files", "failed", *split_hint(str(error)))], as_json))
    except NoSubjectError as error:
        raise usage_error(*split_hint(str(error))) from error
    good = all(report["ok"] for report in reports)
    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of({"ok": good, "algorithms": reports}))
    return exits.OK if good else exits.NG


def _chained(first: Iterable[Finding], then: Iterable[Finding]) -> Iterator[Finding]:
    yield from first
    yield from then


def _pictures(paths: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.report.pictures import read_picture

    for path in paths:
        try:
            yield path.name, read_picture(path)
        except OSError as error:
            raise usage_error(f"--image {path} is no picture that can be read: {error}") from error
