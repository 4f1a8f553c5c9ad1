"""What the commands of deployments share: where they lie, whose signatures count, and how errors are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from procvision_tools.argument_types import Folder
from procvision_tools.cli.errors import CommandError, usage_error

ROOT = click.option(
    "--root", type=Folder(), metavar="DIR",
    help="Where versions lie.  [default: $PROCVISION_DEPLOYMENTS, or the user's data]",
)  # fmt: skip
KEYS = click.option(
    "--keys", "store", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The trusted keys.  [default: $PROCVISION_KEYS, or the user's configuration]",
)  # fmt: skip
FOR_USER = click.option(
    "--for-user", metavar="ID", help="Who asked for it, where that is not who runs the command; recorded."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@contextmanager
def told() -> Iterator[None]:
    """Let errors of bundles and deployments be told with their codes."""
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.hints import split_hint

    try:
        yield
    except BundleError as error:
        message, hint = split_hint(str(error))
        raise CommandError(f"[{error.error_code}] {message}", hint) from error


def name_and_version(text: str) -> tuple[str, str]:
    """Take NAME==VERSION apart. Raises CommandError."""
    name, _, version = text.partition("==")
    if not name or not version or "/" in text or name.startswith(".") or version.startswith("."):
        raise usage_error(f"{text!r} is not NAME==VERSION", "procvision versions shows what is installed")
    return name, version


def root_of(given: Path | None) -> Path:
    """Give the folder of the deployments."""
    from procvision_tools.deployments.store import default_root

    return given if given is not None else default_root()
