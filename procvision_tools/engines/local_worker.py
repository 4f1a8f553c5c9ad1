"""A worker of the local engine: `python -m procvision_tools.engines.local_worker DESCRIPTOR`."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from procvision_tools.engines.protocol import Work, WorkError


def main(descriptor: int) -> None:
    """Open the work that comes first, then answer shards until the other end says so, or is gone."""
    pipe = Connection(descriptor)
    # What is open is left in order, also in the middle of a call.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def stop() -> bool:
        # While a shard is worked on nothing else comes but the end: a None, or that the other side is gone.
        return pipe.poll()

    with contextlib.suppress(EOFError, OSError):
        try:
            work: Work = pipe.recv()
            with work.open() as worked:
                pipe.send(("ready", None))
                while (shard := pipe.recv()) is not None:
                    result = worked(shard, stop)
                    if stop():
                        return
                    pipe.send(("done", result))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the work raises is raised where its map was called
            pipe.send(("raised", _sendable(error)))


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
