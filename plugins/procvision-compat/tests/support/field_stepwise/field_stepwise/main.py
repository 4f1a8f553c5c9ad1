"""An algorithm as the field writes them for SDK 0.0.x. `act` has it behave in ways that algorithms do."""

import os
import sys
from typing import Any, Dict

from procvision_algorithm_sdk import BaseAlgorithm, Diagnostics, Session, read_image_from_shared_memory
from procvision_algorithm_sdk.errors import RecoverableError
from procvision_algorithm_sdk.logger import StructuredLogger


class FieldStepwise(BaseAlgorithm):
    def __init__(self) -> None:
        super().__init__()
        self._supported_pids = ["p001", "p002"]
        self.events = []
        self.log = StructuredLogger()
        assert isinstance(self.diagnostics, Diagnostics)

    def setup(self) -> None:
        self.events.append("setup")
        self.table = open("table.txt").read().strip() if os.path.exists("table.txt") else "none"
        if os.environ.get("FIELD_SETUP_FAILS"):
            raise ValueError("no licence")

    def teardown(self) -> None:
        self.log.info("teardown was called")

    def on_step_start(self, step_index: int, session: Session, context: Dict[str, Any]) -> None:
        self.events.append(f"start {context['pid']} {context['trace_id']}")

    def on_step_finish(self, step_index: int, session: Session, result: Dict[str, Any]) -> None:
        self.events.append(f"finish {result.get('status')}")

    def reset(self, session: Session) -> None:
        self.events.append(f"reset {session.id}")

    def get_info(self) -> Dict[str, Any]:
        return {"name": "Field Stepwise", "supported_pids": self._supported_pids, "events": self.events}

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta) -> Dict[str, Any]:
        if pid not in self._supported_pids:
            return {"status": "ERROR", "message": f"unknown product {pid}", "error_code": "1001"}
        image = read_image_from_shared_memory(shared_mem_id, image_meta)
        if image is None:
            return {"status": "ERROR", "message": "no picture", "error_code": "1002"}
        session.set("mean", float(image.mean()))
        return {"status": "OK", "message": "ready", "debug": {"mean": float(image.mean())}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta) -> Dict[str, Any]:
        act = user_params.get("act", "")
        if act == "raise":
            raise RecoverableError("the lamp flickered", 3)
        if act == "print":
            print("a line on stdout", flush=True)
        image = read_image_from_shared_memory(shared_mem_id if act != "other" else "dev-shm:other", image_meta)
        mean = float(image.mean())
        self.diagnostics.publish("mean", mean)
        self.diagnostics.publish("array", image[:1, :1])
        data = {
            "result_status": "OK" if mean / 255 >= user_params.get("threshold", 0.5) else "NG",
            "defect_rects": [],
            "debug": {
                "shape": list(image.shape),
                "first": [int(value) for value in image[0, 0]],
                "step": step_index,
                "of_pre": session.get("mean"),
                "context": session.context,
                "table": self.table,
                "address": int(image.__array_interface__["data"][0]),
                "writable": bool(image.flags.writeable),
                "files": sorted(os.listdir(os.environ.get("PROC_SHM_DIR", "/nonexistent")))
                if os.environ.get("PROC_SHM_DIR")
                else [],
            },
        }
        if data["result_status"] == "NG":
            data["ng_reason"] = "too dark"
            data["defect_rects"] = [{"x": 0, "y": 0, "width": 1, "height": 1}]
        answer = {"status": "OK", "message": "", "data": data}
        if act == "no_status":
            del answer["status"]
        elif act == "no_verdict":
            del data["result_status"]
        elif act == "ok_with_defects":
            data.update(result_status="OK", defect_rects=[{"x": 0, "y": 0, "width": 1, "height": 1}])
        elif act == "ng_without_reason":
            data.update(result_status="NG", ng_reason="", defect_rects=[])
        elif act == "outside":
            data.update(result_status="NG", ng_reason="x", defect_rects=[{"x": 0, "y": 0, "width": 9999, "height": 1}])
        elif act == "not_a_dict":
            return "OK"
        elif act == "error":
            return {"status": "ERROR", "message": "the model is missing", "error_code": "1003"}
        elif act == "exit":
            sys.exit(3)
        elif act == "lose_pictures":
            folder = os.environ["PROC_SHM_DIR"]
            for name in os.listdir(folder):
                os.remove(os.path.join(folder, name))
        elif act == "draw":
            image[0, 0] = 255
        return answer
