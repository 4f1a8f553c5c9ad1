"""`procvision-host`: takes the descriptors, says hello, then imports the rest.

Kept free of imports on purpose: from its start to its hello a host does what is in this file, `channels` and
`greeting`, and nothing else.
"""

from __future__ import annotations

import os
import sys

MAX_NAME_LENGTH = 4096
"""A name may be a path; a longer one is a mistake."""


def given(arguments: list[str], option: str) -> list[str]:
    """Return the values that a command line gives an option, in order.

    The hello can't wait for click, which parses the whole line later and says what is wrong with it.
    """
    found = []
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            found.append(argument[len(option) + 1 :])
        elif argument == option and place + 1 < len(arguments):
            found.append(arguments[place + 1])
    return found


def asked_for(arguments: list[str]) -> str | None:
    """Return the algorithm that a command line asks to run; None if it asks for something else."""
    if not {"-h", "--help", "--version"}.isdisjoint(arguments):
        return None
    return next(iter(given(arguments, "--algo")), None)


def drain_timeout_s(arguments: list[str]) -> float:
    """Return what a command line gives as `--drain-timeout-s`; the default where it gives nothing that will do."""
    from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S, MIN_DRAIN_TIMEOUT_S

    found = MAX_DRAIN_TIMEOUT_S
    for text in given(arguments, "--drain-timeout-s"):
        try:
            timeout_s = float(text)
        except ValueError:
            continue
        if MIN_DRAIN_TIMEOUT_S <= timeout_s <= MAX_DRAIN_TIMEOUT_S:
            found = timeout_s
    return found


def main() -> None:
    """Run the console script."""
    arguments = sys.argv[1:]
    name = asked_for(arguments)
    if not name or len(name) > MAX_NAME_LENGTH or os.isatty(0) or os.isatty(1):
        from procvision_host.process.packages import add_folders, become_whole

        if arguments[:1] == ["confined"]:
            add_folders()  # no code of any package runs before the program is shut in
        else:
            become_whole()
        from procvision_host.cli import main as command_line

        command_line()
        return

    from procvision_host.halves.asked import host_half_is_asked_for
    from procvision_host.process.channels import HELLO_NOTICE, GuardianEnds, split
    from procvision_host.process.known_state import take_known_state
    from procvision_host.process.shared_page import SharedPage
    from procvision_sdk.wire.greeting import hello_frame

    take_known_state()
    board = SharedPage()
    drain_s = drain_timeout_s(arguments)
    platform_python = next(iter(given(arguments, "--platform-python")), None)
    ring = None
    if host_half_is_asked_for(arguments, os.environ):
        from procvision_host.halves.ring import Ring

        ring = Ring()

    def run_guardian(host: int, ends: GuardianEnds) -> None:
        from procvision_host.process.guardian import guard

        strict = given(arguments, "--isolation")[-1:] == ["strict"]
        guard(host, ends, board, arguments, ring, drain_s, platform_python, strict=strict)

    ends = split(run_guardian, private=ring is not None)
    try:
        drain_ms = int(drain_s * 1000)
        os.write(ends.frames_out, hello_frame(name, os.getpid(), arena=ends.arena >= 0, drain_timeout_ms=drain_ms))
    except BrokenPipeError:
        board.leaves()
        os._exit(69)
    os.write(ends.notices, HELLO_NOTICE)

    import gc

    gc.disable()  # until the algorithm is imported: what is imported until then stays for the process's life
    from procvision_host.process.variables import forget_what_the_host_was_told, named_variables

    forget_what_the_host_was_told(name, named_variables(given(arguments, "--env")))
    from procvision_host.process.packages import add_folders, leave_platform

    if platform_python is not None:
        leave_platform()
    added = add_folders()
    from procvision_host.run import run

    run(arguments, name, ends, board, ring, added, drain_s)


if __name__ == "__main__":
    main()
