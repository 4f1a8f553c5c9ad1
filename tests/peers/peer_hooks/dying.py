"""A store that takes its host with it: `dying:MOMENT:PATH`, once. The file PATH.died says that it has happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from procvision_host.algorithm.sessions import WRITE_CHECK_PREFIX
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_sdk.hookspecs import hookimpl


class Dying:
    @hookimpl
    def procvision_session_stores(self):
        return {"dying": lambda text: DyingStore(*text.split(":")[1:])}


class DyingStore(SqliteSessionStore):
    def __init__(self, moment, path):
        super().__init__(Path(path))
        self._moment = moment
        self._died = Path(f"{path}.died")

    def load(self, session_id):
        self._die("before-load", session_id)
        state = super().load(session_id)
        self._die("after-load", session_id)
        return state

    def save(self, session_id, state):
        self._die("before-save", session_id)
        super().save(session_id, state)
        self._die("after-save", session_id)

    def delete(self, session_id):
        self._die("before-delete", session_id)
        super().delete(session_id)
        self._die("after-delete", session_id)

    def _die(self, moment, session_id):
        # Not at the host's start, where a session of its own proves a write.
        if session_id.startswith(WRITE_CHECK_PREFIX):
            return
        if self._moment == moment and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
