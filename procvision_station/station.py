"""Runs a whole station: its lines, the journal of what is of no line, and the commands that change something."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack
from typing import Any

import msgspec

from procvision_sdk.private_files import make_private_folder, sync_folder, write_private
from procvision_station.ballast import Ballast
from procvision_station.configuration.files import CHOSEN_FILE, RECIPES, ConfigurationError, read_chosen, version_of
from procvision_station.configuration.reading import StationConfiguration
from procvision_station.configuration.recipes import read_recipe
from procvision_station.control import (
    Action,
    ActivateVersion,
    Answer,
    ChangeRecipe,
    ChooseRecipe,
    Command,
    ControlError,
    ControlServer,
    DeletePictures,
    InstallVersion,
    Note,
    Overrule,
    Pin,
    Status,
    TakeBackVersion,
)
from procvision_station.heads import HeadWriter, signing
from procvision_station.inspecting import Inspector
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
from procvision_station.kinds import Kinds
from procvision_station.live_pictures import LivePictures
from procvision_station.parts import StationError, opened, opened_inspector
from procvision_station.pictures import PictureStore, encoder_warning
from procvision_station.recorder import Recorder
from procvision_station.running import LineRunner, Notice
from procvision_station.versions import UPLOADS, Versions

STATION_JOURNAL = "_station"
"""Beside the lines' journals; no line can have this name."""
LIVE = "live"
"""The folder of the last pictures, below the folder of data."""
RECORD_WITHIN_S = 10.0
"""So long a command waits for the disk."""


class Station:
    """Carries commands out on the lines that run."""

    def __init__(
        self,
        configuration: StationConfiguration,
        runners: Mapping[str, LineRunner],
        recorder: Recorder,
        opened_for: Mapping[str, ExitStack],
        pictures: PictureStore,
        live: LivePictures | None,
    ) -> None:
        self._live = live
        self._pictures, self._ballast = pictures, Ballast(configuration.data_folder)
        self._ballast.take()
        self._configuration, self._runners, self._recorder = configuration, runners, recorder
        self._changing, self._deleting = threading.Lock(), threading.Lock()
        self._remarked_at = time.monotonic()
        """When a user said last what keeps pictures: no older state of the projection deletes. Under `_deleting`."""
        self._opened_for = dict(opened_for)
        """What ends the hosts of each line's inspector."""

    def close(self) -> None:
        """End the hosts of all lines."""
        for stack in self._opened_for.values():
            stack.close()

    def carry_out(self, command: Command) -> Answer:
        """Carry a command out, and answer when it is recorded. Raises ProcVisionError and OSError."""
        if isinstance(command, Status):
            if command.watched and self._live is not None:
                self._live.watch()
            return Answer(content={name: runner.status() for name, runner in self._runners.items()})
        if isinstance(command, Action):
            content = {**command.content, "event": command.event, "user": command.user}
            return self._recorded(STATION_JOURNAL, self._recorder.asked(content))
        if isinstance(command, DeletePictures):
            with self._deleting:
                return self._delete(command)
        if isinstance(command, ChangeRecipe):
            with self._changing:
                return self._change(command)
        if isinstance(command, InstallVersion):
            return self._install_version(command)
        if isinstance(command, ActivateVersion | TakeBackVersion):
            return self._change_version(command)
        runner = self._runner(command.line)
        if isinstance(command, ChooseRecipe):
            with self._changing:
                return self._choose(command, runner)
        if isinstance(command, Note):
            return self._recorded(command.line, runner.recorder.asked(_remark(command)))
        with self._deleting:
            try:
                return self._recorded(command.line, runner.recorder.asked(_remark(command)))
            finally:
                # The projection may have been read, without it, while it was written.
                self._remarked_at = time.monotonic()

    def _runner(self, line: str) -> LineRunner:
        runner = self._runners.get(line)
        if runner is None:
            raise ControlError(f"there is no line {line!r:.60}\nhint: there are {', '.join(self._runners)}")
        return runner

    # --- pictures -------------------------------------------------------------------------------------------

    def _delete(self, command: DeletePictures) -> Answer:
        """Delete pictures: where the disk is too full for the record, the ballast makes room for it."""
        if command.as_of <= self._remarked_at:
            return Answer(content={"deleted": 0})

        def record(going: Sequence[str]) -> None:
            for line, files in command.lines.items():
                of_line = sorted(set(files) & set(going))
                if of_line:
                    self._record_somehow(line, {"event": "pictures_deleted", "files": of_line, "why": command.why})

        files = sorted({file for files in command.lines.values() for file in files})
        deleted = self._pictures.delete(files, command.as_of, record)
        self._ballast.take()
        return Answer(content={"deleted": deleted})

    def _record_somehow(self, line: str, content: Mapping[str, Any]) -> None:
        """Record also on a disk that is full, and of a line that is no more in the file. Raises OSError."""
        try:
            self._record_now(line, content)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._ballast.give_up():
                raise
            self._record_now(line, content)

    def _record_now(self, line: str, content: Mapping[str, Any]) -> None:
        if line in self._runners:
            self._runners[line].recorder.asked(content).result(RECORD_WITHIN_S)
            return
        if line not in {path.name for path in self._configuration.journals_folder.iterdir()}:
            raise ControlError(f"there is no journal of a line {line!r:.60}")
        with open_journal(self._configuration.journal_folder(line)) as journal:
            journal.append(Kind.EVENT, content)
            journal.sync()

    # --- versions -------------------------------------------------------------------------------------------

    def _versions(self) -> Versions:
        section = self._configuration.file.deployments
        if section is None:
            raise ControlError(
                "this station runs no installed versions\n"
                "hint: the table [deployments] of station.toml names their folder"
            )
        return Versions(self._configuration.folder, section)

    def _install_version(self, command: InstallVersion) -> Answer:
        """Install a bundle; what was refused is recorded, too."""
        event = self._versions().install(command, self._configuration.data_folder / UPLOADS)
        answer = self._recorded(
            STATION_JOURNAL, self._recorder.asked({**event, "user": command.user, "why": command.why})
        )
        if "reason" in event:
            raise ControlError(event["reason"])
        content = {"name": event["name"], "version": event["version"]}
        return Answer(line=answer.line, sequence=answer.sequence, content=content)

    def _change_version(self, command: ActivateVersion | TakeBackVersion) -> Answer:
        """Activate or take back; the lines' supervisors see it by themselves. What the gate refused is recorded."""
        versions = self._versions()
        said = {"user": command.user, "name": command.name, "pids": list(command.pids), "why": command.why}
        if isinstance(command, ActivateVersion):
            recipes = [runner.inspector.recipe for runner in self._runners.values()]
            event = {**said, "version": command.version, **versions.activate(command, recipes)}
        else:
            event = {**said, **versions.take_back(command)}
        answer = self._recorded(STATION_JOURNAL, self._recorder.asked(event))
        if "reason" in event:
            raise ControlError(f"{command.name}=={event['version']} is not activated: {event['reason']}")
        return Answer(line=answer.line, sequence=answer.sequence, content={"version": event["version"]})

    # --- recipes --------------------------------------------------------------------------------------------

    def _change(self, command: ChangeRecipe) -> Answer:
        folder, content = self._configuration.folder, command.text.encode("utf-8", "replace")
        path = folder / RECIPES / f"{command.recipe}.toml"
        there = version_of(path.read_bytes()) if path.is_file() else None
        if there != command.base:
            said = f"its version is {there}" if there is not None else "there is no such recipe"
            raise ControlError(
                f"{command.recipe}: the change is one of version {command.base}, and {said}\n"
                "hint: look at the recipe as it is now, and change that"
            )
        version = version_of(content)
        if version == there:
            raise ControlError(f"{command.recipe}: its text is what it was")
        affected = [name for name, runner in self._runners.items() if runner.inspector.recipe.name == command.recipe]
        if not affected:
            self._check_for_any_line(command.recipe, content)
        with ExitStack() as all_opened:
            taken = {name: self._begun(all_opened, name, command.recipe, content) for name in affected}
            remark = {"user": command.user, "why": command.why, "text": command.text}
            # On the disk before it is recorded: what is recorded then needs a rename alone.
            waiting = path.with_name(f".{path.name}.new")
            write_private(waiting, content)
            all_opened.callback(waiting.unlink, missing_ok=True)
            if not taken:
                event = {"event": "recipe_changed", "recipe": command.recipe, "recipe_version": version, **remark}
                answer = self._recorded(STATION_JOURNAL, self._recorder.asked(event))
            for name, (inspector, _) in taken.items():
                answer = self._recorded(name, self._runners[name].recorder.asked(_taken_on(inspector, remark)))
            waiting.replace(path)
            sync_folder(path.parent)
            all_opened.pop_all()
        for name, (inspector, opened_for) in taken.items():
            self._take_on(name, inspector, opened_for)
        return Answer(line=answer.line, sequence=answer.sequence, content={"version": version, "lines": affected})

    def _check_for_any_line(self, name: str, content: bytes) -> None:
        """Raise ConfigurationError where no line can run a recipe."""
        problems = []
        for line in self._configuration.lines.values():
            try:
                read_recipe(self._configuration.folder, name, line.name, line.cameras, content)
            except ConfigurationError as error:
                problems.append(error)
            else:
                return
        raise problems[0]

    def _choose(self, command: ChooseRecipe, runner: LineRunner) -> Answer:
        with ExitStack() as all_opened:
            inspector, opened_for = self._begun(all_opened, command.line, command.recipe)
            said = {"user": command.user, "why": command.why}
            answer = self._recorded(command.line, runner.recorder.asked(_taken_on(inspector, said)))
            chosen = {**read_chosen(self._configuration.folder), command.line: command.recipe}
            write_private(self._configuration.data_folder / CHOSEN_FILE, msgspec.json.encode(chosen))
            all_opened.pop_all()
        self._take_on(command.line, inspector, opened_for)
        version = inspector.recipe.version
        return Answer(line=answer.line, sequence=answer.sequence, content={"version": version, "lines": [command.line]})

    def _begun(
        self, all_opened: ExitStack, line: str, name: str, content: bytes | None = None
    ) -> tuple[Inspector, ExitStack]:
        """Start the hosts of a recipe for a line, and try them on its references, which must be OK."""
        configuration = self._configuration.lines[line]
        recipe = read_recipe(self._configuration.folder, name, configuration.name, configuration.cameras, content)
        opened_for = all_opened.enter_context(ExitStack())
        root = self._configuration.deployments_root
        inspector = opened_for.enter_context(opened_inspector(recipe, configuration, root))
        wrong = [each for each in inspector.warm_up(lambda _: None) if each["verdict"] != "OK"]
        if wrong:
            step, verdict, message = (wrong[0][key] for key in ("step", "verdict", "message"))
            raise ControlError(f"{name}: the reference of step {step + 1} would be {verdict}: {message}")
        return inspector, opened_for

    def _take_on(self, line: str, inspector: Inspector, opened_for: ExitStack) -> None:
        """Let a line go on with another recipe, and end the hosts of the one before when nothing of it is left."""
        runner = self._runners[line]
        if runner.change(inspector):
            runner.wait_for_others(inspector)
            self._opened_for[line].close()
        self._opened_for[line] = opened_for

    @staticmethod
    def _recorded(line: str, written: Future[int]) -> Answer:
        try:
            return Answer(line=line, sequence=written.result(RECORD_WITHIN_S))
        except (OSError, FutureTimeoutError) as error:
            raise ControlError(f"it can't be recorded: {error or 'the disk does not answer'}") from error


def _taken_on(inspector: Inspector, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of a line that takes a recipe on."""
    return {"event": "recipe", **inspector.described(), **said}


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


def _say_slow(notice: Notice) -> None:
    slow = encoder_warning()
    if slow is not None:
        notice(f"pictures: {slow[0]}\nhint: {slow[1]}")


def run_station(station: StationConfiguration, notice: Notice, kinds: Kinds | None = None) -> Mapping[str, LineRunner]:
    """Run all lines until their triggers end, or an exception (Ctrl-C, SIGTERM's) interrupts: then they are stopped.

    Return the lines as they ended. Raises ProcVisionError where one can't be started, and OSError; none runs then.
    """
    kinds = kinds if kinds is not None else Kinds.installed()
    with ExitStack() as stack:
        make_private_folder(station.data_folder)
        journal = stack.enter_context(open_journal(station.journal_folder(STATION_JOURNAL)))
        pictures = PictureStore(station.pictures_folder, station.file.pictures.queue)
        _say_slow(notice)
        live = LivePictures(station.data_folder / LIVE) if station.file.web is not None else None
        parts = {name: stack.enter_context(opened(station, line, kinds)) for name, line in station.lines.items()}
        runners = {
            name: LineRunner(station, station.lines[name], each, pictures, notice, live) for name, each in parts.items()
        }
        # A journal survives a power cut with all the folders that it lies in, also those that others made.
        for folder in (station.journals_folder, station.data_folder, station.folder):
            sync_folder(folder)
        recorder = Recorder(journal, lambda _: None)
        opened_for = {name: each.opened_for for name, each in parts.items()}
        commanded = Station(station, runners, recorder, opened_for, pictures, live)
        stack.callback(commanded.close)
        control = ControlServer(station.data_folder, commanded.carry_out)
        heads = station.file.heads
        if heads is not None:
            journals = {STATION_JOURNAL: journal, **{name: each.journal for name, each in parts.items()}}
            sign = signing(station.folder / heads.key)
            file, every_s = station.folder / heads.file, heads.every_minutes * 60
            writer = HeadWriter(station.file.station.name, journals, sign, file, every_s, notice)
            stack.callback(writer.close)
        threads = [threading.Thread(target=runner.run, name=f"procvision-{name}") for name, runner in runners.items()]
        for thread in threads:
            thread.start()
        try:
            # No join: one that a signal's exception interrupts takes a thread that runs for one that has ended.
            while not all(runner.ended.is_set() for runner in runners.values()):
                time.sleep(0.05)
        finally:
            for runner in runners.values():
                runner.stop()
            for runner in runners.values():
                runner.ended.wait()
            control.close()
            pictures.stop()
            if live is not None:
                live.stop()
            for runner in runners.values():
                runner.close()
            recorder.stop()
            for name, runner in runners.items():
                told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(runner.verdicts.items()))
                notice(f"{name}: {runner.verdicts.total()} products: {told or 'none'}")
        for name, runner in runners.items():
            if runner.failed is not None:
                raise StationError(f"the line {name} ended by {runner.failed!r}") from runner.failed
        return runners
