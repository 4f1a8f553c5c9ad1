"""`procvision history`: who did what with which version, and when."""

from __future__ import annotations

import json
from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import JSON, ROOT


@click.command(epilog=exits.EPILOG, short_help="Show who activated what, when, and what the gate said.")
@click.argument("name", required=False)
@ROOT
@JSON
def history(name: str | None, root: Path | None, as_json: bool) -> int:
    """Show what was installed, activated, refused, rolled back and removed, and check that no line was changed.

    \b
    Examples:
      procvision history weld-check --root deployments
    """
    from procvision_tools.cli.deploying import root_of, told
    from procvision_tools.deployments.history import History
    from procvision_tools.report.text import printable

    with told():
        events = [event for event in History(root_of(root)).events if name in (None, event["name"])]
    if as_json:
        click.echo(json.dumps({"events": events}, indent=2, ensure_ascii=False))
        return exits.OK
    for event in events:
        pid = f" for {event['pid']}" if "pid" in event else ""
        why = f": {event['why']}" if event.get("why") else ""
        failed = next((f": {row['title']}" for row in event.get("gate", ()) if row["level"] == "failed"), "")
        granted = f", granted {', '.join(event['grants'])}" if event.get("grants") else ""
        said = f"{event['event']} {event['name']}=={event['version']}{pid}{granted}{why}{failed}"
        click.echo(
            printable(f"{event['number']:>4}  {event['at'][:19]}Z  {event.get('user') or event['by']:<12} {said}")
        )
    return exits.OK
