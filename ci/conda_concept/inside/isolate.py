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
CLONE_NEWNS = 0x00020000
#: From <sys/mount.h> and <sys/statvfs.h>, which agree on the lower ones.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_RELATIME = 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 21
ST_RELATIME = 1 << 12
#: From <linux/sockios.h> and <net/if.h>.
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def become_subreaper() -> bool:
    """Make this process the parent of every orphan among its descendants; False where that cannot be had."""
    libc = _libc()
    return libc is not None and bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def enter(*, cut_network: bool, read_only: list[str]) -> set[str]:
    """Move this process into namespaces of its own and say what they give: "network", "read-only", or less.

    "network": there is no network but loopback. "read-only": nothing below these folders can be changed from here,
    also not by a process that owns them; those that are not there, or cannot be seen, are passed over. Where the
    kernel allows only the one, it is that one.
    """
    closed = [folder for folder in read_only if os.path.isdir(folder)]
    wishes = [(cut_network, closed), (cut_network, []), (False, closed)]
    for network, folders in wishes:
        if (network or folders) and _works(network, folders):
            _enter(network, folders)
            return {name for name, given in (("network", network), ("read-only", folders)) if given}
    return set()


def _works(network: bool, folders: list[str]) -> bool:
    """Tried in a child first, because a user namespace that came out wrong cannot be left again."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            _enter(network, folders)
            status = 0
        os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _enter(network: bool, folders: list[str]) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER | (CLONE_NEWNET if network else 0) | (CLONE_NEWNS if folders else 0))
    # The same names for the same ids, so that nobody notices (user_namespaces(7) asks for setgroups first).
    for name, text in (("setgroups", "deny"), ("gid_map", f"{gid} {gid} 1"), ("uid_map", f"{uid} {uid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    if network:
        _loopback()
    for folder in folders:
        _make_read_only(os.fsencode(folder))


def _loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def own_network() -> bool:
    """Give this process a network of its own, which is nothing but loopback; only in a namespace that `enter` made."""
    try:
        _call("unshare", CLONE_NEWNET)
        _loopback()
    except OSError:
        return False
    return True


def without_route() -> int:
    """How often somebody in this process's network wanted to leave it: the kernel counts what finds no route."""
    total = 0
    for name in ("snmp", "snmp6"):
        with contextlib.suppress(OSError), open(f"/proc/self/net/{name}", encoding="ascii") as file:
            lines = [line.split() for line in file]
            # IPv4 has a line of names above each line of values, IPv6 a name and a value on each line.
            pairs = [
                pair for head, row in zip(lines, lines[1:]) if head[0] == "Ip:" == row[0] for pair in zip(head, row)
            ]
            pairs += [(line[0], line[1]) for line in lines if line[0] == "Ip6OutNoRoutes"]
            total += sum(int(value) for key, value in pairs if key.endswith("OutNoRoutes"))
    return total


def _make_read_only(folder: bytes) -> None:
    """Mount a folder on itself, read-only; what else holds for its mount must stay (mount_namespaces(7))."""
    _call("mount", folder, folder, None, MS_BIND | MS_REC, None)
    has = os.statvfs(folder).f_flag
    kept = sum(bit for bit in (MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME) if has & bit)
    kept |= MS_RELATIME if has & ST_RELATIME else 0
    _call("mount", None, folder, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept, None)


def _call(name: str, *arguments: int | bytes | None) -> None:
    """A function of the C library that returns 0 if it worked; `OSError` otherwise."""
    libc = _libc()
    if libc is None or getattr(libc, name)(*arguments) != 0:
        raise OSError(f"{name} does not work here")


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
    if not os.path.exists("/proc/thread-self/children"):  # a kernel without CONFIG_PROC_CHILDREN
        return [one for one in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(one) == pid]
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
    status = _status(pid)
    return not status or status[0] in (b"Z", b"X")


def _parent(pid: int) -> int:
    status = _status(pid)
    return int(status[1]) if status else 0


def _status(pid: int) -> list[bytes]:
    """State, parent and so on of a process; nothing if it is gone. See proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


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
