"""Runs the lines of a station: threads around the machine, which decides everything.

    trigger thread ─┐                        ┌─> camera threads ──> picture ─┐
    camera threads ─┼─> inbox ─> line loop ──┼─> inspection threads ─> answer┼─> inbox
    inspections ────┤           (`Line`)     ├─> recorder ──> recorded ──────┘
    recorder ───────┘                        └─> output threads

Whatever hangs beside it, the loop goes on, and tells ERROR at the deadline.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from queue import Empty, Full, Queue, SimpleQueue
from typing import Any

import attrs
from attrs import define, field, frozen

from procvision_runner import (
    CallResult,
    InspectionSession,
    Picture,
    RestartPolicy,
    RunnerError,
    Supervisor,
    SupervisorOptions,
)
from procvision_sdk.errors import ProcVisionError
from procvision_station.configuration.model import Kinded
from procvision_station.configuration.reading import LineConfiguration, RecipeStepOf, StationConfiguration
from procvision_station.journal.writer import open_journal
from procvision_station.kinds import Camera, Fired, KindError, Kinds, Output, Told, Trigger
from procvision_station.line.machine import Line, LineOptions
from procvision_station.line.messages import (
    Answered,
    Call,
    Grab,
    LineCommand,
    LineEvent,
    PictureFailed,
    PictureTaken,
    Record,
    RecordKind,
    Tell,
    TimePassed,
    Triggered,
    Verdict,
)
from procvision_station.line.tables import ProductState
from procvision_station.pictures import PictureStore, is_kept
from procvision_station.recorder import Recorder
from procvision_tools.hints import split_hint
from procvision_tools.sources.picture_files import load

DRAIN_S = 2.0
"""After the last verdict: so long records that can't be written are tried again at the end."""
WARM_UP_S = 30.0
"""For a reference at the start: a model's first call compiles and loads."""
OUTPUT_QUEUE = 1000
"""Verdicts that wait for one output; one more is not told to it, and recorded so."""
TRIGGER_PAUSE_S = 1.0
"""After a trigger failed: a folder that is gone is looked for again."""
SUPERVISOR_OPTIONS = SupervisorOptions(restart=RestartPolicy(max_restarts=1_000_000, max_delay_s=0.2))
"""Each product may end a host, and the line goes on. A host that doesn't start again is still given up."""

Notice = Callable[[str], None]


@define
class _Product:
    """What is gathered of a product, for its record."""

    key: str
    fired: Fired
    triggered_at: str
    began: float
    pictures: dict[int, Picture] = field(factory=dict)
    answers: list[dict[str, Any]] = field(factory=list)
    sessions: dict[str, InspectionSession] = field(factory=dict)
    content: dict[str, Any] | None = None
    """Of its record, once its verdict stands."""


@frozen
class _Fired:
    fired: Fired


@frozen
class _Ended:
    """No product will come any more."""


class StationError(ProcVisionError):
    """A station can't be started, or did not end well."""


class LineRunner:
    """One line, running. `run` is its loop; `stop` may be called by any thread."""

    def __init__(
        self,
        station: StationConfiguration,
        line: LineConfiguration,
        parts: LineParts,
        pictures: PictureStore,
        notice: Notice,
    ) -> None:
        self.name, self._line_file, self._station, self._parts = line.name, line, station, parts
        self._pictures, self._notice = pictures, notice
        self.run_id = secrets.token_hex(4)
        self.verdicts: Counter[Verdict] = Counter()
        self.unrecorded = 0
        """Products whose record was not on the disk when the line ended."""
        self.failed: BaseException | None = None
        """What ended the loop, which nothing should."""
        self._inbox: SimpleQueue[LineEvent | _Fired | _Ended] = SimpleQueue()
        self._line = Line(LineOptions(deadline_s=line.deadline_s, max_products=line.max_products))
        self._products: dict[str, _Product] = {}
        self._count = 0
        self._stop = threading.Event()
        self._recorder = Recorder(parts.journal, self._inbox.put)
        self._calls = ThreadPoolExecutor(line.max_products, "procvision-inspection")
        self._grabs: dict[str, SimpleQueue[tuple[_Product, int, float] | None]] = {
            name: SimpleQueue() for name in parts.cameras
        }
        self._tells: list[Queue[Told | None]] = [Queue(OUTPUT_QUEUE) for _ in parts.outputs]

    # --- the loop -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take no more products. What is on its way is told and recorded."""
        self._stop.set()
        self._inbox.put(_Ended())  # also where the trigger hangs

    def run(self) -> None:
        """Run until the trigger ends or `stop` was called, and everything is told."""
        try:
            self._run()
        except BaseException as error:
            self.failed = error
            raise

    def _run(self) -> None:
        self._recorder.event(self._started())
        outputs = [self._thread(self._tell_output, place) for place in range(len(self._tells))]
        for name in self._grabs:
            self._thread(self._grab_from, name)
        self._thread(self._watch_trigger)
        ended, give_up = False, float("inf")
        while not (ended and (self._line.idle or time.monotonic() > give_up)):
            event = self._next_event()
            if isinstance(event, _Ended):
                if not ended:
                    ended, give_up = True, time.monotonic() + self._line_file.deadline_s + DRAIN_S
                event = TimePassed()
            elif isinstance(event, _Fired):
                event = self._begin(event.fired)
            for command in self._line.receive(event, time.monotonic()):
                self._carry_out(command)
            self._forget(event)
        self.unrecorded = len(self._products) + self._line.lost_records
        self._end(outputs)

    def _next_event(self) -> LineEvent | _Fired | _Ended:
        until = self._line.next_time
        try:
            return self._inbox.get(timeout=min(0.5, max(0.0, until - time.monotonic())) if until is not None else 0.5)
        except Empty:
            return TimePassed()

    def _begin(self, fired: Fired) -> Triggered:
        self._count += 1
        key = f"{self.run_id}-{self._count:06d}"
        self._products[key] = _Product(key, fired, _utc(), time.monotonic())
        return Triggered(key, len(self._line_file.recipe.steps))

    def _forget(self, event: LineEvent) -> None:
        key = getattr(event, "key", None)
        if key in self._products and self._line.state(key) is ProductState.DONE:
            product = self._products.pop(key)
            for algorithm, session in list(product.sessions.items()):
                # A session that no last call has ended: the algorithm need not keep it.
                self._calls.submit(_reset, self._parts.hosts[algorithm], session)

    def _end(self, outputs: list[threading.Thread]) -> None:
        for queue in self._grabs.values():
            queue.put(None)
        for told in self._tells:
            with contextlib.suppress(Full):
                told.put_nowait(None)
        for thread in outputs:
            thread.join(DRAIN_S)
        self._calls.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Record the end, when the pictures are written, too."""
        self._recorder.event({"event": "stopped", "run": self.run_id, "verdicts": self._counts()})
        lost = self._recorder.stop()
        if lost:
            self._notice(f"{self.name}: {lost} events are not in the journal")

    def _counts(self) -> dict[str, int]:
        return {str(verdict): self.verdicts[verdict] for verdict in Verdict}

    # --- commands -------------------------------------------------------------------------------------------

    def _carry_out(self, command: LineCommand) -> None:
        if isinstance(command, Tell):
            self._tell(command)
            return
        product = self._products[command.key]
        if isinstance(command, Grab):
            step = self._line_file.recipe.steps[command.step]
            self._grabs[step.camera].put((product, command.step, time.monotonic()))
        elif isinstance(command, Call):
            self._calls.submit(self._inspect, product, command.step, command.deadline)
        else:
            self._record(product, command)

    def _record(self, product: _Product, command: Record) -> None:
        recipe = self._line_file.recipe
        if product.content is None:
            # What comes after the verdict stands is no part of the record.
            answers = [dict(answer) for answer in product.answers]
            kept = is_kept(self._station.file.pictures, command.told, product.key)
            for step, picture in sorted(product.pictures.items()):
                taken = kept and self._pictures.keep(product.key, step, picture, self._recorder.event)
                said = "kept" if taken else "too many wait" if kept else "not kept"
                answers = [{**each, "picture": said} if each["step"] == step else each for each in answers]
            product.pictures = {}
            product.content = {
                "product": recipe.product,
                "recipe": recipe.name,
                "recipe_version": recipe.version,
                "triggered_at": product.triggered_at,
                "elapsed_ms": round((time.monotonic() - product.began) * 1000, 3),
                "file": product.fired.file.name if product.fired.file is not None else None,
                "steps": answers,
            }
        told = {
            "key": product.key,
            "found": command.found,
            "told": command.told,
            "reason": command.reason,
            "lost_before": command.lost_before,
        }
        content = {**told, **product.content} if command.kind is RecordKind.PRODUCT else told
        self._recorder.record(product.key, command.kind, content)

    def _tell(self, command: Tell) -> None:
        self.verdicts[command.verdict] += 1
        product = self._products[command.key]
        told = Told(
            self.name,
            command.key,
            self._line_file.recipe.product,
            command.verdict,
            command.reason,
            product.triggered_at,
        )
        for place, queue in enumerate(self._tells):
            try:
                queue.put_nowait(told)
            except Full:
                self._output_failed(place, told, f"{OUTPUT_QUEUE} verdicts wait for it")

    def _output_failed(self, place: int, told: Told, reason: str) -> None:
        kind = self._line_file.outputs[place].kind
        self._recorder.event({"event": "not_told", "key": told.key, "output": place, "kind": kind, "reason": reason})
        self._notice(f"{self.name}: output {place} ({kind}): {told.key} was not told: {reason}")

    # --- threads --------------------------------------------------------------------------------------------

    def _thread(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name=f"procvision-{self.name}", daemon=True)
        thread.start()
        return thread

    def _watch_trigger(self) -> None:
        trigger, said = self._parts.trigger, ""
        while not self._stop.is_set():
            try:
                fired = trigger.wait(self._stop)
            except Exception as error:  # noqa: BLE001 - foreign code
                if (reason := _reason(error)) != said:
                    said = reason
                    self._recorder.event({"event": "trigger_failed", "reason": reason})
                    self._notice(f"{self.name}: trigger: {reason}")
                self._stop.wait(TRIGGER_PAUSE_S)
                continue
            said = ""
            if not isinstance(fired, Fired):
                break
            self._inbox.put(_Fired(fired))
        self._inbox.put(_Ended())

    def _grab_from(self, name: str) -> None:
        camera, queue = self._parts.cameras[name], self._grabs[name]
        while (asked := queue.get()) is not None:
            product, step, asked_at = asked
            waited_s = time.monotonic() - asked_at
            try:
                if waited_s > self._line_file.grab_within_s:
                    # By now another product may stand before the camera.
                    raise KindError(f"it was busy for {waited_s * 1000:.0f} ms")  # noqa: TRY301
                picture = camera.grab(product.fired)
                if not isinstance(picture, Picture):
                    raise KindError(f"the camera gave {type(picture).__name__}, which is no Picture")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001 - foreign code
                self._inbox.put(PictureFailed(product.key, step, f"camera {name}: {_reason(error)}"))
            else:
                product.pictures[step] = picture
                self._inbox.put(PictureTaken(product.key, step))

    def _tell_output(self, place: int) -> None:
        output, queue = self._parts.outputs[place], self._tells[place]
        while (told := queue.get()) is not None:
            try:
                output.tell(told)
            except Exception as error:  # noqa: BLE001 - foreign code
                self._output_failed(place, told, _reason(error))

    def _inspect(self, product: _Product, step: int, deadline: float) -> None:
        """Make the calls of a step, and answer whatever happens."""
        try:
            result = self._called(product, step, deadline)
            verdict, reason = result.verdict or "ERROR", result.ng_reason or ""
            reason = reason or (result.message if verdict == "ERROR" else "")
            product.answers.append(self._answer(step, result))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a call is the product's ERROR
            verdict, reason = "ERROR", _reason(error)
            product.answers.append({"step": step, "verdict": verdict, "message": reason})
        self._inbox.put(Answered(product.key, step, verdict, reason))

    def _called(self, product: _Product, step: int, deadline: float) -> CallResult:
        recipe = self._line_file.recipe
        this = recipe.steps[step]
        host = self._parts.hosts[this.algorithm]
        session = product.sessions.get(this.algorithm)
        if session is None:
            session = product.sessions[this.algorithm] = host.session({"product_key": product.key})
        final = all(later.algorithm != this.algorithm for later in recipe.steps[step + 1 :])
        if this.reference is not None:
            prepared = host.pre_execute(
                self._parts.references[step],
                pid=recipe.product,
                step_index=this.step,
                session=session,
                user_params=this.given,
                timeout_s=_left(deadline),
            )
            if prepared.status != "OK":
                return prepared
        result = host.execute(
            product.pictures[step],
            pid=recipe.product,
            step_index=this.step,
            session=session,
            user_params=this.given,
            final=final,
            camera_id=this.camera,
            timeout_s=_left(deadline),
        )
        if final:
            product.sessions.pop(this.algorithm, None)
        return result

    def _answer(self, step: int, result: CallResult) -> dict[str, Any]:
        this = self._line_file.recipe.steps[step]
        return {
            "step": step,
            "camera": this.camera,
            "algorithm": this.algorithm,
            "version": this.version,
            "manifest_step": this.step,
            "parameters": dict(this.parameters),
            "verdict": result.verdict or "ERROR",
            "message": result.message,
            "error_code": result.error_code,
            "answered_ms": round(result.elapsed_ms, 3),
            **{name: result.data[name] for name in ("ng_reason", "defect_rects", "debug") if name in result.data},
        }

    def _started(self) -> dict[str, Any]:
        recipe = self._line_file.recipe
        return {
            "event": "started",
            "run": self.run_id,
            "station": self._station.file.station.name,
            "line": self.name,
            "recovered": self._parts.journal.recovered,
            "recipe": recipe.name,
            "recipe_version": recipe.version,
            "product": recipe.product,
            "steps": [_step(step) for step in recipe.steps],
            "hosts": {name: dict(host.info().get("versions", {})) for name, host in self._parts.hosts.items()},
            "references": self._warmed_up(),
        }

    def _warmed_up(self) -> list[dict[str, Any]]:
        """Inspect each step's reference before the first product: an algorithm's first call is its slowest."""
        found = []
        for place, picture in self._parts.references.items():
            product = _Product("reference", Fired(), _utc(), time.monotonic(), pictures={place: picture})
            try:
                result = self._called(product, place, time.monotonic() + WARM_UP_S)
                verdict, said = result.verdict or "ERROR", result.message
            except Exception as error:  # noqa: BLE001 - the products will tell
                verdict, said = "ERROR", _reason(error)
            found.append({"step": place, "verdict": verdict, "message": said})
            for algorithm, session in product.sessions.items():
                _reset(self._parts.hosts[algorithm], session)
            if verdict != "OK":
                self._notice(f"{self.name}: the reference of step {place + 1} is {verdict}: {said}")
        return found


def _step(step: RecipeStepOf) -> dict[str, Any]:
    facts = attrs.asdict(step)
    return {**facts, "reference": str(step.reference) if step.reference is not None else None}


def _reset(host: Supervisor, session: InspectionSession) -> None:
    with contextlib.suppress(RunnerError):
        host.reset(session)


def _left(deadline: float) -> float:
    """Return the time that is left; an answer after it would be late anyway."""
    return max(0.001, deadline - time.monotonic())


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _reason(error: Exception) -> str:
    text = split_hint(str(error))[0] if isinstance(error, ProcVisionError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:2000]


# --- a whole station -----------------------------------------------------------------------------------------------


@frozen
class LineParts:
    """What a line runs with, open."""

    journal: Any
    trigger: Trigger
    cameras: Mapping[str, Camera]
    outputs: tuple[Output, ...]
    hosts: Mapping[str, Supervisor]
    """By what the recipe calls the algorithm."""
    references: Mapping[int, Picture]
    """By the step's place in the recipe."""


@contextmanager
def _opened(station: StationConfiguration, line: LineConfiguration, kinds: Kinds) -> Iterator[LineParts]:
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
        references = {
            place: load(step.reference).picture()
            for place, step in enumerate(line.recipe.steps)
            if step.reference is not None
        }
        hosts = {
            name: stack.enter_context(Supervisor(name, options=SUPERVISOR_OPTIONS))
            for name in dict.fromkeys(step.algorithm for step in line.recipe.steps)
        }
        # The trigger last: a folder's pictures count from here on.
        trigger = _made(stack, kinds, "trigger", line.trigger, station, f"{at}.trigger")
        yield LineParts(journal, trigger, cameras, tuple(outputs), hosts, references)


def _made(stack: ExitStack, kinds: Kinds, sort: str, wanted: Kinded, station: StationConfiguration, at: str) -> Any:
    try:
        made = kinds.load(sort, wanted.kind)(wanted.options, station.folder)
    except KindError as error:
        raise StationError(f"{at}: {error}") from error
    except Exception as error:
        raise StationError(f"{at}: the {sort} {wanted.kind} can't be made: {type(error).__name__}: {error}") from error
    stack.callback(made.close)
    return made


def run_station(station: StationConfiguration, notice: Notice, kinds: Kinds | None = None) -> Mapping[str, LineRunner]:
    """Run all lines until their triggers end, or an exception (Ctrl-C, SIGTERM's) interrupts: then they are stopped.

    Return the lines as they ended. Raises ProcVisionError where one can't be started, and OSError; none runs then.
    """
    kinds = kinds if kinds is not None else Kinds.installed()
    with ExitStack() as stack:
        pictures = PictureStore(station.pictures_folder, station.file.pictures.queue)
        parts = {name: stack.enter_context(_opened(station, line, kinds)) for name, line in station.lines.items()}
        runners = {
            name: LineRunner(station, station.lines[name], each, pictures, notice) for name, each in parts.items()
        }
        threads = [threading.Thread(target=runner.run, name=f"procvision-{name}") for name, runner in runners.items()]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(0.2) if threads[0].is_alive() else time.sleep(0.05)
        finally:
            for runner in runners.values():
                runner.stop()
            for thread in threads:
                thread.join()
            pictures.stop()
            for runner in runners.values():
                runner.close()
        for name, runner in runners.items():
            if runner.failed is not None:
                raise StationError(f"the line {name} ended by {runner.failed!r}") from runner.failed
        return runners
