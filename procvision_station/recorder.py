"""The thread that writes a line's journal: what waits is written together, and answered for when it is on the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any

import msgspec
from attrs import frozen

from procvision_station.journal.layout import MAX_BODY_BYTES, SALT_BYTES, Kind
from procvision_station.journal.writer import Journal
from procvision_station.line.messages import LineEvent, Recorded, RecordFailed, RecordKind

MAX_BATCH = 64
"""So many records wait for one sync at most: 0.5 ms for all of them."""
MAX_OWED_EVENTS = 10_000
"""Events that could not be written are kept, the latest so many."""
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "started": "the line runs: its recipe with all parameters, versions of algorithms and hosts, what recovery "
        "put aside, and what each step said of its reference. Nobody knows whether the last records before it "
        "were told",
        "stopped": "the line ended whole, with its counts of verdicts, and of pictures kept, lost and left out",
        "picture": "a kept picture is on the disk, as `file` below the folder of pictures",
        "picture_lost": "a picture that was to be kept could not be written, and why",
        "pictures_deleted": "kept pictures go, `files` below the folder of pictures, and why; first this is recorded",
        "not_told": "an output did not take a verdict, and why",
        "trigger_failed": "the trigger failed, and why; it is asked again",
        "overruled": "a user's verdict on a product, beside the algorithm's",
        "note": "a user's words on a product",
        "pinned": "a user keeps a product's pictures whatever the policy says",
        "unpinned": "and no longer",
        "recipe": "the line inspects by another recipe, or another version, from now on: as in `started`, with user "
        "and why, and the file's `text` where it was changed",
        "recipe_changed": "a recipe that no line runs was changed or made; it stands in the station's journal",
        "version": "an algorithm goes on with another installed version, from `old` to `new`, between two products",
        "version_failed": "it couldn't go on with the version that was activated, and why: the old one goes on",
        "version_installed": "a user installed a bundle, `file`: its name, version, `bundle` (the SHA-256 of its "
        "`bundle.json`), who signed it, and why; in the station's journal",
        "version_not_installed": "the same, where it was refused, and the `reason`",
        "version_activated": "a user activated an installed version: its name, version and `bundle` (the SHA-256 of "
        "its `bundle.json`), the products (`pids`), grants, why, and what its gate said; in the station's journal",
        "version_refused": "the same, where the gate refused it, and the `reason`",
        "version_taken_back": "a user went back to the version that was active before, and why; likewise",
        "erased": "the body of the record `sequence` was erased",
    }
)
"""What `event` can be in a record of the kind event."""
_KINDS = {RecordKind.PRODUCT: Kind.PRODUCT, RecordKind.TOLD: Kind.TOLD}


@frozen
class _Item:
    kind: Kind
    content: Mapping[str, Any]
    key: str | None = None
    asked: Future[int] | None = None
    """Who waits for the record, and is told where there is none: it is not tried again then."""
    on_disk: Callable[[], None] | None = None


class Recorder:
    """Writes to a journal on a thread of its own. Any thread may call; `answer` is called on the recorder's thread."""

    def __init__(self, journal: Journal, answer: Callable[[LineEvent], None]) -> None:
        self._journal, self._answer = journal, answer
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._owed: list[_Item] = []
        self.events_lost = 0
        """Events that could not be written and were too many to keep."""
        self._thread = threading.Thread(target=self._run, name="procvision-recorder", daemon=True)
        self._thread.start()

    def record(self, key: str, kind: RecordKind, content: Mapping[str, Any]) -> None:
        """Write a product's record; `Recorded` or `RecordFailed` answers."""
        self._queue.put(_Item(_KINDS[kind], _writable(content), key))

    def event(self, content: Mapping[str, Any], on_disk: Callable[[], None] | None = None) -> None:
        """Write an event. One that can't be written is tried again with what comes next. `on_disk` is called then."""
        self._queue.put(_Item(Kind.EVENT, _writable(content), on_disk=on_disk))

    def asked(self, content: Mapping[str, Any]) -> Future[int]:
        """Write an event that has to be answered for: the future has its sequence, or why it is not recorded."""
        item = _Item(Kind.EVENT, _writable(content), asked=Future())
        self._queue.put(item)
        assert item.asked is not None
        return item.asked

    def stop(self) -> int:
        """Write what waits, and end. Return how many events are not on the disk."""
        self._queue.put(None)
        self._thread.join()
        return len(self._owed) + self.events_lost

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            while len(batch) < MAX_BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except Empty:
                    break
            going = None not in batch
            self._write([item for item in batch if item is not None])

    def _write(self, batch: list[_Item]) -> None:
        items = [*self._owed, *batch]
        try:
            sequences = [self._journal.append(item.kind, item.content) for item in items]
            self._journal.sync()
        except OSError as error:
            self._owed = [item for item in items if item.key is None and item.asked is None]
            self.events_lost += max(0, len(self._owed) - MAX_OWED_EVENTS)
            self._owed = self._owed[-MAX_OWED_EVENTS:]
            reason = f"the journal can't be written: {error.strerror or error}"
            answers: list[LineEvent] = [RecordFailed(item.key, reason) for item in batch if item.key is not None]
            for item in batch:
                if item.asked is not None:
                    item.asked.set_exception(error)
        else:
            self._owed = []
            for item, sequence in zip(items, sequences, strict=True):
                if item.asked is not None:
                    item.asked.set_result(sequence)
                if item.on_disk is not None:
                    item.on_disk()
            answers = [Recorded(item.key) for item in batch if item.key is not None]
        for answer in answers:
            self._answer(answer)


def _writable(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a journal takes: where a vendor's words can't be written, the rest of the record is."""
    try:
        length = len(msgspec.json.encode(content))
        problem = "" if length <= MAX_BODY_BYTES - SALT_BYTES else f"{length} bytes are too many for a record"
    except (TypeError, ValueError) as error:
        problem = str(error)
    if not problem:
        return content
    kept = {key: value for key, value in content.items() if isinstance(value, (str, int, float, type(None)))}
    return {
        key: value.encode("utf-8", "backslashreplace").decode("utf-8")[:4096] if isinstance(value, str) else value
        for key, value in {**kept, "left_out": problem}.items()
    }
