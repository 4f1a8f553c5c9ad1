"""One algorithm whose parameter `does` chooses what it does: see the deeds in the modules beside this one."""

from __future__ import annotations

from algorithms.misbehaving import (
    deeds_of_failure,
    deeds_of_malice,
    deeds_of_output,
    deeds_of_process,
    deeds_of_returning,
)
from procvision_sdk import BaseAlgorithm, Prepared

DEEDS = {
    name.replace("_", "-"): function
    for module in (deeds_of_failure, deeds_of_malice, deeds_of_output, deeds_of_process, deeds_of_returning)
    for name, function in vars(module).items()
    if callable(function) and getattr(function, "__module__", None) == module.__name__
}


class Misbehaving(BaseAlgorithm):
    """Every deed takes the algorithm and its call, and returns what `execute` returns."""

    def setup(self):
        self.kept = []
        self.spoiling = []

    def on_step_finish(self, step_index, session, result):
        for spoil in self.spoiling:
            spoil(result)
        self.spoiling.clear()

    def teardown(self):
        self.logger.info("torn down")

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        if user_params["does"] == "nothing":
            return Prepared()
        return self._done(session, user_params, shared_mem_id, image_meta)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return self._done(session, user_params, shared_mem_id, image_meta)

    def _done(self, session, user_params, shared_mem_id, image_meta):
        call = {
            "session": session,
            "text": user_params["text"],
            "count": user_params["count"],
            "shared_mem_id": shared_mem_id,
            "image_meta": image_meta,
        }
        return DEEDS[user_params["does"]](self, **call)
