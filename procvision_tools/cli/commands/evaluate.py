"""`procvision evaluate`: how good an algorithm is on a data set with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from procvision_tools.argument_types import FiniteRange, InFile, OutFile, WholeRange
from procvision_tools.cli import exits
from procvision_tools.cli.completing import algorithm_names, param_pairs

if TYPE_CHECKING:
    from procvision_tools.evaluation.bounds import Bound
    from procvision_tools.evaluation.figures import Figures
    from procvision_tools.evaluation.sweeps import Sweep

LAYOUTS = ("deeppcb", "mvtec", "coco", "yolo")
_DATASET = click.Path(exists=True, readable=True, path_type=Path)


@click.command(epilog=exits.EPILOG, short_help="Measure an algorithm on pictures with ground truth.")
@click.argument("algorithm", metavar="NAME[@DISTRIBUTION][==VERSION]", shell_complete=algorithm_names)
@click.argument("path", metavar="DATASET", type=_DATASET)
@click.option("--layout", type=click.Choice(LAYOUTS), help="How the data set lies there; found out by default.")
@click.option(
    "--reference", type=InFile(), help="What `pre` learns from, for pictures without a reference of their own."
)
@click.option("--pid", help="The product's id; where the algorithm knows only one, it is taken.")
@click.option("--step", "step_index", type=WholeRange(min=1),
              help="Only this step; by default the whole inspection.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", shell_complete=param_pairs,
              help="A parameter of the step; repeatable.")  # fmt: skip
@click.option("--bits", type=WholeRange(9, 16),
              help="How many bits a sample of grey 16-bit PNGs uses, as a camera of 12 bits writes them.")  # fmt: skip
@click.option("--jobs", type=WholeRange(1, 64),
              help="How many hosts inspect at once, on a core each.  [default: 1]")  # fmt: skip
@click.option("--engine", "engine_name", default="local", show_default=True, metavar="ENGINE",
              help="Whose workers inspect: local, dask, dask://HOST:PORT, or a plugin's.")  # fmt: skip
@click.option("--iou", "min_iou", type=FiniteRange(0, 1, max_open=True),
              help="A finding is right when it overlaps a truth by more; default 0.5, for DeepPCB 0.33.")  # fmt: skip
@click.option("--threshold", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="Findings with a lower score don't count, but for average precision and AUROC.")  # fmt: skip
@click.option("--any-label", is_flag=True, help="A finding may be right under another name.")
@click.option("--score", "score_key", metavar="KEY",
              help="The diagnostic that says how bad a picture is; by default the manifest's `picture_score`, else the"
              " best finding's score.")  # fmt: skip
@click.option("--sweep", "sweep_text", metavar="KEY=FROM:TO:STEP",
              help="Measure with each value of `threshold` or of a parameter; also KEY=A,B,C.")  # fmt: skip
@click.option("--baseline", "baseline_file", type=InFile(), help="An earlier --json report to compare with.")
@click.option("--require", "requires", multiple=True, metavar="BOUND",
              help="'f_score>=0.97', 'recall>=baseline-0.01', 'f_score[GROUP]>=0.9', …; repeatable.")  # fmt: skip
@click.option("--json", "json_file", type=OutFile(allow_dash=True), metavar="FILE",
              help="Write the report for machines; - prints it instead.")  # fmt: skip
@click.option("--html", "page", type=OutFile(), metavar="FILE.html", help="Write a page with the worst pictures.")
@click.option("--worst", type=WholeRange(0, 200), default=10, show_default=True,
              help="How many pictures the page shows.")  # fmt: skip
def evaluate(
    algorithm: str,
    path: Path,
    layout: str | None,
    reference: Path | None,
    pid: str | None,
    step_index: int | None,
    params: tuple[str, ...],
    bits: int | None,
    jobs: int | None,
    engine_name: str,
    min_iou: float | None,
    threshold: float,
    any_label: bool,
    score_key: str | None,
    sweep_text: str | None,
    baseline_file: Path | None,
    requires: tuple[str, ...],
    json_file: Path | None,
    page: Path | None,
    worst: int,
) -> int:
    """Measure an installed algorithm on pictures with ground truth, through real hosts.

    DATASET is a folder in DeepPCB's, MVTec-AD's, COCO's or YOLO's layout, or a COCO file. Findings are matched best
    score first, each truth once; average precision is the area under precision over recall, all points. A call that
    fails is counted by its name: it is never an OK, all its defects are missed, and the exit status is 1 unless a bound
    on `failures` allows it. With --sweep and groups, each group is also measured with the value that is best on the
    others.

    \b
    Examples:
      procvision evaluate pcb-compare deeppcb/ --html report.html
      procvision evaluate pcb-compare deeppcb/ --param min_score=0 --threshold 0.5 --sweep threshold=0.1:0.9:0.1
      procvision evaluate weld-check welds/ --jobs 4 --json new.json --baseline old.json \\
        --require 'f_score>=baseline-0.005' --require 'escapes<=0'
    """
    from procvision_tools.engines.protocol import import_numpy

    import_numpy()  # before what imports it by itself
    from procvision_runner import RunnerError
    from procvision_tools.cli import evaluation_output, output
    from procvision_tools.cli.errors import CommandError, usage_error
    from procvision_tools.cli.evaluating import Plan, evaluate_all
    from procvision_tools.cli.hosts import INSTALLED_HINT, check_name
    from procvision_tools.cli.program import command_line
    from procvision_tools.cli.progress import bar
    from procvision_tools.datasets import DatasetError, open_dataset
    from procvision_tools.engines.protocol import EngineError, open_engine
    from procvision_tools.evaluation.observations import Rules
    from procvision_tools.hints import split_hint
    from procvision_tools.sources.picture_files import PictureFileError, check_reference, unused_bits

    output.check_extras(overlay=False, page=page is not None)
    output.check_files_differ({"--json": json_file, "--html": page}, {"--reference": reference}, path)
    if score_key is not None and not score_key.strip():
        raise usage_error("--score has no key", "the name of a diagnostic that the algorithm publishes")
    check_name(algorithm)
    bounds, sweep, earlier = _wanted(requires, sweep_text, baseline_file)
    plan = Plan(
        algorithm=algorithm,
        pid=pid,
        step_index=step_index,
        params=params,
        bits=bits,
        reference=reference,
        score_key=score_key,
    )
    alone = engine_name == "local" and jobs in (None, 1)
    try:
        engine = None if alone else open_engine(engine_name, jobs)
        check_reference(reference)
        dataset = open_dataset(path, layout)
        deep = unused_bits((sample.image for sample in dataset.samples), bits)
        dataset = attrs.evolve(dataset, notes=(*dataset.notes, *deep))
        rules = Rules(min_iou=dataset.min_iou if min_iou is None else min_iou, threshold=threshold, any_label=any_label)
        evaluation = evaluate_all(
            plan,
            dataset,
            rules,
            engine=engine,
            jobs=jobs or 1,
            sweep=sweep,
            progress=lambda count: bar(count, "inspecting"),
        )
    except RunnerError as error:
        message, hint = split_hint(str(error))
        raise CommandError(message, hint or INSTALLED_HINT) from error
    except (DatasetError, EngineError, PictureFileError) as error:
        raise CommandError(*split_hint(str(error))) from error
    evaluation = attrs.evolve(
        evaluation,
        command=command_line(),
        baseline=str(baseline_file or ""),
        earlier=earlier,
    ).held_to(bounds)
    if str(json_file) == "-":
        evaluation_output.print_json(evaluation)
    else:
        evaluation_output.show(evaluation)
    evaluation_output.write_files(evaluation, json_file, page, worst)
    return exits.OK if evaluation.kept else exits.NG


def _wanted(
    requires: tuple[str, ...], sweep_text: str | None, baseline_file: Path | None
) -> tuple[list[Bound], Sweep | None, dict[str, Figures]]:
    """Read bounds, sweep and baseline. Raises CommandError (exit status 64)."""
    from procvision_tools.cli.errors import usage_error
    from procvision_tools.evaluation.baseline import read_baseline
    from procvision_tools.evaluation.bounds import NO_FAILURES, parse_bound
    from procvision_tools.evaluation.sweeps import parse_sweep
    from procvision_tools.hints import split_hint

    try:
        bounds = [parse_bound(text) for text in requires]
        sweep = parse_sweep(sweep_text) if sweep_text is not None else None
        earlier = read_baseline(baseline_file) if baseline_file is not None else {}
    except ValueError as error:
        raise usage_error(*split_hint(str(error))) from error
    if any(bound.of_baseline for bound in bounds) and baseline_file is None:
        raise usage_error("a bound names the baseline, and there is none", "--baseline FILE")
    if not any(bound.figure == NO_FAILURES.figure for bound in bounds):
        bounds.append(NO_FAILURES)
    return bounds, sweep, earlier
