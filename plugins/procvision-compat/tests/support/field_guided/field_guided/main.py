"""An algorithm as the field writes them for SDK 0.3.x."""

from typing import Any, Dict

from procvision_algorithm_sdk import BaseAlgorithm


class FieldGuided(BaseAlgorithm):
    def __init__(self) -> None:
        super().__init__()

    def execute(self, step_index: int, step_desc: str, cur_image: Any, guide_image: Any, guide_info: Any) -> Dict[str, Any]:
        if cur_image is None or guide_image is None:
            return {"status": "ERROR", "message": "no picture", "error_code": "1002"}
        difference = abs(float(cur_image.mean()) - float(guide_image.mean()))
        if step_desc == "no status":
            return {"data": {"result_status": "OK"}}
        if step_desc == "no verdict":
            return {"status": "OK", "data": {}}
        data = {
            "result_status": "OK" if difference < 10 else "NG",
            "defect_rects": [],
            "debug": {
                "step": step_index,
                "desc": step_desc,
                "current": [list(cur_image.shape), float(cur_image.mean())],
                "guide": [list(guide_image.shape), float(guide_image.mean())],
                "labels": [one["label"] for one in guide_info],
            },
        }
        if data["result_status"] == "NG":
            data["ng_reason"] = "unlike the guide"
            data["defect_rects"] = [{"x": 0, "y": 0, "width": 4, "height": 3, "label": "unlike"}]
        return {"status": "OK", "data": data}
