"""`procvision demo`: a good and a bad product through a real host, on boards made for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
from attrs import frozen

from procvision_tools.argument_types import Folder
from procvision_tools.cli import exits

if TYPE_CHECKING:
    from procvision_testing.boards import PlacedDefect
    from procvision_tools.cli.inspecting import InspectionRequest
    from procvision_tools.report.html import NextStep
    from procvision_tools.report.inspection import Inspection

ALGORITHM = "pcb-compare"
DISTRIBUTION = "procvision-pcb"
HOST_CONFIGURATION = 78
"""A host's exit status where the algorithm is not installed, or its package is broken."""
DEFAULT_SEED = 7


@frozen
class Scene:
    """The pictures of a demonstration, as files, and the defects that the bad product was given."""

    reference: Path
    good: Path
    bad: Path
    placed: tuple[PlacedDefect, ...]


@click.command(epilog=exits.EPILOG, short_help="Inspect a good and a bad circuit board, and show both.")
@click.option("--out", "folder", type=Folder(), default=Path("procvision-demo"),
              show_default=True, help="The folder for pictures and page.")  # fmt: skip
@click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True, help="Which board is made.")
@click.option("--open/--no-open", "in_browser", default=False, show_default=True, help="Open the page in a browser.")
def demo(folder: Path, seed: int, in_browser: bool) -> int:
    """Inspect a good and a bad circuit board, and leave a page with both.

    The boards are generated. The exit status is 0 when the good one came out OK and the bad one NG.

    \b
    Examples:
      procvision demo
      procvision demo --out /tmp/demo --open
    """
    from procvision_tools.cli import output
    from procvision_tools.cli.errors import CommandError
    from procvision_tools.report import terminal

    output.check_extras(overlay=False, page=True)
    scene = make_scene(folder, seed)
    click.echo(f"Inspecting two boards with {ALGORITHM}, in a host process of its own:\n")
    good, bad = _inspect_both(scene)
    for inspection in (good, bad):
        terminal.show(inspection)
        click.echo()
    found = count_found(scene.placed, bad)
    click.echo(f"  {found} of the {len(scene.placed)} defects that the bad board was given were found and named.\n")
    steps = _next_steps(scene)
    page = folder / "demo.html"
    output.write_page(page, [good, bad], f"{ALGORITHM}: a good and a bad board", steps)
    click.echo(f"  The page with both:  {page}\n")
    click.echo(click.style("What to try next", bold=True))
    for step in steps:
        click.echo(f"\n  {step.what}:\n    {step.command}")
    if in_browser:
        click.launch(page.resolve().as_uri())
    if (good.verdict, bad.verdict) != ("OK", "NG"):
        raise CommandError(f"expected were OK and NG, these came out {good.verdict} and {bad.verdict}")
    return exits.OK


def make_scene(folder: Path, seed: int) -> Scene:
    """Make the pictures. Raises CommandError where they can't be written or no board comes of the seed."""
    from procvision_testing.boards import DEFECT_KINDS, make_board, photograph, with_defects
    from procvision_tools.cli.errors import CommandError, usage_error
    from procvision_tools.hints import split_hint
    from procvision_tools.report.pictures import write_png

    board = make_board(seed=seed)
    try:
        damaged, placed = with_defects(board, DEFECT_KINDS, seed=seed)
    except ValueError as error:
        raise usage_error(*split_hint(f"--seed {seed}: {error}")) from error
    scene = Scene(folder / "reference.png", folder / "board-good.png", folder / "board-bad.png", tuple(placed))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_png(scene.reference, board.picture)
        write_png(scene.good, photograph(board.picture, seed=1, shift_px=(0.4, -0.3), blur_px=0.5, noise=3.0))
        write_png(scene.bad, photograph(damaged, seed=2, shift_px=(-0.3, 0.4), blur_px=0.5, noise=3.0))
    except OSError as error:
        raise CommandError(f"{error.filename or folder} can't be written: {error.strerror or error}") from error
    return scene


def count_found(placed: Sequence[PlacedDefect], inspection: Inspection) -> int:
    """Count the defects that a box of the same label overlaps."""
    return sum(
        any(
            found.label == defect.label
            and found.x < defect.x + defect.width
            and defect.x < found.x + found.width
            and found.y < defect.y + defect.height
            and defect.y < found.y + found.height
            for found in inspection.defects
        )
        for defect in placed
    )


def _inspect_both(scene: Scene) -> tuple[Inspection, Inspection]:
    """Inspect both products in one host. Raises CommandError where there is no host to be had."""
    from procvision_runner import LaunchError, RunnerError
    from procvision_tools.cli.errors import CommandError
    from procvision_tools.cli.hosts import Hosting, launched
    from procvision_tools.cli.inspecting import inspect
    from procvision_tools.cli.output import all_with_pictures
    from procvision_tools.hints import split_hint

    try:
        with launched(Hosting(algorithm=ALGORITHM)) as ready:
            first = (scene.good, inspect(ready, _request(scene, scene.good)))
            second = (scene.bad, inspect(attrs.evolve(ready, start_ms=None), _request(scene, scene.bad)))
        logs = ready.logs
    except RunnerError as error:
        message, hint = split_hint(str(error))
        if isinstance(error, LaunchError) and error.exit_status == HOST_CONFIGURATION:
            hint = f"pip install {DISTRIBUTION}; in a clone: pip install ./plugins/{DISTRIBUTION}"
        raise CommandError(message, hint) from error
    good, bad = all_with_pictures(
        [(outcome.with_logs(logs), image) for image, outcome in (first, second)], scene.reference
    )
    return good, bad


def _request(scene: Scene, image: Path) -> InspectionRequest:
    from procvision_tools.cli.hosts import Hosting
    from procvision_tools.cli.inspecting import InspectionRequest

    return InspectionRequest(hosting=Hosting(algorithm=ALGORITHM), image=image, reference=scene.reference)


def _next_steps(scene: Scene) -> list[NextStep]:
    from procvision_tools.cli.program import program
    from procvision_tools.report.html import NextStep

    command = _request(scene, scene.bad).command()
    boxes = shlex.quote(str(scene.bad.with_name("boxes.png")))
    return [
        NextStep("Inspect the bad board by hand, and keep a picture with the boxes", f"{command} --overlay {boxes}"),
        NextStep("Report only what is sure", f"{command} --param min_score=0.9"),
        NextStep("The same for a machine to read", f"{command} --json"),
        NextStep("Your own pictures", shlex.join([program(), "run", ALGORITHM]) + " --reference GOOD --image PRODUCT"),
        NextStep(
            "What is installed, and which parameters it has",
            shlex.join([program("procvision-host"), "show", ALGORITHM]),
        ),
    ]
