"""What `procvision train surface-anomaly` runs, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from procvision_anomaly import modelfile
from procvision_anomaly.description import keep_to_one_core
from procvision_anomaly.errors import AnomalyError
from procvision_anomaly.learning import Settings, learnt
from procvision_anomaly.sizes import LEAST_SIDE_PX, MAX_WORKING_PX
from procvision_anomaly.threshold import LEAST_RATE, MOST_RATE
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
        description="aligned: what is usual is learnt for each place; texture: any place is like any other",
        choices=["aligned", "texture"],
        default="aligned",
    ),
    IntParameter(
        key="working_size",
        description="Pictures are looked at with their longer side reduced to this; what then is under 3 px is lost",
        default=320,
        min=LEAST_SIDE_PX,
        max=MAX_WORKING_PX,
        unit="px",
    ),
    FloatParameter(
        key="false_alarms",
        description="Which share of good products may be called NG; an inspection can ask for another one",
        default=0.02,
        min=LEAST_RATE,
        max=MOST_RATE,
    ),
    IntParameter(key="seed", description="The same seed and pictures give the same model", default=0, min=0),
)


def train(
    pictures: Sequence[TrainingPicture],
    out: Path,
    params: Mapping[str, Any],
    progress: Callable[[float, str], None],
) -> Mapping[str, Any]:
    """Learn and write the model; tell its hashes and where its threshold comes from. Raises TrainingError."""
    keep_to_one_core()
    settings = Settings(
        pids=tuple(pid.strip() for pid in params["pids"].split(",") if pid.strip()) or ("*",),
        layout=params["layout"],
        working_px=params["working_size"],
        false_alarms=params["false_alarms"],
        seed=params["seed"],
    )
    try:
        model = learnt(pictures, settings, progress)
    except AnomalyError as error:
        raise TrainingError(str(error)) from error
    digest = modelfile.write(model, out)
    facts, threshold = model.facts, model.facts.threshold()
    return {
        "model_sha256": digest,
        "training_set_sha256": facts.training_sha256,
        "pictures": facts.pictures,
        "picture": facts.sizes.told(),
        "looked_at": "{} x {} px".format(*facts.sizes.working_size(facts.sizes.width, facts.sizes.height)),
        "layout": facts.sizes.layout,
        "pids": ", ".join(facts.pids),
        "threshold": round(threshold.value, 4),
        "threshold_origin": threshold.told(),
        "network": facts.network,
    }


TRAINER = Trainer(parameters=_PARAMETERS, train=train)
