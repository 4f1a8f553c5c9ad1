"""The group of commands. A command's file is imported when the command is used, and what it needs when it runs.

Other distributions add commands by entry points of the group `procvision.commands`: a click command, under its name.
It returns its exit status, and raises a ProcVisionError, whose text may end with a line `hint:`, where it can't go on.
One that can't be imported is shown with its reason, and leaves the others usable.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from procvision_sdk.errors import ProcVisionError
from procvision_tools.cli import exits
from procvision_tools.cli.errors import CommandError, show_error
from procvision_tools.extras import MissingExtraError
from procvision_tools.hints import split_hint

if TYPE_CHECKING:
    from procvision_sdk.installed import Declared

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "activate": "procvision_tools.cli.commands.activate:activate",
        "completion": "procvision_tools.cli.commands.completion:completion",
        "conformance": "procvision_tools.cli.commands.conformance:conformance",
        "demo": "procvision_tools.cli.commands.demo:demo",
        "doctor": "procvision_tools.cli.commands.doctor:doctor",
        "evaluate": "procvision_tools.cli.commands.evaluate:evaluate",
        "history": "procvision_tools.cli.commands.history:history",
        "init": "procvision_tools.cli.commands.init:init",
        "install": "procvision_tools.cli.commands.install:install",
        "keys": "procvision_tools.cli.commands.keys:keys",
        "package": "procvision_tools.cli.commands.package:package",
        "requalify": "procvision_tools.cli.commands.requalify:requalify",
        "rollback": "procvision_tools.cli.commands.rollback:rollback",
        "run": "procvision_tools.cli.commands.run:run",
        "train": "procvision_tools.cli.commands.train:train",
        "uninstall": "procvision_tools.cli.commands.uninstall:uninstall",
        "validate": "procvision_tools.cli.commands.validate:validate",
        "verify": "procvision_tools.cli.commands.verify:verify",
        "versions": "procvision_tools.cli.commands.versions:versions",
    }
)
"""Command -> module:attribute."""

COMMAND_GROUP = "procvision.commands"
"""The group of entry points by which other distributions add commands. They can't take the place of ours."""

COMPLETE_VARIABLE = "_PROCVISION_COMPLETE"
"""By which a shell's script asks for completions: click's name for a program that is called procvision."""


class _BrokenPipe(Exception):  # noqa: N818 - it only carries one through click
    """A command's. Click takes each for that of stdout, and would end with 1 and without a word."""

    def __init__(self, told: BrokenPipeError) -> None:
        super().__init__(str(told))
        self.told = told


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _BrokenPipe(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names of all commands."""
        return sorted({*COMMANDS, *_added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None where there is none of that name."""
        home = COMMANDS.get(cmd_name)
        if home is None:
            points = _added().get(cmd_name)
            return _load_added(cmd_name, points) if points else None
        module, _, attribute = home.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show what there is where nothing is asked for yet."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(exits.USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none, name the one that was meant. Raises UsageError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            for close in difflib.get_close_matches(args[0], self.list_commands(ctx), n=1):
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close!r}?", ctx) from None
            raise


def _added() -> dict[str, list[Declared]]:
    """Return what other distributions add: nothing of them is imported."""
    from procvision_sdk.installed import declared

    found: dict[str, list[Declared]] = {}
    for point in declared(COMMAND_GROUP):
        if point.name not in COMMANDS:
            found.setdefault(point.name, []).append(point)
    return found


def _load_added(name: str, points: list[Declared]) -> click.Command:
    """Import a command of another distribution. Of one that can't be, give a command that says why."""
    owners = [point.distribution or "?" for point in points]
    if len(points) > 1:
        return _unusable(name, f"it is in the distributions {' and '.join(owners)}", "uninstall all but one")
    try:
        command = points[0].load()
    except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises, the other commands stay usable
        return _unusable(name, f"{points[0].value} can't be imported: {type(error).__name__}: {error}", "")
    if not isinstance(command, click.Command):
        return _unusable(name, f"{points[0].value} is {type(command).__name__}, no click command", "")
    return command


def _unusable(name: str, reason: str, hint: str) -> click.Command:
    def fail() -> None:
        raise CommandError(f"the command {name} can't be used: {reason}", hint or "reinstall its distribution")

    return click.Command(name, callback=fail, short_help="(can't be used: run it for the reason)")


def _version() -> str:
    from procvision_sdk.installed import version_of

    return version_of("procvision") or "of a source tree that is not installed"


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"procvision {_version()}")
        context.exit()


@click.group(
    cls=LazyGroup, epilog=exits.EPILOG, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
              help="Show the version.")  # fmt: skip
def cli() -> None:
    """Inspect pictures with an installed algorithm; write, check, measure and ship one.

    \b
    Examples:
      procvision demo
      procvision run pcb-compare --reference good.png --image product.png
    """
    if not gc.isenabled():
        gc.freeze()  # what is imported stays: nobody looks for garbage among it
        gc.enable()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status. SIGTERM leaves nothing behind either."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(exits.TERMINATED))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows an escape: a verdict is told whatever stands beside it.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(status_of(arguments))


def status_of(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, print its errors, and give the exit status."""
    stdout = sys.stdout
    try:
        if COMPLETE_VARIABLE in os.environ:
            from procvision_tools.cli.completion_scripts import register

            register()
        _check_stdout()
        answer = cli.main(arguments, prog_name="procvision", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else exits.OK
    except CommandError as error:
        show_error(error.message, error.hint)
        return error.status
    except MissingExtraError as error:
        show_error(*split_hint(str(error)))
        return exits.ERROR
    except click.UsageError as error:
        show_error(error.format_message(), _usage_hint(error))
        return exits.USAGE
    except click.ClickException as error:
        show_error(error.format_message())
        return exits.ERROR
    except (click.Abort, KeyboardInterrupt):
        show_error("interrupted")
        return exits.INTERRUPTED
    except ProcVisionError as error:
        show_error(*split_hint(str(error)))
        return exits.ERROR
    except SystemExit as leaving:
        if sys.stdout is stdout:
            if leaving.code == exits.TERMINATED:
                _say_terminated()
            raise
        # Where the reader of a help text has left, click wraps stdout and ends with 1.
        _let_go_of_stdout()
        return exits.ERROR
    except (_BrokenPipe, BrokenPipeError) as error:
        return _broken_pipe(error.told if isinstance(error, _BrokenPipe) else error)
    except Exception as error:  # noqa: BLE001 - Python's own exit status for it, 1, would mean NG
        return _unforeseen(error)


def _check_stdout() -> None:
    if sys.stdout is None:
        raise CommandError("stdout is closed: what is found could not be told", "> /dev/null, if nobody wants it")


def _say_terminated() -> None:
    """Say why there is no more output: what seems to end without a reason is searched for long."""
    with contextlib.suppress(OSError, ValueError):
        click.echo("ended by SIGTERM", err=True)


def _broken_pipe(error: BrokenPipeError) -> int:
    """Give the exit status, quietly where it is the output's reader that has left, as that of `procvision … | head`."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    if not any(told & select.POLLERR for _, told in poll.poll(0)):
        return _unforeseen(error)
    _let_go_of_stdout()
    return exits.ERROR


def _unforeseen(error: Exception) -> int:
    """Say what nobody thought of, with its place where it isn't the output's; give the exit status."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as told:
        _let_go_of_stdout()
        show_error(f"stdout can't be written: {getattr(told, 'strerror', None) or told}; what was found is not told")
        return exits.ERROR
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(error)
    show_error(f"{type(error).__name__}: {error}")
    return exits.ERROR


def _let_go_of_stdout() -> None:
    """Let what is still buffered go nowhere, quietly: else Python says so at its end, with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "procvision"
    return f"{path} --help shows what there is"


if __name__ == "__main__":
    main()
