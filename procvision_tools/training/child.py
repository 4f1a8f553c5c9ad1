"""The process that trains: `python -m procvision_tools.training.child`, with the order as JSON on stdin.

It writes JSON lines to what was its stdout: `progress`, and one of `done`, `failed`, `wrong` at the end. What the
trainer prints goes to stderr: it can't be taken for an answer.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_sdk.distributions import of_one_distribution, split
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.manifest.parameters import ParameterSchema
from procvision_sdk.plain import plain
from procvision_sdk.training import TRAINER_GROUP, Trainer, TrainingError
from procvision_tools.params import ParamTextError, read_params
from procvision_tools.training.pictures import pictures_of

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint


def trained(order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Carry out an order; the last line. Raises whatever the vendor's code raises."""
    from importlib_metadata import entry_points

    name, distribution = split(order["name"])
    found = list(entry_points(group=TRAINER_GROUP, name=name))
    declared = of_one_distribution(f"the trainer {name!r}", found, _distribution, distribution)[0]
    trainer = declared.load()
    if not isinstance(trainer, Trainer):
        raise TypeError(f"{declared.value} is {type(trainer).__name__}, an entry point of {TRAINER_GROUP} is a Trainer")
    try:
        given = read_params(trainer.parameters, order["params"], f"{order['name']} has no such parameter", None)
        params = ParameterSchema(1, trainer.parameters).completed(given, None)
    except (ParamTextError, CallRefusedError) as error:
        return {"kind": "wrong", "message": str(error)}
    out = Path(order["out"])
    learnt = pictures_of(Path(order["folder"]), order["bits"])

    def progress(share: float, text: str) -> None:
        tell({"kind": "progress", "share": min(1.0, max(0.0, float(share))), "text": str(text)})

    try:
        facts = plain(dict(trainer.train(learnt.pictures, out, params, progress)), "what the trainer tells")
    except TrainingError as error:
        raise TrainingError(_with_notes(str(error), learnt.notes)) from error
    if not out.is_file():
        raise TrainingError(f"{declared.value} wrote no model; hint: it writes to the path that it is given")
    return {"kind": "done", "facts": facts, "notes": list(learnt.notes)}


def _with_notes(message: str, notes: Sequence[str]) -> str:
    """Say with an error what the trainer was not given: it may be why."""
    text, hint, rest = message.partition("; hint: ")
    return "\n".join([text, *notes]) + hint + rest


def _distribution(entry_point: EntryPoint) -> str | None:
    return entry_point.dist.metadata["Name"] if entry_point.dist is not None else None


def main() -> None:
    """The process. Its exit status says nothing: the last line does."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.load(sys.stdin)

    def tell(line: dict[str, Any]) -> None:
        lines.write(json.dumps(line) + "\n")
        lines.flush()

    try:
        tell(trained(order, tell))
    except TrainingError as error:
        tell({"kind": "failed", "message": str(error)})
    except Exception as error:
        tell({"kind": "failed", "message": f"{type(error).__name__} in the trainer: {error}"})
        raise


if __name__ == "__main__":
    main()
