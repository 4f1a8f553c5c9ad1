"""Callers of every kind, and the book of what they asked for and got."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import Future
from functools import partial
from typing import Any

from procvision_runner import CallError
from procvision_runner.supervision.pool import Pool
from tests.chaos.pictures import picture, wrong
from tests.peers.background import Background

SUSPECT = "picture struck twice"
WINDOW = 12
"""Submitted calls on their way, of one caller."""


class Book:
    """Every call is entered when it is made and when it ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made = 0
        self.ends: Counter[int] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.errors: list[str] = []

    def call(self) -> int:
        with self.lock:
            self.made += 1
            return self.made

    def end(self, call: int, outcome: str, mistake: str | None = None) -> None:
        with self.lock:
            self.ends[call] += 1
            self.outcomes[outcome] += 1
            if mistake is not None:
                self.wrong.append(mistake)

    def failed(self, call: int, error: BaseException, *, in_session: bool = False) -> None:
        """Within a session that is what the protocol asks for; outside one every call is to be answered.

        But for a picture that two hosts were struck at: a supervisor holds the picture to be at fault, and says so.
        """
        cause = error.cause if isinstance(error, CallError) else repr(error)
        if not in_session and any("hosts in a row" in told for told in (str(error), *getattr(error, "__notes__", ()))):
            self.end(call, SUSPECT)
            return
        self.end(call, f"in a session: {cause}" if in_session else cause)
        with self.lock:
            if not in_session or len(self.errors) < 20:
                # Those that ought not to be come first.
                at = len(self.errors) if in_session else 0
                self.errors.insert(at, f"{type(error).__name__}: {error}"[:300])

    @property
    def unanswered(self) -> int:
        """Calls outside sessions that ended with an error."""
        return sum(
            count
            for outcome, count in self.outcomes.items()
            if outcome not in ("answered", SUSPECT) and not outcome.startswith("in a session")
        )

    @property
    def lost(self) -> int:
        return self.made - len(self.ends)

    @property
    def doubled(self) -> int:
        return sum(1 for count in self.ends.values() if count != 1)


class Load(Background):
    """Threads that call until they are told to stop."""

    def __init__(self, pool: Pool, book: Book, seed: int) -> None:
        kinds = [self._block] * 6 + [self._submit] * 2 + [self._inspect] * 4
        super().__init__(*(partial(kind, random.Random(f"{seed} {place}")) for place, kind in enumerate(kinds)))
        self._pool = pool
        self._book = book

    @staticmethod
    def _params(random_: random.Random) -> dict[str, Any]:
        return {"takes_s": random_.choice([0.0, 0.002, 0.01, 0.05])}

    def _block(self, random_: random.Random) -> None:
        """One call after the other."""
        while not self.stopping.is_set():
            pixels = picture(random_)
            call = self._book.call()
            try:
                result = self._pool.execute(pixels, pid="A", user_params=self._params(random_))
            except Exception as error:
                self._book.failed(call, error)
            else:
                self._book.end(call, "answered", wrong(result, pixels, None))

    def _submit(self, random_: random.Random) -> None:
        """A window of calls, through a slot that was lent."""
        room = threading.Semaphore(WINDOW)
        while not self.stopping.is_set():
            room.acquire()
            pixels = picture(random_)
            lease = self._pool.lend(pixels.shape[1], pixels.shape[0])
            lease.array[...] = pixels
            call = self._book.call()

            def done(future: Future[Any], call: int = call, pixels: Any = pixels) -> None:
                error = future.exception()
                if error is not None:
                    self._book.failed(call, error)
                else:
                    self._book.end(call, "answered", wrong(future.result(), pixels, None))
                room.release()

            self._pool.submit("execute", lease, pid="A", user_params=self._params(random_)).add_done_callback(done)
        for _ in range(WINDOW):
            room.acquire(timeout=60)

    def _inspect(self, random_: random.Random) -> None:
        """Sessions of three calls; one that was lost is told, and begun anew."""
        while not self.stopping.is_set():
            session = self._pool.session({"line": "3"})
            reference = picture(random_)
            phases = [("pre", reference), ("execute", picture(random_)), ("execute", picture(random_))]
            for place, (phase, pixels) in enumerate(phases):
                call = self._book.call()
                more = {"pid": "A", "session": session, "final": place == 2}
                try:
                    if phase == "pre":
                        self._pool.pre_execute(pixels, **more)
                        mistake = None
                    else:
                        result = self._pool.execute(pixels, user_params=self._params(random_), **more)
                        mistake = wrong(result, pixels, reference)
                except Exception as error:
                    self._book.failed(call, error, in_session=True)
                    break
                self._book.end(call, "answered", mistake)
