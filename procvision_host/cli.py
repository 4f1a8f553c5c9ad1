"""`procvision-host` for people: `list`, `show`, `check`, and what it says when it is started by hand."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click
import msgspec

from procvision_host import exits
from procvision_host.discovery import AlgorithmRow, UnknownAlgorithmError, discover, find, host_version
from procvision_host.options import run_options

_STATUSES = "\n".join(f"  {status:>2}  {meaning}" for status, meaning in exits.MEANINGS.items())

_json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group(
    invoke_without_command=True,
    epilog=f"\b\nExit statuses:\n{_STATUSES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@run_options
@click.version_option(host_version(), prog_name="procvision-host")
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
        click.echo(json.dumps([_as_dict(row) for row in rows], indent=2))
        return
    if not rows:
        click.echo(f"no algorithm is installed in {sys.prefix}")
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        state = click.style("ok", fg="green") if row.error is None else click.style(f"broken: {row.error}", fg="red")
        click.echo(f"{row.name:<{width}}  {row.version or '?':<10}  {row.distribution or '?'}  {state}")


@cli.command("show")
@click.argument("name")
@_json_option
def show_command(name: str, as_json: bool) -> None:
    """One algorithm's manifest: its steps and their parameters."""
    row = _found(name)
    assert row.manifest is not None
    if as_json:
        click.echo(json.dumps(_as_dict(row), indent=2))
        return
    manifest = row.manifest
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
        click.echo(json.dumps({"name": row.name, "version": row.version, "ok": problem is None, "error": problem}))
    elif problem is None:
        click.echo(f"{row.name} {row.version}: {click.style('ok', fg='green')}")
    else:
        click.echo(f"{row.name} {row.version}: {click.style(problem, fg='red')}", err=True)
    if problem is not None:
        sys.exit(exits.ALGORITHM_FAILED)


def _problem(row: AlgorithmRow) -> str | None:
    from procvision_host.loader import load

    # What the algorithm prints is not this command's output.
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        algorithm = load(row)
        try:
            algorithm.setup()
        finally:
            algorithm.teardown()
    except BaseException as error:  # noqa: BLE001 - a vendor's SystemExit is a failed check
        return f"{type(error).__name__}: {error}"
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
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
        "manifest": msgspec.to_builtins(row.manifest),
    }


def _usage(message: str, hint: str) -> click.ClickException:
    return click.ClickException(f"{message}\nhint: {hint}")


def main() -> None:
    """Runs the command line; a wrong one exits 64."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(exits.USAGE)
    except click.Abort:
        sys.exit(130)
