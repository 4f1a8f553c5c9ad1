"""Ray: an actor in a process of its own, the picture through its object store, which the actor reads without a copy."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.peers.common import answer, touched
from benchmarks.pictures import picture

STORE_BYTES = 256 * 1024 * 1024
"""Room for pictures that aren't forgotten yet; the default is a third of the machine's memory."""
SETTINGS = {
    # Nothing is sent anywhere, and no token is left in the home folder.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # Its processes start on one core here, beside all the others.
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_raylet_start_wait_time_s": "120",
}


class _Host:
    def call(self, fields: dict[str, Any], image: Any = None) -> dict[str, Any]:
        if image is not None:
            touched(image.reshape(-1))
        return answer(fields)


@contextmanager
def _ray() -> Iterator[Any]:
    """Cases that are open together have one, which the first of them ends, last. Idle it takes some 3 % of a core."""
    os.environ.update(SETTINGS)
    import ray

    if ray.is_initialized():
        yield ray
        return
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def calls(width: int, height: int) -> Iterator[Once]:
    """One actor, one call at a time."""
    with _ray() as ray:
        actor = ray.remote(_Host).options(num_cpus=0).remote()
        source = picture(width, height) if width else None
        call = payload(width, height)

        def once() -> None:
            ray.get(actor.call.remote(call) if source is None else actor.call.remote(call, source))

        yield once
        ray.kill(actor)
