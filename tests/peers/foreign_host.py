"""A host in nothing but the standard library, written after the reference: what a host in another language does.

It reads its picture by `pread` from the arena that it was handed, and says NG where a pixel is bright. Argument
`--no-arena` has it know nothing of arenas, as a host of last year: it reads named segments then.
"""

from __future__ import annotations

import json
import os
import struct
import sys

MAGIC = b"PVSLOT\r\n"


def arena() -> int:
    """The descriptor, -1 if there is none."""
    number, _, inode = os.environ.pop("PROCVISION_ARENA", "").partition(":")
    try:
        descriptor = int(number)
        if descriptor < 3 or os.fstat(descriptor).st_ino != int(inode):
            return -1
    except (OSError, ValueError):
        return -1
    os.set_inheritable(descriptor, False)
    return descriptor


def slot(call: dict, descriptor: int) -> tuple[int, int, int, int]:
    """Descriptor, offset, bytes and generation of the slot that a call names."""
    scheme, *parts = call["shared_mem_id"].split(":")
    if scheme == "arena" and descriptor >= 0:
        offset, length, generation = map(int, parts)
        if offset % 65536 or offset + length > os.fstat(descriptor).st_size:
            raise ValueError("no_such_image")
        return descriptor, offset, length, generation
    if scheme == "shm":
        opened = os.open(f"/dev/shm/{parts[0]}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        return opened, 0, os.fstat(opened).st_size, int(parts[1])
    raise ValueError("bad_image_id")


def brightest(call: dict, descriptor: int) -> int:
    """The brightest sample of a call's picture. Raises ValueError with a kind."""
    source, offset, length, generation = slot(call, descriptor)
    try:
        header = os.pread(source, 64, offset)
        magic, layout, _, _, at, found, width, height, size, _, _ = struct.unpack("<8sHBBIQIIQIB19x", header)
        meta = call["image_meta"]
        if magic != MAGIC or layout != 1 or at + size > length:
            raise ValueError("bad_slot")
        if found != generation or generation % 2:
            raise ValueError("stale_image")
        if (width, height) != (meta["width"], meta["height"]):
            raise ValueError("image_mismatch")
        pixels = os.pread(source, size, offset + at)
        if struct.unpack("<Q", os.pread(source, 8, offset + 16))[0] != generation:
            raise ValueError("stale_image")
        return max(pixels)
    finally:
        if source != descriptor:
            os.close(source)


def main() -> None:
    descriptor = -1 if "--no-arena" in sys.argv else arena()
    frames = os.fdopen(os.dup(1), "wb")

    def send(message: dict) -> None:
        payload = json.dumps(message).encode()
        frames.write(len(payload).to_bytes(4, "big") + payload)
        frames.flush()

    capabilities = ["pending", "arena"] if descriptor >= 0 else ["pending"]
    send({"type": "hello", "sdk_version": "1.0", "capabilities": capabilities})
    while header := sys.stdin.buffer.read(4):
        message = json.loads(sys.stdin.buffer.read(int.from_bytes(header, "big")))
        request_id = message.get("request_id")
        if message["type"] == "ping":
            send({"type": "pong", "request_id": request_id, "state": "ready"})
        elif message["type"] == "shutdown":
            send({"type": "shutdown", "status": "OK"})
            return
        elif message["type"] == "call":
            try:
                bright = brightest(message, descriptor) > 200
            except (ValueError, OSError, struct.error) as error:
                send({"type": "error", "request_id": request_id, "error_code": "1002", "message": str(error)})
                continue
            data: dict = {"result_status": "OK"}
            if bright:
                rect = {"x": 0, "y": 0, "width": 1, "height": 1, "label": "spot", "score": 0.9}
                data = {"result_status": "NG", "ng_reason": "spot", "defect_rects": [rect]}
            data["debug"] = {"scheme": message["shared_mem_id"].partition(":")[0]}
            send(
                {
                    "type": "result",
                    "request_id": request_id,
                    "phase": message["phase"],
                    "step_index": message["step_index"],
                    "status": "OK",
                    "data": data,
                }
            )


if __name__ == "__main__":
    main()
