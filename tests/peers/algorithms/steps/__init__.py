"""Several steps with typed parameters, and a session that is used."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, Ok


class Steps(BaseAlgorithm):
    def get_info(self):
        return {"model": "line-finder 7"}

    def reset(self, session):
        self.logger.info(f"reset {session.id}")

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("reference", {"step": step_index, "pid": pid})
        return {"status": "OK", "data": {"calibration_rects": [{"x": 1, "y": 1, "width": 2, "height": 2}]}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        counted = session.get("counted", 0) + 1
        session.set("counted", counted)
        self.diagnostics.publish("params", user_params)
        self.diagnostics.publish("reference", session.get("reference"))
        self.diagnostics.publish("counted", counted)
        self.diagnostics.publish("context", dict(session.context))
        return Ok()
