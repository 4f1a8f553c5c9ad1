"""Capabilities given up, also those that a program would get when it is started by root (capabilities(7))."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct

from procvision_host.sandbox.kernel import give_up_new_privileges, prctl, system_call

_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 24, 28, 47
_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64
_NOTHING_BY_ROOT = 0x2F | 0xC0
"""NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off and NO_CAP_AMBIENT_RAISE, each locked."""


def drop_capabilities() -> None:
    """Leave this thread, and what it starts, without any. Root is then a user like others. Raises OSError.

    Without CAP_SETPCAP, as for an ordinary user, the bounding set stays: with no_new_privs nobody gets anything by it.
    """
    give_up_new_privileges()
    for number in range(_MOST_CAPABILITIES):
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):
                break
            raise
    with contextlib.suppress(OSError):
        prctl(_PR_SET_SECUREBITS, _NOTHING_BY_ROOT)
    with contextlib.suppress(OSError):
        prctl(_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0), 8)
    system_call("capset", header, ctypes.create_string_buffer(24))
