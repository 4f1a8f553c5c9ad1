"""Sets to a known state what a process inherits besides its descriptors, whatever the one that launched it had.

A launching thread may have blocked SIGTERM, a shell in the background ignores SIGINT, a service ignores SIGCHLD, and
then children can't be waited for; a umask of 0 would let everybody write.
Warning: used before the hello: built-in modules only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:  # without the enumerations of `signal`, which take longer than all the rest
    import _signal

PRIVATE_UMASK = 0o077
LEAVING_SIGNALS = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)
"""What asks a host to leave."""
_PYTHONS_OWN = (_signal.SIGPIPE, _signal.SIGXFSZ)
"""Ignored by every Python: the call fails instead."""


def take_known_state() -> None:
    """Set signals' dispositions and mask, and the umask.

    What asks to leave stays blocked until `hear_signals`: as the first process of a container this one would never see
    what came before there was a handler.
    """
    _signal.pthread_sigmask(_signal.SIG_SETMASK, LEAVING_SIGNALS)
    for number in _signal.valid_signals():
        if _signal.getsignal(number) is _signal.SIG_IGN and number not in _PYTHONS_OWN:
            _signal.signal(number, _signal.default_int_handler if number == _signal.SIGINT else _signal.SIG_DFL)
    os.umask(PRIVATE_UMASK)


def hear_signals() -> None:
    """Block no signal any more."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def stand_in(folder: str) -> None:
    """Work in a folder; in / where it isn't there any more."""
    try:
        os.chdir(folder)
    except OSError:
        os.chdir("/")
