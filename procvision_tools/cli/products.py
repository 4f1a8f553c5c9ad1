"""What an algorithm's manifest leaves to choose: the product, the steps of its inspection, and their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from procvision_sdk.manifest.model import ANY_PID
from procvision_tools.cli.errors import usage_error
from procvision_tools.hints import split_hint
from procvision_tools.params import ParamTextError, parse_step_params

if TYPE_CHECKING:
    from procvision_sdk.manifest.model import Manifest, Step

UNNAMED_PRODUCT = "unnamed"
"""The product id that is sent when none is given and the algorithm takes all."""


def steps_of(manifest: Manifest, step_index: int | None) -> Sequence[Step]:
    """Give the one step that is wanted, or all in their order. Raises CommandError (exit status 64)."""
    if step_index is None:
        return sorted(manifest.steps, key=lambda step: step.index)
    step = manifest.step(step_index)
    if step is None:
        known = ", ".join(str(step.index) for step in manifest.steps)
        raise usage_error(f"{manifest.name} has no step {step_index}", f"it has {known}")
    return [step]


def pid_of(manifest: Manifest, given: str | None) -> str:
    """Give the product id to send: the given one, else the only one there is. Raises CommandError (exit status 64)."""
    declared = [pid for pid in manifest.supported_pids if pid != ANY_PID]
    if given is not None:
        if not given.strip():
            raise usage_error("--pid has no name", "the product's id; without --pid the only one there is")
        if not manifest.supports(given):
            raise usage_error(f"--pid {given}: {manifest.name} doesn't inspect it", f"it takes {', '.join(declared)}")
        return given
    if ANY_PID in manifest.supported_pids:
        return UNNAMED_PRODUCT
    if len(declared) > 1:
        raise usage_error(f"{manifest.name} inspects several products", f"--pid with one of {', '.join(declared)}")
    return declared[0]


def params_of(
    manifest: Manifest, steps: Sequence[Step], pairs: Iterable[str], size: tuple[int, int]
) -> dict[int, dict[str, Any]]:
    """Give each step's user_params from the command line's. Raises CommandError (exit status 64)."""
    try:
        return parse_step_params(manifest, [step.index for step in steps], pairs, size)
    except ParamTextError as error:
        raise usage_error(*split_hint(str(error))) from error
