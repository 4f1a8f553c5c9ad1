"""`procvision versions`: what is installed, and which products get it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import JSON, ROOT


@click.command(epilog=exits.EPILOG, short_help="Show what is installed, and what is active.")
@ROOT
@JSON
def versions(root: Path | None, as_json: bool) -> int:
    """Show installed versions: who signed them, for which products they are active, and whether they are as they were.

    \b
    Examples:
      procvision versions --root deployments
    """
    from procvision_tools.cli.deploying import root_of, told
    from procvision_tools.deployments.store import Store
    from procvision_tools.report.text import printable

    with told():
        rows = Store(root_of(root)).versions()
    if as_json:
        click.echo(json.dumps({"versions": rows}, indent=2))
        return exits.OK
    for row in rows:
        who = f"signed by {row['signed_by']['name']}" if row["signed_by"] else "unsigned"
        active = f"active for {', '.join(row['active'])}" if row["active"] else "not active"
        click.echo(printable(f"{row['name']}=={row['version']:<12} {active:<24} {who}, installed {row['installed']}"))
        if row["fault"]:
            click.secho(printable(f"  {row['fault']}"), fg="red")
    if not rows:
        click.echo("nothing is installed")
    return exits.OK
