"""The two versions: an installed algorithm, a deployment, the command of a host, or what the archive recorded."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from procvision_runner.deployments import FACTS_FILE, check_unchanged, read_deployment
from procvision_sdk.errors import ProcVisionError
from procvision_sdk.masking import masked_command
from procvision_tools.sourcecode import code_roots, look_at

RECORDED = "recorded"
"""In place of the old version: what the archive says."""
STRICT = "strict"


class SubjectError(ProcVisionError):
    """A version can't be had. The text ends with a hint."""


class Subject(msgspec.Struct, frozen=True):
    """A version, and how its host is launched. It is pickled to workers."""

    text: str
    """As it was given, without secrets."""
    kind: Literal["algorithm", "deployment", "command", "recorded"]
    algorithm: str = ""
    """For `algorithm`: NAME[@DISTRIBUTION][==VERSION]."""
    command: tuple[str, ...] = ()
    """For `deployment` and `command`."""
    distribution: str = ""
    """Of a deployment."""
    identity: str = ""
    """What changes with its code, as far as it can be seen: a deployment's id, or its files' sizes and times."""


def resolve(text: str, root: Path | None, default_root: Path, isolation: str | None) -> Subject:
    """Find what a text names. ``root`` is where deployments lie, where somebody said so. Raises ProcVisionError,
    also for a deployment that is not as it was installed.

    What has a space or a slash is a command. NAME==VERSION is a deployment where there is one. A deployment's host
    runs with strict isolation, unless ``isolation`` says otherwise.
    """
    if not text.strip():
        raise SubjectError("a version has no name\nhint: NAME==VERSION, NAME, or a host's command in quotes")
    if text == RECORDED:
        return Subject(text, "recorded", identity="what the archive recorded")
    if " " in text.strip() or "/" in text:
        return _command(text)
    name, equals, version = text.partition("==")
    folder = (root or default_root) / name / version
    if equals and (folder / FACTS_FILE).is_file():
        return _deployment(text, folder, isolation or STRICT)
    if equals and root is not None:
        raise SubjectError(f"{root} has no {text}\nhint: procvision versions --root {root}")
    return Subject(text, "algorithm", algorithm=text, identity=_identity_of_algorithm(text))


def check_same(subject: Subject) -> None:
    """Raise SubjectError for a version whose code is another one than when it was found.

    A deployment is read-only, and was looked at whole.
    """
    if subject.kind == "algorithm":
        now = _identity_of_algorithm(subject.algorithm)
    elif subject.kind == "command":
        now = _identity_of_command(subject.command)
    else:
        return
    if now != subject.identity:
        text = f"{subject.text} was changed while it inspected"
        raise SubjectError(f"{text}\nhint: again, with another --out: in this one is the version before")


def _identity_of_algorithm(name: str) -> str:
    return _hash(sorted((str(path), *look) for path, look in look_at(code_roots(name)).items()))


def _identity_of_command(words: Sequence[str]) -> str:
    # The files that it names: a program that was installed anew has other times.
    looks = [
        (word, status.st_size, status.st_mtime_ns)
        for word in words
        if "/" in word and Path(word).is_file() and (status := Path(word).stat())
    ]
    return _hash([words, looks])


def _command(text: str) -> Subject:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise SubjectError(f"{text!r} is no command: {error}\nhint: quote it as for a shell") from error
    text = shlex.join(masked_command(words))
    return Subject(text, "command", command=words, identity=_identity_of_command(words))


def _deployment(text: str, folder: Path, isolation: str) -> Subject:
    check_unchanged(folder)
    deployment = read_deployment(folder)
    if len(deployment.algorithms) > 1:
        names = ", ".join(deployment.algorithms)
        hint = f"name a host's command: {shlex.join(deployment.command('NAME'))!r}"
        raise SubjectError(f"{text} has several algorithms: {names}\nhint: {hint}")
    command = (*deployment.command(deployment.algorithms[0]), "--isolation", isolation, "--log-level", "warning")
    return Subject(text, "deployment", command=command, distribution=deployment.name,
                   identity=str(deployment.facts.get("id") or folder))  # fmt: skip


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
