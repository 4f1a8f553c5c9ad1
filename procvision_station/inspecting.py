"""A recipe with its hosts: makes the calls of a product's steps, and says what they came to.

A line goes on to another recipe between two products. A product that is on its way keeps the inspector it began with.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

import attrs
from attrs import define, field, frozen

from procvision_runner import CallResult, InspectionSession, Picture, RunnerError, Supervisor
from procvision_sdk.errors import ProcVisionError
from procvision_station.configuration.recipes import Recipe, RecipeStepOf
from procvision_station.versions import told_version
from procvision_tools.hints import split_hint

WARM_UP_S = 30.0
"""For a reference at the start: a model's first call compiles and loads."""


@define
class Sessions:
    """A product's sessions, by the algorithm's name in the recipe. They live from its first step to its last."""

    key: str
    product: str
    open: dict[str, InspectionSession] = field(factory=dict)


@frozen
class Inspector:
    """A recipe, and what judges its steps. Any thread may call."""

    recipe: Recipe
    hosts: Mapping[str, Supervisor]
    """By what the recipe calls the algorithm."""
    references: Mapping[int, Picture]
    """By the step's place in the recipe."""
    followed: SimpleQueue[dict[str, Any]] = field(factory=SimpleQueue)
    """Events of its hosts that went on with another version."""

    def inspect(self, sessions: Sessions, step: int, picture: Picture, deadline: float) -> dict[str, Any]:
        """Make the calls of a step. Return what the record has of it: `verdict` is ERROR whatever went wrong."""
        try:
            return self._answer(step, self._call(sessions, step, picture, deadline))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a call is the product's ERROR
            host = self.hosts[self.recipe.steps[step].algorithm]
            return {
                **self._facts(step),
                **told_version(host.deployment),
                "verdict": "ERROR",
                "message": reason_of(error),
            }

    def warm_up(self, say: Callable[[str], None]) -> list[dict[str, Any]]:
        """Inspect each step's reference before the first product: an algorithm's first call is its slowest."""
        found = []
        for place, picture in self.references.items():
            sessions = Sessions("reference", self.recipe.product)
            answer = self.inspect(sessions, place, picture, time.monotonic() + WARM_UP_S)
            found.append({"step": place, "verdict": answer["verdict"], "message": answer["message"]})
            self.forget(sessions)
            if answer["verdict"] != "OK":
                say(f"the reference of step {place + 1} is {answer['verdict']}: {answer['message']}")
        return found

    def forget(self, sessions: Sessions) -> None:
        """End the sessions that no last call has ended: the algorithm need not keep them."""
        for algorithm, session in list(sessions.open.items()):
            with contextlib.suppress(RunnerError):
                self.hosts[algorithm].reset(session)
        sessions.open.clear()

    def described(self) -> dict[str, Any]:
        """Return what an event says of the recipe that a line runs."""
        recipe = self.recipe
        return {
            "recipe": recipe.name,
            "recipe_version": recipe.version,
            "product": recipe.product,
            "steps": [_plain(step) for step in recipe.steps],
            "hosts": {
                name: {**dict(host.info().get("versions", {})), **told_version(host.deployment)}
                for name, host in self.hosts.items()
            },
        }

    def _call(self, sessions: Sessions, step: int, picture: Picture, deadline: float) -> CallResult:
        this = self.recipe.steps[step]
        host = self.hosts[this.algorithm]
        session = sessions.open.get(this.algorithm)
        if session is None:
            session = sessions.open[this.algorithm] = host.session({"product_key": sessions.key})
        final = all(later.algorithm != this.algorithm for later in self.recipe.steps[step + 1 :])
        if this.reference is not None:
            prepared = host.pre_execute(
                self.references[step],
                pid=sessions.product,
                step_index=this.step,
                session=session,
                user_params=this.given,
                timeout_s=_left(deadline),
            )
            if prepared.status != "OK":
                return prepared
        result = host.execute(
            picture,
            pid=sessions.product,
            step_index=this.step,
            session=session,
            user_params=this.given,
            final=final,
            camera_id=this.camera,
            timeout_s=_left(deadline),
        )
        if final:
            sessions.open.pop(this.algorithm, None)
        return result

    def _answer(self, step: int, result: CallResult) -> dict[str, Any]:
        return {
            **self._facts(step),
            **told_version(result.deployment),
            "verdict": result.verdict or "ERROR",
            "message": result.message,
            "error_code": result.error_code,
            "answered_ms": round(result.elapsed_ms, 3),
            **{name: result.data[name] for name in ("ng_reason", "defect_rects", "debug") if name in result.data},
        }

    def _facts(self, step: int) -> dict[str, Any]:
        this = self.recipe.steps[step]
        return {
            "step": step,
            "camera": this.camera,
            "algorithm": this.algorithm,
            "version": this.version,
            "manifest_step": this.step,
            "parameters": dict(this.parameters),
        }


def _plain(step: RecipeStepOf) -> dict[str, Any]:
    facts = attrs.asdict(step)
    return {**facts, "reference": str(step.reference) if step.reference is not None else None}


def _left(deadline: float) -> float:
    """Return the time that is left; an answer after it would be late anyway."""
    return max(0.001, deadline - time.monotonic())


def reason_of(error: Exception) -> str:
    """Return an exception in words, on one line."""
    text = split_hint(str(error))[0] if isinstance(error, ProcVisionError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:2000]
