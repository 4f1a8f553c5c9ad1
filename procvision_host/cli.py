"""`procvision-host` for people: `list`, `show`, `check`, `hooks`, and what it says when it is started by hand."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click
import msgspec

from procvision_host import exits
from procvision_host.algorithm.discovery import AlgorithmRow, UnknownAlgorithmError, discover, find, host_version
from procvision_host.algorithm.sources import SourceRow, sources
from procvision_host.command_line import confining_options, hook_options, run_options
from procvision_host.logs import HOST_LOGGER
from procvision_host.options import HostOptions
from procvision_sdk.jsontext import json_text
from procvision_sdk.printable import printable

if TYPE_CHECKING:
    from procvision_host.hooks.manager import HookRow
    from procvision_sdk.manifest.needs import Need

_Row = TypeVar("_Row", AlgorithmRow, SourceRow, "HookRow")
_MEANINGS = {**exits.MEANINGS, os.EX_IOERR: "what a command found could not be written"}
_STATUSES = "\n".join(f"  {status:>2}  {meaning}" for status, meaning in sorted(_MEANINGS.items()))

_json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group(
    invoke_without_command=True,
    epilog=f"\b\nExit statuses:\n{_STATUSES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@run_options
@click.version_option(host_version(), prog_name="procvision-host", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, /, algo: str | None, **_: Any) -> None:
    """Run an installed algorithm for a runner, or look at what is installed.

    \b
    procvision-host --algo pcb-compare      speaks frames on stdin and stdout
    procvision-host list                    what is installed
    """
    if context.invoked_subcommand is not None:
        return
    if algo and (os.isatty(0) or os.isatty(1)):
        raise _usage(
            "stdin and stdout carry the frames of a runner, here one of them is a terminal",
            f"procvision run {algo} --image PICTURE inspects a picture by hand",
        )
    raise _usage("no algorithm is named", "procvision-host --algo NAME, or procvision-host list")


@cli.command("list")
@_json_option
def list_command(as_json: bool) -> None:
    """The installed algorithms; a broken one is a row with its reason."""
    rows = discover()
    if as_json:
        _echo_json([_as_dict(row) for row in rows])
        return
    rows = [_harmless(row) for row in rows]
    if not rows:
        click.echo(f"no algorithm is installed in {sys.prefix}")
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        state = click.style("ok", fg="green") if row.error is None else click.style(f"broken: {row.error}", fg="red")
        click.echo(f"{row.name:<{width}}  {row.version or '?':<10}  {row.distribution or '?'}  {state}")
        if row.also_in:
            told = f"also of {', '.join(row.also_in)}; hint: --algo {row.name}@{row.distribution or '?'}"
            click.echo(f"{'':<{width}}  {click.style(told, fg='yellow')}")
    for source in map(_harmless, sources()):
        click.echo(f"{source.scheme}:…  {source.distribution_version or '?'}  {source.distribution or '?'}  a source")


@cli.command("show")
@click.argument("name")
@_json_option
def show_command(name: str, as_json: bool) -> None:
    """One algorithm's manifest: its steps and their parameters."""
    row = _found(name)
    assert row.manifest is not None
    if as_json:
        _echo_json(_as_dict(row))
        return
    manifest = row.manifest
    row = _harmless(row)
    click.echo(f"{click.style(manifest.name, bold=True)} {manifest.version}  ({row.distribution}, {row.entry_point})")
    if manifest.description:
        click.echo(manifest.description)
    click.echo(f"products: {', '.join(manifest.supported_pids)}")
    for step in manifest.steps:
        click.echo(f"step {step.index}: {step.name}  {step.description}".rstrip())
        for parameter in step.params:
            facts = msgspec.to_builtins(parameter)
            for known in ("key", "description", "type"):
                facts.pop(known, None)
            told = ", ".join(f"{key}={value}" for key, value in facts.items() if value not in (None, "", False))
            kind = type(parameter).__struct_config__.tag
            click.echo(f"  {parameter.key} ({kind}{', ' if told else ''}{told})  {parameter.description}".rstrip())


@cli.command("check")
@click.argument("name")
@_json_option
def check_command(name: str, as_json: bool) -> None:
    """Import an algorithm, construct it, run its setup() and teardown(). Exit status 70 if that fails."""
    row = _found(name)
    problem = _problem(row)
    if as_json:
        _echo_json({"name": row.name, "version": row.version, "ok": problem is None, "error": problem}, indent=None)
    elif problem is None:
        click.echo(f"{row.name} {row.version}: {click.style('ok', fg='green')}")
    else:
        click.echo(f"{row.name} {row.version}: {click.style(problem, fg='red')}", err=True)
    if problem is not None:
        sys.exit(exits.ALGORITHM_FAILED)


@cli.command("hooks")
@hook_options
@_json_option
def hooks_command(as_json: bool, **choice: Any) -> None:
    """The hook plugins: which are used, what each implements and warned of, what failed to load and why.

    Exit status 78 if one that was asked for by name can't be used: a host with these options would leave with it.
    """
    from procvision_host.configuration import ConfigurationError
    from procvision_host.hooks.manager import Hooks

    logging.getLogger(HOST_LOGGER).addHandler(logging.NullHandler())  # the rows tell what the log would
    try:
        with _own_output():
            options = HostOptions(algo="", **choice)
            rows = Hooks(options.hook_choice(options.read_config(os.environ), os.environ)).rows
    except ConfigurationError as error:
        if as_json:
            _echo_json({"error": str(error)}, indent=None)
        else:
            click.echo(f"error: {str(error).replace('; hint: ', chr(10) + 'hint: ')}", err=True)
        sys.exit(exits.CONFIGURATION)
    if as_json:
        _echo_json([_hook_as_dict(row) for row in rows])
        return
    rows = [_harmless(row) for row in rows]
    width = max(len(row.name) for row in rows)
    for row in rows:
        if row.error is not None:
            state = click.style(f"broken: {row.error}", fg="red")
        elif row.active:
            state = click.style("used", fg="green")
        else:
            state = click.style(f"not used: {row.reason}", fg="yellow")
        source = f"{row.distribution} {row.version}" if row.distribution else row.entry_point
        click.echo(f"{row.name:<{width}}  {state}  ({source}, {row.chosen_by})")
        for warning in row.warnings:
            click.echo(f"{'':<{width}}  {click.style('warning:', fg='yellow')} {warning}")
        if row.implements:
            click.echo(f"{'':<{width}}  {', '.join(hook.removeprefix('procvision_') for hook in row.implements)}")
        for option in row.options:
            value = row.values.get(option.key, "required" if option.required else option.default)
            click.echo(f"{'':<{width}}  {option.key} = {value}  {option.help}".rstrip())


@cli.command("isolation")
@_json_option
def isolation_command(as_json: bool) -> None:
    """What this machine can enforce for this user, one row a rule, each tried in a child process.

    Exit status 1 if a rule isn't held.
    """
    from procvision_host.sandbox.rules import table

    rows = table()
    if as_json:
        _echo_json([attrs.asdict(row) for row in rows])
    else:
        width = max(len(row.name) for row in rows)
        for row in rows:
            state = click.style("held", fg="green") if row.held else click.style("not held", fg="red")
            click.echo(
                f"{row.level:<6}  {row.name:<{width}}  {state}  ({row.by}) {'' if row.held else row.detail}".rstrip()
            )
    if not all(row.held for row in rows):
        sys.exit(1)


@cli.command("confined", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@confining_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def confined_command(
    isolation: str,
    isolation_missing: str,
    readable: tuple[str, ...],
    writable: tuple[str, ...],
    grant: tuple[Need, ...],
    command: tuple[str, ...],
) -> None:
    """Run a program shut in as an algorithm is. Exit status 78 if this machine can't.

    \b
    procvision-host confined --isolation strict --readable pictures -- python train.py
    """
    from procvision_host.sandbox.cell import shut
    from procvision_host.sandbox.confinement import Level
    from procvision_host.sandbox.grants import GrantError

    level = Level(isolation)
    if level is not Level.OFF:
        try:
            outcome = shut(level, readable=readable, writable=writable, grants=grant, bound_memory=False)
        except GrantError as error:
            raise _not_confined(str(error)) from None
        if outcome.missing and isolation_missing == "error":
            hint = "procvision-host isolation shows what this machine can enforce; --isolation off does without"
            raise _not_confined(f"{outcome.missing[0]}; hint: {hint}")
        for lacking in outcome.missing:
            click.echo(f"warning: isolation {isolation}: {lacking}", err=True)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise _not_confined(f"{command[0]} can't be started: {error.strerror}") from None


def _not_confined(text: str) -> SystemExit:
    click.echo(f"error: {text.replace('; hint: ', chr(10) + 'hint: ')}", err=True)
    return SystemExit(exits.CONFIGURATION)


def _harmless(row: _Row) -> _Row:
    """Return a row whose texts can be shown: a vendor's metadata may hold what steers a terminal."""
    harmless: dict[str, Any] = {}
    for name in type(row).__match_args__:
        harmless[name] = value = getattr(row, name)
        if isinstance(value, str):
            harmless[name] = printable(value, "\n")
        elif isinstance(value, tuple) and all(isinstance(one, str) for one in value):
            harmless[name] = tuple(printable(one) for one in value)
    return type(row)(**harmless)


def _hook_as_dict(row: HookRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "entry_point": row.entry_point,
        "active": row.active,
        "chosen_by": row.chosen_by,
        "implements": list(row.implements),
        "options": [
            {
                "key": option.key,
                "type": option.kind.__name__,
                "required": option.required,
                "default": None if option.required else option.default,
                "value": row.values.get(option.key),
                "help": option.help,
            }
            for option in row.options
        ],
        "reason": row.reason,
        "error": row.error,
        "warnings": list(row.warnings),
    }


@contextmanager
def _own_output() -> Iterator[None]:
    """Send to stderr what foreign code prints meanwhile: it is not this command's output."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _problem(row: AlgorithmRow) -> str | None:
    from procvision_host.algorithm.exceptions import place_of
    from procvision_host.algorithm.loader import LoadError, load

    try:
        with _own_output():
            algorithm, _ = load(row)
            try:
                algorithm.setup()
            finally:
                algorithm.teardown()
    except BaseException as error:  # noqa: BLE001 - a vendor's SystemExit is a failed check
        place = "" if isinstance(error, LoadError) else place_of(error)
        where = f" ({place})" if place else ""
        return f"{type(error).__name__}: {error}{where}"
    return None


def _found(name: str) -> AlgorithmRow:
    try:
        return find(name)
    except UnknownAlgorithmError as error:
        click.echo(f"error: {str(error).replace('; hint: ', chr(10) + 'hint: ')}", err=True)
        sys.exit(exits.CONFIGURATION)


def _as_dict(row: AlgorithmRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "distribution": row.distribution,
        "entry_point": row.entry_point,
        "error": row.error,
        "also_in": list(row.also_in),
        "manifest": msgspec.to_builtins(row.manifest),
        "ignored_keys": _ignored_keys(row),
    }


def _ignored_keys(row: AlgorithmRow) -> dict[str, str | None]:
    from procvision_sdk.manifest.model import MANIFEST_FILE
    from procvision_sdk.manifest.reading import MAX_MANIFEST_BYTES, ignored_keys
    from procvision_sdk.regular_files import read_regular

    if row.manifest is None or row.make is not None:  # a source's has no file
        return {}
    try:
        return ignored_keys(read_regular(f"{row.package_folder}/{MANIFEST_FILE}", MAX_MANIFEST_BYTES))
    except (OSError, ValueError):
        return {}  # it has changed since


def _echo_json(value: Any, indent: int | None = 2) -> None:
    click.echo(json_text(value, indent=indent, encoding=getattr(sys.stdout, "encoding", None) or "utf-8"))


def _usage(message: str, hint: str) -> click.ClickException:
    return click.ClickException(f"{message}\nhint: {hint}")


def main() -> None:
    """Run the command line. A wrong one exits 64, one whose output can't be written 74."""
    try:
        cli.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Python's own status would be 1, which is a verdict elsewhere.
        with contextlib.suppress(OSError, ValueError):
            click.echo(f"error: {error.strerror or error}: what was found could not be told", err=True)
        for stream in (1, 2):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        sys.exit(os.EX_IOERR)
    except click.ClickException as error:
        message = error.format_message()
        click.echo(f"error: {message}", err=True)
        if "\nhint: " not in message:
            click.echo("hint: procvision-host --help shows what there is", err=True)
        sys.exit(exits.USAGE)
    except click.Abort:
        sys.exit(130)
