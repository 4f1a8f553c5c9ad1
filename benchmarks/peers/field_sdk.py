"""procvision-algorithm-sdk: the field's adapter as it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.floors import payload
from benchmarks.measure import Once
from benchmarks.pictures import picture

ROOT = Path(__file__).parents[2]


@contextmanager
def calls(width: int, height: int) -> Iterator[Once]:
    """procvision-algorithm-sdk's adapter with its own shared memory, which is files."""
    from procvision_algorithm_sdk.shared_memory import write_image_array_to_shared_memory

    # Its default folder for pictures is on disk; one in memory is the kinder comparison.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.environ["PROC_SHM_DIR"] = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-m",
            "procvision_algorithm_sdk.adapter",
            "--entry",
            "benchmarks.field_algorithm:Bench",
        ]
        peer = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        reading = peer.stdout

        def receive() -> Any:
            length = int.from_bytes(reading.read(4), "big")
            return json.loads(reading.read(length))

        def send(message: dict[str, object]) -> None:
            assert peer.stdin is not None
            body = json.dumps(message).encode()
            peer.stdin.write(len(body).to_bytes(4, "big") + body)

        receive()
        send({"type": "hello", "runner_version": "1.0"})
        source = picture(width, height) if width else None
        fields = payload(width, height)
        name = str(fields.get("shared_mem_id", ""))

        def once() -> None:
            if source is not None:
                write_image_array_to_shared_memory(name, source)
            send({"type": "call", "request_id": "call-1234", "data": fields})
            answer = receive()
            if answer["status"] != "OK":
                raise RuntimeError(f"the field's SDK answered {answer}")

        try:
            yield once
        finally:
            send({"type": "shutdown"})
            peer.wait(10)
            peer.stdin.close()
            peer.stdout.close()
