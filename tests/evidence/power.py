"""What power cuts leave of a whole station: strace notes what its processes write and sync; every prefix is replayed.

What was synced before the cut is there. Any other write is there wholly, in part or not at all, whatever came later;
the same holds for names until their folder was synced, for a folder's own name, too. A verdict counts as told when its
write to the output's file began.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field, frozen

from procvision_station.journal.audit import audit
from procvision_station.journal.reading import ReadRecord, read_journal
from procvision_station.journal.writer import Journal, JournalError
from tests.evidence.held import LINES, HeldStation

UNIT = str(Path(__file__).parents[1] / "unit" / "station")
if UNIT not in sys.path:
    sys.path.append(UNIT)

from power_cut import RecordedDisk  # noqa: E402

CALLS = (
    "openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat,writev,pwritev,pwritev2,sendfile,copy_file_range"
)
STRACE = ("strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o")
_BEGUN = re.compile(r"(\d+)\s+(\w+)\((.*?)(?:\)\s+= (-?\d+)(.*)| <unfinished \.\.\.>)$", re.DOTALL)
_RESUMED = re.compile(r"(\d+)\s+<\.\.\. (\w+) resumed>.*= (-?\d+)(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"^(\w+)<((?:\\x[0-9a-f]{2})*)>")


@define
class Call:
    """A system call that changed something, with the places in the trace where it began and had returned."""

    name: str
    paths: tuple[str, ...]
    begun: int
    ended: int = sys.maxsize
    data: bytes = b""
    offset: int = -1
    creates: bool = False
    result: int = 0
    node: int = -1
    """Of the file, once `with_nodes` has followed the names."""


def calls(trace: Iterable[str]) -> Iterator[Call]:
    """Yield the calls of a trace that succeeded, in the order in which they began."""
    found: list[Call] = []
    waiting: dict[str, Call] = {}
    for place, line in enumerate(trace):
        resumed = _RESUMED.match(line)
        if resumed is not None:
            call = waiting.pop(resumed[1], None)
            if call is not None:
                call.ended, call.result = place, int(resumed[3])
            continue
        begun = _BEGUN.match(line)
        call = _call(begun[2], begun[3], place) if begun is not None else None
        if begun is None or call is None:
            continue
        if begun[4] is None:
            waiting[begun[1]] = call
        else:
            call.ended, call.result = place, int(begun[4])
        found.append(call)
    yield from (call for call in found if call.result >= 0)


def _call(name: str, arguments: str, place: int) -> Call | None:
    texts = [bytes.fromhex(each[1].replace("\\x", "")) for each in _TEXT.finditer(arguments)]
    assert not any(each[2] for each in _TEXT.finditer(arguments)), "a write was noted in part"
    descriptor = _DESCRIPTOR.match(arguments)
    of = bytes.fromhex(descriptor[2].replace("\\x", "")).decode() if descriptor is not None else ""
    if name in ("write", "pwrite64"):
        offset = int(arguments.rpartition(", ")[2]) if name == "pwrite64" else -1
        return Call(name, (of,), place, data=texts[-1] if texts else b"", offset=offset)
    if name in ("fsync", "fdatasync"):
        return Call("sync", (of,), place)
    if name == "ftruncate":
        return Call(name, (of,), place, offset=int(arguments.rpartition(", ")[2]))
    if name == "openat":
        if "O_CREAT" not in arguments and "O_TRUNC" not in arguments:
            return None
        return Call(name, (_absolute(of, texts[0]),), place, creates="O_CREAT" in arguments)
    if name in ("mkdir", "mkdirat"):
        return Call("mkdir", (_absolute(of, texts[0]),), place)
    if name in ("unlink", "unlinkat"):
        return Call("unlink", (_absolute(of, texts[0]),), place)
    if name.startswith("rename"):
        return Call("rename", tuple(_absolute(of, text) for text in texts[:2]), place)
    if name == "fallocate":
        return None  # a ballast's room: nothing is read from it
    raise AssertionError(f"nobody thought of {name}({arguments[:200]})")


def _absolute(at: str, path: bytes) -> str:
    return os.path.normpath(Path(at) / path.decode("utf-8", "surrogateescape"))


# --- what a cut leaves ----------------------------------------------------------------------------------------


@define
class Trace:
    """The calls below a station's folder, with the files that they are of."""

    folder: str
    calls: list[Call]
    told: list[tuple[int, str, str, str]] = field(factory=list)
    """Where it was told, the line, the key, and the verdict."""
    last_place: int = 0

    @classmethod
    def of(cls, folder: Path, trace: Iterable[str]) -> Trace:
        """Read a trace of a station whose folder of data was not there before."""
        made = cls(str(folder), [])
        nodes: dict[str, int] = {}
        for call in calls(trace):
            made.last_place = max(made.last_place, call.begun)
            if call.paths != (str(folder),) and not call.paths[0].startswith(f"{folder}/"):
                continue
            name = Path(call.paths[0]).name
            if name.startswith("told-"):
                made._note_told(call, name.removeprefix("told-").removesuffix(".jsonl"))
            elif call.name == "sync" or call.paths[0].startswith(f"{folder}/data"):
                made._follow(call, nodes)
        return made

    def _note_told(self, call: Call, line: str) -> None:
        for text in call.data.splitlines() if call.name == "write" else ():
            said = json.loads(text)
            self.told.append((call.begun, line, said["key"], said["verdict"]))

    def _follow(self, call: Call, nodes: dict[str, int]) -> None:
        """Give a call the file that its path names at that time."""
        path = call.paths[0]
        place = len(self.calls)
        if call.name in ("mkdir", "openat"):
            if path in nodes:
                return  # it was there, and is not cut: nothing of ours opens so
            nodes[path] = call.node = place
        elif call.name == "rename":
            if path not in nodes:
                return
            call.node = nodes[call.paths[1]] = nodes.pop(path)
        elif call.name == "unlink":
            if path not in nodes:
                return
            call.node = nodes.pop(path)
        else:
            call.node = nodes.get(path, -1)
            assert call.node >= 0 or call.name == "sync", f"{call.name} of {path}, which nobody made"
        self.calls.append(call)


@define
class _Content:
    """A file's writes in their order. The first ones are certain: a sync that began after them had returned."""

    calls: list[Call] = field(factory=list)
    certain: int = 0
    held: bytearray = field(factory=bytearray)
    """What the certain ones made."""
    frozen: bytes | None = None
    """The same, while nothing changes it."""

    def settle(self, synced: int) -> None:
        while self.certain < len(self.calls) and self.calls[self.certain].ended < synced:
            _change(self.held, self.calls[self.certain], 1.0)
            self.certain, self.frozen = self.certain + 1, None

    def after_cut(self, synced: int, rng: random.Random) -> bytes:
        """Return what is there: each write that is not certain came wholly, in part or not at all."""
        if self.certain == len(self.calls):
            if self.frozen is None:
                self.frozen = bytes(self.held)
            return self.frozen
        held = bytearray(self.held)
        for call in self.calls[self.certain :]:
            _change(held, call, 1.0 if call.ended < synced else rng.choice((0, 1, rng.random())))
        return bytes(held)


@define
class _Names:
    """What happened to the names of one folder, likewise."""

    calls: list[Call] = field(factory=list)
    certain: int = 0

    def settle(self, synced: int, names: dict[str, int]) -> None:
        while self.certain < len(self.calls) and self.calls[self.certain].ended < synced:
            _rename(names, self.calls[self.certain])
            self.certain += 1


class Left:
    """What a power cut left: files by their path below the station's folder."""

    def __init__(self, cuts: Cuts, names: dict[str, int], rng: random.Random) -> None:
        self._cuts, self._names, self._rng = cuts, names, rng
        self._read: dict[int, bytes] = {}

    def file(self, path: str) -> bytes | None:
        """Return what is in a file; None where there is none."""
        whole = f"{self._cuts.folder}/{path}"
        node = self._names.get(whole, -1)
        if node < 0 or node in self._cuts.folders:
            return None
        while (whole := whole.rpartition("/")[0]) != self._cuts.folder:
            if whole not in self._names:
                return None
        if node not in self._read:
            self._read[node] = self._cuts.content(node, self._rng)
        return self._read[node]

    def below(self, path: str) -> dict[str, bytes]:
        """Return the files right below a folder, by name."""
        begins = f"{self._cuts.folder}/{path}/"
        names = [name.removeprefix(begins) for name in self._names if name.startswith(begins)]
        found = {name: self.file(f"{path}/{name}") for name in names if "/" not in name}
        return {name: data for name, data in found.items() if data is not None}


class Cuts:
    """Cuts of the power, one after the other: what is certain once stays so, and is computed once."""

    def __init__(self, trace: Trace) -> None:
        self.folder = trace.folder
        self.folders: set[int] = set()
        """Those nodes that are no files."""
        self._calls = deque(sorted(trace.calls, key=lambda call: call.begun))
        self._syncs = deque(sorted((call for call in trace.calls if call.name == "sync"), key=lambda call: call.ended))
        self._synced: dict[int, int] = {}  # node -> where the last whole sync of it began
        self._synced_names: dict[str, int] = {}
        self._contents: dict[int, _Content] = {}
        self._in_folders: dict[str, _Names] = {}
        self._names: dict[str, int] = {}

    def at(self, place: int, rng: random.Random) -> Left:
        """Return what a cut right before `place` may leave. Places never go back."""
        while self._calls and self._calls[0].begun < place:
            self._take(self._calls.popleft())
        while self._syncs and self._syncs[0].ended < place:
            self._settle(self._syncs.popleft())
        names = dict(self._names)
        for folder, changed in self._in_folders.items():
            synced = self._synced_names.get(folder, -1)
            for call in changed.calls[changed.certain :]:
                if call.ended < synced or rng.random() < 0.5:
                    _rename(names, call)
        return Left(self, names, rng)

    def content(self, node: int, rng: random.Random) -> bytes:
        """Return what a cut at this place may leave of a file."""
        written = self._contents.get(node)
        return written.after_cut(self._synced.get(node, -1), rng) if written is not None else b""

    def _take(self, call: Call) -> None:
        if call.name in ("write", "pwrite64", "ftruncate"):
            self._contents.setdefault(call.node, _Content()).calls.append(call)
        elif call.name != "sync":
            if call.name == "mkdir":
                self.folders.add(call.node)
            self._in_folders.setdefault(str(Path(call.paths[-1]).parent), _Names()).calls.append(call)

    def _settle(self, sync: Call) -> None:
        self._synced[sync.node] = max(self._synced.get(sync.node, -1), sync.begun)
        self._synced_names[sync.paths[0]] = max(self._synced_names.get(sync.paths[0], -1), sync.begun)
        if sync.node in self._contents:
            self._contents[sync.node].settle(self._synced[sync.node])
        if sync.paths[0] in self._in_folders:
            self._in_folders[sync.paths[0]].settle(self._synced_names[sync.paths[0]], self._names)


def _rename(names: dict[str, int], call: Call) -> None:
    """Do to names what a call does."""
    # The old name may have been lost with its creation: the file is there under its new one all the same.
    names.pop(call.paths[0], None)
    if call.name != "unlink":
        names[call.paths[-1]] = call.node


def _change(held: bytearray, call: Call, share: float) -> None:
    if call.name == "ftruncate":
        if share > 0.5:
            del held[call.offset :]
            held.extend(bytes(call.offset - len(held)))
        return
    data = call.data[: call.result][: round(call.result * share)]
    offset = call.offset if call.offset >= 0 else len(held)  # `write` here is to a file that is written from its start
    if data:
        held.extend(bytes(max(0, offset + len(data) - len(held))))
        held[offset : offset + len(data)] = data


# --- what it is held to ---------------------------------------------------------------------------------------


@frozen
class PowerCuts:
    """A station that ran under strace, and is cut off at every place of the trace. `station` says which evidence."""

    station: HeldStation
    seed: int
    _known: dict[str, tuple[Any, _Ledger]] = field(factory=dict, init=False, repr=False)

    def run(self, seconds: float, fates: int) -> dict[str, Any]:
        """Let it run so long, then judge each prefix with so many fates of what was not synced."""
        trace_file = self.station.folder / "trace.txt"
        with self.station.running(prefix=(*STRACE, str(trace_file))) as strace:
            self.station.wait_for_more()
            time.sleep(seconds)
            (process,) = psutil.Process(strace.pid).children()
            process.terminate()
            ended = strace.wait(180)
        with trace_file.open() as lines:
            trace = Trace.of(self.station.folder, lines)
        report = {"calls": len(trace.calls), "told": len(trace.told), "ended": ended, "cuts": 0}
        wrong: Counter[str] = Counter()
        rng, cuts = random.Random(self.seed), Cuts(trace)
        places = sorted({at for call in trace.calls for at in (call.begun, call.ended + 1)} | {trace.last_place + 1})
        for place in places:
            for _ in range(fates):
                report["cuts"] += 1
                wrong.update(self._judge(trace, place, cuts.at(place, rng)))
        verdicts = Counter(f"told_{verdict}" for _, _, _, verdict in trace.told)
        return {**report, **verdicts, "wrong": [f"{count} times: {what}" for what, count in wrong.most_common(20)]}

    def _judge(self, trace: Trace, place: int, left: Left) -> Iterator[str]:
        for line in LINES:
            files = left.below(f"data/journal/{line}")
            files.pop("lock", None)
            ledger = self._ledger(line, files)
            yield from (f"{line}: {what}" for what in ledger.wrong)
            for at, of, key, verdict in trace.told:
                if of == line and at < place and verdict != "ERROR" and ledger.recorded.get(key) != verdict:
                    yield f"{line}: {verdict} was told, recorded is {ledger.recorded.get(key)}"
            for file in ledger.pictures:
                if not _is_whole(file, left.file(f"data/pictures/{file}") or b""):
                    yield f"{line}: a picture that was recorded is not there"

    def _ledger(self, line: str, files: dict[str, bytes]) -> _Ledger:
        """Read a journal as the next start does. Most cuts leave the one that another left."""
        known = tuple(sorted(files.items()))
        if self._known.get(line, (None, None))[0] != known:
            self._known[line] = (known, _read(RecordedDisk(files), first=self.station.evidence == "first"))
        return self._known[line][1]


@define
class _Ledger:
    """What a journal says after a cut, and what is wrong with it."""

    wrong: list[str] = field(factory=list)
    recorded: dict[str, str] = field(factory=dict)
    """What was told at last, by product."""
    pictures: set[str] = field(factory=set)
    """Files that are there, as it says."""


def _read(disk: RecordedDisk, *, first: bool) -> _Ledger:
    ledger = _Ledger()
    try:
        Journal(disk).close()  # the next start
    except (JournalError, OSError) as error:
        ledger.wrong.append(f"the next start fails: {str(error).splitlines()[0]}")
        return ledger
    if audit(disk).first_break is not None:
        ledger.wrong.append("the chain is broken")
    pictures: set[tuple[str, int]] = set()
    for each in read_journal(disk):
        assert isinstance(each, ReadRecord)
        content = each.content()
        if content.get("event") == "picture":
            pictures.add((content["key"], content["step"]))
            ledger.pictures.add(content["file"])
        elif content.get("event") == "pictures_deleted":
            ledger.pictures -= set(content["files"])
        elif "event" not in content:
            if content["key"] in ledger.recorded and "steps" in content:
                ledger.wrong.append("a product is recorded twice")
            ledger.recorded[content["key"]] = content["told"]
            kept = [step["step"] for step in content.get("steps", ()) if step.get("picture") == "kept"]
            if first and content["told"] != "ERROR" and any((content["key"], step) not in pictures for step in kept):
                ledger.wrong.append("a record came before its picture")
    return ledger


_whole: dict[tuple[str, int], bool] = {}


def _is_whole(file: str, data: bytes) -> bool:
    known = _whole.get((file, hash(data)))
    if known is None:
        digest = hashlib.sha256(data).hexdigest()
        known = _whole[file, hash(data)] = file.startswith(f"{digest[:2]}/{digest[2:]}.")
    return known
