"""Each class is broken in a way of its own."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from procvision_host.algorithm.sessions import WRITE_CHECK_PREFIX
from procvision_sdk.hookspecs import HookOption, hookimpl


class BadSignature:
    @hookimpl
    def procvision_call_finished(self, kall):
        raise AssertionError


class Misspelt:
    @hookimpl
    def procvision_call_finnished(self, call):
        raise AssertionError


class Async:
    @hookimpl
    async def procvision_call_finished(self):
        raise AssertionError


class Generator:
    @hookimpl
    def procvision_call_finished(self):
        yield


class WrapsOthers:
    @hookimpl(wrapper=True)
    def procvision_call_finished(self):
        return (yield)


class RaisesInConfigure:
    @hookimpl
    def procvision_configure(self, values):
        raise OSError("no such queue")


class UntellableError(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


class RaisesWhatCantBeShown:
    @hookimpl
    def procvision_configure(self, values):
        raise UntellableError


class LogsMalformed:
    @hookimpl
    def procvision_configure(self, values):
        log = logging.getLogger("vendor")
        log.warning("it is %s of %s", 1)  # noqa: PLE1206
        log.warning(Untellable())
        log.warning("and this is \ud800")


class Untellable:
    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


class RaisesInOptions:
    @hookimpl
    def procvision_options(self):
        return [HookOption("a")]


class RaisesAlways:
    @hookimpl
    def procvision_host_ready(self):
        raise RuntimeError("at ready")

    @hookimpl
    def procvision_around_call(self):
        raise RuntimeError("around")
        yield

    @hookimpl
    def procvision_call_finished(self):
        raise RuntimeError("at every call")

    @hookimpl
    def procvision_session_saved(self):
        raise RuntimeError("at saved")

    @hookimpl
    def procvision_log_record(self):
        raise RuntimeError("at a record")


class RaisesSometimes:
    def __init__(self):
        self.count = 0

    @hookimpl
    def procvision_around_call(self):
        self.count += 1
        yield
        if self.count % 2:
            raise KeyError(self.count)

    @hookimpl
    def procvision_call_finished(self):
        if self.count % 3 == 0:
            raise SystemExit(3)


class BlocksFiveSeconds:
    @hookimpl
    def procvision_call_finished(self):
        time.sleep(5)


class HoldsCallsUp:
    @hookimpl
    def procvision_around_call(self):
        time.sleep(0.08)
        yield


class Waits:
    """Until a file is there; and notes beside it what it has seen."""

    @hookimpl
    def procvision_options(self):
        return [HookOption("gate", str), HookOption("part", str, choices=("observer", "wrapper"))]

    @hookimpl
    def procvision_configure(self, values):
        self._gate = Path(values["gate"])
        self._part = values["part"]

    @hookimpl
    def procvision_around_call(self):
        yield
        self._wait("wrapper")

    @hookimpl
    def procvision_call_finished(self):
        self._wait("observer")
        with self._gate.with_suffix(".seen").open("a") as file:
            file.write("call\n")

    def _wait(self, part):
        if part == self._part:
            self._gate.with_suffix(".waiting").touch()
            while not self._gate.exists():
                time.sleep(0.005)


class YieldsTwice:
    @hookimpl
    def procvision_around_call(self):
        yield
        yield


class ReturnsNoGenerator:
    @hookimpl
    def procvision_around_call(self):
        return 7


class ChangesEverything:
    @hookimpl
    def procvision_around_call(self, call):
        self._spoil(call)
        outcome = yield
        self._spoil(outcome)

    @hookimpl
    def procvision_call_finished(self, call, answer):
        self._spoil(call)
        self._spoil(answer)

    @hookimpl
    def procvision_diagnostics_published(self, call, diagnostics):
        self._spoil(diagnostics)

    @hookimpl
    def procvision_log_record(self, record):
        self._spoil(record)

    def _spoil(self, value):
        if isinstance(value, dict):
            for key in list(value):
                self._spoil(value[key])
                value[key] = "OK"
            value.clear()


class BadStores:
    """Stores and backends that fail, each in its place."""

    @hookimpl
    def procvision_session_stores(self):
        return {"failing": lambda text: FailingStore(text.partition(":")[2]), "unopenable": self._no}

    @hookimpl
    def procvision_image_backends(self):
        return {"failing": FailingBackend, "unmakeable": self._no}

    def _no(self, *_):
        raise ConnectionError("nobody there")


class FailingStore:
    """Fails once the host is ready: what proves a write at its start goes well."""

    def __init__(self, at):
        self._at = at
        self._proof = {}

    def load(self, session_id):
        return self._does("load", session_id, lambda: self._proof.get(session_id))

    def save(self, session_id, state):
        self._does("save", session_id, lambda: self._proof.update({session_id: state}))

    def delete(self, session_id):
        self._does("delete", session_id, lambda: self._proof.pop(session_id, None))

    def close(self):
        if self._at == "close":
            raise TimeoutError("close took too long")

    def _does(self, what, session_id, work):
        if session_id.startswith(WRITE_CHECK_PREFIX):
            return work()
        if self._at == what:
            raise TimeoutError(f"{what} took too long")
        return None


class FailingBackend:
    def open(self, shared_mem_id, meta):
        if "array" in shared_mem_id:
            return self
        raise TimeoutError("the picture took too long")

    def array(self):
        raise TimeoutError("the pixels took too long")

    def still_valid(self):
        pass

    def close(self):
        raise TimeoutError("the end took too long")


class SameScheme:
    @hookimpl
    def procvision_session_stores(self):
        return {"memory": lambda text: None}


class RaisesInStores:
    @hookimpl
    def procvision_session_stores(self):
        raise LookupError("no stores today")
