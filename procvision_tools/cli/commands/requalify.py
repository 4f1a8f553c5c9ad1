"""`procvision requalify`: what a new version would have said of everything seen so far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from procvision_tools.argument_types import InFile, OutFile, OutFolder, TimeoutRange, WholeRange
from procvision_tools.cli import exits
from procvision_tools.cli.completing import algorithm_names
from procvision_tools.cli.deploying import ROOT

if TYPE_CHECKING:
    from procvision_tools.evaluation.bounds import Bound

LAYOUTS = ("deeppcb", "mvtec", "coco", "yolo")


@click.command(epilog=exits.EPILOG, short_help="Compare a new version with the old one on an archive.")
@click.argument("new", metavar="NEW", shell_complete=algorithm_names)
@click.argument("archive", metavar="ARCHIVE")
@click.option("--against", "old", required=True, metavar="OLD", shell_complete=algorithm_names,
              help="The version before, or `recorded`: what the archive says.")  # fmt: skip
@click.option("--engine", default="local", show_default=True, metavar="ENGINE",
              help="local, dask (starts a cluster here), dask://HOST:PORT, or a plugin's.")  # fmt: skip
@click.option("--jobs", type=WholeRange(1, 1024),
              help="How many workers, on a core each, with a host of both versions.")  # fmt: skip
@click.option("--out", type=OutFolder(), metavar="FOLDER",
              help="Where results are kept: what is there isn't made again. It gets the report, too.")  # fmt: skip
@click.option("--sample", type=WholeRange(min=1), metavar="N", help="Only so many products, the same each time.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="How a data set lies there; found out by default.")
@click.option(
    "--reference", type=InFile(), help="What `pre` learns from, for products without a reference of their own."
)
@click.option("--pid", help="The products' id, where the archive has none and the algorithm knows several.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE",
              help="A parameter for both versions, in place of the recorded one; repeatable.")  # fmt: skip
@click.option("--bits", type=WholeRange(9, 16), help="How many bits a sample of grey 16-bit PNGs uses.")
@click.option("--timeout-s", type=TimeoutRange(),
              help="How long each call may take.  [default: the runner's]")  # fmt: skip
@click.option("--isolation", type=click.Choice(["off", "basic", "strict"]),
              help="How far deployments' processes are shut in.  [default: strict]")  # fmt: skip
@click.option("--require", "requires", multiple=True, metavar="BOUND",
              help="'new_escapes<=0', 'false_alarms<=baseline+2', 'flips[recipe=A-17]<=0', …; repeatable.")  # fmt: skip
@click.option("--json", "json_file", type=OutFile(allow_dash=True), metavar="FILE",
              help="Write the report for machines, and for `activate --report`; - prints it instead.")  # fmt: skip
@click.option("--html", "page", type=OutFile(), metavar="FILE.html", help="Write a page with the flips side by side.")
@click.option("--worst", type=WholeRange(0, 200), default=20, show_default=True,
              help="How many flips the page shows.")  # fmt: skip
@ROOT
def requalify(
    new: str,
    archive: str,
    old: str,
    engine: str,
    jobs: int | None,
    out: Path | None,
    sample: int | None,
    layout: str | None,
    reference: Path | None,
    pid: str | None,
    params: tuple[str, ...],
    bits: int | None,
    timeout_s: float | None,
    isolation: str | None,
    requires: tuple[str, ...],
    json_file: Path | None,
    page: Path | None,
    worst: int,
    root: Path | None,
) -> int:
    """Say what NEW would have said of an archive, and where OLD differs.

    NEW and OLD are deployments (NAME==VERSION), installed algorithms, or the commands of hosts, in quotes. ARCHIVE is a
    station's folder, a data set as `evaluate` reads it, or a folder or a URL with pictures. Verdicts that hang on load,
    such as time-outs, and those on pictures that are gone or changed are unstable: they are counted, and are no flips.
    The exit status is 1 where a bound is missed; `errors<=baseline` and `unstable<=0` are bounds unless others on these
    figures are stated.

    \b
    Examples:
      procvision requalify weld-check==0.2.0 archive/ --against weld-check==0.1.0 --out requalified \\
        --require 'new_escapes<=0' --html flips.html
      procvision requalify weld-check==0.2.0 line-3/ --against recorded --jobs 4
      procvision requalify weld-check s3://plant/welds --against weld-check==0.1.0 --engine dask://farm:8786
    """
    from procvision_tools.engines.protocol import import_numpy

    import_numpy()  # before what imports it by itself
    from procvision_runner import RunnerError
    from procvision_tools.cli import output
    from procvision_tools.cli.deploying import root_of
    from procvision_tools.cli.errors import CommandError
    from procvision_tools.cli.hosts import INSTALLED_HINT
    from procvision_tools.cli.requalified import Wanted, requalified, show, write_files
    from procvision_tools.hints import split_hint

    output.check_extras(overlay=False, page=page is not None)
    output.check_files_differ({"--json": json_file, "--html": page}, {"--reference": reference}, archive)
    bounds = _bounds(requires)
    wanted = Wanted(
        new=new, old=old, place=archive, root=root, default_root=root_of(root), engine=engine, jobs=jobs, out=out,
        sample=sample, layout=layout, reference=reference, pid=pid, params=params, bits=bits, timeout_s=timeout_s,
        isolation=isolation, parts=tuple(bound.part for bound in bounds if bound.part),
    )  # fmt: skip
    try:
        found = requalified(wanted)
    except RunnerError as error:
        message, hint = split_hint(str(error))
        raise CommandError(message, hint or INSTALLED_HINT) from error
    found = found.held_to(bounds)
    show(found, as_json=str(json_file) == "-")
    write_files(found, out, json_file, page, worst)
    return exits.OK if found.kept else exits.NG


def _bounds(requires: tuple[str, ...]) -> list[Bound]:
    """Read the bounds, and add those that hold unless stated otherwise. Raises CommandError (exit status 64)."""
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.evaluation.bounds import parse_bound
    from procvision_tools.hints import split_hint
    from procvision_tools.requalification.compare import MEANINGS

    try:
        bounds = [parse_bound(text, MEANINGS) for text in requires]
    except ValueError as error:
        raise usage_error(*split_hint(str(error))) from error
    stated = {bound.figure for bound in bounds}
    return bounds + [
        parse_bound(text, MEANINGS)
        for figure, text in (("errors", "errors<=baseline"), ("unstable", "unstable<=0"))
        if figure not in stated
    ]
