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
from collections import Counter
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

    def after_cut(self, place: int, rng: random.Random) -> dict[str, bytes]:
        """Return the files, by path below the folder, that a power cut right before `place` may leave."""
        begun = [call for call in self.calls if call.begun < place]
        synced: dict[int, int] = {}  # node -> where the last whole sync of it began
        synced_names: dict[str, int] = {}
        for call in begun:
            if call.name == "sync" and call.ended < place:
                synced[call.node] = max(synced.get(call.node, -1), call.begun)
                synced_names[call.paths[0]] = max(synced_names.get(call.paths[0], -1), call.begun)
        contents: dict[int, bytearray] = {}
        names: dict[str, int] = {}
        for call in begun:
            if call.name in ("write", "pwrite64", "ftruncate"):
                held = contents.setdefault(call.node, bytearray())
                _change(held, call, 1.0 if call.ended < synced.get(call.node, -1) else rng.choice((0, 1, rng.random())))
                continue
            if call.name == "sync":
                continue
            certain = call.ended < synced_names.get(str(Path(call.paths[-1]).parent), -1)
            if not certain and rng.random() < 0.5:
                continue
            if call.name in ("mkdir", "openat"):
                names[call.paths[0]] = call.node
            elif call.name == "unlink":
                names.pop(call.paths[0], None)
            else:
                # The old name may have been lost with its creation: the file is there under its new one all the same.
                names.pop(call.paths[0], None)
                names[call.paths[1]] = call.node
        found = {}
        for path, node in names.items():
            above = [str(each) for each in Path(path).parents if str(each).startswith(f"{self.folder}/")]
            if node in contents and all(each in names for each in above):
                found[path.removeprefix(f"{self.folder}/")] = bytes(contents[node])
        return found


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
        rng = random.Random(self.seed)
        places = sorted({at for call in trace.calls for at in (call.begun, call.ended + 1)} | {trace.last_place + 1})
        for place in places:
            for _ in range(fates):
                report["cuts"] += 1
                wrong.update(self._judge(trace, place, trace.after_cut(place, rng)))
        verdicts = Counter(f"told_{verdict}" for _, _, _, verdict in trace.told)
        return {**report, **verdicts, "wrong": [f"{count} times: {what}" for what, count in wrong.most_common(20)]}

    def _judge(self, trace: Trace, place: int, left: dict[str, bytes]) -> Iterator[str]:
        for line in LINES:
            below = f"data/journal/{line}/"
            files = {path.removeprefix(below): data for path, data in left.items() if path.startswith(below)}
            files.pop("lock", None)
            disk = RecordedDisk(files)
            try:
                Journal(disk).close()  # the next start
            except (JournalError, OSError) as error:
                yield f"{line}: the next start fails: {str(error).splitlines()[0]}"
                continue
            if audit(disk).first_break is not None:
                yield f"{line}: the chain is broken"
            recorded: dict[str, str] = {}
            yield from self._read(line, disk, left, recorded)
            for at, of, key, verdict in trace.told:
                if of == line and at < place and verdict != "ERROR" and recorded.get(key) != verdict:
                    yield f"{line}: {verdict} was told, recorded is {recorded.get(key)}"

    def _read(self, line: str, disk: RecordedDisk, left: dict[str, bytes], recorded: dict[str, str]) -> Iterator[str]:
        """Gather what the journal says was told; yield what is wrong with it, or with its pictures."""
        pictures: dict[tuple[str, int], str] = {}
        there: set[str] = set()
        for each in read_journal(disk):
            assert isinstance(each, ReadRecord)
            content = each.content()
            if content.get("event") == "picture":
                pictures[content["key"], content["step"]] = content["file"]
                there.add(content["file"])
            elif content.get("event") == "pictures_deleted":
                there -= set(content["files"])
            elif "event" not in content:
                if content["key"] in recorded and "steps" in content:
                    yield f"{line}: a product is recorded twice"
                recorded[content["key"]] = content["told"]
                kept = [step["step"] for step in content.get("steps", ()) if step.get("picture") == "kept"]
                late = any((content["key"], step) not in pictures for step in kept)
                if late and self.station.evidence == "first" and content["told"] != "ERROR":
                    yield f"{line}: a record came before its picture"
        for file in there:
            if not _is_whole(file, left.get(f"data/pictures/{file}", b"")):
                yield f"{line}: a picture that was recorded is not there"


_whole: dict[tuple[str, int], bool] = {}


def _is_whole(file: str, data: bytes) -> bool:
    known = _whole.get((file, hash(data)))
    if known is None:
        digest = hashlib.sha256(data).hexdigest()
        known = _whole[file, hash(data)] = file.startswith(f"{digest[:2]}/{digest[2:]}.")
    return known
