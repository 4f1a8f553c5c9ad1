"""How a session's state lies in a store: one line of text, then the JSON.

    procvision-session/2 5f3a2b1c4e6d7081920a1b2c3d4e5f60
    {"counted": 3}

The number is a MAC (keyed BLAKE2b of 16 bytes, RFC 7693) of the session's key in the store and the JSON, by a secret
that the algorithm never sees. So whatever a store does to what it was given, cuts it off, gives it under another
session's key, or still has it from another release, is an error and no state; and so is what somebody wrote there who
hasn't the secret. Hosts seal and unseal; a store keeps the bytes as they are, whatever they are.
"""

from __future__ import annotations

from procvision_sdk.session import SessionStoreError

try:
    from _blake2 import blake2b  # as `hashlib` has it, without OpenSSL, which takes longer to load
except ImportError:  # another Python
    from hashlib import blake2b

FORMAT = 2
SECRET_BYTES = 32
_NAME = b"procvision-session/"
_BEGINNING = b"%s%d " % (_NAME, FORMAT)
_MAC_BYTES = 16
_HEADER_BYTES = len(_BEGINNING) + 2 * _MAC_BYTES + 1


def seal(key: str, state: bytes, secret: bytes = b"") -> bytes:
    """Return what a store is given to keep under this key."""
    return b"".join((_BEGINNING, _mac(key, state, secret), b"\n", state))


def unseal(key: str, sealed: bytes, secret: bytes = b"") -> bytes:
    """Return the state that was sealed under this key. Raises SessionStoreError for anything else than exactly that."""
    if type(sealed) is not bytes:
        raise SessionStoreError(f"the store gives {type(sealed).__name__} for {key[:80]!r}, not bytes")
    if not sealed.startswith(_BEGINNING):
        raise _not_ours(key, sealed)
    state = sealed[_HEADER_BYTES:]
    # No secret can be found out by the time that this takes: nobody but the store could try, and it learns no time.
    if sealed[len(_BEGINNING) : _HEADER_BYTES] != _mac(key, state, secret) + b"\n":
        raise SessionStoreError(
            f"the session {key[:80]!r} is damaged, or sealed with another secret: its {len(sealed)} bytes don't match "
            "their seal; hint: give hosts that share a store one secret (PROCVISION_SESSION_KEY), or reset the session"
        )
    return state


def _mac(key: str, state: bytes, secret: bytes) -> bytes:
    name = key.encode("utf-8", "surrogatepass")
    mac = blake2b(b"%d:%s" % (len(name), name), digest_size=_MAC_BYTES, key=secret)
    mac.update(state)
    return mac.hexdigest().encode()


def _not_ours(key: str, sealed: bytes) -> SessionStoreError:
    version = sealed[len(_NAME) : len(_NAME) + 4].partition(b" ")[0]
    if sealed.startswith(_NAME) and version.isdigit():
        age = "an older" if int(version) < FORMAT else "a newer"
        return SessionStoreError(
            f"the session {key[:80]!r} was kept by {age} release (format {int(version)}, this one has {FORMAT})"
            "; hint: finish the inspection with that release, or begin it again under another session id"
        )
    return SessionStoreError(
        f"the session {key[:80]!r} is damaged or another program's: its {len(sealed)} bytes begin with "
        f"{sealed[:24]!r}; hint: begin the inspection again under another session id, or reset the session"
    )
