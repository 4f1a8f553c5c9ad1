"""`procvision verify`: whose bundle is it, and is it as it was made? Nothing of it is installed or run."""

from __future__ import annotations

from pathlib import Path

import click

from procvision_tools.cli import exits


@click.command(epilog=exits.EPILOG, short_help="Check a bundle's signature and files; run nothing of it.")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--keys", "store", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The trusted keys.  [default: $PROCVISION_KEYS, or the user's configuration]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def verify(bundle: Path, store: Path | None, as_json: bool) -> int:
    """Check whose key signed a bundle, that every byte is as it was made, and that its wheels hurt no station.

    \b
    Examples:
      procvision verify weld-check-0.1.0-cp311-manylinux_2_28_x86_64.zip
    """
    from procvision_tools.bundling.examining import examined
    from procvision_tools.bundling.trust_store import TrustStore, store_path
    from procvision_tools.cli.findings_output import tell
    from procvision_tools.extras import need
    from procvision_tools.scratch import scratch_folder

    need("packaging.tags", "packaging", "a bundle", "bundle")
    keys = TrustStore.read(store_path(store))
    with scratch_folder() as folder:
        report = tell(str(bundle), examined(bundle, folder, keys).findings, as_json)
    if as_json:
        from procvision_tools.cli.output import json_of

        click.echo(json_of(report))
    return exits.OK if report["ok"] else exits.NG
