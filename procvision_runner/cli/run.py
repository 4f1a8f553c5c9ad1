"""`procvision run`: one picture through an installed algorithm."""

from __future__ import annotations

from pathlib import Path

import click

from procvision_runner.cli import exits

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_OUT = click.Path(dir_okay=False, writable=True, path_type=Path)


def _check_out(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse what could not be written after the inspection, and what would overwrite its input."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise click.BadParameter(f"{path.parent} is no folder", context, parameter)
    for name in ("image", "reference"):
        given = context.params.get(name)
        if given is not None and path.exists() and path.samefile(given):
            raise click.BadParameter(f"{path} is the --{name}, it would be overwritten", context, parameter)
    return path


@click.command(epilog=exits.EPILOG)
@click.argument("algorithm", metavar="NAME[==VERSION]")
@click.option("--image", type=_FILE, required=True, is_eager=True, help="The picture to inspect: JPEG or PNG.")
@click.option(
    "--reference", type=_FILE, is_eager=True, help="A picture that `pre` learns from, such as a defect-free product."
)
@click.option("--pid", help="The product's id; where the algorithm knows only one, it is taken.")
@click.option("--step", "step_index", type=click.IntRange(min=1),
              help="Only this step; by default the whole inspection, all steps in one session.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the step; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option("--overlay", type=_OUT, callback=_check_out, metavar="FILE.png", help="Write the picture with its boxes.")
@click.option(
    "--html",
    "page",
    type=_OUT,
    callback=_check_out,
    metavar="FILE.html",
    help="Write a page: pictures, boxes, times, logs.",
)
def run(
    algorithm: str,
    image: Path,
    reference: Path | None,
    pid: str | None,
    step_index: int | None,
    params: tuple[str, ...],
    as_json: bool,
    overlay: Path | None,
    page: Path | None,
) -> int:
    """Inspect a picture with an installed algorithm.

    \b
    Examples:
      procvision run pcb-compare --reference good.png --image product.png
      procvision run pcb-compare --reference good.png --image product.png \\
        --param min_score=0.7 --overlay boxes.png --html report.html
    """
    from procvision_runner.cli import output
    from procvision_runner.cli.inspecting import Request, inspect_alone
    from procvision_runner.report import terminal

    output.check_extras(overlay=overlay is not None, page=page is not None)
    request = Request(
        algorithm=algorithm,
        image=image,
        reference=reference,
        pid=pid,
        step_index=step_index,
        params=params,
    )
    inspection = inspect_alone(request)
    if as_json:
        output.print_json(inspection)
    else:
        terminal.show(inspection)
    written = output.write_files(inspection, image, reference, overlay, page) if overlay or page else []
    for path in (overlay, page):
        if path in written:
            click.echo(f"wrote {path}", err=True)
        elif path is not None:
            click.echo(f"{path} was not written: the inspected picture can't be read", err=True)
    return exits.BY_VERDICT[inspection.verdict]
