"""How an algorithm is called: one interface for a process, a supervised one, a pool of them and a test without any.

`AlgorithmRunner` is that interface. Its arguments are spelled out, so that an editor completes them and a type checker
refuses a misspelt one. Each class that implements it spells them alike.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from procvision_sdk.plain import plain
from procvision_sdk.wire.messages import SessionRef

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from procvision_sdk.call_result import CallResult
    from procvision_sdk.images.meta import ColorSpace
    from procvision_sdk.images.picture import Picture, Pixels

OWN_ID_BYTES = 8
"""Of a session that nobody named: no two are alike."""
InspectingPhase: TypeAlias = Literal["pre", "execute"]
"""The phases that take a picture."""


@attrs.frozen
class InspectionSession:
    """The inspection of one product: every call that names it shares the algorithm's state of it.

    `context` is what the algorithm may know of the product: a JSON object. Raises PlainValueError for any other.
    """

    id: str
    context: Mapping[str, Any] = attrs.field(factory=dict)
    reference: SessionRef = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Checked and made once: every call of the session sends the same.
        context = plain(dict(self.context), "context")
        object.__setattr__(self, "reference", SessionRef(id=self.id, context=context))


def new_session(context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
    """Return a new inspection, with an id that no other has unless one is given."""
    return InspectionSession(session_id or secrets.token_hex(OWN_ID_BYTES), dict(context or {}))


def session_ref(session: InspectionSession | str | None, *, final: bool) -> SessionRef:
    """Return a session as a call names it. None is a session of the call's own, which ends with the call."""
    if isinstance(session, InspectionSession):
        reference = session.reference
        return SessionRef(id=reference.id, context=reference.context, final=True) if final else reference
    if session is None:
        return SessionRef(id=secrets.token_hex(OWN_ID_BYTES), final=True)
    return SessionRef(id=session, final=final)


class LentPicture(Protocol):
    """Memory for one picture, from `AlgorithmRunner.lend`: write into `array`, then pass it to one call.

    A context manager: leaving it gives the memory back. It is given back when its call has ended, too.
    """

    @property
    def array(self) -> Pixels:
        """The memory, H x W x 3 uint8 or, for MONO, H x W. Raises ValueError once it was given back."""

    @property
    def color_space(self) -> ColorSpace:
        """How the channels lie in `array`."""

    @property
    def bits(self) -> int | None:
        """Of a sample; None for 8."""

    def release(self) -> None:
        """Give the memory back. A second call does nothing."""

    def __enter__(self) -> LentPicture:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the memory back."""


if TYPE_CHECKING:
    CallImage: TypeAlias = Pixels | Picture | LentPicture


@runtime_checkable
class AlgorithmRunner(Protocol):
    """One algorithm that is set up, and how it is called.

    Every method raises `RunnerStoppedError` if the runner doesn't run. A call that ends without a result raises
    `CallError`, which has a `cause` and an `error_code`. A result of status ERROR is returned.
    """

    def info(self) -> dict[str, Any]:
        """Return `manifest`, `info` (the algorithm's own) and `versions`."""

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
        """Return a new inspection, to pass to calls. `context` is what the algorithm may know of the product.

        Raises PlainValueError for a `context` that is no JSON object.
        """

    def lend(self, width: int, height: int, color_space: ColorSpace = "RGB") -> LentPicture:
        """Lend memory for a picture that isn't there yet, of `width` x `height` pixels.

        Write into its `array`, then pass it to a call: the picture is not copied. It goes back when its call has
        ended, or by `release()` if there is none.
        """

    def pre_execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> CallResult:
        """Prepare a step. The arguments are those of `execute`."""

    def execute(
        self,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> CallResult:
        """Inspect a picture and wait for the result.

        `image` is an array (H x W x 3 RGB or H x W, uint8), a `Picture`, or what `lend` gave. `pid` is the product's
        id. `step_index` counts the manifest's steps from 1. `session` is an `InspectionSession`, its id, or None for
        one that ends with this call; `final` ends the session after this call. `user_params` are the step's
        parameters by key. `camera_id` and `timestamp_ms` (Unix milliseconds) say where the picture comes from.
        `timeout_s` is how long to wait for the answer, in seconds.
        Raises TypeError or ValueError for an image that is no picture, and CallError.
        """

    def submit(
        self,
        phase: InspectingPhase,
        image: CallImage | None = None,
        *,
        pid: str,
        step_index: int = 1,
        session: InspectionSession | str | None = None,
        user_params: Mapping[str, Any] | None = None,
        final: bool = False,
        camera_id: str | None = None,
        timestamp_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> Future[CallResult]:
        """Make the same call without waiting. The Future has what `execute` or `pre_execute` returns or raises.

        Use `asyncio.wrap_future` to await it.
        """

    def reset(self, session: InspectionSession | str) -> None:
        """Let the algorithm forget a session: the next call that names it begins anew. Raises CallError."""
