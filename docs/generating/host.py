"""The tables of the reference of `procvision-host`."""

from __future__ import annotations

import click

from generating.markdown import Regions, exit_statuses, glossary, table
from generating.options import options_table, usage
from procvision_host import exits
from procvision_host.cli import cli
from procvision_sdk.environment import ALLOWED_NAMES, ALLOWED_PREFIXES

LOG_FIELDS: dict[str, str] = {
    "timestamp_ms": "Unix milliseconds",
    "level": "`debug`, `info`, `warning`, `error`, `critical`",
    "message": "text, cut at 8192 characters; an exception's traceback stands in it",
    "logger": "who says it: the vendor's logger, `procvision.host`, or `procvision.guardian`",
    "algorithm": "the name that the host was started with",
    "request_id": "the call's, while one is executed",
    "step_index": "the call's",
    "session_id": "the call's session",
    "trace_id": "from the session's context, where there is one",
    "stream": "with foreign output: `stdout` or `stderr`, whatever wrote it",
    "bytes": "with foreign output: how much there was; the first 4096 are shown",
}


def commands_region() -> str:
    """The commands beside the host itself, which is the default."""
    rows = []
    for name, command in sorted(cli.commands.items()):
        with click.Context(command, info_name=f"procvision-host {name}") as context:
            rows.append((f"`{usage(context)}`", (command.help or "").split("\n\n")[0]))
    return table(("command", "what it does"), rows)


def allowed_variables() -> str:
    """The variables that an algorithm gets, by name and by their beginning."""
    named = ", ".join(f"`{name}`" for name in sorted(ALLOWED_NAMES))
    begun = ", ".join(f"`{prefix}`" for prefix in sorted(ALLOWED_PREFIXES))
    return f"- {named};\n- what begins with {begun}."


REGIONS: Regions = {
    "host-options": lambda: options_table(click.Context(cli, info_name="procvision-host")),
    "host-commands": commands_region,
    "allowed-variables": allowed_variables,
    "host-exits": lambda: exit_statuses(exits.MEANINGS),
    "log-fields": lambda: glossary("field", LOG_FIELDS),
}
