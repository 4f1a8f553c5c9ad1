"""The guide pictures of sessions, for adapters whose every call carries one: brought by `pre`, sent with `execute`."""

from __future__ import annotations

from collections import OrderedDict

from procvision_compat.gateway.pictures import FieldPicture

MAX_SESSIONS = 16
"""Of how many sessions guides are kept; those of the one used longest ago go first."""


class SessionGuides:
    """Files by session and step. A step without a guide of its own uses the session's last."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._kept: OrderedDict[str, dict[int, FieldPicture]] = OrderedDict()

    def keep(self, session_id: str, step_index: int, guide: FieldPicture) -> None:
        """Keep a step's guide in place of the one it had."""
        guides = self._kept.setdefault(session_id, {})
        self._kept.move_to_end(session_id)
        gone = [guides.pop(step_index)] if step_index in guides else []
        guides[step_index] = guide
        while len(self._kept) > self._max_sessions:
            gone += self._kept.popitem(last=False)[1].values()
        for picture in gone:
            picture.release()

    def of(self, session_id: str, step_index: int) -> FieldPicture | None:
        """Return the guide of a step."""
        guides = self._kept.get(session_id)
        if not guides:
            return None
        self._kept.move_to_end(session_id)
        return guides.get(step_index, next(reversed(guides.values())))

    def drop(self, session_id: str) -> None:
        """Forget a session that is over."""
        for picture in self._kept.pop(session_id, {}).values():
            picture.release()
