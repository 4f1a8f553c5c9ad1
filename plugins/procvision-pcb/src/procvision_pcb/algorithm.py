"""`pcb-compare`, as the host sees it: `pre` learns a reference, `execute` compares with it.

The session's state names the reference that was learnt, by its content; the learnt form itself is kept in the process.
So no session can see another's reference, a session's end forgets it, and after a restart of the host a product is
answered with an error that says so, until its reference is learnt again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from procvision_pcb import score
from procvision_pcb.binarise import to_gray
from procvision_pcb.compare import Comparison, Reference
from procvision_pcb.errors import NotComparableError
from procvision_pcb.references import References, content_key
from procvision_pcb.topology import LABELS
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, Prepared, Session, read_image_from_shared_memory

KEPT_BYTES = 24_000_000
"""glibc's bound grows to twice this, and takes no block of 32 MiB or more into account."""
MAX_DEFECTS = 20
"""The protocol's bound on defect_rects."""
NO_REFERENCE = "1003"
NOT_COMPARABLE = "1006"
_LEARNT = "learnt_reference"


class PcbCompare(BaseAlgorithm):
    """Compares bare circuit boards with a defect-free reference."""

    def __init__(self) -> None:
        super().__init__()
        self._references = References()

    def setup(self) -> None:
        """Read the weights, and have the allocator keep what a comparison frees.

        glibc hands freed memory back to the system beyond twice the largest block that it ever got back, and takes it
        page by page again for the next picture, which costs a fifth of a comparison. One large block, never touched,
        moves that bound.
        """
        score.learnt()
        np.empty(KEPT_BYTES, np.uint8)

    def teardown(self) -> None:
        """Forgets all references."""
        self._references.clear()

    def reset(self, session: Session) -> None:
        """Forgets which reference the session learnt. Its learnt form may serve the next session."""
        session.delete(_LEARNT)

    def get_info(self) -> dict[str, Any]:
        """The manifest's facts."""
        manifest: dict[str, Any] = json.loads(Path(__file__).with_name("manifest.json").read_bytes())
        return {**manifest, "labels": list(LABELS), "references_kept": len(self._references)}

    def pre_execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Prepared | Failed:
        """Learns the picture of a defect-free board for this session.

        Returns Failed 1003 where the picture can't serve as a reference; the session then has none, also not an
        earlier one.
        """
        session.delete(_LEARNT)
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        how: dict[str, Any] = {key: user_params[key] for key in ("copper", "edge_tolerance")}
        try:
            gray = to_gray(picture, "reference")
            key = content_key(gray, how["copper"], how["edge_tolerance"])
            reference = self._references.get(key)
            known = reference is not None
            if reference is None:
                reference = Reference(gray, copper=how["copper"], edge_tolerance_px=how["edge_tolerance"])
                self._references.keep(key, reference)
        except NotComparableError as error:
            return Failed(NO_REFERENCE, str(error))
        session.set(_LEARNT, {"key": key, **how})
        if not known:
            self.logger.info("reference learnt", pid=pid, step=step_index)
        height, width = reference.shape
        return Prepared(message=f"reference of {width} x {height} px learnt", debug={"known": known})

    def execute(
        self,
        step_index: int,  # noqa: ARG002 - there is one step
        pid: str,  # noqa: ARG002 - every product is compared alike
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Ok | Ng | Failed:
        """Compare a product's picture with the session's reference.

        Returns Failed 1003 without a reference, 1006 where parameters differ from `pre`'s or the picture can't be
        compared.
        """
        learnt = session.get(_LEARNT)
        if learnt is None:
            return Failed(
                NO_REFERENCE,
                f"session {session.id!r} has learnt no reference;"
                " hint: send a defect-free board's picture with phase pre first",
            )
        for key in ("copper", "edge_tolerance"):
            if user_params[key] != learnt[key]:
                return Failed(
                    NOT_COMPARABLE,
                    f"{key} is {user_params[key]!r}, but the reference was learnt with {learnt[key]!r};"
                    " hint: send pre again with the parameters that execute is to use",
                )
        reference = self._references.get(learnt["key"])
        if reference is None:
            return Failed(
                NO_REFERENCE,
                f"session {session.id!r}: its reference is no longer kept, the host was restarted or learnt many others"
                " since; hint: send pre again",
            )
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        try:
            comparison = reference.compare(
                picture, margin_px=user_params["box_margin"], max_shift_px=user_params["max_shift"]
            )
        except NotComparableError as error:
            return Failed(NOT_COMPARABLE, str(error))
        return self._verdict(comparison, user_params["min_score"])

    def _verdict(self, comparison: Comparison, min_score: float) -> Ok | Ng:
        sure = [finding for finding in comparison.findings if finding.score >= min_score]
        self.diagnostics.publish("shift_px", round(comparison.alignment.shift_px, 2))
        self.diagnostics.publish("correlation", round(comparison.alignment.correlation, 4))
        condition = comparison.condition
        self.diagnostics.publish("edges_astray", round(condition.astray_share, 4))
        self.diagnostics.publish("edges_inward_px", round(condition.inward_px, 2))
        self.diagnostics.publish("blur_px", round(condition.sharpness.blur_px, 2))
        self.diagnostics.publish("noise", round(condition.sharpness.noise, 4))
        self.diagnostics.publish("below_min_score", len(comparison.findings) - len(sure))
        if not sure:
            unsure = f", {len(comparison.findings)} uncertain ones below min_score" if comparison.findings else ""
            return Ok(message=f"no difference from the reference{unsure}")
        self.diagnostics.publish("defects_found", len(sure))
        counts = Counter(finding.label for finding in sure)
        reason = ", ".join(f"{counts[label]} {label}" for label in LABELS if counts[label])
        defects = [
            Defect(*finding.box, label=finding.label, score=round(finding.score, 4)) for finding in sure[:MAX_DEFECTS]
        ]
        return Ng(reason, defects, message=f"{len(sure)} differences from the reference")
