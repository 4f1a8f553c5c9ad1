"""The ways of `procvision run` with more than one picture: files, a product of several steps, a camera, a folder."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeAlias

import attrs
import click

from procvision_runner import RunnerError
from procvision_tools.cli.errors import CommandError, show_error, usage_error
from procvision_tools.cli.hosts import Hosting, Launched, kept_alive
from procvision_tools.cli.inspecting import inspect
from procvision_tools.cli.results import Results, Wanted
from procvision_tools.hints import split_hint
from procvision_tools.names import shown
from procvision_tools.sourcecode import Look, code_roots, look_at
from procvision_tools.sources.folder import Arrivals
from procvision_tools.sources.picture_files import Frame

if TYPE_CHECKING:
    from procvision_tools.cli.inspecting import InspectionOutcome, InspectionRequest

POLL_S = 0.2
"""How often a folder or the code is looked at."""
Image: TypeAlias = Path | Frame


def run_files(
    request: InspectionRequest, images: Sequence[Path], wanted: Wanted, *, one_product: bool, notes: Sequence[str] = ()
) -> int:
    """Inspect files, each a product, or all one product's, a picture a step; give the exit status.

    ``notes`` say which files were left out.
    """
    from procvision_tools.cli.progress import bar, on_terminal

    with _ready(request.hosting) as ready:
        results = Results(wanted, quiet=on_terminal())
        for note in notes:
            results.note(note)
        with _told_anyway(results, ready), bar(len(images), "inspecting") as seen:
            for image, outcome in _inspected(ready, request, images, one_product=one_product):
                results.take(image, outcome)
                seen()
    return results.finish(ready.logs)


def run_stream(
    request: InspectionRequest,
    images: Iterable[Image],
    wanted: Wanted,
    live: TextIO | None = None,
    *,
    waiting_for: str,
    arrivals: Arrivals | None = None,
) -> int:
    """Inspect pictures as they come, until there are no more or Ctrl-C; what came is written either way.

    ``arrivals`` is where they come from, if it has something to say of what does not come.
    """
    with _ready(request.hosting, live) as ready:
        results = Results(wanted, view=ready.view)
        _say(f"waiting for {waiting_for}", ready)
        with _told_anyway(results, ready), _saying(arrivals, results):
            for image in images:
                results.take(image, inspect(ready, attrs.evolve(request, image=image)))
    # The host's last log lines are there when it has gone.
    return results.finish(ready.logs)


def watch(
    request: InspectionRequest,
    images: Sequence[Path],
    wanted: Wanted,
    *,
    one_product: bool,
    live: TextIO | None = None,
) -> NoReturn:
    """Inspect, and again whenever a picture or the algorithm's code has changed, until Ctrl-C."""
    code = code_roots(request.hosting.algorithm)
    watched = [*code, *images, *([request.reference] if request.reference is not None else [])]
    while True:
        before = look_at(code)
        try:
            with kept_alive(request.hosting, live) as ready:
                while look_at(code) == before:
                    look = look_at(watched)
                    results = Results(wanted, view=ready.view)
                    if ready.view is not None:
                        ready.view.pin("inspecting")
                    for image, outcome in _inspected(ready, request, images, one_product=one_product):
                        results.take(image, outcome)
                    results.finish(ready.logs)
                    if ready.view is not None:
                        ready.view.pin(results.verdicts())
                    _say(f"watching {len(images)} picture{'' if len(images) == 1 else 's'} and {_places(code)}", ready)
                    _until_changed(watched, look)
        except RunnerError as error:
            show_error(*split_hint(str(error)))
            _say("waiting for a change")
            _until_changed(code, before)
        _say("the code has changed: a new host")


def from_camera(wanted: str, producers: Sequence[Path], count: int | None) -> Iterator[Frame]:
    """Give a camera's frames; the camera is opened when the first is asked for.

    What it needs is looked for at once, before a host is launched. Raises MissingExtraError without the library, and
    CommandError where there is no producer, no camera, or no frame comes.
    """
    from procvision_tools.sources.camera import Camera, CameraError, producers_for

    def frames() -> Iterator[Frame]:
        try:
            with Camera(wanted, producers) as camera:
                for number in itertools.count(1):
                    yield Frame(f"{camera.name} {number}", camera.grab())
                    if number == count:
                        return
        except CameraError as error:
            raise CommandError(*split_hint(str(error))) from error

    try:
        producers_for(wanted, producers)
    except CameraError as error:
        raise CommandError(*split_hint(str(error))) from error
    return frames()


@contextmanager
def _saying(arrivals: Arrivals | None, results: Results) -> Iterator[None]:
    """Note what arrivals say, and their numbers at the end."""
    if arrivals is None:
        yield
        return
    arrivals.tell = results.note
    try:
        yield
    finally:
        for text in arrivals.totals():
            results.note(text)


def from_folder(arrivals: Arrivals, count: int | None) -> Iterator[Path]:
    """Give pictures as they arrive in a folder from now on. Raises CommandError where the folder goes."""
    number = 0
    while True:
        try:
            arrived = arrivals.poll(time.monotonic())
        except OSError as error:
            raise CommandError(str(error)) from error
        for path in arrived:
            yield path
            number += 1
            if number == count:
                return
        if not arrived:
            time.sleep(POLL_S)


def _inspected(
    ready: Launched, request: InspectionRequest, images: Sequence[Path], *, one_product: bool
) -> Iterator[tuple[Path, InspectionOutcome]]:
    if not one_product:
        for image in images:
            yield image, inspect(ready, attrs.evolve(request, image=image))
        return
    steps = sorted(step.index for step in ready.manifest.steps)
    if len(images) != len(steps):
        raise usage_error(
            f"--one-product with {len(images)} pictures: {ready.manifest.name} has {len(steps)} steps",
            "give a picture for each step, in the steps' order",
        )
    session = ready.runner.session(context={"title": shown(images[0].name)})
    for image, step in zip(images, steps, strict=True):
        one = attrs.evolve(request, image=image, step_index=step)
        outcome = inspect(ready, one, session, final=step == steps[-1])
        title = f"{one.title}, step {step}"
        yield image, attrs.evolve(outcome, inspection=attrs.evolve(outcome.inspection, title=title))
        if outcome.inspection.verdict == "ERROR":
            return


@contextmanager
def _ready(hosting: Hosting, live: TextIO | None = None) -> Iterator[Launched]:
    """Launch a host; that it can't be is the command's error."""
    try:
        with kept_alive(hosting, live) as ready:
            yield ready
    except RunnerError as error:
        raise CommandError(*split_hint(str(error))) from error


@contextmanager
def _told_anyway(results: Results, ready: Launched) -> Iterator[None]:
    """What was inspected before Ctrl-C, or before an error, is shown and written too."""
    try:
        yield
    except BaseException:
        if results.counts:
            results.finish(ready.logs)
        raise


def _until_changed(paths: Sequence[Path], look: Look) -> None:
    """Wait until files look otherwise, and until the program that changes them has had time to finish."""
    while look_at(paths) == look:
        time.sleep(POLL_S)
    time.sleep(POLL_S)


def _places(code: Sequence[Path]) -> str:
    return ", ".join(map(str, code)) or "no code: where the algorithm lies is not known"


def _say(text: str, ready: Launched | None = None) -> None:
    if ready is not None and ready.view is not None:
        ready.view.show(text)
    else:
        click.secho(text, err=True, dim=True)
