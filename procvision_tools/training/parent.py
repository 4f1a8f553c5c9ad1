"""Runs a trainer in a process of its own, and puts its model in place when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_runner.errors import LaunchError
from procvision_runner.exit_causes import described
from procvision_sdk.private_files import check_replaceable
from procvision_sdk.training import TRAINER_GROUP, TrainingError
from procvision_tools.validation.hosts import confined


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
    isolation: str = "strict",
) -> Trained:
    """Train; gives what the trainer tells of the model, which then lies at `out`. Raises TrainingError.

    `params` are texts, key=value; `bits` is how many of 16 the samples of grey PNGs use. What lay at
    `out` stays as it was unless everything went well. `isolation` says how far the trainer is shut in: under `strict`
    it reads the pictures of the folder, and writes its model.
    """
    room = _room(out)
    part = room / out.name
    order = {"name": name, "folder": str(folder), "out": str(part), "params": list(params), "bits": bits}
    try:
        with _running(order, isolation, folder, room) as process:
            last = _followed(process, progress)
        if last is None:
            raise TrainingError(f"the process that trains {name} {described(process.returncode)} before it was done")
        if last["kind"] == "wrong":
            raise WrongParameterError(last["message"])
        if last["kind"] == "failed":
            raise TrainingError(last["message"])
        if not stat.S_ISREG(part.lstat().st_mode):  # a link would lead wherever the trainer wants
            raise TrainingError(f"the trainer of {name} wrote no file, but a link or something else")
        try:
            part.replace(out)
        except OSError as error:
            raise TrainingError(
                f"{out} can't be written: {error.strerror}\nhint: a file in a folder that may be written"
            ) from error
        return Trained(last["facts"], tuple(last["notes"]))
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _room(out: Path) -> Path:
    """Make the folder that the trainer writes to, beside the model's place. Raises TrainingError."""
    room = out.absolute().with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        check_replaceable(out)
        room.mkdir(mode=0o700)
    except OSError as error:
        raise TrainingError(
            f"{out} can't be written: {error.strerror}\nhint: a file in a folder that may be written"
        ) from error
    return room


def _linked_from(folder: Path) -> list[Path]:
    """Return the files and folders to which links in a folder lead, also through other links."""
    found: dict[Path, None] = {}
    waiting = [folder]
    while waiting:
        for home, folders, files in os.walk(waiting.pop()):
            for path in (Path(home, name) for name in (*folders, *files)):
                if path.is_symlink():
                    target = Path(os.path.realpath(path))
                    if target not in found and target.exists():
                        found[target] = None
                        if target.is_dir():
                            waiting.append(target)
    return list(found)


@contextlib.contextmanager
def _running(order: dict[str, Any], isolation: str, folder: Path, room: Path) -> Iterator[subprocess.Popen[str]]:
    """The process, which doesn't outlive the block."""
    own = [sys.executable, "-P", "-m", "procvision_tools.training.child"]
    imported = [Path(entry) for entry in sys.path if entry]
    try:
        command = confined(own, isolation, readable=[folder, *_linked_from(folder), *imported], writable=[room])
    except LaunchError as error:
        raise TrainingError(str(error)) from error
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
