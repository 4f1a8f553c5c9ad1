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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from queue import Empty, Full, Queue, SimpleQueue
from typing import Any

from attrs import define, field, frozen

from procvision_runner import (
    Picture,
    Supervisor,
)
from procvision_station.configuration.reading import LineConfiguration, StationConfiguration
from procvision_station.inspecting import Inspector, Sessions, reason_of
from procvision_station.journal.reading import last_records
from procvision_station.kinds import Fired, KindError, Told
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
    RecordFailed,
    RecordKind,
    Tell,
    TimePassed,
    Triggered,
    Verdict,
)
from procvision_station.line.tables import ProductState
from procvision_station.live_pictures import LivePictures
from procvision_station.parts import LineParts
from procvision_station.pictures import PictureCounts, PictureStore, is_kept, lost, never_written
from procvision_station.recorder import Recorder
from procvision_station.versions import told_version

DRAIN_S = 2.0
"""After the last verdict: so long records that can't be written are tried again at the end."""
OUTPUT_QUEUE = 1000
"""Verdicts that wait for one output; one more is not told to it, and recorded so."""
BEHIND_S = 60.0
"""After a picture was left out or lost, so long the page says so; of one left out no more is told meanwhile."""
TRIGGER_PAUSE_S = 1.0
"""After a trigger failed: a folder that is gone is looked for again."""
Notice = Callable[[str], None]


@define
class _Product:
    """What is gathered of a product, for its record."""

    key: str
    fired: Fired
    triggered_at: str
    began: float
    inspector: Inspector
    sessions: Sessions
    pictures: dict[int, Picture] = field(factory=dict)
    answers: list[dict[str, Any]] = field(factory=list)
    content: dict[str, Any] | None = None
    """Of its record, once its verdict stands."""
    awaited: frozenset[int] = frozenset()
    """Pictures that its record waits for: `evidence = "first"`."""
    unwritten: str = ""
    """Why one of them could not be written, when that was tried last."""
    told: bool = False


@frozen
class _Fired:
    fired: Fired


@frozen
class _Changed:
    inspector: Inspector
    applied: threading.Event


@frozen
class _Ended:
    """No product will come any more."""


class LineRunner:
    """One line, running. `run` is its loop; `stop` may be called by any thread."""

    def __init__(
        self,
        station: StationConfiguration,
        line: LineConfiguration,
        parts: LineParts,
        pictures: PictureStore,
        notice: Notice,
        live: LivePictures | None = None,
    ) -> None:
        self.name, self._line_file, self._station, self._parts = line.name, line, station, parts
        self.inspector = parts.inspector
        """Of the next product."""
        self._pictures, self._notice, self._live = pictures, notice, live
        self.run_id = secrets.token_hex(4)
        self.verdicts: Counter[Verdict] = Counter()
        self.kept = PictureCounts()
        """What became of the pictures that were to be kept."""
        self._told_left_out = float("-inf")
        self.unrecorded = 0
        """Products whose record was not on the disk when the line ended."""
        self.failed: BaseException | None = None
        """What ended the loop, which nothing should."""
        self.ended = threading.Event()
        """Set when the loop has ended."""
        self._inbox: SimpleQueue[LineEvent | _Fired | _Changed | _Ended] = SimpleQueue()
        self._line = Line(LineOptions(deadline_s=line.deadline_s, max_products=line.max_products))
        self._products: dict[str, _Product] = {}
        self._count = 0
        self._stop = threading.Event()
        self.recorder = Recorder(parts.journal, self._inbox.put)
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
        finally:
            self.ended.set()

    def _run(self) -> None:
        self.recorder.event(self._started())
        self._settle_pictures()
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
            elif isinstance(event, _Changed):
                self.inspector = event.inspector
                event.applied.set()
                event = TimePassed()
            elif isinstance(event, _Fired):
                event = self._begin(event.fired)
            for command in self._line.receive(event, time.monotonic()):
                self._carry_out(command)
            self._forget(event)
            self._record_versions()
        self.unrecorded = len(self._products) + self._line.lost_records
        self._end(outputs)

    def _record_versions(self) -> None:
        """Record that hosts went on with another version, or couldn't."""
        followed = self.inspector.followed
        while not followed.empty():
            event = followed.get()
            if event["event"] == "version_failed":
                self._notice(f"{self.name}: {event['algorithm']} goes on as it is: {event['reason']}")
            self.recorder.event({**event, "run": self.run_id})

    def _settle_pictures(self) -> None:
        """Record which pictures of the run before were lost, since it was killed before they were written."""
        # Each waiting picture has a record and events of others behind it: some four times as many as wait at most.
        records = last_records(self._parts.journal.disk, 4 * self._station.file.pictures.queue + 1000)
        for key, step in never_written(record.content() for record in records):
            self.recorder.event(lost(key, step, "the station ended before it was written"))

    def _next_event(self) -> LineEvent | _Fired | _Changed | _Ended:
        until = self._line.next_time
        try:
            return self._inbox.get(timeout=min(0.5, max(0.0, until - time.monotonic())) if until is not None else 0.5)
        except Empty:
            return TimePassed()

    def _begin(self, fired: Fired) -> Triggered:
        self._count += 1
        key = f"{self.run_id}-{self._count:06d}"
        recipe = self.inspector.recipe
        sessions = Sessions(key, recipe.product)
        self._products[key] = _Product(key, fired, _utc(), time.monotonic(), self.inspector, sessions)
        return Triggered(key, len(recipe.steps))

    def _forget(self, event: LineEvent) -> None:
        key = getattr(event, "key", None)
        if key in self._products and self._line.state(key) is ProductState.DONE:
            product = self._products.pop(key)
            if product.sessions.open:
                self._calls.submit(product.inspector.forget, product.sessions)

    def _end(self, outputs: list[threading.Thread]) -> None:
        for queue in self._grabs.values():
            queue.put(None)
        for told in self._tells:
            with contextlib.suppress(Full):
                told.put_nowait(None)
        for thread in outputs:
            thread.join(DRAIN_S)
        self._calls.shutdown(wait=False, cancel_futures=True)

    def status(self) -> dict[str, Any]:
        """Return how the line is, in plain values. Any thread may call."""
        return {
            "run": self.run_id,
            "verdicts": self._counts(),
            "on_the_way": len(self._products),
            "waiting_for_outputs": [queue.qsize() for queue in self._tells],
            "pictures": {
                **self.kept.plain(),
                "waiting": self._pictures.waiting,
                "room": self._pictures.room,
                "behind": time.monotonic() - self.kept.missed_at < BEHIND_S,
            },
            "recipe": self.inspector.recipe.name,
            "recipe_version": self.inspector.recipe.version,
            "hosts": {name: _health(host) for name, host in self.inspector.hosts.items()},
        }

    def close(self) -> None:
        """Record the end, when the pictures are written, too."""
        counts = {"verdicts": self._counts(), "pictures": self.kept.plain()}
        self.recorder.event({"event": "stopped", "run": self.run_id, **counts})
        if self.kept.left_out or self.kept.lost:
            told = f"{self.kept.kept} pictures are kept, {self.kept.left_out} were left out, {self.kept.lost} were lost"
            self._notice(f"{self.name}: {told}")
        lost = self.recorder.stop()
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
            step = product.inspector.recipe.steps[command.step]
            self._grabs[step.camera].put((product, command.step, time.monotonic()))
        elif isinstance(command, Call):
            self._calls.submit(self._inspect, product, command.step, command.deadline)
        else:
            self._record(product, command)

    def _record(self, product: _Product, command: Record) -> None:
        if product.content is None:
            product.content = self._content(product, command.told)
        if product.told and product.awaited:
            self._give_up_pictures(product, product.content["steps"])
        told = {
            "key": product.key,
            "found": command.found,
            "told": command.told,
            "reason": command.reason,
            "lost_before": command.lost_before,
        }
        content = {**told, **product.content} if command.kind is RecordKind.PRODUCT else told

        def record() -> None:
            self.recorder.record(product.key, command.kind, content)

        if product.awaited:
            self._wait_for_pictures(product, record)
        else:
            record()

    def _content(self, product: _Product, told: Verdict) -> dict[str, Any]:
        """Return what the record has of the inspection. What comes after the verdict stands is no part of it."""
        recipe = product.inspector.recipe
        answers = [dict(answer) for answer in product.answers]
        if self._live is not None:
            for step, picture in sorted(product.pictures.items()):
                self._live.show(self.name, product.key, step, picture)
        policy = self._station.file.pictures
        kept = is_kept(policy, told, product.key)
        if kept and policy.evidence == "first":
            product.awaited = frozenset(product.pictures)
            said = dict.fromkeys(product.pictures, "kept")
        else:
            said = {}
            for step, picture in sorted(product.pictures.items()):
                taken = kept and self._keep(product.key, step, picture, told)
                said[step] = "kept" if taken else "too many wait" if kept else "not kept"
            product.pictures = {}
        return {
            "product": recipe.product,
            "serial": product.fired.serial,
            "recipe": recipe.name,
            "recipe_version": recipe.version,
            "triggered_at": product.triggered_at,
            "elapsed_ms": round((time.monotonic() - product.began) * 1000, 3),
            "file": product.fired.file.name if product.fired.file is not None else None,
            "steps": [{**each, "picture": said[each["step"]]} if each["step"] in said else each for each in answers],
        }

    def _keep(self, key: str, step: int, picture: Picture, told: Verdict) -> bool:
        good = told is Verdict.OK
        lossy = good and self._station.file.pictures.ok_as == "jpeg"
        taken = self._pictures.keep(key, step, picture, self._picture_written, lossy=lossy, spare=good)
        if not taken:
            self._left_out()
        return taken

    def _picture_written(self, event: Mapping[str, Any], on_disk: Callable[[], None] | None) -> None:
        """Record what became of a picture. Any thread may call."""
        self.kept.count(**{"lost" if "reason" in event else "kept": 1})
        self.recorder.event(event, on_disk)

    def _left_out(self) -> None:
        """Count a picture that was left out, and tell it, now and then."""
        self.kept.count(left_out=1)
        if time.monotonic() - self._told_left_out >= BEHIND_S:
            self._told_left_out = time.monotonic()
            self._notice(
                f"{self.name}: a picture that was to be kept is left out, {self.kept.left_out} so far: "
                f"{self._pictures.room} wait to be written\n"
                "hint: a faster disk or processor, fewer pictures by keep_ok, or ok_as; procvision station check"
            )

    def _give_up_pictures(self, product: _Product, answers: list[dict[str, Any]]) -> None:
        """Write no more pictures of a product: ERROR was told, and what owes its record keeps none in memory."""
        for answer in answers:
            if answer["step"] in product.awaited:
                answer["picture"] = "lost"
        for step in sorted(product.awaited):
            self.recorder.event(lost(product.key, step, product.unwritten))
        self.kept.count(lost=len(product.awaited))
        product.awaited, product.pictures = frozenset(), {}

    def _wait_for_pictures(self, product: _Product, record: Callable[[], None]) -> None:
        """Record a product when its pictures are on the disk; where one can't be written, it is tried again whole."""
        awaited, failed = set(product.awaited), False
        lock = threading.Lock()

        def written(step: int, event: Mapping[str, Any], on_disk: Callable[[], None] | None = None) -> None:
            nonlocal failed
            is_there = "reason" not in event
            if is_there:
                self._picture_written(event, on_disk)  # one that can't be written is tried again, until its deadline
            with lock:
                awaited.discard(step)
                if is_there:
                    product.awaited -= {step}
                else:
                    failed, product.unwritten = True, str(event["reason"])
                last = not awaited
            if last and failed:
                self._inbox.put(RecordFailed(product.key, f"a picture can't be written: {product.unwritten}"))
            elif last:
                record()

        for step in sorted(product.awaited):
            if not self._pictures.keep(product.key, step, product.pictures[step], partial(written, step)):
                written(step, lost(product.key, step, "too many wait"))

    def _tell(self, command: Tell) -> None:
        self.verdicts[command.verdict] += 1
        product = self._products[command.key]
        product.told = True
        told = Told(
            self.name,
            command.key,
            product.inspector.recipe.product,
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
        self.recorder.event({"event": "not_told", "key": told.key, "output": place, "kind": kind, "reason": reason})
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
                if (reason := reason_of(error)) != said:
                    said = reason
                    self.recorder.event({"event": "trigger_failed", "reason": reason})
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
                self._inbox.put(PictureFailed(product.key, step, f"camera {name}: {reason_of(error)}"))
            else:
                product.pictures[step] = picture
                self._inbox.put(PictureTaken(product.key, step))

    def _tell_output(self, place: int) -> None:
        output, queue = self._parts.outputs[place], self._tells[place]
        while (told := queue.get()) is not None:
            try:
                output.tell(told)
            except Exception as error:  # noqa: BLE001 - foreign code
                self._output_failed(place, told, reason_of(error))

    def _inspect(self, product: _Product, step: int, deadline: float) -> None:
        """Make the calls of a step, and answer whatever happens."""
        answer = product.inspector.inspect(product.sessions, step, product.pictures[step], deadline)
        product.answers.append(answer)
        reason = answer.get("ng_reason") or (answer["message"] if answer["verdict"] == "ERROR" else "")
        self._inbox.put(Answered(product.key, step, answer["verdict"], reason))

    def _started(self) -> dict[str, Any]:
        started = {
            "event": "started",
            "run": self.run_id,
            "station": self._station.file.station.name,
            "line": self.name,
            "recovered": self._parts.journal.recovered,
            **self.inspector.described(),
            "references": self.inspector.warm_up(lambda text: self._notice(f"{self.name}: {text}")),
        }
        self._notice(f"{self.name}: runs recipe {self.inspector.recipe.name} {self.inspector.recipe.version}")
        return started

    # --- another recipe -------------------------------------------------------------------------------------

    def change(self, inspector: Inspector) -> bool:
        """Inspect the next product by another recipe; False where the line ends before. Any thread may call."""
        applied = threading.Event()
        self._inbox.put(_Changed(inspector, applied))
        return applied.wait(self._line_file.deadline_s + DRAIN_S)

    def wait_for_others(self, inspector: Inspector) -> None:
        """Return when no product is judged by another inspector any more, or all of them are past their deadline."""
        until = time.monotonic() + self._line_file.deadline_s + DRAIN_S
        while time.monotonic() < until and any(
            product.inspector is not inspector and not product.told for product in list(self._products.values())
        ):
            time.sleep(0.02)


def _health(host: Supervisor) -> dict[str, Any]:
    return {
        "state": str(host.state),
        "because": host.broken_because or host.waiting_because,
        "process_id": host.process_id,
        **told_version(host.deployment),
        "restarts": host.snapshot().counters.get("restarts", 0),
    }


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
