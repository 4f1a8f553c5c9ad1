"""Writes down what it is told, one JSON object a line, with the thread that told it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from procvision_sdk.hookspecs import HookOption, hookimpl


class Watching:
    """Every observer and the wrapper."""

    @hookimpl
    def procvision_options(self):
        return [
            HookOption("path", str, help="where to write"),
            HookOption("colour", str, "red", "of nothing", choices=("red", "blue")),
            HookOption("count", int, 3, "of nothing", minimum=1),
        ]

    @hookimpl
    def procvision_configure(self, values):
        self._path = values["path"]
        self._write("configure", values=dict(values))

    @hookimpl
    def procvision_host_loaded(self, algorithm, version, process_id):
        self._write("host_loaded", algorithm=algorithm, version=version, process_id=process_id)

    @hookimpl
    def procvision_host_ready(self, algorithm, version):
        self._write("host_ready", algorithm=algorithm, version=version)

    @hookimpl
    def procvision_host_draining(self, exit_status):
        self._write("host_draining", exit_status=exit_status)

    @hookimpl
    def procvision_host_closed(self, exit_status):
        self._write("host_closed", exit_status=exit_status)

    @hookimpl
    def procvision_around_call(self, call):
        self._write("around_begins", call=call)
        outcome = yield
        self._write("around_ends", **outcome)

    @hookimpl
    def procvision_call_finished(self, call, answer, elapsed_ms):
        self._write("call_finished", call=call, answer=answer, elapsed_ms=elapsed_ms)

    @hookimpl
    def procvision_call_failed(self, call, answer, elapsed_ms):
        self._write("call_failed", call=call, answer=answer, elapsed_ms=elapsed_ms)

    @hookimpl
    def procvision_diagnostics_published(self, call, diagnostics):
        self._write("diagnostics_published", call=call, diagnostics=diagnostics)

    @hookimpl
    def procvision_session_opened(self, session_id, known):
        self._write("session_opened", session_id=session_id, known=known)

    @hookimpl
    def procvision_session_saved(self, session_id, state):
        self._write("session_saved", session_id=session_id, state=state.decode())

    @hookimpl
    def procvision_session_ended(self, session_id):
        self._write("session_ended", session_id=session_id)

    @hookimpl
    def procvision_log_record(self, record):
        self._write("log_record", record=record)

    def _write(self, hook, **values):
        with Path(self._path).open("a") as file:
            file.write(
                json.dumps({"hook": hook, "thread": threading.current_thread().name, "by": os.getpid(), **values})
                + "\n"
            )
