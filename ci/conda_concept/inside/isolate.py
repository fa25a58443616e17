"""What the kernel offers an ordinary user to keep tests apart: used where it works, said where it does not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import typing

#: From <linux/prctl.h> and <linux/sched.h>.
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
#: From <linux/sockios.h> and <net/if.h>.
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def become_subreaper() -> bool:
    """Make this process the parent of every orphan among its descendants; False where that cannot be had."""
    libc = _libc()
    return libc is not None and bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def cut_network() -> bool:
    """Move this process into a network of its own that has only loopback; False where the kernel says no.

    It is tried in a child first, because a user namespace without a mapping cannot be left again.
    """
    pid = os.fork()
    if pid == 0:
        done = False
        with contextlib.suppress(BaseException):
            done = _enter_empty_network()
        os._exit(0 if done else 1)
    if os.waitpid(pid, 0)[1] != 0:
        return False
    try:
        return _enter_empty_network()
    except OSError:
        return False


def _enter_empty_network() -> bool:
    uid, gid = os.geteuid(), os.getegid()
    libc = _libc()
    if libc is None or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    # The same names for the same ids, so that nobody notices (user_namespaces(7) asks for setgroups first).
    for name, text in (("setgroups", "deny"), ("gid_map", f"{gid} {gid} 1"), ("uid_map", f"{uid} {uid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    return True


def _libc() -> typing.Any:
    """The C library, or None where the release's own ctypes is damaged: that is a result of the tests, not our end."""
    try:
        import ctypes  # it may be what is broken in this release

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`, parents first. See proc(5)."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in children(todo.pop()):
            found.append(child)
            todo.append(child)
    return found


def children(pid: int) -> list[int]:
    """The living and the dead but uncollected children of one process."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:  # noqa: PERF203 - each thread may end while we look
            continue
    return found


def is_zombie(pid: int) -> bool:
    """Has this process ended, with only its status left to collect?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def resident(pids: list[int]) -> int:
    """Bytes of physical memory that these processes hold together, shared pages counted for each."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * page
        except (OSError, IndexError):  # noqa: PERF203 - each process may end while we look
            continue
    return total


def title(pid: int) -> str:
    """The command line of a process, shortened, for people."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(1000).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "?"
    return "a copy of the test itself" if "FD PREFIX NAME" in words else words[:80] or "?"
