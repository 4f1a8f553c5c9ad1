"""The hooks an integrator may hang into a host. A hook plugin imports this module and nothing else of ours.

A plugin is a module or an object under the entry point group `procvision.hooks`, with functions marked `@hookimpl`
and named as the specifications below. An implementation may leave out arguments that it doesn't need.

*Backends* (`procvision_image_backends`, `procvision_session_stores`) are part of the host: what they raise fails
the start or the call. *Observers* (the rest) only look: each runs after the answer was written, and one that
raises is named in the log and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from procvision_sdk.images.backend import ImageBackend
    from procvision_sdk.session import SessionStore

PROJECT = "procvision"
ENTRY_POINT_GROUP = "procvision.hooks"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def procvision_image_backends() -> Mapping[str, Callable[[], ImageBackend]]:  # type: ignore[empty-body]
    """Image backends by the scheme of the ids they answer for; each is made when its scheme is first used.

    When: once, at the start, on the main thread.
    """


@hookspec
def procvision_session_stores() -> Mapping[str, Callable[[str], SessionStore]]:  # type: ignore[empty-body]
    """Session stores by scheme; the one that `--sessions SCHEME[:REST]` names is made with that whole text.

    When: once, at the start, on the main thread.
    """


@hookspec
def procvision_host_ready(algorithm: str, version: str) -> None:
    """Observer: `setup()` is over and the host takes calls. On the main thread."""


@hookspec
def procvision_call_finished(call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float) -> None:
    """Observer: a call was answered; the answer is already written. On the main thread, before the next call.

    `call` holds `phase`, `step_index`, `pid`, `session_id`, `request_id` and `context`; `answer` the frame as it
    went out, `result` and `error` alike. Both are the observer's own to keep and must not be changed.
    """


@hookspec
def procvision_host_closing(exit_status: int) -> None:
    """Observer: the last call is answered and `teardown()` has run. On the main thread, within the drain's time."""
