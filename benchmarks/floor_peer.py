"""The other end of the floor: reads a frame, decodes it, optionally touches a picture, answers. Nothing else.

Arguments: the segment to map, or `-` for none. What touches the picture is what our benchmark's algorithm does.
"""

from __future__ import annotations

import mmap
import os
import sys

import msgspec

STRIDE = 64 * 1024


class Request(msgspec.Struct):
    """The call's fields, typed as ours are."""

    type: str
    request_id: str
    phase: str
    step_index: int
    pid: str
    session: dict[str, object]
    user_params: dict[str, object] | None = None
    shared_mem_id: str | None = None
    image_meta: dict[str, object] | None = None


def main() -> None:
    """Serve until its stdin ends."""
    decode = msgspec.json.Decoder(Request).decode
    encode = msgspec.json.Encoder().encode
    pixels = None
    if sys.argv[1] != "-":
        import numpy as np

        descriptor = os.open(sys.argv[1], os.O_RDONLY)
        pixels = np.frombuffer(mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ), np.uint8)
    while data := os.read(0, 65536):
        request = decode(memoryview(data)[4:])
        if pixels is not None:
            int(pixels[::STRIDE].sum())
        answer = encode(
            {
                "type": "result",
                "request_id": request.request_id,
                "phase": request.phase,
                "step_index": request.step_index,
                "status": "OK",
                "data": {"result_status": "OK", "debug": {"latency_ms": 0.012}},
            }
        )
        os.write(1, len(answer).to_bytes(4, "big") + answer)


main()
