"""What a line runs with: its journal, trigger, cameras, outputs and hosts, opened from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from attrs import evolve, frozen

from procvision_runner import Event, RestartPolicy, Supervisor, SupervisorOptions
from procvision_runner.supervision.events import Only, SwapFailed, Swapped
from procvision_sdk.errors import ProcVisionError
from procvision_station.configuration.model import Kinded
from procvision_station.configuration.reading import LineConfiguration, StationConfiguration
from procvision_station.configuration.recipes import Recipe
from procvision_station.inspecting import Inspector
from procvision_station.journal.writer import Journal, open_journal
from procvision_station.kinds import Camera, KindError, Kinds, Output, Trigger
from procvision_tools.sources.picture_files import load

SUPERVISOR_OPTIONS = SupervisorOptions(restart=RestartPolicy(max_restarts=1_000_000, max_delay_s=0.2))
"""Each product may end a host, and the line goes on. A host that doesn't start again is still given up."""


class StationError(ProcVisionError):
    """A station can't be started, or did not end well."""


@frozen
class LineParts:
    """What a line runs with, open."""

    journal: Journal
    trigger: Trigger
    cameras: Mapping[str, Camera]
    outputs: tuple[Output, ...]
    inspector: Inspector
    opened_for: ExitStack
    """What ends the inspector's hosts: another one may take its place while the line runs."""


@contextmanager
def opened_inspector(recipe: Recipe, line: LineConfiguration, deployments: Path | None) -> Iterator[Inspector]:
    """Start a recipe's hosts, as a line has them, and read its references. Raises ProcVisionError and OSError.

    With `deployments` hosts are of the versions that are active there for the recipe's product, and follow them.
    """
    followed: SimpleQueue[dict[str, Any]] = SimpleQueue()
    pid = recipe.product if deployments is not None else None
    with ExitStack() as stack:
        references = {
            place: load(step.reference).picture()
            for place, step in enumerate(recipe.steps)
            if step.reference is not None
        }
        hosts = {
            name: stack.enter_context(
                Supervisor(
                    name,
                    options=supervised(name, line),
                    deployments=deployments,
                    pid=pid,
                    listeners=[Only(partial(_follow, name, followed), (Swapped, SwapFailed))]
                    if deployments is not None
                    else [],
                )
            )
            for name in dict.fromkeys(step.algorithm for step in recipe.steps)
        }
        yield Inspector(recipe, hosts, references, followed)


def _follow(algorithm: str, followed: SimpleQueue[dict[str, Any]], event: Event) -> None:
    """Note that a supervisor went on with another version, or couldn't."""
    if isinstance(event, Swapped):
        followed.put({"event": "version", "algorithm": algorithm, "old": event.old, "new": event.new})
    elif isinstance(event, SwapFailed):
        followed.put({"event": "version_failed", "algorithm": algorithm, "new": event.new, "reason": event.reason})


def supervised(requirement: str, line: LineConfiguration) -> SupervisorOptions:
    """Return the options of an algorithm that a recipe names as NAME[@DISTRIBUTION][==VERSION]."""
    shut_in = line.shut_in.get(requirement.partition("==")[0].partition("@")[0])
    return SUPERVISOR_OPTIONS if shut_in is None else evolve(SUPERVISOR_OPTIONS, runner=shut_in)


@contextmanager
def opened(station: StationConfiguration, line: LineConfiguration, kinds: Kinds) -> Iterator[LineParts]:
    """Open everything of a line. Raises ProcVisionError and OSError."""
    at = f"lines.{line.name}"
    with ExitStack() as stack:
        journal = stack.enter_context(open_journal(station.journal_folder(line.name)))
        cameras = {
            name: _made(stack, kinds, "camera", each, station, f"{at}.cameras.{name}")
            for name, each in line.cameras.items()
        }
        outputs = [
            _made(stack, kinds, "output", each, station, f"{at}.outputs[{place}]")
            for place, each in enumerate(line.outputs)
        ]
        opened_for = stack.enter_context(ExitStack())
        inspector = opened_for.enter_context(opened_inspector(line.recipe, line, station.deployments_root))
        # The trigger last: a folder's pictures count from here on.
        trigger = _made(stack, kinds, "trigger", line.trigger, station, f"{at}.trigger")
        yield LineParts(journal, trigger, cameras, tuple(outputs), inspector, opened_for)


def _made(stack: ExitStack, kinds: Kinds, sort: str, wanted: Kinded, station: StationConfiguration, at: str) -> Any:
    try:
        made = kinds.load(sort, wanted.kind)(wanted.options, station.folder)
    except KindError as error:
        raise StationError(f"{at}: {error}") from error
    except Exception as error:
        raise StationError(f"{at}: the {sort} {wanted.kind} can't be made: {type(error).__name__}: {error}") from error
    stack.callback(made.close)
    return made
