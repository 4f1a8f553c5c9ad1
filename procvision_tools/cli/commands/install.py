"""`procvision install`: a bundle's version beside those that are there, complete or not at all."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import FOR_USER, JSON, KEYS, ROOT


@click.command(epilog=exits.EPILOG, short_help="Install a bundle's version beside others.")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="BUNDLE")
@ROOT
@KEYS
@click.option("--allow-unsigned", is_flag=True, help="Take a bundle that nobody has signed, too; it is recorded.")
@click.option("--why", default="", help="The reason, which is kept.")
@FOR_USER
@JSON
def install(
    bundle: Path,
    root: Path | None,
    store: Path | None,
    allow_unsigned: bool,
    why: str,
    for_user: str | None,
    as_json: bool,
) -> int:
    """Install a version into an environment of its own, from its bundle alone: no index, no network.

    It becomes visible when it is complete, read-only and on the disk. Nothing is active before `procvision activate`.

    \b
    Examples:
      procvision install weld-check-0.1.0-cp311-manylinux_2_28_x86_64.zip --root deployments
    """
    from procvision_sdk.errors import ErrorCode
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.examining import examined
    from procvision_tools.bundling.target import Target
    from procvision_tools.bundling.trust_store import TrustStore, store_path
    from procvision_tools.cli.deploying import root_of, told
    from procvision_tools.deployments.plan import Wish
    from procvision_tools.deployments.store import changing
    from procvision_tools.extras import need

    need("packaging.tags", "packaging", "a bundle", "bundle")
    keys = TrustStore.read(store_path(store))
    with told(), changing(root_of(root)) as kept, kept.unpacking() as folder:
        seen = examined(bundle, folder, keys, allow_unsigned=allow_unsigned, now=kept.history.latest)
        if seen.refusal is not None or seen.bundle is None:
            raise seen.refusal or BundleError(ErrorCode.INVALID_PACKAGE, f"{bundle} can't be used")
        index, target = seen.bundle.index, seen.bundle.target
        if not target.is_here:
            code = ErrorCode.INCOMPATIBLE_PYTHON if target.python != Target.of().python else ErrorCode.WHEELS_MISSING
            raise BundleError(code, f"{bundle.name} is for {target}; this is {Target.of()}; hint: a bundle for this")
        if not index.algorithms:
            raise BundleError(ErrorCode.INVALID_PACKAGE, f"{bundle.name} has no algorithm; hint: package --with it")
        signed_by = None if seen.key is None else {"name": seen.key.name, "id": seen.key.id}
        facts = {"signed_by": signed_by, "why": why, "user": for_user}
        kept.fulfil(Wish("install", index.distribution, index.version), seen.bundle, facts)
        row = next(
            row for row in kept.versions() if (row["name"], row["version"]) == (index.distribution, index.version)
        )
    if as_json:
        click.echo(json.dumps(row, indent=2))
    else:
        who = "unsigned" if signed_by is None else f"signed by {signed_by['name']}"
        chosen = {"--root": root, "--keys": store}
        more = [word for option, path in chosen.items() if path is not None for word in (option, str(path))]
        words = shlex.join(["procvision", "activate", index.label, *more])
        click.echo(f"{index.label} is installed, {who}\nTo use it: {words}")
    return exits.OK
