"""What an algorithm needs beyond its picture: one text says what is asked for, and is the name by which it is granted.

    network:10.0.0.5:502       a TCP connection to this address and port; an IPv6 address stands in brackets
    device:/dev/nvidia0        a device to read, write and control; `*` in its last part stands for any text
    read:/srv/models           a file, or a folder with all below it, to read
    write:/srv/statistics      the same to read and to write
    memory:8000MB              more memory of its own than the 4000 MB that `strict` leaves
    processes:2000             more processes and threads than the 512 that `strict` leaves

The text is the name: a version that asks for something else asks under another name, and isn't granted it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

from attrs import field, frozen

NeedKind: TypeAlias = Literal["network", "device", "read", "write", "memory", "processes"]
EXAMPLES: dict[NeedKind, str] = {
    "network": "network:10.0.0.5:502",
    "device": "device:/dev/nvidia0",
    "read": "read:/srv/models",
    "write": "write:/srv/statistics",
    "memory": "memory:8000MB",
    "processes": "processes:2000",
}
"""One of each kind."""
MAX_MEGABYTES = 1 << 24
MAX_PROCESSES = 1 << 22
"""The kernel's own bound on process ids (PID_MAX_LIMIT)."""
MAX_PATH_CHARACTERS = 1024
_HOST_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?"
_MAX_HOST_CHARACTERS = 253
_NUMBER = r"[1-9][0-9]{0,15}"
_DEVICES = "/dev/"
_NO_FILES = ("/dev", "/proc")
"""No file or folder in these is read or written by a need: devices have a kind of their own, /proc shows others."""


@frozen
class Need:
    """One need; `str` gives its name."""

    kind: NeedKind
    path: str = ""
    """Of a device, a file or a folder: absolute, without `.` and `..`."""
    host: str = ""
    port: int = 0
    amount: int = 0
    """Megabytes of memory, or processes and threads."""
    told: str = field(default="", eq=False)
    """As a sentence goes on after "needs"."""

    def __str__(self) -> str:
        """Return the name, always written in one way."""
        if self.kind == "network":
            return f"network:{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        if self.kind == "memory":
            return f"memory:{self.amount}MB"
        return f"{self.kind}:{self.amount if self.kind == 'processes' else self.path}"


def parse_need(text: str) -> Need:
    """Return the need of this name. Raises ValueError that says what is wrong with it."""
    kind, _, what = text.partition(":")
    if kind == "network":
        return _network(text, what)
    if kind in ("device", "read", "write"):
        return _of_a_path(text, kind, what)
    if kind == "memory":
        amount = _amount(text, what.removesuffix("MB"), MAX_MEGABYTES) if what.endswith("MB") else 0
        if not amount:
            raise ValueError(f"{text!r:.200} has no unit; hint: {EXAMPLES['memory']}")
        return Need("memory", amount=amount, told=f"{amount} MB of memory")
    if kind == "processes":
        amount = _amount(text, what, MAX_PROCESSES)
        return Need("processes", amount=amount, told=f"{amount} processes and threads")
    raise ValueError(f"{text!r:.200} is no need; hint: such as {', '.join(EXAMPLES.values())}")


def network_need(host: str, port: int) -> Need:
    """Return the need of a TCP connection."""
    shown = f"[{host}]" if ":" in host else host
    return Need("network", host=host, port=port, told=f"network to {shown}:{port}")


def file_need(kind: Literal["device", "read", "write"], path: str) -> Need:
    """Return the need of a device, of a file or of a folder."""
    return Need(kind, path=path, told=f"the device {path}" if kind == "device" else f"to {kind} {path}")


def parse_needs(texts: Iterable[str]) -> tuple[Need, ...]:
    """Return the needs of these names, each once. Raises ValueError."""
    return tuple(dict.fromkeys(parse_need(text) for text in texts))


def parse_grant(text: str) -> tuple[str | None, Need]:
    """Return whose a grant is, and the need: NEED is every algorithm's of a distribution, ALGORITHM=NEED one's alone.

    Raises ValueError as `parse_need`.
    """
    algorithm, need = _split_grant(text)
    return algorithm, parse_need(need)


def grants_of(algorithm: str, grants: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the needs that an algorithm gets, of the grants of its distribution."""
    split = map(_split_grant, grants)
    return tuple(dict.fromkeys(need for whose, need in split if whose in (None, algorithm)))


def _split_grant(text: str) -> tuple[str | None, str]:
    algorithm, equals, need = text.partition("=")
    return (algorithm, need) if equals and algorithm and ":" not in algorithm else (None, text)


def _network(text: str, what: str) -> Need:
    import ipaddress

    host, colon, port = what.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r:.200} has no port; hint: {EXAMPLES['network']}")
    number = _amount(text, port, 65535)
    if host.startswith("[") and host.endswith("]"):
        try:
            return network_need(ipaddress.IPv6Address(host[1:-1]).compressed, number)
        except ValueError:
            raise ValueError(f"{text!r:.200}: {host!r:.100} is no IPv6 address; hint: network:[::1]:502") from None
    try:
        return network_need(ipaddress.IPv4Address(host).compressed, number)
    except ValueError:
        pass
    host = host.lower()
    last = host.rstrip(".").rpartition(".")[2]
    if len(host) > _MAX_HOST_CHARACTERS or not re.fullmatch(_HOST_NAME, host) or last.isdecimal():
        hint = "one address or one name, without * and masks; an IPv6 address stands in brackets"
        raise ValueError(f"{text!r:.200}: {host!r:.100} is no host; hint: {hint}")
    return network_need(host, number)


def _of_a_path(text: str, kind: str, path: str) -> Need:
    if not path.startswith("/") or "\0" in path or len(path) > MAX_PATH_CHARACTERS:
        raise ValueError(f"{text!r:.200}: a path begins with / and has {MAX_PATH_CHARACTERS} characters at most")
    if ".." in path.split("/"):
        raise ValueError(f"{text!r:.200}: a path has no ..")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    if kind == "device":
        folder, _, name = normal.rpartition("/")
        if not normal.startswith(_DEVICES) or "*" in folder or any(letter in normal for letter in "?[]"):
            raise ValueError(f"{text!r:.200} is no device; hint: a file below /dev, such as {EXAMPLES['device']}")
        if name.startswith("*"):
            raise ValueError(f"{text!r:.200} asks for every device; hint: name it, such as {EXAMPLES['device']}")
        return file_need("device", normal)
    if normal == "/" or any(normal == root or normal.startswith(f"{root}/") for root in _NO_FILES):
        raise ValueError(f"{text!r:.200} would give what is others'; hint: a folder, such as {EXAMPLES['read']}")
    return file_need("read" if kind == "read" else "write", normal)


def _amount(text: str, digits: str, most: int) -> int:
    if not re.fullmatch(_NUMBER, digits) or int(digits) > most:
        raise ValueError(f"{text!r:.200}: {digits!r:.40} is no whole number from 1 to {most}")
    return int(digits)
