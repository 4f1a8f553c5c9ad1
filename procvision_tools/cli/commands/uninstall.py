"""`procvision uninstall`: a version that nobody uses is removed."""

from __future__ import annotations

from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import ROOT


@click.command(epilog=exits.EPILOG, short_help="Remove an installed version.")
@click.argument("version", metavar="NAME==VERSION")
@ROOT
def uninstall(version: str, root: Path | None) -> int:
    """Remove a version that is active for no product. The history keeps it.

    \b
    Examples:
      procvision uninstall weld-check==0.1.0 --root deployments
    """
    from procvision_tools.cli.deploying import name_and_version, root_of, told
    from procvision_tools.deployments.plan import Wish
    from procvision_tools.deployments.store import changing

    name, number = name_and_version(version)
    with told(), changing(root_of(root)) as store:
        store.fulfil(Wish("uninstall", name, number))
    click.echo(f"{name}=={number} is removed")
    return exits.OK
