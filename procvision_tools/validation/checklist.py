"""One algorithm, looked at from its metadata to its answers. Every step is a row; what can't be reached is skipped."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_runner import LaunchError, Runner, RunnerOptions
from procvision_sdk.manifest.model import ANY_PID, Manifest
from procvision_testing import Finding, examine
from procvision_tools.hints import split_hint
from procvision_tools.validation.hosts import HostSilentError, ask, host_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from procvision_runner.options import IsolationLevel

_OF_ISOLATION = ("PermissionError", "OSError", "MemoryError")
LIST_TIMEOUT_S = 60.0
"""Looking at installed metadata: nothing of a plugin is imported."""


def checklist(
    name: str,
    environment: Mapping[str, str],
    pictures: Mapping[str, NDArray[np.uint8]] | None = None,
    timeout_s: float = 120.0,
    python: str = sys.executable,
    *,
    isolation: IsolationLevel = "strict",
    grants: Sequence[str] = (),
) -> Iterator[Finding]:
    """Give the findings, one after the other. ``timeout_s`` bounds the setup and each call.

    ``python`` is the interpreter in whose environment the host runs. The algorithm is shut in as far as ``isolation``
    says, and has the ``grants``.
    """
    try:
        rows = ask(["list"], environment, LIST_TIMEOUT_S, python, isolation)
    except HostSilentError as error:
        yield Finding("a host finds it", "failed", str(error))
        return
    row = next((row for row in rows if row["name"] == name), None)
    if row is None:
        known = ", ".join(sorted(row["name"] for row in rows)) or "none"
        yield Finding("a host finds it", "failed", f"no algorithm {name!r} is installed; installed: {known}",
                      "pip install it, or give its folder: procvision validate FOLDER")  # fmt: skip
        return
    yield Finding("a host finds it", detail=f"{row['entry_point']} of {row['distribution']}")
    if row["error"] is not None:
        message, hint = split_hint(row["error"])
        yield Finding("its manifest is right, and agrees with its distribution", "failed", message, hint)
        return
    manifest = msgspec.convert(row["manifest"], Manifest)
    yield from manifest_findings(manifest)
    yield from _ignored(row.get("ignored_keys", {}))
    options = RunnerOptions(
        environment=environment,
        ready_timeout_s=timeout_s,
        pre_timeout_s=timeout_s,
        execute_timeout_s=timeout_s,
        isolation=isolation,
        grants=tuple(grants),
    )
    loaded = _loaded(name, options, timeout_s, python)
    yield from loaded
    if loaded[-1].level == "failed":
        yield Finding("get_info() and the phases", "skipped", "it can't be loaded")
        return
    yield from _answers(name, options, pictures, python)


def manifest_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield what a manifest that was read says, for a person to agree with, and what is odd about it."""
    yield Finding(
        "its manifest is right, and agrees with its distribution", detail=f"{manifest.name} {manifest.version}"
    )
    pids = manifest.supported_pids
    doubled = sorted({pid for pid in pids if pids.count(pid) > 1})
    if doubled:
        yield Finding("product ids", "failed", f"{', '.join(doubled)}: declared more than once", "once is enough")
    elif ANY_PID in pids and len(pids) > 1:
        yield Finding("product ids", "warning", f"{', '.join(pids)}: * already stands for every product", "leave one")
    else:
        yield Finding("product ids", detail="any" if pids == [ANY_PID] else ", ".join(pids))
    params = [(step.index, parameter) for step in manifest.steps for parameter in step.params]
    counted = f"{_counted(len(manifest.steps), 'step')}, {_counted(len(params), 'parameter')}"
    detail = f"{counted}, every default within its bounds"
    silent = [f"step {index}: {parameter.key}" for index, parameter in params if not parameter.description]
    if silent:
        hint = "an operator reads the description beside the field"
        yield Finding("steps and parameters", "warning", f"without a description: {', '.join(silent)}", hint)
    else:
        yield Finding("steps and parameters", detail=detail)
    if manifest.needs:
        silent_needs = [need for need, why in manifest.needs.items() if not why.strip()]
        detail = "\n".join(f"{need}: {why}" for need, why in manifest.needs.items())
        if silent_needs:
            hint = "an integrator grants what is explained: write what each is for"
            yield Finding("needs", "warning", f"without a reason: {', '.join(silent_needs)}", hint)
        else:
            yield Finding("needs", detail=detail)
    if not manifest.description:
        yield Finding("description", "warning", "the manifest has none", "one sentence: what it inspects")


def _ignored(keys: Mapping[str, str | None]) -> Iterator[Finding]:
    """Tell what nobody reads: a key that is written wrong does nothing, and says nothing."""
    if keys:
        meant = ", ".join(f"{close} for {key}" for key, close in keys.items() if close)
        hint = f"did you mean {meant}?" if meant else "leave them out; keys of your own begin with x-"
        yield Finding("keys of the manifest", "warning", f"nobody reads {', '.join(keys)}", hint)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _loaded(name: str, options: RunnerOptions, timeout_s: float, python: str) -> list[Finding]:
    """Asset, and import, construction, setup() and teardown() in a process of its own."""
    title = "imported, set up and torn down in a process of its own"
    assert options.environment is not None
    assert options.isolation is not None
    try:
        answer: dict[str, Any] = ask(
            ["check", name], options.environment, timeout_s, python, options.isolation, options.grants
        )
    except HostSilentError as error:
        message, hint = split_hint(str(error))
        return [Finding(title, "failed", message, hint or "an algorithm raises, it doesn't end the process")]
    if answer["ok"]:
        return [Finding("assets are there"), Finding(title)]
    message, hint = split_hint(_with_need(name, str(answer["error"]), options, python))
    if "files are missing" in message:
        return [Finding("assets are there", "failed", message.removeprefix("LoadError: "), hint)]
    if message.startswith(("ModuleNotFoundError: ", "ImportError: ")) and not hint:
        hint = "what it imports stands in pyproject.toml's dependencies, and is installed with it"
    return [Finding("assets are there"), Finding(title, "failed", message, hint)]


def _with_need(name: str, message: str, options: RunnerOptions, python: str) -> str:
    """Return what a host says that can't load it: which need it comes from, where isolation refused something."""
    if options.isolation != "strict" or not message.startswith(_OF_ISOLATION):
        return message
    try:
        with Runner(command=_host(name, options, python), options=options):
            return message
    except LaunchError as error:
        return str(error)


def _host(name: str, options: RunnerOptions, python: str) -> list[str]:
    given = [word for need in options.grants for word in ("--grant", need)]
    return [*host_of(python), "--algo", name, "--isolation", str(options.isolation), *given]


def _answers(
    name: str, options: RunnerOptions, pictures: Mapping[str, NDArray[np.uint8]] | None, python: str
) -> Iterator[Finding]:
    try:
        with Runner(command=_host(name, options, python), options=options) as runner:
            for finding in examine(runner, pictures=pictures):
                yield finding
                if not runner.alive:
                    yield Finding("what was still to be looked at", "skipped", "the host is gone")
                    return
    except LaunchError as error:
        yield Finding("a host launches it", "failed", str(error))
