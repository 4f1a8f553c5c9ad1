"""Algorithms of SDK 0.0.x: `pre_execute` and `execute` take a product, a session, parameters and a picture's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procvision_compat.errors import FieldPackageError
from procvision_compat.field_sdk.session import Session as FieldSession
from procvision_compat.wrapped import Wrapped
from procvision_sdk import Session

_METHODS = ("get_info", "pre_execute", "execute")


class StepwiseAlgorithm(Wrapped):
    """Calls the field algorithm with a session of its SDK's kind, whose state is the host's and is kept by it."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        missing = [name for name in _METHODS if not callable(getattr(inner, name, None))]
        if missing:
            raise FieldPackageError(f"{type(inner).__qualname__} doesn't implement {', '.join(missing)}")

    def reset(self, session: Session) -> None:
        """The field algorithm's."""
        self._call_if_there("reset", FieldSession.of(session))

    def pre_execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        """The field algorithm's, between its `on_step_start` and `on_step_finish`."""
        return self._step(self._inner.pre_execute, step_index, pid, session, user_params, shared_mem_id, image_meta)

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        """The field algorithm's, between its `on_step_start` and `on_step_finish`."""
        return self._step(self._inner.execute, step_index, pid, session, user_params, shared_mem_id, image_meta)

    def _step(
        self,
        method: Any,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        known = FieldSession.of(session)
        # Here and not in our own on_step_start: the field's is told the product.
        self._call_if_there("on_step_start", step_index, known, {"pid": pid, "trace_id": known.context.get("trace_id")})
        answer = self._answer(method, step_index, pid, known, dict(user_params), shared_mem_id, dict(image_meta))
        self._call_if_there("on_step_finish", step_index, known, answer if isinstance(answer, dict) else {})
        return answer
