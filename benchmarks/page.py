"""The run as a page of the documents."""

from __future__ import annotations

import os
import platform
from typing import Any

_HEAD = """# Performance

Made by `python -m benchmarks --page docs/explanation/performance.md`; the figures are of one run, both processes pinned
to one core of the machine that is named below. Quote the ratios: they were taken round by round in alternation,
while single times differ from machine to machine.

- *floor: pipe* is two Python processes that exchange frames of the same size over two pipes and decode them with
  msgspec: no protocol, no checks. *copy* is one copy of the picture into memory that is mapped and warm; *touch* means
  that the other end reads one byte of every 64 KiB.
- *ours* is `Runner.execute` to `procvision-host` and back with every check on. *copied*: the picture is an array
  that is copied into a slot. *lent*: it is in its slot already, as when a camera wrote it there.
- *bare call* is a host without hook plugins. *one observer* has one that counts calls; *memory sessions* and *SQLite
  sessions* an algorithm that changes its session at every call, kept in the host or in a file (*full* waits for the
  disk).
- The peers do the same work without any check: request, picture, touch, answer.

"""


def page(rows: list[dict[str, Any]]) -> str:
    """Markdown with a row a case."""
    where = f"CPython {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    out = [_HEAD + f"Measured on {where}.", "", "| case | median us | least..greatest | ratio | to | target |"]
    out.append("|---|---:|---:|---:|---|---:|")
    for row in rows:
        spread = f"{row['least_us']}..{row['greatest_us']}"
        cells = [row["case"], row["median_us"], spread, row.get("ratio", ""), row.get("reference", "")]
        target = row.get("target")
        out.append("| " + " | ".join(str(cell) for cell in cells) + f" | {'' if target is None else f'<= {target}'} |")
    return "\n".join(out) + "\n"
