"""A disk that notes what is done to it, and what a power cut may leave of that.

Until a file is synced, each write to it may be on the disk wholly, in part or not at all, whatever came later; the same
holds for names until the folder is synced. What was synced is there.
"""

from __future__ import annotations

import errno
import random


class RecordedDisk:
    """`Disk` in memory, which has `begun` with some files.

    `operations` is what was done; `fail_at` makes the operations of these numbers fail.
    """

    def __init__(self, files=None, fail_at=()):
        self.files = {name: bytearray(data) for name, data in (files or {}).items()}
        self.begun = {name: bytes(data) for name, data in self.files.items()}
        self.operations = []
        self.fail_at = set(fail_at)
        self.rng = random.Random(len(self.fail_at))

    def _note(self, *operation):
        number = len(self.operations)
        if number in self.fail_at:
            kept = ("failed", *operation)
            if operation[0] == "write":  # a full disk takes a part of it
                part = operation[3][: self.rng.randint(0, len(operation[3]))]
                kept = ("write", *operation[1:3], part)
                apply(self.files, kept)
            self.operations.append(kept)
            raise OSError(errno.ENOSPC, "no space", str(operation[1:2]))
        self.operations.append(operation)
        apply(self.files, operation)

    def create(self, name):
        if name in self.files:
            raise FileExistsError(name)
        self._note("create", name)

    def write(self, name, offset, data):
        self._note("write", name, offset, bytes(data))

    def sync(self, name):
        self._note("sync", name)

    def truncate(self, name, length):
        self._note("truncate", name, length)

    def rename(self, name, new):
        self._note("rename", name, new)

    def sync_folder(self):
        self._note("sync_folder")

    def read(self, name, offset=0, length=-1):
        return bytes(self.files[name][offset : None if length < 0 else offset + length])

    def names(self):
        return sorted(self.files)

    def close(self):
        pass


def apply(files, operation):
    """Do an operation to files in memory."""
    what, *rest = operation
    if what == "create":
        files.setdefault(rest[0], bytearray())
    elif what == "write":
        name, offset, data = rest
        held = files[name]
        held.extend(bytes(max(0, offset + len(data) - len(held))))
        held[offset : offset + len(data)] = data
    elif what == "truncate":
        name, length = rest
        del files[name][length:]
        files[name].extend(bytes(length - len(files[name])))
    elif what == "rename":
        files[rest[1]] = files.pop(rest[0])


def after_power_cut(operations, rng):
    """The files that a power cut after these operations may leave."""
    synced_names = max((place for place, each in enumerate(operations) if each[0] == "sync_folder"), default=-1)
    last_sync = _last_syncs(operations)
    files, held, known = {}, {}, {}
    for place, (what, *rest) in enumerate(operations):
        there = place <= synced_names or rng.random() < 0.5
        if what == "create":
            known[rest[0]] = place
            files[place] = bytearray()
            if there:
                held[rest[0]] = place
        elif what == "rename":
            known[rest[1]] = known.pop(rest[0])
            if there and rest[0] in held:
                held[rest[1]] = held.pop(rest[0])
        elif what in ("write", "truncate"):
            number = known[rest[0]]
            certain = place <= last_sync.get(number, -1)
            _arrive(files, (what, number, *rest[1:]), 1.0 if certain else rng.choice([0.0, 1.0, rng.random()]), rng)
    return {name: bytes(files[number]) for name, number in held.items()}


def _last_syncs(operations):
    """Of each file, by the place of its creation, the place of its last sync."""
    last_sync, names = {}, {}
    for place, (what, *rest) in enumerate(operations):
        if what == "create":
            names[rest[0]] = place
        elif what == "rename":
            names[rest[1]] = names.pop(rest[0])
        elif what == "sync":
            last_sync[names[rest[0]]] = place
    return last_sync


def _arrive(files, operation, share, rng):
    """Do so much of a write, or a truncation or not."""
    what, number, *rest = operation
    if what == "truncate":
        if share > 0.5:
            apply(files, operation)
        return
    offset, data = rest
    part = data[: round(len(data) * share)]
    if part:
        apply(files, ("write", number, offset, part))
    if share < 1.0 and rng.random() < 0.3:  # the length came, all of the content didn't
        apply(files, ("truncate", number, max(len(files[number]), offset + len(data))))
