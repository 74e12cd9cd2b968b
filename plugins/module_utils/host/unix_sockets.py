"""Connections at a Unix socket, as the kernel counts them: by the socket's file, and never by a name that an app can choose.

The kernel is asked over netlink (sock_diag(7), `struct unix_diag_req` and `struct unix_diag_msg` of linux/unix_diag.h). What
`ss` prints is the same as text, in which an app that names its sockets can have lines of its own.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

#: Of linux/netlink.h, linux/sock_diag.h and linux/unix_diag.h.
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
UDIAG_SHOW_VFS, UDIAG_SHOW_RQLEN = 0x2, 0x10
UNIX_DIAG_VFS, UNIX_DIAG_RQLEN = 1, 4

#: Of include/net/tcp_states.h: the two states of a stream socket that count here.
ESTABLISHED, LISTEN = 1, 10

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")
_PAIR = struct.Struct("=II")

#: Bytes that one answer of the kernel may have; it sends no larger ones to who reads so much.
_BUFFER = 1 << 17


@dataclass(frozen=True)
class Connections:
    """Of one listening socket: those that *wait* in its queue, and all that are *open*, the waiting ones among them."""

    waiting: int
    open: int


def connections(path: str, timeout: float = 5) -> Connections | None:
    """Connections at the socket whose file is *path*; None when nobody listens there.

    Raises OSError, TimeoutError too, where the kernel does not say.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    # As the kernel has them: the inode cut to 32 bits, the device with 20 bits of minor number.
    identity = (found.st_ino & 0xFFFFFFFF, os.major(found.st_dev) << 20 | os.minor(found.st_dev))
    return count(_dump(timeout), identity)


def count(datagrams: Iterator[bytes], identity: tuple[int, int]) -> Connections | None:
    """What *datagrams* of netlink say of the socket with that (inode, device) of its file."""
    waiting, listens, established = 0, False, 0
    for state, file, queue in _sockets(datagrams):
        if file != identity:
            continue
        if state == LISTEN:
            listens = True
            waiting += queue
        elif state == ESTABLISHED:
            established += 1
    # Those that wait have no file yet: they get the listening socket's when they are accepted.
    return Connections(waiting, waiting + established) if listens else None


def _dump(timeout: float) -> Iterator[bytes]:
    """All stream sockets of this network namespace that listen or are connected."""
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        body = _REQUEST.pack(
            socket.AF_UNIX, 0, 0, 1 << ESTABLISHED | 1 << LISTEN, 0, UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN, 0, 0
        )
        header = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        kernel.sendto(header + body, (0, 0))
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the kernel has more sockets than it can list in {timeout:g} s")
            kernel.settimeout(left)
            datagram, sender = kernel.recvfrom(_BUFFER)
            # Any process can send netlink datagrams; the kernel's own port is 0.
            if sender[0] != 0:
                continue
            yield datagram
            if _ends(datagram):
                return


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each message in *datagram*."""
    place = 0
    while place + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, place)
        if length < _HEADER.size:
            return
        yield kind, datagram[place + _HEADER.size : place + length]
        place += _aligned(length)


def _ends(datagram: bytes) -> bool:
    """Whether *datagram* is the last one. Raises OSError with what the kernel complained of."""
    for kind, content in _messages(datagram):
        if kind == NLMSG_ERROR:
            number = -struct.unpack_from("=i", content)[0]
            raise OSError(number, f"sock_diag: {os.strerror(number)}")
        if kind == NLMSG_DONE:
            return True
    return False


def _sockets(datagrams: Iterator[bytes]) -> Iterator[tuple[int, tuple[int, int] | None, int]]:
    """(state, (inode, device) of the file or None, length of the queue) of each socket."""
    for datagram in datagrams:
        for kind, content in _messages(datagram):
            if kind != SOCK_DIAG_BY_FAMILY or len(content) < _MESSAGE.size:
                continue
            file, queue = None, 0
            for attribute, value in _attributes(content[_MESSAGE.size :]):
                if attribute == UNIX_DIAG_VFS and len(value) >= _PAIR.size:
                    file = _PAIR.unpack_from(value)
                elif attribute == UNIX_DIAG_RQLEN and len(value) >= _PAIR.size:
                    queue = _PAIR.unpack_from(value)[0]
            yield content[2], file, queue


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, place)
        if length < _ATTRIBUTE.size:
            return
        yield kind, content[place + _ATTRIBUTE.size : place + length]
        place += _aligned(length)


def _aligned(length: int) -> int:
    """Messages and attributes begin at multiples of four bytes."""
    return (length + 3) & ~3
