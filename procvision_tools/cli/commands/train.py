"""`procvision train`: an algorithm that learns, taught with a folder of pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from procvision_tools.argument_types import InFolder, OutFile, WholeRange
from procvision_tools.cli import exits


@click.command(epilog=exits.EPILOG, short_help="Teach an algorithm with pictures: they make its model.")
@click.argument("algorithm", metavar="NAME")
@click.argument("folder", metavar="FOLDER", type=InFolder())
@click.option("--out", type=OutFile(), required=True, metavar="FILE", help="Where the model goes.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE",
              help="A parameter of the trainer's; repeatable.")  # fmt: skip
@click.option("--bits", type=WholeRange(9, 16),
              help="How many bits a sample of grey 16-bit PNGs uses, as a camera of 12 bits writes them.")  # fmt: skip
@click.option("--isolation", type=click.Choice(("off", "basic", "strict")), default="strict", show_default=True,
              help="How far the trainer is shut in: strict leaves it the pictures and the model.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def train(
    algorithm: str,
    folder: Path,
    out: Path,
    params: tuple[str, ...],
    bits: int | None,
    isolation: str,
    as_json: bool,
) -> int:
    """Teach an installed algorithm with the pictures in FOLDER, and below it.

    What the pictures have to show, the algorithm's documents say: good products alone for surface-anomaly. Each content
    counts once; hidden names and other files are left out, and said. The trainer runs in a process of its own, shut in.
    A model that lay at FILE stays unless everything went well.

    \b
    Examples:
      procvision train surface-anomaly good/ --out cloth.model
      procvision train surface-anomaly good/ --out label.model --param layout=aligned --param pids=A-17
    """
    from procvision_sdk.training import TrainingError
    from procvision_tools.cli.errors import CommandError, usage_error
    from procvision_tools.hints import split_hint
    from procvision_tools.report.text import printable
    from procvision_tools.sources.folder_files import is_picture
    from procvision_tools.training import parent

    if is_picture(out) and out.exists():
        raise usage_error(f"--out {out} is a picture that is there", "a file of its own for the model")
    known = parent.trainers()
    if algorithm not in known:
        raise usage_error(
            f"no trainer for {algorithm!r} is installed in {sys.prefix}",
            f"there is one for {', '.join(known)}" if known else "pip install a plugin whose algorithm learns",
        )

    def progress(share: float, text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{share:4.0%}  {text}", nl=False, err=True)

    try:
        trained = parent.train(algorithm, folder, out, params, progress, bits=bits, isolation=isolation)
    except parent.WrongParameterError as error:
        raise usage_error(*split_hint(str(error))) from error
    except TrainingError as error:
        raise CommandError(*split_hint(str(error))) from error
    finally:
        if sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)
    facts = trained.facts
    if as_json:
        record = {"algorithm": algorithm, "file": str(out), "notes": trained.notes, **facts}
        from procvision_tools.cli.output import json_of

        click.echo(json_of(record))
    else:
        click.echo(f"{algorithm} learnt from {folder}: {out}")
        width = max((len(key) for key in facts), default=0)
        for key, value in facts.items():
            click.echo(f"  {key.replace('_', ' '):<{width}}  {value}")
        for note in trained.notes:
            click.echo(f"  note: {printable(note)}")
    return exits.OK
