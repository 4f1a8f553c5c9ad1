"""The exit statuses of a host, after sysexits.h."""

from __future__ import annotations

CLEAN = 0
USAGE = 64
FRAMING_LOST = 65
NO_HANDSHAKE = 69
ALGORITHM_FAILED = 70
"""It could not be loaded, asked to be replaced, left without leave, or did not end in time."""
AWAY = 75
"""What the host needs doesn't answer now, as a session store that restarts: the same launch may succeed later."""
CONFIGURATION = 78
"""Unknown algorithm, bad manifest, a hook plugin that failed, a store that refuses a write, a wrong configuration."""

MEANINGS = {
    CLEAN: "left cleanly",
    USAGE: "the command line is wrong",
    FRAMING_LOST: "the incoming frames could not be followed any more",
    NO_HANDSHAKE: "no handshake: the runner's hello was missing, late or of another version; or stdout is gone",
    ALGORITHM_FAILED: "the algorithm failed to load, asked to be replaced, ended the process or did not end in time",
    AWAY: "what the host needs is away for now, such as its session store: the same launch may succeed later",
    CONFIGURATION: "unknown algorithm, bad manifest, failed hook plugin or session store, or a wrong configuration",
}
