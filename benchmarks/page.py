"""A run as a page of the documents, with its plots: everything comes from the run's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plots import Bar, bars

NOTES = Path(__file__).with_name("notes.md")
"""What the figures show, written by hand: the page ends with it."""

_HEAD = """# Performance

<!-- Made by `python -m benchmarks --page docs/explanation/performance.md`: change benchmarks/page.py or notes.md. -->

What a call costs beside the algorithm's own time, measured in one run beside the physical floor and beside what people
would use instead. The result are the **ratios**: they are taken round by round in alternation, while a time by itself
says more of the machine than of us.

- *floor: pipe* is two Python processes that exchange frames of the same size over two pipes and decode them with
  msgspec: no protocol, no checks. *copy* is one copy of the picture into memory that is mapped and warm; *touch* means
  that the other end reads one byte of every 64 KiB.
- *ours* is `Runner.execute` to `procvision-host` and back with every check on. *copied*: the picture is an array
  that is copied into a slot. *lent*: it is in its slot already, as when a camera wrote it there.
- *bare call* is a host without hook plugins. *one observer* has one that counts calls; *memory sessions* and *SQLite
  sessions* an algorithm that changes its session at every call, kept in the host or in a file (*full* waits for the
  disk); *SQLite update* is one such write by SQLite alone, in a loop.
- *killed host to next answer* is `Supervisor.execute` right after its host was killed: the next host's start and its
  first answer, the restart policy's first delay of 0.1 s included; *spare* is with a spare host. The algorithm of these
  runs has nothing to load: what one loads comes on top without a spare, and not with one.
- *off*, *basic*, *strict* are the levels of isolation. *spawn to ready* is from the launch to the answer that the
  algorithm is set up; *in a bare Python* the same algorithm is imported and set up without us.
- *at work*: an algorithm that makes arrays of the picture's size; *given back*: in a process that gives their memory
  back to the kernel each time, as glibc does by default.
- The peers do the same work without any check: request, picture, touch, answer. MCP is given no pictures. They are
  measured after the rest, with ours beside them once more.
- Both ends are pinned to one core, so nothing is won by running side by side, but for *pipelined* and *at once*, which
  have all cores, as has *in a bare Python* and what stands beside it. *cpu* is the processor's time of all processes
  together.

"""


def page(run: dict[str, Any]) -> str:
    """Markdown with a row a case; the plots are expected beside it, in `../images`."""
    machine, rows = run["machine"], run["rows"]
    out = [
        _HEAD + f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"CPython {machine['python']}{' of the distribution' if machine['of_the_distribution'] else ''}; "
        f"{run['rounds']} rounds.",
        *_felt(run.get("felt", [])),
        *_counts(run.get("counts", [])),
        "",
        "## Back to back, on one core",
        "",
        "![Medians of the control path](../images/performance-control.svg)",
        "![Medians with a copied picture of 2 megapixels](../images/performance-2mp.svg)",
        "",
        "| case | median µs | least..greatest | cpu µs | ratio | cpu ratio | to | target |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        spread = f"{row['least_us']:,}..{row['greatest_us']:,}"
        cells = [row["case"], f"{row['median_us']:,}", spread, f"{row['cpu_us']:,}"]
        cells += [row.get("ratio", ""), row.get("cpu_ratio", ""), row.get("reference", ""), target(row)]
        out.append("| " + " | ".join(map(str, cells)) + " |")
    for title, unit, values in (
        ("Instructions in user space, a call", "callgrind, all processes", run.get("instructions")),
        ("Memory of a host", "MB of its own, after its first call", run.get("memory_mb")),
    ):
        if values:
            out += ["", f"## {title}", "", f"| | {unit} |", "|---|---:|"]
            out += [f"| {name} | {value:,} |" for name, value in values.items()]
    if run.get("bytecodes"):
        out += ["", "## Bytecodes, a call", "", "| module | runner | host |", "|---|---:|---:|"]
        out += [f"| {module} | {ours} | {theirs} |" for module, ours, theirs in _by_module(run["bytecodes"])]
    if run.get("left_out"):
        out += ["", f"Left out, since it was not installed: {', '.join(run['left_out'])}."]
    return "\n".join(out) + "\n\n" + NOTES.read_text("utf-8")


def _felt(rows: list[dict[str, Any]]) -> list[str]:
    """A row a case, a column a mode; the reference of a ratio is the last column."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    if not modes:
        return []
    by = {(row["case"], row["mode"]): row for row in rows}
    out = [
        "",
        "## What a line feels",
        "",
        "p50 / p99 in µs, then the ratio of the p50 to the reference's in the same rounds. A loop on one core finds",
        "its code and data in the nearest caches. A line that calls every 10 ms, each end on a core of",
        "its own, behind an algorithm that has emptied them, doesn't.",
        "",
        f"| case | {' | '.join(modes)} | ratios to |",
        f"|---|{'---:|' * len(modes)}---|",
    ]
    for case in dict.fromkeys(row["case"] for row in rows):
        cells = []
        for mode in modes:
            row = by[case, mode]
            ratio = "" if "ratio" not in row else f", **{row['ratio']}**"
            bound = target(row)
            cells.append(f"{row['p50_us']:,} / {row['p99_us']:,}{ratio}{f' ({bound})' if bound else ''}")
        out.append(f"| {case} | {' | '.join(cells)} | {by[case, modes[0]].get('reference', '')} |")
    return out


def _counts(rows: list[dict[str, Any]]) -> list[str]:
    """What a steady call touches, which repeats and carries over to other machines."""
    if not rows:
        return []
    out = [
        "",
        "## What a call touches",
        "",
        "Instructions, different cache lines of 64 bytes and different pages of 4 KiB of one steady call in user",
        "space, by stepping through it. A call for which nothing is in the caches costs by these.",
        "",
        "| case | end | instructions | lines | pages |",
        "|---|---|---:|---:|---:|",
    ]
    for row in rows:
        out.append(f"| {row['case']} | {row['end']} | {row['instructions']:,} | {row['lines']:,} | {row['pages']:,} |")
    return out


def _by_module(counted: dict[str, dict[str, float]]) -> list[tuple[str, str, str]]:
    """The modules with the most first, and their sum."""
    runner, host = counted["runner"], counted["host"]
    sums = {name: runner.get(name, 0) + host.get(name, 0) for name in {*runner, *host}}
    names = sorted(sums, key=lambda name: (-sums[name], name))
    rows = [
        (f"`{name}`" if "." in name else name, *(f"{end.get(name, 0):g}" for end in (runner, host))) for name in names
    ]
    return [("**all**", f"**{sum(runner.values()):g}**", f"**{sum(host.values()):g}**"), *rows]


def target(row: dict[str, Any]) -> str:
    """A row's target, with a mark where it is missed."""
    if row.get("at_most_more_ms") is not None:
        missed = "" if row["more_ms"] <= row["at_most_more_ms"] else " ✗"
        return f"{row['more_ms']:+} ms (cpu {row['more_cpu_ms']:+}), ≤ +{row['at_most_more_ms']:g}{missed}"
    if row.get("at_most") is not None:
        return f"≤ {row['at_most']}{'' if row['ratio'] <= row['at_most'] else ' ✗'}"
    if row.get("at_least") is not None:
        return f"≥ {row['at_least']}{'' if row['ratio'] >= row['at_least'] else ' ✗'}"
    return ""


def plots(run: dict[str, Any]) -> dict[str, str]:
    """SVG by file name."""
    by_name = {row["case"]: row for row in run["rows"]}

    def plot(title: str, floor: str, ending: str) -> str:
        rows = [
            Bar(name, row["median_us"], _target_us(row, by_name))
            for name, row in by_name.items()
            if name == floor or name.endswith(ending)
        ]
        return bars(title, "µs", rows)

    return {
        "performance-control.svg": plot("A call without a picture", "floor: pipe", ": control path"),
        "performance-2mp.svg": plot(
            "A call with a picture of 1920 x 1200 x 3", "floor: 2MP pipe, copy, touch", ": 2MP copied"
        ),
    }


def _target_us(row: dict[str, Any], by_name: dict[str, Any]) -> float | None:
    if row.get("at_most") is None:
        return None
    return float(row["at_most"] * by_name[row["reference"]]["median_us"])


def write(run: dict[str, Any], file: Path) -> None:
    """The page, and its plots in the folder `images` beside the page's."""
    file.write_text(page(run), "utf-8")
    images = file.parent.parent / "images"
    images.mkdir(exist_ok=True)
    for name, text in plots(run).items():
        (images / name).write_text(text, "utf-8")
