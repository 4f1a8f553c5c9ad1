"""`procvision rollback`: the version that was active before, at once."""

from __future__ import annotations

from pathlib import Path

import click

from procvision_tools.cli import exits
from procvision_tools.cli.deploying import FOR_USER, KEYS, ROOT


@click.command(epilog=exits.EPILOG, short_help="Go back to the version that was active before.")
@click.argument("name", metavar="NAME")
@click.option("--pid", "pids", multiple=True, metavar="P",
              help="A product that goes back; repeatable.  [default: all that have none of their own]")  # fmt: skip
@click.option("--why", default="", help="The reason, which is kept.")
@click.option("--allow-revoked", is_flag=True,
              help="Go back also to a version whose key was revoked since; recorded, and --why says why.")  # fmt: skip
@FOR_USER
@ROOT
@KEYS
def rollback(
    name: str,
    pids: tuple[str, ...],
    why: str,
    allow_revoked: bool,
    for_user: str | None,
    root: Path | None,
    store: Path | None,
) -> int:
    """Activate the version before again. It passed the gate then: its files and its key are looked at, nothing is run.

    Without --keys it is the file of keys that its activation used.

    \b
    Examples:
      procvision rollback weld-check --root deployments --why "escapes on A-17"
    """
    from procvision_runner.deployments import ANY_PID
    from procvision_sdk.errors import ErrorCode
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.trust_store import TrustStore, store_path
    from procvision_tools.cli.deploying import root_of, told
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.deployments.gate import rows, way_back
    from procvision_tools.deployments.plan import Wish, plan
    from procvision_tools.deployments.store import changing

    if allow_revoked and not why:
        raise usage_error("--allow-revoked is given without --why", "say why: it is kept")
    wish = Wish("rollback", name, pids=pids or (ANY_PID,))
    with told(), changing(root_of(root)) as kept:
        steps = [step for step in plan(kept.state(), wish) if step.kind == "record_active"]
        found = []
        for version in dict.fromkeys(step.version for step in steps):
            keys = TrustStore.read(store or kept.history.keys_of(name, version) or store_path())
            folder, when = kept.root / name / version, kept.history.latest
            found += list(way_back(folder, keys, when, allow_revoked=allow_revoked))
            if found[-1].level == "failed":
                last = found[-1]
                facts = {"gate": rows(found), "why": why, "user": for_user}
                kept.history.append("refused", name=name, version=version, pids=list(wish.pids), **facts)
                ways = f"procvision activate {name}==VERSION takes another one"
                if "was revoked" in last.detail:
                    ways += "; --allow-revoked --why REASON takes this one all the same"
                text = f"{name}=={version}: {last.detail.removeprefix(f'[{ErrorCode.INVALID_PACKAGE}] ')}"
                raise BundleError(ErrorCode.INVALID_PACKAGE, f"{text}; hint: {ways}")
        kept.fulfil(wish, facts={"why": why, "gate": rows(found), "user": for_user})
    for step in steps:
        click.echo(f"{step.name}=={step.version} is active again for {step.pid}")
    for finding in found:
        if finding.level == "warning":
            click.echo(f"warning: {finding.title}: {finding.detail}", err=True)
    return exits.OK
