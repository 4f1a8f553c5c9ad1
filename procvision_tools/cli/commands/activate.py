"""`procvision activate`: a version passes the gate, then products get it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from procvision_tools.argument_types import TimeoutRange
from procvision_tools.cli import exits
from procvision_tools.cli.deploying import FOR_USER, JSON, KEYS, ROOT
from procvision_tools.cli.needs import grant_names

if TYPE_CHECKING:
    from procvision_runner.options import IsolationLevel
    from procvision_testing import Finding

DEFAULT_TIMEOUT_S = 120.0


@click.command(epilog=exits.EPILOG, short_help="Let products be inspected by an installed version.")
@click.argument("version", metavar="NAME==VERSION")
@click.option("--pid", "pids", multiple=True, metavar="P",
              help="A product that gets it; repeatable.  [default: all that have none of their own]")  # fmt: skip
@click.option("--grant", "grants", multiple=True, metavar="[ALGORITHM=]NEED", callback=grant_names,
              help="A need that it gets, such as network:10.0.0.5:502, or one algorithm of it; recorded, "
                   "repeatable.")  # fmt: skip
@click.option("--golden", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
              help="Pictures that it has to judge as they are labelled.")  # fmt: skip
@click.option("--report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Its requalification's report (procvision requalify --json): it has to be kept.")  # fmt: skip
@click.option("--isolation", type=click.Choice(("off", "basic", "strict")), default="strict", show_default=True,
              help="How far it is shut in while it is tried; recorded.")  # fmt: skip
@click.option("--timeout-s", type=TimeoutRange(), default=DEFAULT_TIMEOUT_S, show_default=True,
              help="How long the setup, and each call, may take.")  # fmt: skip
@click.option("--why", default="", help="The reason, which is kept.")
@FOR_USER
@ROOT
@KEYS
@JSON
def activate(
    version: str,
    pids: tuple[str, ...],
    grants: tuple[str, ...],
    golden: Path | None,
    report: Path | None,
    isolation: IsolationLevel,
    timeout_s: float,
    why: str,
    for_user: str | None,
    root: Path | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Let a version pass the gate, and give products to it: signature, files, validate, golden pictures.

    What was active stays so unless every check passes. A runner that uses the folder changes over and loses no call.

    \b
    Examples:
      procvision activate weld-check==0.2.0 --root deployments --golden golden
      procvision activate weld-check==0.2.0 --pid A-17 --pid A-18
    """
    from procvision_runner.deployments import ANY_PID, digest
    from procvision_tools.bundling.trust_store import TrustStore, store_path
    from procvision_tools.cli.deploying import name_and_version, root_of, told
    from procvision_tools.cli.findings_output import tell
    from procvision_tools.deployments.gate import gate, rows
    from procvision_tools.deployments.plan import Wish, plan
    from procvision_tools.deployments.store import changing

    name, number = name_and_version(version)
    wish = Wish("activate", name, number, pids or (ANY_PID,), tuple(sorted(grants)))
    keys = TrustStore.read(store_path(store))
    with told(), changing(root_of(root)) as kept:
        plan(kept.state(), wish)
        found: list[Finding] = []
        findings = gate(kept.root / name / number, keys, kept.history.latest, golden=golden, report=report,
                        grants=wish.grants, isolation=isolation, timeout_s=timeout_s)  # fmt: skip
        outcome = tell(f"{name}=={number}", _kept(findings, found), as_json)
        facts: dict[str, Any] = {
            "isolation": isolation,
            "gate": rows(found),
            "keys": str(keys.path.absolute()),
            "why": why,
            "user": for_user,
            "report": None if report is None else digest(report),
        }
        if outcome["ok"]:
            kept.fulfil(wish, facts=facts)
        else:
            kept.fulfil(Wish("mend"))
            kept.history.append(
                "refused", name=name, version=number, pids=list(wish.pids), grants=list(wish.grants), **facts
            )
    if as_json:
        click.echo(json.dumps({**outcome, "active": outcome["ok"], "pids": list(wish.pids)}, indent=2))
    elif outcome["ok"]:
        click.echo(f"{name}=={number} is active for {_products(wish.pids)}")
    else:
        click.echo(f"{name}=={number} is not activated: what was active stays so", err=True)
    return exits.OK if outcome["ok"] else exits.NG


def _kept(findings: Iterator[Finding], found: list[Finding]) -> Iterator[Finding]:
    for finding in findings:
        found.append(finding)
        yield finding


def _products(pids: tuple[str, ...]) -> str:
    return ", ".join("every product that has none of its own" if pid == "*" else pid for pid in pids)
