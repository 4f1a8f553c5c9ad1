"""Runs a whole station: its lines, the journal of what is of no line, and the commands that change something."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack
from typing import Any

from procvision_sdk.private_files import make_private_folder
from procvision_station.configuration.reading import StationConfiguration
from procvision_station.control import Action, Answer, Command, ControlError, ControlServer, Note, Overrule, Pin, Status
from procvision_station.journal.writer import open_journal
from procvision_station.kinds import Kinds
from procvision_station.parts import StationError, opened
from procvision_station.pictures import PictureStore
from procvision_station.recorder import Recorder
from procvision_station.running import LineRunner, Notice

STATION_JOURNAL = "_station"
"""Beside the lines' journals; no line can have this name."""
RECORD_WITHIN_S = 10.0
"""So long a command waits for the disk."""


class Station:
    """Carries commands out on the lines that run."""

    def __init__(self, runners: Mapping[str, LineRunner], recorder: Recorder) -> None:
        self._runners, self._recorder = runners, recorder

    def carry_out(self, command: Command) -> Answer:
        """Carry a command out, and answer when it is recorded. Raises ControlError."""
        if isinstance(command, Status):
            return Answer(content={name: runner.status() for name, runner in self._runners.items()})
        if isinstance(command, Action):
            content = {**command.content, "event": command.event, "user": command.user}
            return self._recorded(STATION_JOURNAL, self._recorder.asked(content))
        runner = self._runners.get(command.line)
        if runner is None:
            raise ControlError(f"there is no line {command.line!r:.60}\nhint: there are {', '.join(self._runners)}")
        return self._recorded(command.line, runner.recorder.asked(_remark(command)))

    @staticmethod
    def _recorded(line: str, written: Future[int]) -> Answer:
        try:
            return Answer(line=line, sequence=written.result(RECORD_WITHIN_S))
        except (OSError, FutureTimeoutError) as error:
            raise ControlError(f"it can't be recorded: {error or 'the disk does not answer'}") from error


def _remark(command: Overrule | Note | Pin) -> dict[str, Any]:
    """Return the event that says what a user does to a product."""
    said: dict[str, Any] = {"key": command.key, "user": command.user}
    if isinstance(command, Note):
        return {"event": "note", **said, "text": command.text}
    if isinstance(command, Pin):
        said["why"] = command.why
        return {"event": "pinned", **said} if command.pinned else {"event": "unpinned", **said}
    return {
        "event": "overruled",
        **said,
        "verdict": command.verdict,
        "why": command.why,
        **({"defects": command.defects} if command.defects is not None else {}),
    }


def run_station(station: StationConfiguration, notice: Notice, kinds: Kinds | None = None) -> Mapping[str, LineRunner]:
    """Run all lines until their triggers end, or an exception (Ctrl-C, SIGTERM's) interrupts: then they are stopped.

    Return the lines as they ended. Raises ProcVisionError where one can't be started, and OSError; none runs then.
    """
    kinds = kinds if kinds is not None else Kinds.installed()
    with ExitStack() as stack:
        make_private_folder(station.data_folder)
        journal = stack.enter_context(open_journal(station.journal_folder(STATION_JOURNAL)))
        pictures = PictureStore(station.pictures_folder, station.file.pictures.queue)
        parts = {name: stack.enter_context(opened(station, line, kinds)) for name, line in station.lines.items()}
        runners = {
            name: LineRunner(station, station.lines[name], each, pictures, notice) for name, each in parts.items()
        }
        recorder = Recorder(journal, lambda _: None)
        control = ControlServer(station.data_folder, Station(runners, recorder).carry_out)
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
            control.close()
            pictures.stop()
            for runner in runners.values():
                runner.close()
            recorder.stop()
        for name, runner in runners.items():
            if runner.failed is not None:
                raise StationError(f"the line {name} ended by {runner.failed!r}") from runner.failed
        return runners
