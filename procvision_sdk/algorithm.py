"""The class that a vendor writes.

A host constructs it once, calls `setup()`, then for every call `on_step_start`, `pre_execute` or `execute`, and
`on_step_finish`, all on one thread and one call at a time; `teardown()` comes last. Any of them may raise one of
`procvision_sdk.errors`: the host answers, and goes on where that makes sense.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

from procvision_sdk.cancellation import Cancellation
from procvision_sdk.diagnostics import Diagnostics
from procvision_sdk.logging import StructuredLogger
from procvision_sdk.results import Prepared, ReturnValue
from procvision_sdk.session import Session

Returned: TypeAlias = ReturnValue | dict[str, Any]


class _SessionOfTheCall:
    """`self.session`. No data descriptor: an algorithm that has an attribute of this name keeps its own."""

    def __get__(self, algorithm: BaseAlgorithm | None, owner: type[BaseAlgorithm] | None = None) -> Session | None:
        session: Session | None = vars(algorithm).get(SESSION_OF_THE_CALL) if algorithm is not None else None
        return session


SESSION_OF_THE_CALL = "_procvision_session"
"""Under which a host puts the session of the call that runs into an algorithm's attributes."""


class BaseAlgorithm(ABC):
    """Derive from it, implement `execute` and whatever else is needed, declare it in a manifest.

    A constructor of your own takes no arguments and calls `super().__init__()`.
    """

    session = _SessionOfTheCall()
    """The session of the call that runs, None between calls; an attribute of your own of this name stays yours."""

    def __init__(self) -> None:
        self.logger = StructuredLogger(f"procvision.algorithm.{type(self).__name__}")
        self.diagnostics = Diagnostics()
        self.cancellation = Cancellation()

    def setup(self) -> None:  # noqa: B027 - a hook that may stay empty
        """Load models and open devices, once, before the first call."""

    def teardown(self) -> None:  # noqa: B027
        """Give back what `setup` took, once, before the process ends."""

    def on_step_start(self, step_index: int, session: Session, context: Mapping[str, Any]) -> None:  # noqa: B027
        """Before each `pre_execute` and `execute`; `context` is the session's."""

    def on_step_finish(self, step_index: int, session: Session, result: Mapping[str, Any]) -> None:  # noqa: B027
        """After each `pre_execute` and `execute` that returned; `result` is a copy of the answer that goes out."""

    def reset(self, session: Session) -> None:  # noqa: B027
        """Forget what the algorithm keeps for this session; the session's own state is emptied after it."""

    def get_info(self) -> dict[str, Any]:
        """Return what the algorithm says of itself beside its manifest; any JSON values."""
        return {}

    def pre_execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Returned:
        """Prepare a step: calibration, a reference, a position. Returns `Prepared()` and no verdict."""
        return Prepared()

    @abstractmethod
    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Returned:
        """Inspect the picture: `Ok()`, `Ng(reason, rects)` or `Failed(code, text)`.

        `step_index` counts from 1, `pid` is the product's id, `user_params` hold every parameter of the step with
        its default filled in; the picture comes from `read_image_from_shared_memory(shared_mem_id, image_meta)`.
        """
