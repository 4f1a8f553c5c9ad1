"""Runs a host's process from after its hello to its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NoReturn

import msgspec

from procvision_host import exits
from procvision_host.conversation.main_loop import Loop
from procvision_host.life import AlgorithmLife
from procvision_host.logs import HOST_LOGGER, LogContext, install
from procvision_host.options import HostOptions, WrongCommandLineError, parse
from procvision_host.process.packages import become_whole
from procvision_host.process.setup import leave, prepare, watch_forks
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.tables import Role

if TYPE_CHECKING:
    from procvision_host.halves.ring import Ring
    from procvision_host.process.channels import HostEnds
    from procvision_host.process.shared_page import SharedPage
    from procvision_host.sandbox.refusals import Refusals

_log = logging.getLogger(HOST_LOGGER)


def run(
    arguments: list[str],
    name: str,
    ends: HostEnds,
    board: SharedPage,
    ring: Ring | None,
    added: Collection[str],
    drain_timeout_s: float,
) -> NoReturn:
    """The whole life of a cell; `ring` is what it shares with a host half that does more than guard.

    `added` are the folders of packages on its path. Code that these have Python run at its start runs when the cell is
    shut in, not before. `drain_timeout_s` is what its hello told.
    """
    prepare(ends)
    usage: str | None = None
    try:
        # Those are the host half's.
        options = msgspec.structs.replace(parse(arguments), sessions=None, hook_option=())
    except WrongCommandLineError as error:
        usage = f"{str(error).rstrip('.')}; hint: procvision-host --help"
        options = HostOptions(algo=name)
    arguments.clear()
    context = LogContext()
    install(ends, options.algo, context, options.log_level, board.line_dropped)
    connection = Connection(
        Role.HOST,
        now=time.monotonic(),
        max_frame_bytes=options.max_frame_bytes,
        max_pending=options.max_pending,
        handshake_timeout_s=options.handshake_timeout_s,
    )
    connection.hello_was_written()
    loop = Loop(
        ends,
        connection,
        board,
        shutdown_grace_s=options.shutdown_grace_s,
        drain_timeout_s=drain_timeout_s,
    )
    if usage is not None:
        _log.error("wrong command line: %s", usage)
        loop.loading_failed(ErrorCode.CONFIGURATION_INVALID, "usage", usage, exits.USAGE)
        leave(loop.close(), board)
    refusals = None
    if options.isolation != "off":
        options, refusals = _shut_in(options, ends, loop, asks=ring is not None)
        if refusals is None:
            leave(loop.close(), board)
    watch_forks(loop.became_copy)
    try:
        become_whole(added)
        AlgorithmLife(options, loop, context, ends, ring, refusals).live()
        status = loop.close()
    except BaseException as error:  # noqa: BLE001 - a fault of ours; threads of the vendor's must not keep us here
        _log.critical("the host failed", exc_info=error)
        status = exits.ALGORITHM_FAILED
    leave(status, board)


def _shut_in(options: HostOptions, ends: HostEnds, loop: Loop, *, asks: bool) -> tuple[HostOptions, Refusals | None]:
    """Shut the cell in. Return the options with all grants, and what tells of refusals; None if the host has to leave.

    `asks` says whether there is a host half that knows of a configuration.
    """
    channel = None
    if asks:
        from procvision_host.halves.messages import CellChannel

        channel = CellChannel(ends)
        channel.begin("grants" if options.isolation == "strict" else "hidden")
    from procvision_host.sandbox.cell import shut_in
    from procvision_host.sandbox.grants import GrantError, named_in_configuration

    hidden: Sequence[str] = ()
    try:
        if channel is not None and options.isolation == "strict":
            more = named_in_configuration(channel.grants())
            options = msgspec.structs.replace(options, grant=tuple(dict.fromkeys((*options.grant, *more))))
        elif channel is not None:
            hidden = channel.hidden()
        outcome = shut_in(options, ends, hidden)
    except GrantError as error:
        _log.error("%s", error)
        status = exits.AWAY if error.retryable else exits.CONFIGURATION
        loop.loading_failed(error.error_code, "configuration", str(error), status, retryable=error.retryable)
        return options, None
    if outcome.unhidden is not None:
        _log.warning(
            "isolation basic: %s; what hooks and stores keep in files is in the algorithm's reach", outcome.unhidden
        )
    if outcome.shared is not None:
        _log.warning("isolation strict: %s; multiprocessing's locks and queues can't be made", outcome.shared)
    missing = outcome.missing
    for lacking in missing:
        _log.warning("isolation %s: %s", options.isolation, lacking)
    if missing and options.isolation_missing == "error":
        text = (
            f"{missing[0]}; hint: procvision-host isolation tells what there is, --isolation-missing warn goes on "
            "without it, --isolation off without all of it"
        )
        loop.loading_failed(ErrorCode.CONFIGURATION_INVALID, "configuration", text, exits.CONFIGURATION)
        return options, None
    return options, outcome.refusals
