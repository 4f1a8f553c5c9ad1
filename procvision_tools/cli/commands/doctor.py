"""`procvision doctor`: what on this machine would trouble a line?"""

from __future__ import annotations

import click

from procvision_tools.cli import exits


@click.command(epilog=exits.EPILOG, short_help="Say what on this machine would trouble a line.")
@click.option("--clean", is_flag=True, help="Remove what dead runners and commands left; never a living one's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def doctor(clean: bool, as_json: bool) -> int:
    """Look at this machine: shared memory, limits, versions, bytecode, decoders, plugins, what dead runners left.

    The exit status is 1 when something would keep hosts from running; a warning alone leaves it 0.

    \b
    Examples:
      procvision doctor
      procvision doctor --clean
      procvision doctor --json
    """
    from procvision_tools.cli.findings_output import tell
    from procvision_tools.diagnosis import examine_machine

    report = tell("this machine", examine_machine(clean=clean), as_json)
    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of({key: value for key, value in report.items() if key != "name"}))
    return exits.OK if report["ok"] else exits.NG
