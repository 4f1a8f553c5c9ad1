"""The hooks an integrator may hang into a host. A hook plugin imports this module, and
of ours nothing else but what its hooks speak of: `procvision_sdk.records`, `.images`, `.session`, `.errors`.

A plugin is a module, an object or a class under the entry point group `procvision.hooks`, with functions marked
`@hookimpl` and named as the specifications below; of a class one object is made per host. An implementation may
leave out arguments that it doesn't need. There are four sorts, and `SORTS` says of each hook which it is:

*Configuration* (`procvision_options`, `procvision_configure`) runs first. *Backends* (`procvision_image_backends`,
`procvision_session_stores`) are part of the host: what they raise fails the start or the call. *Observers* only look:
each plugin's run on a thread of that plugin's own, in the order in which things happened, after the answer they tell of
was written. *Wrappers* (`procvision_around_call`) stand around a call, which waits for them.

All of them run in the host half, another process than the algorithm's: they outlive its crash, and it has nothing of
theirs.

What an observer or a wrapper raises is named in the log and counted and changes nothing; after ten failures in a row
the plugin is switched off. What it is given is its own copy: changing it changes nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import msgspec
import pluggy

from procvision_sdk.errors import ProcVisionError

if TYPE_CHECKING:
    from procvision_sdk.images.backend import ImageBackend
    from procvision_sdk.session import SessionStore

PROJECT = "procvision"
ENTRY_POINT_GROUP = "procvision.hooks"

hookspec = pluggy.HookspecMarker(PROJECT)

hookimpl = pluggy.HookimplMarker(PROJECT)

Sort: TypeAlias = Literal["configuration", "backend", "observer", "wrapper"]

REQUIRED: Any = ...
"""The default of an option that has none: the plugin is used only where a value is given."""


class HookOptionError(ProcVisionError):
    """A value that an option doesn't take; the text says where it stands, the bound and the value."""


@attrs.frozen
class HookOption:
    """One option of a hook plugin: a key of its table `[hooks.NAME]`.

    `kind` is the type of its values: str, int, float or bool. Numbers may have a least value, texts a choice.
    `hidden` says that the value names a file, or a folder, which is made if it isn't there: an algorithm that is shut
    in doesn't see what lies there.
    """

    key: str
    kind: type[str] | type[int] | type[float] | type[bool]
    default: Any = REQUIRED
    help: str = ""
    minimum: float | None = None
    choices: Sequence[str] = ()
    hidden: Literal["file", "folder"] | None = None

    @property
    def required(self) -> bool:
        """Whether the plugin can't be used without a value."""
        return self.default is REQUIRED

    def checked(self, value: Any, where: str, *, from_text: bool) -> Any:
        """`value` as this option takes it; from text, `"8"` stands for a number. Raises HookOptionError."""
        try:
            value = msgspec.convert(value, self.kind, strict=not from_text)
        except msgspec.ValidationError as error:
            raise HookOptionError(f"{where}: {error}") from None
        if self.kind is float and not isfinite(value):
            raise HookOptionError(f"{where} is {value}: it is a finite number")
        if self.minimum is not None and value < self.minimum:
            raise HookOptionError(f"{where} is {value}, it is at least {self.minimum:g}")
        if self.choices and value not in self.choices:
            raise HookOptionError(f"{where} is {value!r:.80}, known are {', '.join(self.choices)}")
        return value


# --- configuration ------------------------------------------------------------------------------------------


@hookspec
def procvision_options() -> Sequence[HookOption]:  # type: ignore[empty-body]
    """The plugin's options, which are the keys of `[hooks.NAME]`.

    Each can also be given as `--hook-option NAME.KEY=VALUE` or in the variable `PROCVISION_HOOK_NAME_KEY`.

    When: first, before the host knows whether the plugin is used; `procvision-host hooks` asks it too.
    Thread: one for all of these, in the host half. May change: nothing; it looks at nothing and opens nothing.
    Failure: the plugin is left out with the reason; if it was asked for by name the host exits 78.
    """


@hookspec
def procvision_configure(values: Mapping[str, Any]) -> None:
    """The values of the plugin's own options by key, checked and completed with the defaults.

    When: once, before any other hook but `procvision_options`, and only if the plugin is used.
    Thread: one for all of these, in the host half. May change: the plugin itself.
    Failure: the plugin is left out with the reason; if it was asked for by name the host exits 78. Where a fault is no
    reason to leave it out, the host logs a warning, which `procvision-host hooks` and `procvision doctor` show.
    """


# --- backends -----------------------------------------------------------------------------------------------


@hookspec
def procvision_image_backends() -> Mapping[str, Callable[[], ImageBackend]]:  # type: ignore[empty-body]
    """Image backends by the scheme of the ids they answer for.

    When: once, at the start; a factory is called when the first call names its scheme, `open` at every such call.
    Thread: one for all of these, in the host half. May change: the picture that a call sees; two plugins with one
    scheme are a wrong configuration.
    Failure: of the hook itself as with `procvision_configure`; of a factory or a backend fails the call with `error`
    1002, with the backend's own kind where it raises CallRefusedError, else `image_backend`.
    """


@hookspec
def procvision_session_stores() -> Mapping[str, Callable[[str], SessionStore]]:  # type: ignore[empty-body]
    """Session stores by scheme; the one that `--sessions SCHEME[:REST]` names is made with that whole text.

    When: once, at the start; the store that is chosen is made then, and used at every call with a session.
    Thread: one for all of these, in the host half. May change: the state that a call sees; two plugins with one
    scheme are a wrong configuration.
    Failure: of the hook itself as with `procvision_configure`; of the factory the host exits 78; of the store fails
    the call with `error` 9999 of kind `session_store`, or `session_in_use` where another host was faster.
    """


# --- the host's life ----------------------------------------------------------------------------------------


@hookspec
def procvision_host_loaded(algorithm: str, version: str, process_id: int, supervisor: str) -> None:
    """The configuration holds and the algorithm is found; nothing of it is imported yet.

    `supervisor` is the name of the supervisor that launched the host, "" where none did.

    When: once, first of the observers. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_host_ready(algorithm: str, version: str) -> None:
    """`setup()` is over and the host takes calls.

    When: once, unless loading failed. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_host_draining(exit_status: int) -> None:
    """The host takes no new calls; the running one still has its time. The status is what it would exit with now.

    When: once, as soon as the host was asked to leave or has to. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_host_closed(exit_status: int) -> None:
    """The last frame is written and `teardown()` has run: the last that a plugin is told.

    When: once, at an orderly end. What the plugin has not seen two seconds after that is lost, counted and named.
    Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


# --- calls --------------------------------------------------------------------------------------------------


@hookspec
def procvision_around_call(call: Mapping[str, Any]) -> Generator[None, Mapping[str, Any], None]:  # type: ignore[empty-body]
    """Wrapper: a generator that yields once. Before the yield the call is about to begin; the yield gives the outcome.

    When: the first part before every call that begins, and so it delays the answer by its own time; the second after
    the answer was written, before the next call. The outcome holds `answer` and `elapsed_ms` as in
    `procvision_call_finished`. Thread: one for all of these, in the host half. May change: nothing of the call or its
    answer.
    Failure: named in the log, counted, changes nothing; either part counts as failed if it takes longer than `slow_ms`.
    """


@hookspec
def procvision_call_finished(
    call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
) -> None:
    """A call that had begun was answered, in whatever way.

    `call` holds `phase`, `step_index`, `pid`, `session_id`, `request_id`, `context` and `final`; `answer` the frame
    as it went out, `result` and `error` alike; the time is the algorithm's, in milliseconds. `ended_at_ns` is when the
    answer had been written, in Unix nanoseconds. `procvision_sdk.records` makes one flat record of it.

    When: after the answer was written, also of the last call before a crash. One that a crash kept from being
    written may
    be told too.
    Thread: the plugin's own. May change: nothing. Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_call_failed(
    call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
) -> None:
    """The same for a call whose answer has the status ERROR: what an alarm listens to.

    When: right after `procvision_call_finished` of the same call. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_diagnostics_published(call: Mapping[str, Any], diagnostics: Mapping[str, Any], ended_at_ns: int) -> None:
    """An answer's `data.debug`: what the algorithm published or returned there, and `latency_ms`.

    When: right after `procvision_call_finished`, for an answer that has more there than `latency_ms`.
    Thread: the plugin's own. May change: nothing. Failure: named in the log, counted, changes nothing.
    """


# --- sessions -----------------------------------------------------------------------------------------------


@hookspec
def procvision_session_opened(session_id: str, known: bool) -> None:
    """This host met a session that it hadn't met, or that had ended; `known` says whether the store had a state of it.

    When: after the answer of its first call was written. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_session_saved(session_id: str, state: bytes) -> None:
    """A call changed the session's state, and the store has it. `state` is the JSON that was saved.

    When: after the call's answer was written. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


@hookspec
def procvision_session_ended(session_id: str) -> None:
    """The session is over, by a reset or a call with `final` that has its result. One that expires says nothing.

    When: after the call's answer was written. Thread: the plugin's own. May change: nothing.
    Failure: named in the log, counted, changes nothing.
    """


# --- the log ------------------------------------------------------------------------------------------------


@hookspec
def procvision_log_record(record: Mapping[str, Any]) -> None:
    """A line of the log, with the fields that it has on stderr.

    When: for every record of Python's logging from when the plugins are loaded, at the host's log level or above; not
    for foreign text, and not for what a hook plugin logs on its own thread. Thread: the plugin's own.
    May change: nothing. Failure: named in the log, counted, changes nothing.
    """


SORTS: Mapping[str, Sort] = {
    "procvision_options": "configuration",
    "procvision_configure": "configuration",
    "procvision_image_backends": "backend",
    "procvision_session_stores": "backend",
    "procvision_host_loaded": "observer",
    "procvision_host_ready": "observer",
    "procvision_host_draining": "observer",
    "procvision_host_closed": "observer",
    "procvision_around_call": "wrapper",
    "procvision_call_finished": "observer",
    "procvision_call_failed": "observer",
    "procvision_diagnostics_published": "observer",
    "procvision_session_opened": "observer",
    "procvision_session_saved": "observer",
    "procvision_session_ended": "observer",
    "procvision_log_record": "observer",
}
"""Every hook and its sort, in the order in which a host comes to them."""
