"""Models that were read, kept by their file; a file that was replaced is read anew."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TypeAlias

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network
from procvision_anomaly.errors import ModelError
from procvision_anomaly.model import Model

MAX_KEPT = 4
"""Each may take a tenth of a gigabyte."""

Stamp: TypeAlias = tuple[int, int, int]


class Models:
    """The one used longest ago goes first."""

    def __init__(self) -> None:
        self._network = Network()
        self._kept: OrderedDict[Path, tuple[Stamp, Model, str]] = OrderedDict()

    def get(self, path: Path, pid: str) -> tuple[Model, str]:
        """Return the model in this file, which is for this product, and its hash. Raises ModelError."""
        stamp = _stamp(path)
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp or stamp is None:
            self._kept.pop(path, None)
            model, digest = modelfile.read(path, self._network)
            if stamp is not None:
                self._kept[path] = (stamp, model, digest)
        else:
            _, model, digest = kept
        if path in self._kept:
            self._kept.move_to_end(path)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        if pid not in model.facts.pids and "*" not in model.facts.pids:
            raise ModelError(
                f"the model {path} is for {', '.join(model.facts.pids)}, this product is {pid!r}",
                hint="give each product the model that was learnt for it",
            )
        return model, digest

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
