"""What `procvision train surface-anomaly` runs, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from procvision_anomaly import modelfile
from procvision_anomaly.errors import AnomalyError
from procvision_anomaly.learning import GoodPicture, Settings, learnt
from procvision_sdk.manifest.parameters import EnumParameter, FloatParameter, IntParameter, StringParameter
from procvision_sdk.training import Trainer, TrainingError, TrainingPicture

_PARAMETERS = (
    StringParameter(
        key="pids",
        description='Product ids that the model is for, with commas between them; "*" for any',
        default="*",
        min_length=1,
    ),
    EnumParameter(
        key="layout",
        description="texture: any place is like any other; aligned: the same thing lies at the same place",
        choices=["texture", "aligned"],
        default="texture",
    ),
    IntParameter(
        key="working_size",
        description="Pictures are looked at with their longer side reduced to this; what then is under 2 px is lost",
        default=640,
        min=64,
        max=4096,
        unit="px",
    ),
    FloatParameter(
        key="quantile",
        description="Which share of the good pictures that had no part in learning stays under the threshold",
        default=1.0,
        min=0.5,
        max=1.0,
    ),
    FloatParameter(key="margin", description="How far above that the threshold lies", default=0.2, min=0.0, max=2.0),
    IntParameter(key="seed", description="The same seed and pictures give the same model", default=0, min=0),
)


def train(
    pictures: Sequence[TrainingPicture],
    out: Path,
    params: Mapping[str, Any],
    progress: Callable[[float, str], None],
) -> Mapping[str, Any]:
    """Learns and writes the model; tells its hashes and where its threshold comes from. Raises TrainingError."""
    settings = Settings(
        pids=tuple(pid.strip() for pid in params["pids"].split(",") if pid.strip()) or ("*",),
        layout=params["layout"],
        working_px=params["working_size"],
        quantile=params["quantile"],
        margin=params["margin"],
        seed=params["seed"],
    )
    good = [GoodPicture(one.name, one.sha256, one.pixels()) for one in pictures]
    try:
        model = learnt(good, settings, progress)
    except AnomalyError as error:
        raise TrainingError(str(error)) from error
    digest = modelfile.write(model, out)
    facts = model.facts
    return {
        "model_sha256": digest,
        "training_set_sha256": facts.training_sha256,
        "pictures": facts.pictures,
        "picture": f"{facts.width} x {facts.height} px",
        "pids": ", ".join(facts.pids),
        "threshold": round(facts.threshold.value, 4),
        "threshold_origin": facts.threshold.told(),
    }


TRAINER = Trainer(parameters=_PARAMETERS, train=train)
