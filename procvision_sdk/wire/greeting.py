"""The host's hello as bytes, from nothing but the standard library's core.

A host writes this frame before it imports the JSON codec, the algorithm or anything else that takes time, so the
frame is put together by hand here. A test holds it against the message class `wire.messages.HostHello`.
"""

from __future__ import annotations

import os

PROTOCOL_VERSION = "1.0"
"""major.minor: another major is refused by either side, another minor is talked to."""

HOST_CAPABILITIES = ("cancel", "info", "reset", "pending")
"""What this host understands beyond the outline protocol: the message `cancel`, the phases `info` and `reset`,
and several calls sent ahead of their answers."""

ARENA_CAPABILITY = "arena"
"""What a host shows that was handed an arena and reads pictures in it."""
ARENA_VARIABLE = "PROCVISION_ARENA"
"""The environment variable that tells a host its arena, as DESCRIPTOR:INODE."""
RUNNER_VARIABLE = "PROCVISION_RUNNER"
"""The environment variable that tells a host a process descriptor of its runner, as DESCRIPTOR:INODE."""

MIN_DRAIN_TIMEOUT_S, MAX_DRAIN_TIMEOUT_S = 0.1, 10.0
"""The protocol's bounds of the time after which a draining host is gone; the longest is the default."""

HEADER_BYTES = 4
_FIRST_FREE = 3
"""The first number behind those of the standard streams."""


def handed_arena() -> int:
    """Give the descriptor of the arena that this process was handed at its start; -1 if it was handed none.

    What the environment tells is a claim: something in between may have closed descriptors, and another file may have
    the number. Only what has the inode that was told, is sealed against being cut off and is open for reading alone
    will do. The environment doesn't tell it to children of this process.
    """
    # Here, since runners, which are handed none, import this module too.
    from fcntl import F_GET_SEALS, F_GETFL, F_SEAL_GROW, F_SEAL_SHRINK, fcntl

    descriptor, needed = _told_descriptor(ARENA_VARIABLE), F_SEAL_SHRINK | F_SEAL_GROW
    try:
        if (
            descriptor >= 0
            and fcntl(descriptor, F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            and fcntl(descriptor, F_GET_SEALS) & needed == needed
        ):
            return descriptor
    except OSError:
        pass
    return -1


def handed_runner() -> int:
    """Give the process descriptor of its runner that this process was handed at its start; -1 if it was handed none.

    It can be read from (poll(2)) when the runner has ended. Only what is a process descriptor will do.
    """
    descriptor = _told_descriptor(RUNNER_VARIABLE)
    if descriptor >= 0:
        try:
            facts = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
            told = os.read(facts, 4096)
            os.close(facts)
        except OSError:
            return -1
        if b"\nPid:\t" in told:
            return descriptor
    return -1


def _told_descriptor(variable: str) -> int:
    """Return the descriptor that a variable tells, taken out of the environment, if it has the inode told; else -1."""
    number, _, inode = os.environ.pop(variable, "").partition(":")
    if number.isascii() and number.isdecimal() and inode.isascii() and inode.isdecimal():
        try:
            descriptor = int(number)
            if descriptor >= _FIRST_FREE and os.fstat(descriptor).st_ino == int(inode):
                return descriptor
        except (OSError, OverflowError, ValueError):
            pass
    return -1


def quoted(text: str) -> str:
    """`text` as a JSON string, ASCII only; a lone surrogate, which no peer could read, becomes U+FFFD."""
    out = ['"']
    for char in text:
        point = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif 0x20 <= point < 0x7F:
            out.append(char)
        elif 0xD800 <= point <= 0xDFFF:
            out.append("\\ufffd")
        elif point <= 0xFFFF:
            out.append(f"\\u{point:04x}")
        else:
            point -= 0x10000
            out.append(f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}")
    out.append('"')
    return "".join(out)


def hello_frame(algorithm: str, process_id: int, *, arena: bool = False, drain_timeout_ms: int | None = None) -> bytes:
    """Return the whole frame, header included, for an algorithm named as it was asked for."""
    names = (*HOST_CAPABILITIES, ARENA_CAPABILITY) if arena else HOST_CAPABILITIES
    capabilities = ",".join(quoted(name) for name in names)
    drain = "" if drain_timeout_ms is None else f',"drain_timeout_ms":{drain_timeout_ms:d}'
    payload = (
        f'{{"type":"hello","sdk_version":"{PROTOCOL_VERSION}","capabilities":[{capabilities}],'
        f'"algorithm":{{"name":{quoted(algorithm)}}},"process_id":{process_id:d}{drain}}}'
    ).encode("ascii")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload
