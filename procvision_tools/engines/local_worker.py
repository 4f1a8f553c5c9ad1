"""A worker of the local engine: `python -m procvision_tools.engines.local_worker DESCRIPTOR`."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from procvision_tools.engines.protocol import Work, WorkError


class _GoneError(Exception):
    """The other end is gone. Only the pipe says so: an error of the work, of whatever kind, is the work's."""


def main(descriptor: int) -> None:
    """Open the work that comes first, then answer shards until the other end says so, or is gone."""
    pipe = Connection(descriptor)
    # What is open is left in order, also in the middle of a call.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def stop() -> bool:
        # While a shard is worked on nothing else comes but the end: a None, or that the other side is gone.
        return pipe.poll()

    with contextlib.suppress(_GoneError):
        try:
            work: Work = _received(pipe)
            with work.open() as worked:
                _send(pipe, "ready", None)
                while (shard := _received(pipe)) is not None:
                    result = worked(shard, stop)
                    if stop():
                        return
                    _send(pipe, "done", result)
        except _GoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the work raises is raised where its map was called
            _send(pipe, "raised", _sendable(error))


def _received(pipe: Connection) -> Any:
    try:
        data = pipe.recv_bytes()
    except (EOFError, OSError) as error:
        raise _GoneError from error
    return pickle.loads(data)


def _send(pipe: Connection, kind: str, told: object) -> None:
    data = pickle.dumps((kind, told))
    try:
        pipe.send_bytes(data)
    except OSError as error:
        raise _GoneError from error


def _sendable(error: Exception) -> Exception:
    """Return the exception, or a `WorkError` with its trace where it can't be taken out of its pickle again."""
    try:
        copied = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception's constructor may want anything
        copied = None
    if type(copied) is type(error) and str(copied) == str(error):
        return error
    return WorkError("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
