"""`procvision init`: a new algorithm's project, which passes its own tests at once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from procvision_tools.argument_types import Folder
from procvision_tools.cli import exits
from procvision_tools.cli.errors import CommandError, show_error
from procvision_tools.cli.program import NAME, program
from procvision_tools.scaffold.project import CI_CHOICES, Ci

if TYPE_CHECKING:
    from procvision_tools.scaffold.names import Names

T = TypeVar("T")
DEFAULT_DESCRIPTION = "Finds dark marks on a surface."
DEFAULT_PIDS = "*"


@click.command(epilog=exits.EPILOG, short_help="Make a new algorithm's project, which passes its own tests.")
@click.argument("name", required=False)
@click.option("--into", "folder", type=Folder(), metavar="FOLDER",
              help="Where to; by default a folder of the algorithm's name.")  # fmt: skip
@click.option("--description", help="What it inspects, in one line.")
@click.option("--author", help="You or your company.")
@click.option("--pids", metavar="ID,ID", help="The products that it inspects; * stands for any.")
@click.option("--ci", type=click.Choice(CI_CHOICES), help="The CI file to add.  [default: github]")
@click.option("--defaults", is_flag=True, help="Ask nothing, also on a terminal.")
def init(
    name: str | None,
    folder: Path | None,
    description: str | None,
    author: str | None,
    pids: str | None,
    ci: Ci | None,
    defaults: bool,
) -> int:
    """Make a new algorithm's project: package, manifest, tests, CI file, README.

    On a terminal it asks for what no option gave; elsewhere, and with --defaults, it takes the defaults.

    \b
    Examples:
      procvision init weld-check
      procvision init weld-check --pids A-100,A-200 --ci gitlab --defaults
    """
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.scaffold.project import FolderTakenError, Project, write

    asks = not defaults and sys.stdin.isatty()
    if name is None and not asks:
        raise usage_error("no name is given", "procvision init weld-check")
    answer = _Answers(asks)
    names = answer.of("Name of the algorithm, such as weld-check", name, "", _names)
    project = Project(
        names=names,
        description=answer.of("What it inspects", description, DEFAULT_DESCRIPTION, partial(_line, "--description")),
        author=answer.of("Author", author, "", partial(_line, "--author")),
        pids=answer.of("Products, separated by commas (* for any)", pids, DEFAULT_PIDS, _pids),
        ci=answer.of(f"CI file ({', '.join(CI_CHOICES)})", ci, "github", _ci),
    )
    target = folder if folder is not None else Path(names.name)
    try:
        written = write(project, target)
    except FolderTakenError as error:
        raise usage_error(f"{target} is there and not empty", "--into ANOTHER, or take it away") from error
    except OSError as error:
        raise CommandError(f"{error.filename or target} can't be written: {error.strerror or error}") from error
    click.echo(f"{click.style(str(target), bold=True)}{'' if str(target).endswith('/') else '/'}")
    for path in written:
        click.echo(f"  {path.relative_to(target)}")
    click.echo(f"\n{click.style('What to do next', bold=True)}")
    for command in (
        *_entering(),
        f"cd {shlex.quote(str(target))}",
        "pip install -e '.[test]'",
        "pytest",
        "procvision validate .",
    ):
        click.echo(f"  {command}")
    return exits.OK


def _entering() -> list[str]:
    """Return what makes this environment the shell's own, where it isn't: `pip` would be another's."""
    activate = Path(sys.executable).with_name("activate")
    return [f". {shlex.quote(str(activate))}"] if program() != NAME and activate.is_file() else []


class _Answers:
    """An option's value, or a person's answer, or the default."""

    def __init__(self, asks: bool) -> None:
        self._asks = asks

    def of(self, question: str, given: str | None, default: str, read: Callable[[str], T]) -> T:
        """Ask only where that was not given, and again while what is answered can't be read.

        `read` makes of a text what is wanted, or raises CommandError: so does this for a text that nobody is asked for.
        """
        if given is not None or not self._asks:
            return read(default if given is None else given)
        # click takes an empty answer only where there is a default, and "" is one.
        prompt: Callable[..., str] = click.prompt
        while True:
            try:
                return read(prompt(question, default=default, show_default=bool(default)))
            except CommandError as problem:
                show_error(problem.message, problem.hint)


def _names(text: str) -> Names:
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.hints import split_hint
    from procvision_tools.scaffold.names import NameProblemError, Names

    try:
        return Names.of(text.strip())
    except NameProblemError as problem:
        raise usage_error(*split_hint(str(problem))) from problem


def _line(option: str, text: str) -> str:
    """Return a text that goes into one line of several files."""
    from procvision_tools.cli.errors import usage_error

    if not text.isprintable():
        raise usage_error(f"{option} has characters that are not printable: {text[:60]!r}", "one line of text")
    return text.strip()


def _pids(text: str) -> tuple[str, ...]:
    from procvision_tools.cli.errors import usage_error

    pids = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not pids or not text.isprintable():
        raise usage_error(f"--pids {text[:60]!r} names no product", "--pids A-100,A-200, or * for any")
    return pids


def _ci(text: str) -> Ci:
    from procvision_tools.cli.errors import usage_error

    for known in CI_CHOICES:
        if known == text:
            return known
    raise usage_error(f"--ci is {text!r:.40}: it is one of {', '.join(CI_CHOICES)}")
