"""The exit statuses of a host, after sysexits.h."""

from __future__ import annotations

CLEAN = 0
USAGE = 64
FRAMING_LOST = 65
NO_HANDSHAKE = 69
ALGORITHM_FAILED = 70
"""It could not be loaded, asked to be replaced, left without leave, or did not end in time."""
CONFIGURATION = 78
"""Unknown algorithm, bad manifest, a hook plugin that failed, a wrong configuration."""

MEANINGS = {
    CLEAN: "left cleanly",
    USAGE: "the command line is wrong",
    FRAMING_LOST: "the incoming frames could not be followed any more",
    NO_HANDSHAKE: "no handshake: the runner's hello was missing, late or of another major version",
    ALGORITHM_FAILED: "the algorithm failed to load, asked to be replaced, ended the process or did not end in time",
    CONFIGURATION: "unknown algorithm, bad manifest, a hook plugin that failed, or a wrong configuration",
}
