"""Learnt references, kept by what they were learnt from.

The same reference sent again, for the next product or by another session, costs a hash. How much is kept is bounded in
pixels, because a learnt reference takes some four bytes for each pixel of its picture; the one used longest ago goes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

from procvision_pcb.binarise import Copper, Gray
from procvision_pcb.compare import Reference

MAX_KEPT_PX = 100_000_000
"""Five boards of 20 megapixels, or 240 of 640 x 640."""


def content_key(gray: Gray, copper: Copper, edge_tolerance_px: int) -> str:
    """What tells one learnt reference from another: the picture and how it is read.

    Args:
        gray: H x W; a reference is learnt from the brightness alone.
        copper: whether copper is the darker or the brighter material.
        edge_tolerance_px: how far an edge may lie from where it should.
    """
    digest = hashlib.sha256(f"{gray.shape} {copper} {edge_tolerance_px}".encode())
    digest.update(np.ascontiguousarray(gray).data)
    return digest.hexdigest()


class References:
    """Learnt references, the one used longest ago out first."""

    def __init__(self, max_kept_px: int = MAX_KEPT_PX) -> None:
        self._max_kept_px = max_kept_px
        self._kept: OrderedDict[str, Reference] = OrderedDict()
        self._kept_px = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> Reference | None:
        """The reference, which thereby was used last, or None."""
        reference = self._kept.get(key)
        if reference is not None:
            self._kept.move_to_end(key)
        return reference

    def keep(self, key: str, reference: Reference) -> None:
        """Keep a reference. It stays even if it alone is over the bound."""
        self._drop(key)
        self._kept[key] = reference
        self._kept_px += _pixels(reference)
        while len(self._kept) > 1 and self._kept_px > self._max_kept_px:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        self._kept_px = 0

    def _drop(self, key: str) -> None:
        if key in self._kept:
            self._kept_px -= _pixels(self._kept.pop(key))


def _pixels(reference: Reference) -> int:
    return reference.shape[0] * reference.shape[1]
