"""How a session's state lies in a store: one line of text, then the JSON.

    procvision-session/1 5f3a2b1c
    {"counted": 3}

The number is the CRC-32 of the session's id and the JSON. So whatever a store does to what it was given, cuts it off,
gives it under another session's id, or still has it from another release, is an error and no state. Hosts seal and
unseal; a store keeps the bytes as they are, whatever they are.
"""

from __future__ import annotations

from zlib import crc32

from procvision_sdk.session import SessionStoreError

FORMAT = 1
_NAME = b"procvision-session/"
_BEGINNING = b"%s%d " % (_NAME, FORMAT)
_HEADER_BYTES = len(_BEGINNING) + len(b"5f3a2b1c\n")


def seal(session_id: str, state: bytes) -> bytes:
    """What a store is given to keep."""
    return b"%s%08x\n%s" % (_BEGINNING, crc32(state, crc32(session_id.encode())), state)


def unseal(session_id: str, sealed: bytes) -> bytes:
    """The state that was sealed under this id. Raises SessionStoreError for anything else than exactly that."""
    if type(sealed) is not bytes:
        raise SessionStoreError(f"the store gives {type(sealed).__name__} for {session_id[:80]!r}, not bytes")
    if not sealed.startswith(_BEGINNING):
        raise _not_ours(session_id, sealed)
    state = sealed[_HEADER_BYTES:]
    if sealed[len(_BEGINNING) : _HEADER_BYTES] != b"%08x\n" % crc32(state, crc32(session_id.encode())):
        raise SessionStoreError(
            f"the session {session_id[:80]!r} is damaged: its {len(sealed)} bytes don't match their checksum; "
            "hint: begin the inspection again under another session id, or reset the session"
        )
    return state


def _not_ours(session_id: str, sealed: bytes) -> SessionStoreError:
    version = sealed[len(_NAME) : len(_NAME) + 4].partition(b" ")[0]
    if sealed.startswith(_NAME) and version.isdigit():
        age = "an older" if int(version) < FORMAT else "a newer"
        return SessionStoreError(
            f"the session {session_id[:80]!r} was kept by {age} release (format {int(version)}, this one has {FORMAT})"
            "; hint: finish the inspection with that release, or begin it again under another session id"
        )
    return SessionStoreError(
        f"the session {session_id[:80]!r} is damaged or another program's: its {len(sealed)} bytes begin with "
        f"{sealed[:24]!r}; hint: begin the inspection again under another session id, or reset the session"
    )
