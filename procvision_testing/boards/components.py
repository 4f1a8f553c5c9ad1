"""Counts connected areas with numpy alone: runs of equal pixels in each row, joined by union-find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def count_components(mask: NDArray[np.bool_], *, diagonal: bool) -> int:
    """Count the connected areas of True in an H x W mask; ``diagonal`` says whether corners connect."""
    parents: list[int] = []

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    reach = 1 if diagonal else 0
    above: list[tuple[int, int, int]] = []
    for row in mask:
        edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0)).tolist()
        here: list[tuple[int, int, int]] = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            run = len(parents)
            parents.append(run)
            for other_start, other_stop, other in above:
                if other_start < stop + reach and start < other_stop + reach:
                    parents[root(other)] = root(run)
            here.append((start, stop, run))
        above = here
    return sum(parent == run for run, parent in enumerate(parents))
