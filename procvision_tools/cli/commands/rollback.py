"""`procvision rollback`: the version that was active before, at once."""

from __future__ import annotations

from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import ROOT


@click.command(epilog=exits.EPILOG, short_help="Go back to the version that was active before.")
@click.argument("name", metavar="NAME")
@click.option("--pid", "pids", multiple=True, metavar="P",
              help="A product that goes back; repeatable.  [default: all that have none of their own]")  # fmt: skip
@click.option("--why", default="", help="The reason, which is kept.")
@ROOT
def rollback(name: str, pids: tuple[str, ...], why: str, root: Path | None) -> int:
    """Activate the version before again. It passed the gate then; only its files are looked at now.

    \b
    Examples:
      procvision rollback weld-check --root deployments --why "escapes on A-17"
    """
    from procvision_runner.deployments import ANY_PID, check_unchanged
    from procvision_runner.errors import LaunchError
    from procvision_sdk.errors import ErrorCode
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.cli.deploying import root_of, told
    from procvision_tools.deployments.plan import Wish, plan
    from procvision_tools.deployments.store import changing

    wish = Wish("rollback", name, pids=pids or (ANY_PID,))
    with told(), changing(root_of(root)) as store:
        steps = [step for step in plan(store.state(), wish) if step.kind == "record_active"]
        for step in steps:
            try:
                check_unchanged(store.root / step.name / step.version)
            except LaunchError as error:
                raise BundleError(ErrorCode.INVALID_PACKAGE, str(error)) from error
        store.fulfil(wish, facts={"why": why})
    for step in steps:
        click.echo(f"{step.name}=={step.version} is active again for {step.pid}")
    return exits.OK
