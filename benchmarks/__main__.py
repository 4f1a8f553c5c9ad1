"""`python -m benchmarks`: the cases, the run, the table."""

from __future__ import annotations

import json
import os
import platform
import sys
from functools import partial
from pathlib import Path

import click

from benchmarks import floors, hooks, ours, peers
from benchmarks.measure import Case, Measured, run
from benchmarks.page import page

SIZES = {"2MP": (1920, 1200), "20MP": (5472, 3648)}
"""Width and height in pixels, three bytes each."""
TARGETS = {
    "ours: control path": 1.5,
    "ours: 2MP copied": 1.15,
    "ours: 20MP copied": 1.15,
    "ours: 2MP lent": 1.2,
    "ours: 20MP lent": 1.2,
    "ours: spawn to hello": 2.0,
    **hooks.TARGETS,
}
"""At most this ratio to the case's reference."""


def cases() -> list[Case]:
    """Everything there is to measure."""
    found = [
        Case(name="floor: pipe", group="control", open=floors.pipe, calls=1000),
        Case(name="ours: control path", group="control", open=ours.call, calls=1000, reference="floor: pipe"),
    ]
    for name, (width, height) in SIZES.items():
        calls = max(10, 400 * 1920 * 1200 // (width * height))
        found += [
            Case(name=f"floor: {name} copy", group=name, open=partial(floors.copy, width, height), calls=calls),
            Case(
                name=f"floor: {name} pipe, copy, touch",
                group=name,
                open=partial(floors.pipe, width, height),
                calls=calls,
            ),
            Case(
                name=f"ours: {name} copied",
                group=name,
                open=partial(ours.call, width, height),
                calls=calls,
                reference=f"floor: {name} pipe, copy, touch",
            ),
            Case(
                name=f"ours: {name} lent",
                group=name,
                open=partial(ours.call, width, height, lent=True),
                calls=1000,
                reference="ours: control path",
            ),
        ]
    found += hooks.cases()
    for name, peer in peers.installed()[0].items():
        for group, (width, height) in {"control": (0, 0), "2MP": SIZES["2MP"]}.items():
            label = "control path" if group == "control" else f"{group} copied"
            found.append(
                Case(
                    name=f"{name}: {label}",
                    group="peers",
                    open=partial(peer, width, height),
                    calls=500 if group == "control" else 30,
                    reference=f"ours: {label}",
                )
            )
    found += [
        Case(name="floor: python start", group="start", open=floors.python_start, calls=5, timed_by_itself=True),
        Case(
            name="ours: spawn to hello",
            group="start",
            open=ours.spawn_to_hello,
            calls=5,
            reference="floor: python start",
            timed_by_itself=True,
        ),
        Case(
            name="ours: spawn to ready and end",
            group="start",
            open=ours.spawn_to_ready,
            calls=3,
            reference="floor: python start",
        ),
    ]
    return found


def chosen(only: str | None) -> list[Case]:
    """The cases whose name or group holds `only`, with the references they need."""
    every = {case.name: case for case in cases()}
    if only is None:
        return list(every.values())
    wanted = {name for name, case in every.items() if only in name or only == case.group}
    for _ in range(2):  # a reference may have one of its own
        wanted |= {case.reference for name, case in every.items() if name in wanted and case.reference}
    return [case for name, case in every.items() if name in wanted]


def table(measured: list[Measured]) -> list[dict[str, object]]:
    """A row a case: medians in microseconds, the ratio to its reference, the target where there is one."""
    by_name = {one.case.name: one for one in measured}
    rows: list[dict[str, object]] = []
    for one in measured:
        row: dict[str, object] = {
            "case": one.case.name,
            "median_us": round(one.median * 1e6, 1),
            "least_us": round(min(one.rounds) * 1e6, 1),
            "greatest_us": round(max(one.rounds) * 1e6, 1),
        }
        if one.case.reference is not None:
            ratio, least, greatest = one.ratio_to(by_name[one.case.reference])
            row |= {"reference": one.case.reference, "ratio": round(ratio, 2)}
            row |= {"ratio_least": round(least, 2), "ratio_greatest": round(greatest, 2)}
            row["target"] = TARGETS.get(one.case.name)
        rows.append(row)
    return rows


def machine() -> dict[str, object]:
    """Where it ran."""
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
@click.option("--page", "page_file", type=click.Path(path_type=Path), help="Also write a page for the documents.")
@click.option("--only", metavar="NAME", help="The cases of this name or group, with their references.")
@click.option("--quick", is_flag=True, help="Two rounds instead of seven: to see that it runs.")
def main(json_file: Path | None, page_file: Path | None, only: str | None, quick: bool) -> None:
    """Measure ours beside the floor, both ends pinned to one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    picked = chosen(only)
    if not picked:
        raise click.ClickException(f"no case is named {only!r}; there are: {', '.join(case.name for case in cases())}")
    quiet = not sys.stderr.isatty()
    measured = run(picked, 2 if quick else 7, lambda text: None if quiet else click.echo(text, err=True))
    rows = table(measured)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
    missing = peers.installed()[1]
    if missing:
        click.echo(f"left out, not installed: {', '.join(missing)}", err=True)
    if page_file is not None:
        page_file.write_text(page(rows))
    for line in lines(rows):
        click.echo(line)


def lines(rows: list[dict[str, object]]) -> list[str]:
    """The table for a terminal."""
    width = max(len(str(row["case"])) for row in rows)
    told = [f"{'case':<{width}} {'median us':>11} {'least..greatest':>21} {'ratio':>7} {'target':>7}  reference"]
    for row in rows:
        spread = f"{row['least_us']}..{row['greatest_us']}"
        ratio, target = row.get("ratio", ""), row.get("target") or ""
        told.append(
            f"{row['case']:<{width}} {row['median_us']:>11} {spread:>21} {ratio:>7} {target:>7}  "
            f"{row.get('reference', '')}".rstrip()
        )
    return told


if __name__ == "__main__":
    main()
