"""`hole-count`: as many holes as there must be, and none too small."""

from __future__ import annotations

import cv2
import numpy as np
from procvision_sdk import BaseAlgorithm, Defect, ErrorCode, Failed, Ng, Ok, read_image_from_shared_memory


class HoleCount(BaseAlgorithm):
    """Looks at one picture of a bright plate on a dark ground."""

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        """The verdict on one plate."""
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)  # H x W x 3, uint8, RGB, read-only
        plate, holes = find_plate(picture)
        if plate is None:
            return Failed(ErrorCode.INVALID_PARAMS, "there is no plate in this picture: is the light on?")

        self.diagnostics.publish("diameters", [diameter for _, diameter in holes])
        self.logger.info("measured", holes=len(holes))

        small = [
            Defect(*box, label="small-hole", score=min(1.0, 1.5 - diameter / user_params["min_diameter"]))
            for box, diameter in holes
            if diameter < user_params["min_diameter"]
        ]
        if small:
            return Ng(f"{len(small)} of {len(holes)} holes are too small", small)
        if len(holes) != user_params["holes"]:
            return Ng(f"{len(holes)} holes instead of {user_params['holes']}", [Defect(*plate, label="hole-count")])
        return Ok(message=f"{len(holes)} holes")


def find_plate(picture):
    """The plate's box (None if there is none), and for each hole its box and its diameter in pixels."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    dark, light = np.percentile(gray, (2, 98))
    if light - dark < 60:  # a threshold finds something in noise, too
        return None, []
    _, bright = cv2.threshold(gray, (dark + light) / 2, 255, cv2.THRESH_BINARY)
    contours, tree = cv2.findContours(bright, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = max((at for at in range(len(contours)) if tree[0][at][3] < 0), key=lambda at: cv2.contourArea(contours[at]))
    inner = [contours[at] for at in range(len(contours)) if tree[0][at][3] == outer]
    holes = [(cv2.boundingRect(hole), round(2 * cv2.minEnclosingCircle(hole)[1], 1)) for hole in inner]
    return cv2.boundingRect(contours[outer]), [hole for hole in holes if hole[1] > 3]
