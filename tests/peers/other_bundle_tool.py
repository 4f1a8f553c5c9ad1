"""Another tool for bundles, written from `docs/reference/bundles.md` alone: it knows nothing of ProcVision's code.

    python other_bundle_tool.py verify FILE KEY.pub
    python other_bundle_tool.py make FILE KEY.key NAME VERSION PLATFORM PYTHON ABI MANIFEST WHEEL…

Only Python's own library and cryptography.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

FIELDS = {"format", "distribution", "version", "target", "algorithms", "files"}
HEX64 = "[0-9a-f]{64}"


class RefusedError(Exception):
    """The bundle isn't what the reference says."""


def zip_of(files: list[tuple[str, bytes]]) -> bytes:
    """The one zip that belongs to these files."""
    body, directory = b"", b""
    for name, data in files:
        facts = struct.pack("<HHHHHLLLHH", 20, 0, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + facts
        directory += struct.pack("<HHHLL", 0, 0, 0, 0o100644 << 16, len(body)) + name.encode("ascii")
        body += b"PK\x03\x04" + facts + name.encode("ascii") + data
    end = struct.pack("<HHHHLLH", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def files_of(data: bytes) -> list[tuple[str, bytes]]:
    """The files of a zip, read from its first byte on."""
    found, at = [], 0
    while data[at : at + 4] == b"PK\x03\x04":
        size, length = struct.unpack_from("<L", data, at + 18)[0], struct.unpack_from("<H", data, at + 26)[0]
        name = data[at + 30 : at + 30 + length].decode("ascii", "replace")
        at += 30 + length
        found.append((name, data[at : at + size]))
        at += size
    return found


def verify(data: bytes, public: bytes) -> dict:
    """What `bundle.json` says. Raises RefusedError."""
    files = files_of(data)
    if [name for name, _ in files[:2]] != ["bundle.json", "bundle.sig"] or zip_of(files) != data:
        raise RefusedError("the zip is not the one that belongs to its files")
    (_, index), (_, signature) = files[:2]
    key = load_pem_public_key(public)
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    line = re.fullmatch(
        f"procvision-signature 1 ed25519 ({HEX64}) ([0-9a-f]{{128}})\n", signature.decode("ascii", "replace")
    )
    if line is None or line[1] != hashlib.sha256(raw).hexdigest():
        raise RefusedError("it isn't signed by this key")
    try:
        key.verify(bytes.fromhex(line[2]), index)
    except InvalidSignature:
        raise RefusedError("its signature is another one's") from None
    said = json.loads(index)
    if said["format"] != 1 or not FIELDS <= said.keys() <= FIELDS | {"also"}:
        raise RefusedError("bundle.json has other fields")
    listed = [(file["path"], file["sha256"], file["bytes"]) for file in said["files"]]
    if listed != [(name, hashlib.sha256(held).hexdigest(), len(held)) for name, held in files[2:]]:
        raise RefusedError("a file is not the one that is listed")
    return said


def make(secret: bytes, index: dict, files: list[tuple[str, bytes]]) -> bytes:
    """A signed bundle."""
    listed = [{"path": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files]
    data = json.dumps({"format": 1, **index, "files": listed}).encode()
    key = load_pem_private_key(secret, None)
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    line = f"procvision-signature 1 ed25519 {hashlib.sha256(raw).hexdigest()} {key.sign(data).hex()}\n"
    return zip_of([("bundle.json", data), ("bundle.sig", line.encode()), *files])


def main(what: str, file: str, key: str, *more: str) -> None:
    if what == "verify":
        said = verify(Path(file).read_bytes(), Path(key).read_bytes())
        print(f"{said['distribution']}=={said['version']}")
        return
    name, version, platform, python, abi, manifest, *wheels = more
    path = f"manifests/{name}.json"
    held = [(path, Path(manifest).read_bytes()), *((f"wheels/{Path(w).name}", Path(w).read_bytes()) for w in wheels)]
    index = {
        "distribution": name, "version": version, "target": {"platform": platform, "python": python, "abi": abi},
        "algorithms": [{"name": name, "version": version, "manifest": path}],
    }  # fmt: skip
    Path(file).write_bytes(make(Path(key).read_bytes(), index, held))


if __name__ == "__main__":
    main(*sys.argv[1:])
