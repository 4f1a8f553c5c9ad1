"""`python -m benchmarks`: the run, the table, the page."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks import bytecodes, counts, felt, instructions, isolation, peers
from benchmarks.cases import AT_LEAST, AT_MOST, NO_CPU_RATIO, cases, chosen, with_references
from benchmarks.measure import Case, Measured, run
from benchmarks.memory import memory_mb
from benchmarks.page import target, write

ROUNDS, QUICK_ROUNDS = 7, 2
FELT = "felt"
"""What `--only` calls the modes of a line."""
INSTALL = "hint: pip install -r benchmarks/peers.txt"


def table(measured: list[Measured]) -> list[dict[str, Any]]:
    """A row a case: medians in microseconds, the ratio to its reference, the target where there is one."""
    by_name = {one.case.name: one for one in measured}
    rows: list[dict[str, Any]] = []
    for one in measured:
        times = [round_.median for round_ in one.rounds]
        row: dict[str, Any] = {
            "case": one.case.name,
            "median_us": round(one.median * 1e6, 1),
            "least_us": round(min(times) * 1e6, 1),
            "greatest_us": round(max(times) * 1e6, 1),
            "cpu_us": round(one.cpu * 1e6, 1),
        }
        if one.case.reference is not None:
            other = by_name[one.case.reference]
            ratio, least, greatest = one.ratio_to(other)
            row |= {"reference": one.case.reference, "ratio": round(ratio, 2)}
            row |= {"ratio_least": round(least, 2), "ratio_greatest": round(greatest, 2)}
            row["cpu_ratio"] = "" if one.case.group in NO_CPU_RATIO else round(one.cpu_ratio_to(other), 2)
            row |= {"at_most": AT_MOST.get(one.case.name), "at_least": AT_LEAST.get(one.case.name)}
            if one.case.name in isolation.MORE_MS:
                row["more_ms"] = round(one.more_than(other) * 1e3, 1)
                row["more_cpu_ms"] = round((one.cpu - other.cpu) * 1e3, 1)
                row["at_most_more_ms"] = isolation.MORE_MS[one.case.name]
        rows.append(row)
    return rows


def machine() -> dict[str, Any]:
    """Where it ran."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "of_the_distribution": sys.base_prefix == "/usr",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
    }


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
@click.option("--page", "page_file", type=click.Path(path_type=Path), help="Also write a page for the documents.")
@click.option(
    "--from", "from_file", type=click.Path(path_type=Path, exists=True), help="Take the figures from a file of --json."
)
@click.option("--only", metavar="NAME", help="The cases of this name or group, with their references.")
@click.option("--quick", is_flag=True, help="Two rounds instead of seven: to see that it runs.")
@click.option(
    "--instructions",
    "count",
    is_flag=True,
    help="Also count instructions with callgrind, for figures --from a file too: minutes.",
)
@click.option(
    "--counts",
    "touched",
    is_flag=True,
    help="Also count the cache lines and pages of a call at either end, for figures --from a file too: minutes.",
)
def main(
    json_file: Path | None,
    page_file: Path | None,
    from_file: Path | None,
    only: str | None,
    quick: bool,
    count: bool,
    touched: bool,
) -> None:
    """Measure ours beside the floor and beside peers."""
    figures = (
        json.loads(from_file.read_text("utf-8"))
        if from_file is not None
        else measure(only, QUICK_ROUNDS if quick else ROUNDS)
    )
    if touched:
        if (why := counts.missing()) is not None:
            raise click.ClickException(f"cache lines can't be counted: {why}")
        figures["counts"] = counts.counts(_progress)
    if count:
        if not instructions.available():
            raise click.ClickException("there is no valgrind: instructions can't be counted")
        figures["instructions"] = instructions.instructions()
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if page_file is not None:
        write(figures, page_file)
    for line in [*lines(figures["rows"]), *felt_lines(figures.get("felt", []))]:
        click.echo(line)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def measure(only: str | None, number_of_rounds: int) -> dict[str, Any]:
    """A whole run, as what `--json` writes."""
    picked = [] if only == FELT else chosen(only)
    missing = peers.installed()[1]
    if only is not None and not picked and only != FELT:
        absent = [name for name in missing if only in name or name in only]
        if absent:
            raise click.ClickException(f"not installed: {', '.join(absent)}; {INSTALL}")
        raise click.ClickException(f"no case is named {only!r}; there are: {', '.join(case.name for case in cases())}")

    def failed(case: Case, error: Exception) -> None:
        if case.name.startswith(("floor", "ours")):
            raise error
        click.echo(f"{case.name} can't be measured: {error!r}", err=True)
        missing.append(f"{case.name} (it fails here)")

    def rows(some: list[Case]) -> list[dict[str, Any]]:
        return table(run(some, number_of_rounds, _progress, failed))

    # Some peers keep processes at work while they wait: they run by themselves, with ours beside them once more.
    told = rows([case for case in picked if case.group != "peers"])
    theirs = {case.name for case in picked if case.group == "peers"}
    if theirs:
        told += [row for row in rows(with_references(theirs)) if row["case"] in theirs]
    figures: dict[str, Any] = {"machine": machine(), "rounds": number_of_rounds, "rows": told}
    if only is None or only == FELT:
        figures["felt"] = felt.rows(felt.cases(), number_of_rounds, _progress, failed)
    if only is None:
        figures |= {"memory_mb": memory_mb(), "bytecodes": bytecodes.a_call()}
    figures["left_out"] = missing
    if missing:
        click.echo(f"left out, not installed: {', '.join(missing)}; {INSTALL}", err=True)
    return figures


def felt_lines(rows: list[dict[str, Any]]) -> list[str]:
    """What a line feels, for a terminal."""
    return [
        f"{row['mode']:<20} {row['case']:<40} {row['p50_us']:>9} {row['p99_us']:>9} {row.get('ratio', ''):>7} "
        f"{target(row):>8}  {row.get('reference', '')}".rstrip()
        for row in rows
    ]


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table for a terminal."""
    if not rows:
        return []
    width = max(len(str(row["case"])) for row in rows)
    titles = (
        f"{'median us':>11} {'least..greatest':>23} {'cpu us':>9} {'ratio':>7} {'cpu':>5} {'target':>30}  reference"
    )
    told = [f"{'case':<{width}} {titles}"]
    for row in rows:
        spread = f"{row['least_us']}..{row['greatest_us']}"
        told.append(
            f"{row['case']:<{width}} {row['median_us']:>11} {spread:>23} {row['cpu_us']:>9} {row.get('ratio', ''):>7} "
            f"{row.get('cpu_ratio', ''):>5} {target(row):>30}  {row.get('reference', '')}".rstrip()
        )
    return told


if __name__ == "__main__":
    main()
