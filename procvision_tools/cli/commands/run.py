"""`procvision run`: pictures through an installed algorithm, from files, a camera or a folder."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from procvision_tools.argument_types import OutFile, TimeoutRange, WholeRange
from procvision_tools.cli import exits
from procvision_tools.cli.completing import algorithm_names, param_pairs
from procvision_tools.cli.needs import need_names

if TYPE_CHECKING:
    from procvision_runner.connection.launch import SpawnedHost
    from procvision_tools.cli.inspecting import InspectionRequest

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_FILE_OR_FOLDER = click.Path(exists=True, readable=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, readable=True, path_type=Path)
_OVERLAY = click.Path(writable=True, path_type=Path)


@click.command(epilog=exits.EPILOG, short_help="Inspect pictures, folders, or a camera's frames.")
@click.argument("algorithm", metavar="NAME[@DISTRIBUTION][==VERSION]", shell_complete=algorithm_names)
@click.argument("pictures", metavar="[PICTURE | FOLDER]...", nargs=-1, type=_FILE_OR_FOLDER)
@click.option("--image", "images", type=_FILE, multiple=True, help="A picture to inspect: JPEG or PNG; repeatable.")
@click.option("--camera", metavar="ID", help="Inspect a GenICam camera's frames: its id, serial number or model; `any`"
              " takes the first, `simulated` one that isn't there.")  # fmt: skip
@click.option("--producer", "producers", type=_FILE, multiple=True, metavar="FILE.cti",
              help="The camera maker's GenTL producer; by default those in GENICAM_GENTL64_PATH.")  # fmt: skip
@click.option("--follow", type=_FOLDER, metavar="FOLDER", help="Inspect what is written into a folder from now on.")
@click.option("--count", type=WholeRange(min=1), help="End after so many pictures of --camera or --follow.")
@click.option("--watch", is_flag=True, help="Inspect again when a picture or the algorithm's code has changed.")
@click.option("--live/--no-live", default=None,
              help="With --camera, --follow or --watch: events, memory, CPU, counters and latencies on stderr."
              " The default on a terminal; elsewhere they are JSON lines.")  # fmt: skip
@click.option("--spare", is_flag=True,
              help="Keep a second host ready, which goes on at once where the first is lost.")  # fmt: skip
@click.option("--config", type=_FILE, metavar="FILE", help="The host's configuration: its hooks and its session store.")
@click.option("--sessions", metavar="SCHEME[:REST]", help="Where the host keeps sessions, such as sqlite:PATH.")
@click.option("--hook", "hooks", multiple=True, metavar="NAME", help="A hook plugin that the host uses; repeatable.")
@click.option("--hook-option", "hook_options", multiple=True, metavar="NAME.KEY=VALUE",
              help="A value for a hook plugin; repeatable.")  # fmt: skip
@click.option(
    "--env",
    metavar="NAME",
    multiple=True,
    help="An environment variable that the algorithm gets besides those allowed; PREFIX* is several. Repeatable.",
)
@click.option("--isolation", type=click.Choice(("off", "basic", "strict")),
              help="How far the algorithm's process is shut in: basic from other processes, strict from network and"
              " files, too.  [default: basic]")  # fmt: skip
@click.option(
    "--isolation-missing",
    type=click.Choice(("error", "warn")),
    help="What becomes of a host where this machine can't enforce all of it.  [default: error]",
)
@click.option("--grant", "grants", multiple=True, metavar="NEED", callback=need_names,
              help="With --isolation strict: a need of its manifest that the algorithm gets, such as"
              " network:10.0.0.5:502; repeatable.")  # fmt: skip
@click.option("--readable", type=_FILE_OR_FOLDER, multiple=True, metavar="PATH",
              help="With --isolation strict: what the algorithm reads, such as a model; repeatable.")  # fmt: skip
@click.option("--timeout-s", type=TimeoutRange(), metavar="SECONDS",
              help="How long a call may take; by default 10 s for `pre`, 30 s for `execute`.")  # fmt: skip
@click.option("--one-product", is_flag=True, help="The pictures are one product's: one for each step, in their order.")
@click.option("--reference", type=_FILE, help="A picture that `pre` learns from, such as a defect-free product.")
@click.option("--pid", help="The product's id; where the algorithm knows only one, it is taken.")
@click.option("--step", "step_index", type=WholeRange(min=1),
              help="Only this step; by default the whole inspection, all steps in one session.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", shell_complete=param_pairs,
              help="A parameter of the step; repeatable.")  # fmt: skip
@click.option("--bits", type=WholeRange(9, 16),
              help="How many bits a sample of grey 16-bit PNGs uses, as a camera of 12 bits writes them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON instead: one object, with --camera, --follow and --watch one a line.")  # fmt: skip
@click.option("--overlay", type=_OVERLAY, metavar="FILE.png",
              help="Write the picture with its boxes; of several, into a folder.")  # fmt: skip
@click.option("--html", "page", type=OutFile(), metavar="FILE.html",
              help="Write a page: pictures, boxes, times, logs.")  # fmt: skip
def run(
    algorithm: str,
    pictures: tuple[Path, ...],
    images: tuple[Path, ...],
    camera: str | None,
    producers: tuple[Path, ...],
    follow: Path | None,
    count: int | None,
    watch: bool,
    live: bool | None,
    spare: bool,
    config: Path | None,
    sessions: str | None,
    hooks: tuple[str, ...],
    hook_options: tuple[str, ...],
    isolation: str | None,
    isolation_missing: str | None,
    env: tuple[str, ...],
    grants: tuple[str, ...],
    readable: tuple[Path, ...],
    timeout_s: float | None,
    one_product: bool,
    reference: Path | None,
    pid: str | None,
    step_index: int | None,
    params: tuple[str, ...],
    bits: int | None,
    as_json: bool,
    overlay: Path | None,
    page: Path | None,
) -> int:
    """Inspect pictures with an installed algorithm.

    Each picture is a product: all of the algorithm's steps see it, in one session. Of several inspections the exit
    status tells the worst.

    \b
    Examples:
      procvision run pcb-compare --reference good.png product.png
      procvision run pcb-compare --reference good.png products/ --html report.html --overlay boxes/
      procvision run pcb-compare --reference good.png --image product.png \\
        --param min_score=0.7 --overlay boxes.png --html report.html
      procvision run weld-check weld.png --watch
      procvision run weld-check --camera any --count 10 --json
      procvision run weld-check --follow /mnt/camera
    """
    files, notes = _files([*images, *pictures])
    one = len(files) == 1 and not watch and not any(path.is_dir() for path in pictures)
    if one:
        gc.disable()  # the command ends before anything could be found
        click.get_current_context().call_on_close(gc.enable)
    from procvision_tools.cli.hosts import Hosting, spawning

    if live and files and not watch:
        raise _wrong("--live is for --camera, --follow and --watch")
    _check(algorithm, files, camera, follow, count=count, watch=watch, one_product=one_product, step_index=step_index)
    if overlay is not None or page is not None:
        from procvision_tools.cli.output import check_extras

        check_extras(overlay=overlay is not None, page=page is not None)
    _check_outputs([overlay, page], [*files, *([reference] if reference else [])])
    hosting = Hosting(
        algorithm=algorithm,
        config=config,
        sessions=sessions,
        hooks=hooks,
        hook_options=hook_options,
        isolation=isolation,
        isolation_missing=isolation_missing,
        env=env,
        grants=grants,
        readable=readable,
        timeout_s=timeout_s,
        spare=spare,
    )

    def wanted_request() -> InspectionRequest:
        from procvision_tools.cli.inspecting import InspectionRequest

        return InspectionRequest(
            hosting=hosting,
            image=files[0] if files else Path(),
            reference=reference,
            pid=pid,
            step_index=step_index,
            params=params,
            bits=bits,
        )

    if one:
        if spare:
            raise _wrong("--spare is for several pictures, --camera, --follow and --watch")
        with spawning(hosting) as spawned:
            return _one(wanted_request(), spawned, files[0], as_json, overlay, page)
    from procvision_tools.cli import running
    from procvision_tools.cli.progress import on_terminal
    from procvision_tools.cli.results import Wanted, overlay_folder
    from procvision_tools.report.text import printable
    from procvision_tools.sources.folder import Arrivals
    from procvision_tools.sources.picture_files import unused_bits

    request = wanted_request()
    inspected = {file.parent for file in files} | ({follow} if follow is not None else set())
    wanted = Wanted(
        title=algorithm,
        as_json=as_json,
        endless=watch or not files,
        overlay=overlay_folder(overlay, inspected) if overlay is not None else None,
        page=page,
        reference=reference,
        bits=bits,
    )
    if live is None:
        live = on_terminal()
    shown = sys.stderr if live else None
    if watch:
        for note in notes:
            click.echo(f"note: {printable(note)}", err=True)
        running.watch(request, files, wanted, one_product=one_product, live=shown)
    if files:
        notes += unused_bits(files, bits)
        return running.run_files(request, files, wanted, one_product=one_product, notes=notes)
    if camera is not None:
        frames = running.from_camera(camera, producers, count)
        return running.run_stream(request, frames, wanted, shown, waiting_for=f"frames of camera {camera}")
    assert follow is not None
    arrivals = Arrivals(follow)
    return running.run_stream(
        request,
        running.from_folder(arrivals, count),
        wanted,
        shown,
        waiting_for=f"pictures in {follow}",
        arrivals=arrivals,
    )


def _one(
    request: InspectionRequest,
    spawned: SpawnedHost | None,
    image: Path,
    as_json: bool,
    overlay: Path | None,
    page: Path | None,
) -> int:
    """Inspect a single picture and tell all of it."""
    from procvision_tools.cli import output
    from procvision_tools.cli.inspecting import inspect_alone
    from procvision_tools.report import terminal
    from procvision_tools.report.text import printable

    inspection = inspect_alone(request, spawned)
    if as_json:
        click.echo(output.json_of(inspection.as_record()))
    else:
        terminal.show(inspection)
    whole = output.with_pictures(inspection, image, request.reference, request.bits) if overlay or page else inspection
    if overlay is not None and whole.picture is None:
        click.echo(f"{overlay} was not written: the inspected picture can't be read", err=True)
    elif overlay is not None and whole.picture is not None:
        for note in output.write_overlay(overlay, whole.picture, whole.defects):
            click.echo(f"note: {printable(note)}", err=True)
        click.echo(f"wrote {overlay}", err=True)
    if page is not None:
        output.write_page(page, [whole], f"{whole.algorithm}: {whole.title}")
        click.echo(f"wrote {page}", err=True)
    return exits.BY_VERDICT[inspection.verdict]


def _files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Give the pictures, those of folders in the order of their names, and what was left out of the folders.

    Raises UsageError for a folder without any.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        from procvision_tools.names import shown
        from procvision_tools.sources.folder_files import FolderFiles

        try:
            folder = FolderFiles(path)
        except OSError as error:
            raise _wrong(f"{shown(error.filename or path)} can't be read: {error.strerror or error}") from error
        found = [picture for picture in folder.pictures() if picture.parent == path]
        folder.take(*found)
        folder.leave_out("in a folder below, which has to be named", *folder.pictures())
        told = folder.notes()
        if not found:
            raise _wrong("\n".join([f"{shown(path)} holds no picture: JPEG and PNG are read", *told]))
        files += found
        notes += [f"{shown(path)}: {note}" for note in told]
    return files, notes


def _check(
    algorithm: str,
    files: Sequence[Path],
    camera: str | None,
    follow: Path | None,
    *,
    count: int | None,
    watch: bool,
    one_product: bool,
    step_index: int | None,
) -> None:
    """Refuse what doesn't go together. Raises UsageError."""
    sources = [bool(files), camera is not None, follow is not None]
    if not any(sources) and Path(algorithm).exists():
        raise _wrong(
            f"{algorithm} is a file or folder: the algorithm's name comes before it, as procvision-host lists it"
        )
    if sum(sources) != 1:
        raise _wrong(
            "there is nothing to inspect: give pictures, a folder, --camera or --follow"
            if not any(sources)
            else "pictures, --camera and --follow exclude each other"
        )
    if files and count is not None:
        raise _wrong("--count is for --camera and --follow")
    if not files and (watch or one_product):
        raise _wrong(f"{'--watch' if watch else '--one-product'} is for pictures in files")
    if one_product and step_index is not None:
        raise _wrong("--one-product is all steps, --step one of them")


def _check_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """Refuse what would overwrite an input. Raises UsageError."""
    for path in outputs:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise _wrong(f"{path.parent} is no folder")
        for given in inputs:
            if path.exists() and path.samefile(given):
                raise _wrong(f"{path} is an inspected picture or its reference, it would be overwritten")


def _wrong(text: str) -> click.UsageError:
    return click.UsageError(text, click.get_current_context())
