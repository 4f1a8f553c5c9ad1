"""Runs a data set through hosts and makes observations of it: an engine's workers, each with a host of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from procvision_tools.cli.errors import CommandError, usage_error
from procvision_tools.cli.hosts import Hosting, Launched, kept_alive
from procvision_tools.cli.inspecting import OF_REFERENCE, InspectionOutcome, InspectionRequest, inspect
from procvision_tools.cli.products import params_of, steps_of
from procvision_tools.datasets.samples import DatasetError
from procvision_tools.engines.protocol import Done
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.names import shown

if TYPE_CHECKING:
    from pathlib import Path

    from procvision_sdk.manifest.model import Manifest
    from procvision_tools.datasets import Dataset, Sample
    from procvision_tools.engines.protocol import Engine, Stop, Worked
    from procvision_tools.evaluation.evaluated import Evaluation
    from procvision_tools.evaluation.sweeps import Sweep, SweepResult

MAX_SHARD = 8
"""Samples that a worker is given at once: at 20 ms each it asks six times a second."""
SHARDS_A_WORKER = 8


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
            repeatable=False,
        )


def evaluate_all(
    plan: Plan,
    dataset: Dataset,
    rules: Rules,
    *,
    engine: Engine | None = None,
    jobs: int = 1,
    sweep: Sweep | None = None,
    progress: Callable[[int], AbstractContextManager[Callable[[], object]]],
) -> Evaluation:
    """Inspect a data set, and again for each value of a swept parameter.

    Without an ``engine`` of ``jobs`` workers it is done here. ``progress`` is given how many inspections there will be,
    and gives what is called after each. Raises RunnerError, EngineError,
    and CommandError for a wrong parameter, step, product id or sweep.
    """
    if engine is not None and sweep is None:
        # No host is launched only to tell what the algorithm declares: each worker's knows it.
        with progress(len(dataset.samples)) as seen:
            passes = _mapped(engine, jobs, [plan], dataset.samples, seen)
        return _evaluation(plan, dataset, rules, jobs, passes[0], passes[0].manifest)
    with kept_alive(_hosting(plan.algorithm)) as ready:
        manifest = ready.manifest
        by_parameter = sweep is not None and _is_parameter(manifest, plan.step_index, sweep.key)
        if sweep is not None and by_parameter:
            _check_parameter_sweep(sweep, manifest, plan)
        elif sweep is not None:
            _check_threshold_sweep(sweep, manifest)
        values = sweep.values if sweep is not None and by_parameter else ()
        key = "" if sweep is None else sweep.key
        plans = [plan, *(attrs.evolve(plan, params=(*plan.params, f"{key}={value}")) for value in values)]
        count = len(dataset.samples) * len(plans)
        if engine is None:
            with progress(count) as seen:
                passes = [_pass([observe(ready, each, dataset.samples, lambda: False, seen)]) for each in plans]
    if engine is not None:
        # The host that told its manifest is gone: it would take memory, and each worker has its own.
        with progress(count) as seen:
            passes = _mapped(engine, jobs, plans, dataset.samples, seen)
    main = passes[0]
    swept: dict[str, tuple[Sequence[Observation], Rules]] = {
        value: (each.observations, rules) for value, each in zip(values, passes[1:], strict=True)
    }
    if sweep is not None and not by_parameter:
        swept = {value: (main.observations, attrs.evolve(rules, threshold=float(value))) for value in sweep.values}
    swept_measured = None
    if sweep is not None:
        from procvision_tools.evaluation.sweeps import measure

        swept_measured = measure(sweep.key, swept, dataset.groups)
    return _evaluation(plan, dataset, rules, jobs, main, manifest, swept_measured)


def _evaluation(
    plan: Plan,
    dataset: Dataset,
    rules: Rules,
    jobs: int,
    main: Pass,
    manifest: Manifest,
    sweep: SweepResult | None = None,
) -> Evaluation:
    from procvision_tools.evaluation.evaluated import Evaluation  # numpy, which no worker needs

    return Evaluation(
        algorithm=manifest.name,
        version=manifest.version,
        dataset=dataset,
        rules=rules,
        observations=main.observations,
        params=main.params,
        pid=main.pid,
        bits=plan.bits,
        score_key=plan.score_key or manifest.picture_score,
        diagnostics=manifest.diagnostics,
        jobs=jobs,
        took_s=main.took_s,
        sweep=sweep,
    )


def _hosting(algorithm: str) -> Hosting:
    return Hosting(algorithm=algorithm, log_level="warning", one_thread=True)


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
    from procvision_tools.evaluation.sweeps import THRESHOLD

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
            raise usage_error(f"--sweep {THRESHOLD}: {value} is no score, which lies within 0..1", "0.1:0.9:0.1")


@frozen(kw_only=True)
class Pass:
    """A data set inspected once."""

    observations: tuple[Observation, ...]
    """In the samples' order."""
    took_s: float
    pid: str
    params: Mapping[str, Any]
    """In force, the defaults among them."""
    manifest: Manifest
    """What the algorithm declares."""


@frozen
class Seen:
    """What a worker gives for a shard, with when it began and ended by the machine's clock."""

    observations: tuple[Observation, ...]
    pid: str
    params: Mapping[str, Any]
    told: bool
    """Whether an inspection came so far that product id and parameters are those in force."""
    began_s: float
    ended_s: float
    manifest: Manifest
    """What the algorithm declares, as the worker's host told it."""


@frozen
class Observing:
    """The work: an algorithm's host, and shards of a plan with some of its samples."""

    algorithm: str

    @contextmanager
    def open(self) -> Iterator[Worked]:
        """Launch a host. Raises RunnerError."""
        with kept_alive(_hosting(self.algorithm)) as ready:
            yield lambda shard, stop: observe(ready, shard[0], shard[1], stop)


def observe(
    ready: Launched, plan: Plan, samples: Sequence[Sample], stop: Stop, seen: Callable[[], object] = lambda: None
) -> Seen:
    """Inspect samples one after the other; ``seen`` is called after each.

    Raises CommandError (exit status 64) for a wrong parameter, step or product id, and DatasetError for a picture that
    can't be read: figures of fewer pictures than there are would be taken for those of all.
    """
    began_s = time.monotonic()
    outcomes: list[InspectionOutcome] = []
    for sample in samples:
        if stop():
            break
        outcomes.append(inspect(ready, plan.request(sample)))
        _check_readable(sample, outcomes[-1])
        seen()
    told = next((outcome for outcome in outcomes if outcome.session_id), None)
    first = (told or outcomes[0]).inspection if outcomes else None
    score_key = plan.score_key or ready.manifest.picture_score
    return Seen(
        tuple(observation(sample, outcome, score_key) for sample, outcome in zip(samples, outcomes, strict=False)),
        "" if first is None else first.pid,
        {} if first is None else first.params,
        told is not None,
        began_s,
        time.monotonic(),
        ready.manifest,
    )


def _mapped(
    engine: Engine, jobs: int, plans: Sequence[Plan], samples: Sequence[Sample], seen: Callable[[], object]
) -> list[Pass]:
    """Let an engine's workers inspect: all passes as one map, so that hosts stay warm from one to the next."""
    size = max(1, min(MAX_SHARD, len(samples) // (SHARDS_A_WORKER * jobs)))
    shards = [(plan, samples[at : at + size]) for plan in plans for at in range(0, len(samples), size)]
    found: list[Seen | None] = [None] * len(shards)
    with engine:
        for outcome in engine.map(Observing(plans[0].algorithm), shards, threading.Event()):
            if not isinstance(outcome, Done):
                name = shards[outcome.number][1][0].name
                raise CommandError(f"{name} and those after it can't be inspected: {outcome.reason}")
            found[outcome.number] = outcome.result
            for _ in shards[outcome.number][1]:
                seen()
    whole = [each for each in found if each is not None]
    each_pass = len(shards) // len(plans)
    return [_pass(whole[at : at + each_pass]) for at in range(0, len(shards), each_pass)]


def _pass(parts: Sequence[Seen]) -> Pass:
    told = next((part for part in parts if part.told), parts[0])
    return Pass(
        observations=tuple(observation for part in parts for observation in part.observations),
        took_s=max(part.ended_s for part in parts) - min(part.began_s for part in parts),
        pid=told.pid,
        params=told.params,
        manifest=told.manifest,
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
