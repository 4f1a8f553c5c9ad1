"""`procvision keys`: who may sign bundles, and whose signatures count here."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from procvision_tools.cli import exits

if TYPE_CHECKING:
    from procvision_tools.bundling.trust_store import TrustedKey

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_STORE = click.option(
    "--keys", "store", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The trusted keys.  [default: $PROCVISION_KEYS, or the user's configuration]",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.group(epilog=exits.EPILOG, short_help="Make keys, and say whose signatures count here.")
def keys() -> None:
    """Make a key to sign bundles with, and keep the keys whose signatures count on this machine.

    \b
    Examples:
      procvision keys new acme
      procvision keys trust acme.pub --name acme --until 2027-12-31 --for weld-check
      procvision keys list
      procvision keys revoke acme --why "laptop lost"
    """


@keys.command(short_help="Make a key: NAME.key and NAME.pub.")
@click.argument("name")
@click.option("--out", type=_FOLDER, default=".", metavar="FOLDER", help="Where to.  [default: the current folder]")
@_JSON
def new(name: str, out: Path, as_json: bool) -> int:
    """Make an Ed25519 key. NAME.key signs and stays with its owner; NAME.pub is given to those who are to trust it."""
    from procvision_tools.bundling.signing import new_key
    from procvision_tools.cli.errors import usage_error

    if Path(name).name != name or name.startswith("."):
        raise usage_error(f"{name!r} is no name of a key", "--out FOLDER says where it is written")
    secret, public, identity = new_key(name, out)
    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of({"id": identity, "secret": str(secret), "public": str(public)}))
    else:
        click.echo(f"{secret}  signs: keep it, and a copy in a safe place\n{public}  is for those who trust it")
        click.echo(f"id {identity}")
    return exits.OK


@keys.command(short_help="Let the signatures of a key count here.")
@click.argument("file", type=_FILE, metavar="FILE.pub")
@click.option("--name", help="How it is called here.  [default: the file's name]")
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="The last day on which it counts."
)
@click.option("--for", "distributions", multiple=True, metavar="NAME",
              help="A distribution whose bundles it may sign; repeatable.  [default: all]")  # fmt: skip
@_STORE
@_JSON
def trust(
    file: Path,
    name: str | None,
    until: datetime.datetime | None,
    distributions: tuple[str, ...],
    store: Path | None,
    as_json: bool,
) -> int:
    """Let bundles that a key signed be taken here. Its owner tells the id by another way than the file."""
    from procvision_tools.bundling.signing import read_public
    from procvision_tools.bundling.trust_store import TrustStore, store_path

    kept = TrustStore.read(store_path(store))
    key = kept.trust(
        read_public(file),
        name or file.stem,
        until=None if until is None else until.date().isoformat(),
        distributions=sorted(distributions),
        now=_now(),
    )
    _tell([key], as_json)
    return exits.OK


@keys.command("list", short_help="Show the keys that are known here.")
@_STORE
@_JSON
def list_keys(store: Path | None, as_json: bool) -> int:
    """Show all keys, also those that ended or were revoked."""
    from procvision_tools.bundling.trust_store import TrustStore, store_path

    _tell(TrustStore.read(store_path(store)).keys, as_json)
    return exits.OK


@keys.command(short_help="Take back the trust in a key.")
@click.argument("which", metavar="NAME | ID")
@click.option("--why", default="", help="The reason, which is kept.")
@_STORE
@_JSON
def revoke(which: str, why: str, store: Path | None, as_json: bool) -> int:
    """Let a key's signatures count no more, for what is installed from now on. What is active stays active."""
    from procvision_tools.bundling.trust_store import TrustStore, store_path

    _tell([TrustStore.read(store_path(store)).revoke(which, why, _now())], as_json)
    return exits.OK


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _tell(shown: list[TrustedKey], as_json: bool) -> None:
    import msgspec

    from procvision_tools.report.text import printable

    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of({"keys": msgspec.to_builtins(shown)}))
        return
    for key in shown:
        state = f"revoked {key.revoked[:10]}" if key.revoked else f"until {key.until}" if key.until else "without end"
        what = ", ".join(key.distributions) or "every distribution"
        click.echo(printable(f"{key.name:<20} {key.id[:16]}  {state:<18}  {', '.join(key.roles)} of {what}"))
    if not shown:
        click.echo("no keys")
