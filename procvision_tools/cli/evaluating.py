"""Runs a data set through hosts and makes observations of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from procvision_tools.cli.errors import usage_error
from procvision_tools.cli.hosts import Hosting, Launched, several
from procvision_tools.cli.inspecting import OF_REFERENCE, InspectionOutcome, InspectionRequest, inspect
from procvision_tools.cli.products import params_of, steps_of
from procvision_tools.datasets.samples import DatasetError
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.sweeps import THRESHOLD, Sweep, measure
from procvision_tools.names import shown

if TYPE_CHECKING:
    from pathlib import Path

    from procvision_sdk.manifest.model import Manifest
    from procvision_tools.datasets import Dataset, Sample


@frozen(kw_only=True)
class Plan:
    """How each picture is inspected."""

    algorithm: str
    pid: str | None = None
    step_index: int | None = None
    params: tuple[str, ...] = ()
    """``key=value``."""
    reference: Path | None = None
    """For samples that have none of their own."""
    bits: int | None = None
    """Of samples of 16 bits in a grey PNG, how many are used."""
    score_key: str | None = None
    """The diagnostic in which the algorithm publishes how bad a picture is; by default the manifest's."""

    def request(self, sample: Sample) -> InspectionRequest:
        """Give the inspection of a sample."""
        return InspectionRequest(
            hosting=Hosting(algorithm=self.algorithm),
            image=sample.image,
            reference=sample.reference or self.reference,
            pid=self.pid,
            step_index=self.step_index,
            params=self.params,
            bits=self.bits,
        )


def evaluate_all(
    plan: Plan,
    dataset: Dataset,
    rules: Rules,
    *,
    jobs: int = 1,
    sweep: Sweep | None = None,
    progress: Callable[[int], AbstractContextManager[Callable[[], object]]],
) -> Evaluation:
    """Inspect a data set, and again for each value of a swept parameter.

    ``progress`` is given how many inspections there will be, and gives what is called after each. Raises RunnerError,
    and CommandError for a wrong parameter, step, product id or sweep.
    """
    with several(Hosting(algorithm=plan.algorithm), jobs) as ready:
        if plan.score_key is None:
            plan = attrs.evolve(plan, score_key=ready.manifest.picture_score)
        by_parameter = sweep is not None and _is_parameter(ready.manifest, plan.step_index, sweep.key)
        if sweep is not None and by_parameter:
            _check_parameter_sweep(sweep, ready.manifest, plan)
        elif sweep is not None:
            _check_threshold_sweep(sweep, ready.manifest)
        values = sweep.values if sweep is not None and by_parameter else ()
        with progress(len(dataset.samples) * (1 + len(values))) as seen:
            main = observe(ready, plan, dataset.samples, jobs, seen)
            swept: dict[str, tuple[Sequence[Observation], Rules]] = {}
            for value in values:
                assert sweep is not None
                changed = attrs.evolve(plan, params=(*plan.params, f"{sweep.key}={value}"))
                swept[value] = (observe(ready, changed, dataset.samples, jobs, seen).observations, rules)
        manifest = ready.manifest
    if sweep is not None and not by_parameter:
        swept = {value: (main.observations, attrs.evolve(rules, threshold=float(value))) for value in sweep.values}
    return Evaluation(
        algorithm=manifest.name,
        version=manifest.version,
        dataset=dataset,
        rules=rules,
        observations=main.observations,
        params=main.params,
        pid=main.pid,
        bits=plan.bits,
        score_key=plan.score_key,
        diagnostics=manifest.diagnostics,
        jobs=jobs,
        took_s=main.took_s,
        sweep=measure(sweep.key, swept, dataset.groups) if sweep is not None else None,
    )


def _is_parameter(manifest: Manifest, step_index: int | None, key: str) -> bool:
    return any(
        parameter.key == key for step in manifest.steps if step_index in (None, step.index) for parameter in step.params
    )


def _check_parameter_sweep(sweep: Sweep, manifest: Manifest, plan: Plan) -> None:
    """Refuse a wrong value before anything is inspected. Whether a rect lies in a picture, that picture tells."""
    steps = steps_of(manifest, plan.step_index)
    for value in sweep.values:
        params_of(manifest, steps, (*plan.params, f"{sweep.key}={value}"), (sys.maxsize, sys.maxsize))


def _check_threshold_sweep(sweep: Sweep, manifest: Manifest) -> None:
    if sweep.key != THRESHOLD:
        raise usage_error(
            f"--sweep {sweep.key}: {manifest.name} has no such parameter", f"sweep one of its own, or {THRESHOLD}"
        )
    for value in sweep.values:
        try:
            good = 0 <= float(value) <= 1
        except ValueError:
            good = False
        if not good:
            raise usage_error(f"--sweep {THRESHOLD}: {value} is no score, which lies within 0..1")


@frozen(kw_only=True)
class Pass:
    """A data set inspected once."""

    observations: tuple[Observation, ...]
    """In the samples' order."""
    took_s: float
    pid: str
    params: Mapping[str, Any]
    """In force, the defaults among them."""


def observe(ready: Launched, plan: Plan, samples: Sequence[Sample], jobs: int, seen: Callable[[], object]) -> Pass:
    """Inspect all samples, ``jobs`` at a time; ``seen`` is called after each, on the caller's thread.

    Raises CommandError (exit status 64) for a wrong parameter, step or product id, and DatasetError for a picture that
    can't be read: figures of fewer pictures than there are would be taken for those of all.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(jobs, "procvision-evaluate") as executor:
        try:
            futures = [executor.submit(inspect, ready, plan.request(sample)) for sample in samples]
            by_future = dict(zip(futures, samples, strict=True))
            for future in as_completed(futures):
                _check_readable(by_future[future], future.result())
                seen()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            # The calls under way end with the hosts: nobody waits for an algorithm that may hang.
            ready.runner.stop()
            raise
    took_s = time.perf_counter() - started
    outcomes = [future.result() for future in futures]
    told = next((outcome.inspection for outcome in outcomes if outcome.session_id), outcomes[0].inspection)
    return Pass(
        observations=tuple(
            observation(sample, outcome, plan.score_key) for sample, outcome in zip(samples, outcomes, strict=True)
        ),
        took_s=took_s,
        pid=told.pid,
        params=told.params,
    )


def _check_readable(sample: Sample, outcome: InspectionOutcome) -> None:
    """Raise DatasetError, which names the picture, where it or its reference can't be read."""
    inspection = outcome.inspection
    if not outcome.damaged:
        return
    of_reference = inspection.message.startswith(OF_REFERENCE) and sample.reference is not None
    path = shown(sample.reference if of_reference and sample.reference is not None else sample.image)
    text = inspection.message if path in inspection.message else f"{path}: {inspection.message}"
    raise DatasetError(f"{text}\nhint: take it out of the data set, or save it again")


def observation(sample: Sample, outcome: InspectionOutcome, score_key: str | None) -> Observation:
    """Give what an inspection says of a sample. A published score that is no number is a failure."""
    inspection, debug = outcome.inspection, outcome.debug
    times: dict[str, float] = {}
    for name, took_ms in inspection.times_ms.items():
        phase = name.partition(" ")[0]
        times[phase] = times.get(phase, 0.0) + took_ms
    seen = Observation(
        sample=sample,
        verdict=inspection.verdict,
        findings=inspection.defects,
        failure=outcome.failure,
        message=inspection.message if inspection.verdict == "ERROR" else inspection.reason,
        truncated="truncated" in debug,
        times_ms=times,
        algorithm_ms=_number(debug.get("latency_ms")),
        debug={measured.name: measured.value for measured in inspection.measurements},
    )
    if score_key is None or inspection.verdict == "ERROR":
        return seen
    score = _number(debug.get(score_key))
    if score is None:
        published = ", ".join(sorted(debug)) or "nothing"
        return attrs.evolve(
            seen,
            verdict="ERROR",
            findings=(),
            failure="no score",
            message=f"no number was published as {score_key!r}: published was {published}",
        )
    return attrs.evolve(seen, score=score)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
