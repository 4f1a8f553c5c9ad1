"""Connections that were granted, made for the cell by a process that it can't reach: to that address, and to no other.

    cell ── connect ──> kernel ── asks ──> broker: looks at the address, and connects the cell's own socket

Landlock knows ports, and a filter sees no address: it lies in memory, which another thread may change after a look. So
the kernel asks the broker (seccomp_unotify(2)), which copies the address and makes the connection itself, by a
duplicate of the socket. Where the broker is gone, `connect` fails.
Warning: the broker is forked before the cell gives up its rights, and from a process of one thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import mmap
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Collection
from typing import NoReturn, TypeAlias

from procvision_host.sandbox.kernel import prctl, system_call
from procvision_sdk.manifest.needs import Need, network_need

Address: TypeAlias = tuple[str, int]
"""An IP address and a port."""

_NOTICE = struct.Struct("=QII iIQ6Q")
"""struct seccomp_notif: id, process, flags, then seccomp_data: call, architecture, pointer, arguments."""
_ANSWER = struct.Struct("=QqiI")
"""struct seccomp_notif_resp: id, value, error, flags."""
_RECEIVE, _SEND, _STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
_PR_SET_PTRACER = 0x59616D61
_MAX_ADDRESS_BYTES = 128
"""struct sockaddr_storage."""
_MAX_AT_ONCE = 64
_TOLD = struct.Struct("<IH")
"""Of the page that both share: how many were refused, and the length of the text that names the last."""


class Broker:
    """The cell's side: started before it gives up its rights, handed what the kernel asks by after that."""

    def __init__(self, addresses: Collection[Address]) -> None:
        """Fork the broker. Raises OSError."""
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._seen = 0
        self._ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                # Forked twice: it is no child of the cell's, whose `wait` must not find it.
                if os.fork() == 0:
                    _serve(theirs, frozenset(addresses), self._page)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        theirs.close()
        process_id = int(self._ours.recv(16))
        with contextlib.suppress(OSError):  # there is no Yama here, which would keep it from the cell's sockets
            prctl(_PR_SET_PTRACER, process_id)

    def hand_over(self, listener: int) -> None:
        """Give the broker the descriptor by which the kernel asks; the cell keeps none."""
        socket.send_fds(self._ours, [b"L"], [listener])
        os.close(listener)

    def close(self) -> None:
        """Close the cell's way to the broker; one that was handed nothing ends."""
        self._ours.close()

    def refused(self) -> Need | None:
        """Return the connection that was refused last, once."""
        count, length = _TOLD.unpack_from(self._page)
        if count == self._seen:
            return None
        self._seen = count
        host, _, port = self._page[_TOLD.size : _TOLD.size + length].decode("ascii", "replace").rpartition(" ")
        return network_need(host, int(port))


def _serve(cell: socket.socket, addresses: frozenset[Address], page: mmap.mmap) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    # None of the runner's pipes stays open here. What is written to 2 becomes a line of the log.
    kept = cell.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    cell.send(str(os.getpid()).encode())
    _, descriptors, _, _ = socket.recv_fds(cell, 1, 1)
    cell.close()
    if descriptors:
        _Connections(descriptors[0], addresses, page).run()
    os._exit(0)


class _Connections:
    """Answers the kernel, one thread for each connection that is under way."""

    def __init__(self, listener: int, addresses: frozenset[Address], page: mmap.mmap) -> None:
        self._listener = listener
        self._addresses = addresses
        self._page = page
        self._refused = 0
        self._under_way = threading.Semaphore(_MAX_AT_ONCE)

    def run(self) -> None:
        """Return when no process is left that could ask."""
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        while True:
            events = poller.poll()
            if any(event & (select.POLLHUP | select.POLLERR) for _, event in events):
                return
            notice = bytearray(_NOTICE.size)
            try:
                fcntl.ioctl(self._listener, _RECEIVE, notice)
            except OSError:
                continue  # who asked has ended meanwhile
            ask, thread, *_, first, second, third = _NOTICE.unpack(notice)[:9]
            try:
                self._connect(ask, thread, (first, second, third))
            except Exception:  # noqa: BLE001 - whatever it is, that one fails
                self._answer(ask, errno.EACCES)

    def _connect(self, ask: int, thread: int, arguments: tuple[int, int, int]) -> None:
        descriptor, at, length = arguments
        given = _copied(thread, at, min(length & 0xFFFFFFFF, _MAX_ADDRESS_BYTES))
        # As the socket takes it: an IPv6 socket knows an IPv4 address by another name.
        target = _as_given(given)
        if target is None:
            self._answer(ask, errno.EACCES)
            return
        address = _address(target)
        if address not in self._addresses:
            self._refuse(ask, address)
            return
        own = _duplicate(thread, descriptor & 0xFFFFFFFF)
        if not self._is_valid(ask) or own.type != socket.SOCK_STREAM or not self._under_way.acquire(blocking=False):
            own.close()
            self._answer(ask, errno.EACCES)
            return

        def connect() -> None:
            with own:
                try:
                    failed = own.connect_ex(target)
                except OSError as error:
                    failed = error.errno or errno.EACCES
            self._under_way.release()
            self._answer(ask, failed)

        threading.Thread(target=connect, daemon=True).start()

    def _refuse(self, ask: int, address: Address) -> None:
        need = network_need(*address)
        text = f"{address[0]} {address[1]}".encode()
        self._refused += 1
        self._page[_TOLD.size : _TOLD.size + len(text)] = text
        _TOLD.pack_into(self._page, 0, self._refused, len(text))
        if self._refused & (self._refused - 1) == 0:  # each power of two: one that tries for ever fills no log
            with contextlib.suppress(OSError):
                os.write(2, f"isolation strict refused {need.told}, which isn't granted ({self._refused})\n".encode())
        self._answer(ask, errno.EACCES)

    def _is_valid(self, ask: int) -> bool:
        """Tell whether who asked still waits: otherwise its process id may be another's."""
        try:
            fcntl.ioctl(self._listener, _STILL_VALID, struct.pack("=Q", ask))
        except OSError:
            return False
        return True

    def _answer(self, ask: int, failed: int) -> None:
        with contextlib.suppress(OSError):  # it doesn't wait any more
            fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(ask, 0, -failed, 0))


def _copied(thread: int, at: int, length: int) -> bytes:
    """Return a part of another process's memory. Raises OSError."""
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(memory, length, at)
    finally:
        os.close(memory)


def _duplicate(thread: int, descriptor: int) -> socket.socket:
    """Return another process's socket. Raises OSError."""
    with open(f"/proc/{thread}/status", encoding="utf-8") as status:
        process = next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
    pidfd = os.pidfd_open(process)
    try:
        return socket.socket(fileno=system_call("pidfd_getfd", pidfd, descriptor, 0))
    finally:
        os.close(pidfd)


def _address(target: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Return the IP address, an IPv4 one by its own name, and the port."""
    address = ipaddress.ip_address(target[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).compressed, target[1]


def _as_given(given: bytes) -> tuple[str, int] | tuple[str, int, int, int] | None:
    """Return a struct sockaddr as Python has it."""
    family = int.from_bytes(given[:2], "little") if len(given) >= 2 else 0
    if family == socket.AF_INET and len(given) >= 8:
        return socket.inet_ntop(family, given[4:8]), int.from_bytes(given[2:4], "big")
    if family == socket.AF_INET6 and len(given) >= 24:
        scope = int.from_bytes(given[24:28], "little")
        flow = int.from_bytes(given[4:8], "big")
        return socket.inet_ntop(family, given[8:24]), int.from_bytes(given[2:4], "big"), flow, scope
    return None
