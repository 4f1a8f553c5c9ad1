"""What a cell has of its own, where nothing that is asked for needs a host half."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from procvision_host.algorithm.sessions import GuardedSessions, Sessions
    from procvision_host.halves.cell import Records, RemoteSessions
    from procvision_host.halves.table_sessions import TableSessions
    from procvision_host.process.channels import HostEnds
    from procvision_sdk.images.backend import ImageBackend
    from procvision_sdk.wire.messages import AnyMessage, Call, Error, Result

    Answered = Callable[[Call, AnyMessage, float], None]


class Alone:
    """Sessions and pictures of the cell's own; nobody observes and nobody wraps."""

    failed: tuple[str, str, str, int, bool] | None = None
    """What is wrong with the host half's configuration: code, kind, text, exit status, whether it may be over soon."""
    records: Records | None = None
    """Where observers are told of calls; None where none listens."""
    wraps_calls = False
    """Whether wrappers have to see every call before it begins."""

    def __init__(self, ends: HostEnds) -> None:
        self._ends = ends
        self._memory: dict[str, Any] = {}
        """How much of this process's memory sessions may take, and for how long."""

    def image_backends(self) -> dict[str, Callable[[], ImageBackend]]:
        """Return the backends' factories by scheme."""
        from procvision_host.builtin.arena_images import ArenaImages
        from procvision_host.builtin.posix_images import PosixImages
        from procvision_sdk.images.layout import ARENA_SCHEME, SCHEME

        backends: dict[str, Callable[[], ImageBackend]] = {SCHEME: PosixImages}
        if self._ends.arena >= 0:
            backends[ARENA_SCHEME] = partial(ArenaImages, self._ends.arena_descriptor)
        return backends

    def sessions(self, max_bytes: int) -> RemoteSessions | TableSessions | GuardedSessions:
        """Return the sessions, which are in this process's own memory."""
        from procvision_host.algorithm.sessions import GuardedSessions
        from procvision_host.builtin.memory_store import MemorySessionStore

        return GuardedSessions(MemorySessionStore(**self._memory), max_bytes)

    def observed(self, sessions: Sessions) -> Sessions:
        """Return the same sessions."""
        return sessions

    def tell(self, hook: str, **values: Any) -> None:
        """Tell nobody."""

    def draining(self, exit_status: int) -> None:
        """Tell observers that the drain began."""
        self.tell("procvision_host_draining", exit_status=exit_status)

    def around(self, run: Callable[[Call], Result | Error]) -> Callable[[Call], Result | Error]:
        """Return `run` itself: no wrapper comes before it."""
        return run

    def after(self, answered: Answered) -> Answered:
        """Return `answered` itself: no wrapper comes after it."""
        return answered
