"""Runs a trainer in a process of its own, and puts its model in place when it is whole."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_runner.exit_causes import described
from procvision_sdk.training import TRAINER_GROUP, TrainingError


class WrongParameterError(TrainingError):
    """A parameter that the trainer doesn't take."""


@frozen
class Trained:
    """What there is to tell of a model."""

    facts: Mapping[str, Any]
    """The trainer's."""
    notes: tuple[str, ...]
    """Which files of the folder it was not given, and why."""


def trainers() -> list[str]:
    """Return the algorithms that can be trained, by name. Nothing of them is imported."""
    from importlib_metadata import entry_points

    return sorted({entry_point.name for entry_point in entry_points(group=TRAINER_GROUP)})


def train(
    name: str,
    folder: Path,
    out: Path,
    params: Sequence[str],
    progress: Callable[[float, str], None],
    *,
    bits: int | None = None,
) -> Trained:
    """Train; gives what the trainer tells of the model, which then lies at `out`. Raises TrainingError.

    `params` are texts, key=value; `bits` is how many of 16 the samples of grey PNGs use. What lay at
    `out` stays as it was unless everything went well.
    """
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    order = {"name": name, "folder": str(folder), "out": str(part), "params": list(params), "bits": bits}
    try:
        with _running(order) as process:
            last = _followed(process, progress)
        if last is None:
            raise TrainingError(f"the process that trains {name} {described(process.returncode)} before it was done")
        if last["kind"] == "wrong":
            raise WrongParameterError(last["message"])
        if last["kind"] == "failed":
            raise TrainingError(last["message"])
        try:
            part.replace(out)
        except OSError as error:
            raise TrainingError(f"{out} can't be written: {error.strerror}") from error
        return Trained(last["facts"], tuple(last["notes"]))
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _running(order: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The process, which doesn't outlive the block."""
    command = [sys.executable, "-P", "-m", "procvision_tools.training.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(order))
            yield process
        except BaseException:
            process.kill()
            raise


def _followed(process: subprocess.Popen[str], progress: Callable[[float, str], None]) -> dict[str, Any] | None:
    """Pass progress on; the last line, or None where there was none."""
    assert process.stdout is not None
    for text in process.stdout:
        line: dict[str, Any] = json.loads(text)
        if line["kind"] != "progress":
            process.wait()
            return line
        progress(line["share"], line["text"])
    process.wait()
    return None
