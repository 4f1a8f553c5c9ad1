"""`surface-anomaly`, as the host sees it: a picture against a model that was learnt from good ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from procvision_anomaly.description import keep_to_one_core
from procvision_anomaly.errors import ModelError, NotInspectableError
from procvision_anomaly.models import Models
from procvision_anomaly.regions import regions
from procvision_sdk import (
    BaseAlgorithm,
    Defect,
    ErrorCode,
    Failed,
    Ng,
    Ok,
    Prepared,
    Session,
    read_image_from_shared_memory,
)

MAX_DEFECTS = 20
"""The protocol's bound on defect_rects."""
LABEL = "anomaly"


class SurfaceAnomaly(BaseAlgorithm):
    """Says what is not like the good surfaces that its model was learnt from."""

    def __init__(self) -> None:
        super().__init__()
        self._models = Models()

    def setup(self) -> None:
        """Keep the process to one core."""
        keep_to_one_core()

    def teardown(self) -> None:
        """Forget the models."""
        self._models.clear()

    def pre_execute(
        self,
        step_index: int,  # noqa: ARG002 - there is one step
        pid: str,
        session: Session,  # noqa: ARG002
        user_params: Mapping[str, Any],
        shared_mem_id: str,  # noqa: ARG002 - a model needs no picture
        image_meta: Mapping[str, Any],  # noqa: ARG002
    ) -> Prepared | Failed:
        """Read the model and the network, so that the first picture doesn't wait for them. Returns Failed 1003."""
        try:
            model, digest = self._models.get(Path(user_params["model"]), pid)
            model.prepare()
        except ModelError as error:
            return Failed(ErrorCode.ASSET_NOT_FOUND, str(error))
        facts = model.facts
        threshold = facts.threshold(user_params.get("false_alarms"))
        return Prepared(
            message=f"model of {facts.pictures} good pictures, {facts.sizes.told()}",
            debug={
                "model": digest,
                "training_set": facts.training_sha256,
                "network": facts.network,
                "threshold": round(threshold.value, 4),
                "threshold_origin": threshold.told(),
                "false_alarms_between": [round(share, 5) for share in threshold.between],
            },
        )

    def execute(
        self,
        step_index: int,  # noqa: ARG002 - there is one step
        pid: str,
        session: Session,  # noqa: ARG002
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Ok | Ng | Failed:
        """Score the picture and say where it is unlike a good one.

        Returns Failed 1003 without a model, 1006 for a picture that can't be judged by it.
        """
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        try:
            model, digest = self._models.get(Path(user_params["model"]), pid)
            score_map = model.score_map(picture)
        except ModelError as error:
            return Failed(ErrorCode.ASSET_NOT_FOUND, str(error))
        except NotInspectableError as error:
            return Failed(ErrorCode.INVALID_PARAMS, str(error))
        threshold = model.facts.threshold(user_params.get("false_alarms")).value / user_params["sensitivity"]
        score = float(score_map.max()) / threshold
        self.diagnostics.publish("model", digest[:12])
        self.diagnostics.publish("score", round(score, 4))
        height, width = picture.shape[:2]
        found = regions(score_map, threshold, width, height, user_params["min_area"])
        self.diagnostics.publish("regions", len(found))
        if not found:
            return Ok(message=f"like the good ones: {score:.2f} of the threshold")
        defects = [Defect(*one.box, label=LABEL, score=round(one.score, 4)) for one in found[:MAX_DEFECTS]]
        places = f"{len(found)} place{'s' if len(found) > 1 else ''}"
        return Ng(f"{places} unlike the good ones, the worst {found[0].peak:.2f} times the threshold", defects)
