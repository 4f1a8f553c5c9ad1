"""Lines, now: once, and as a stream of events."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import ServerSentEvent

from procvision_station.web.accounts import Accounts, Role
from procvision_station.web.api.asking import Here, asked
from procvision_station.web.doors import Doors, needs
from procvision_station.web.live import MAX_STREAMS, LineBody, Live
from procvision_station.web.problems import RequestRefusedError

LiveHere = NamedDependency[SkipValidation[Live]]


@get("/lines", opt=needs(Role.VIEWER), tags=["live"], sync_to_thread=True)
def lines(live: LiveHere) -> list[LineBody]:
    """Return each line, now: its last product, the shift's counters, its health, and what is wrong."""
    with asked():
        return live.lines()


@get("/live", opt=needs(Role.VIEWER), tags=["live"], media_type="text/event-stream")
async def stream(request: Here, live: LiveHere, doors: NamedDependency[SkipValidation[Doors]]) -> ServerSentEvent:
    """Follow the lines by server-sent events: `line` has what /lines has of one, `alive` nothing.

    A slow reader gets the latest alone, without what came before it. The stream ends with the session
    or the token that opened it.
    """
    if live.streams >= MAX_STREAMS:
        raise RequestRefusedError(503, "streams", bound=MAX_STREAMS)
    return ServerSentEvent(live.stream(lambda: doors.who(request) is not None), retry_duration=2000)


@get("/names", opt=needs(Role.VIEWER), tags=["history"], sync_to_thread=False)
def names(accounts: NamedDependency[SkipValidation[Accounts]]) -> dict[str, str]:
    """Return the users' names by the ids that stand in the ledger; of a removed user there is none."""
    return dict(accounts.names())


ROUTES = (lines, stream, names)
