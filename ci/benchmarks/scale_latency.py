"""A folder with latency: what lies below it takes a fixed time for every metadata operation and every read.

It stands in for a parallel file system far away. A small FUSE server of our own (the kernel's protocol, from
<linux/fuse.h>), because one thread that puts answers off can have any number of them under way at once, and counts
each. Read-only. What a client of such a file system keeps under a lock is kept by the kernel here too: names and
attributes that it has seen, and the content of files; every open goes to the server, as do names that are not there.
"""

import ctypes
import errno
import heapq
import json
import os
import select
import stat
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

#: From <linux/fuse.h>, protocol 7.31.
LOOKUP, FORGET, GETATTR, READLINK, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 5, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 38, 42
_NAMES = {
    LOOKUP: "lookup",
    GETATTR: "stat",
    READLINK: "readlink",
    OPEN: "open",
    READ: "read",
    STATFS: "statfs",
    OPENDIR: "list",
    READDIR: "list",
}
_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_ENTRY = struct.Struct("<QQQQII")
_ATTR = struct.Struct("<6Q10I")
_ASYNC_READ, _PARALLEL, _MAX_PAGES, _CACHE_LINKS = 1, 1 << 18, 1 << 22, 1 << 23
_KEEP_CACHE, _CACHE_DIR = 2, 8
#: Seconds that the kernel trusts what it was told: longer than a measurement.
_TRUST = 3600
_BUFFER = (1 << 20) + 4096
_RDONLY, _NOSUID, _NODEV = 1, 2, 4
#: KiB that the kernel reads ahead, and at once: a request of a Lustre client is 1 MiB in old versions, 4 in new ones.
_AHEAD = 1024


@dataclass(slots=True)
class Server:
    """Answers the kernel for the folder behind `root` (a descriptor), each answer late by `latency` seconds."""

    device: int
    root: int
    latency: float
    paths: dict[int, str] = field(default_factory=lambda: {1: "."})
    nodes: dict[str, int] = field(default_factory=lambda: {".": 1})
    files: dict[int, int] = field(default_factory=dict)
    listings: dict[int, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    late: list[tuple[float, int, bytes]] = field(default_factory=list)
    number: int = 0

    def serve(self) -> None:
        """Until the folder is unmounted."""
        os.set_blocking(self.device, False)
        while True:
            wait = max(0.0, self.late[0][0] - time.monotonic()) if self.late else None
            select.select([self.device], [], [], wait)
            if not self._take():
                return
            self._answer()

    def _take(self) -> bool:
        """Every request that is there; False when there will be no more."""
        while True:
            try:
                request = os.read(self.device, _BUFFER)
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):  # taken back before it was read
                    continue
                return False
            self._handle(request)

    def _answer(self) -> None:
        """Send what is due."""
        while self.late and self.late[0][0] <= time.monotonic():
            with suppress(OSError):  # the one who asked is gone
                os.write(self.device, heapq.heappop(self.late)[2])

    def _handle(self, request: bytes) -> None:
        _, operation, unique, node, *_ = _IN.unpack_from(request)
        if operation in (FORGET, BATCH_FORGET, INTERRUPT, DESTROY):
            return
        try:
            answer, failed = self._do(operation, node, request[_IN.size :]), 0
        except OSError as error:
            answer, failed = b"", -(error.errno or errno.EIO)
        data = _OUT.pack(_OUT.size + len(answer), failed, unique) + answer
        due = time.monotonic()
        if operation in _NAMES:
            self.counts[_NAMES[operation]] += 1
            due += self.latency
        self.number += 1
        heapq.heappush(self.late, (due, self.number, data))

    def _do(self, operation: int, node: int, body: bytes) -> bytes:
        path = self.paths.get(node, ".")
        match operation:
            case 26:
                flags = struct.unpack_from("<IIII", body)[3] & (_ASYNC_READ | _PARALLEL | _MAX_PAGES | _CACHE_LINKS)
                return struct.pack("<IIIIHHIIHH8I", 7, 31, 1 << 20, flags, 512, 512, 4096, 1, 256, 0, *([0] * 8))
            case 1:
                return self._looked_up(os.path.normpath(f"{path}/{os.fsdecode(body.rstrip(bytes(1)))}"))
            case 3:
                return struct.pack("<QII", _TRUST, 0, 0) + self._attributes(path)
            case 5:
                return os.fsencode(os.readlink(path, dir_fd=self.root))
            case 14:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.root)
                self.files[descriptor] = descriptor
                return struct.pack("<QII", descriptor, _KEEP_CACHE, 0)
            case 15:
                handle, offset, size = struct.unpack_from("<QQI", body)
                data = os.pread(handle, size, offset)
                self.counts["bytes"] += len(data)
                return data
            case 18:
                os.close(self.files.pop(struct.unpack_from("<Q", body)[0]))
                return b""
            case 27:
                self.number += 1
                self.listings[self.number] = self._listing(path)
                return struct.pack("<QII", self.number, _KEEP_CACHE | _CACHE_DIR, 0)
            case 28:
                return self._listed(body)
            case 29:
                self.listings.pop(struct.unpack_from("<Q", body)[0], None)
                return b""
            case 17:
                found = os.fstatvfs(self.root)
                sizes = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
                return struct.pack("<5Q4I24x", *sizes, found.f_bsize, 255, found.f_frsize, 0)
            case _:
                raise OSError(errno.ENOSYS, "not needed for reading")

    def _looked_up(self, path: str) -> bytes:
        attributes = self._attributes(path)
        node = self.nodes.setdefault(path, len(self.nodes) + 1)
        self.paths[node] = path
        return _ENTRY.pack(node, 0, _TRUST, _TRUST, 0, 0) + attributes

    def _attributes(self, path: str) -> bytes:
        found = os.stat(path, dir_fd=self.root, follow_symlinks=False)
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        owner = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0)
        return _ATTR.pack(found.st_ino, found.st_size, found.st_blocks, *times, 0, 0, 0, *owner)

    def _listing(self, path: str) -> bytes:
        found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root)
        parts, size = [], 0
        try:
            with os.scandir(found) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    kind = stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else stat.S_IFREG
                    kind = stat.S_IFLNK if entry.is_symlink() else kind
                    length = 24 + (len(name) + 7) // 8 * 8
                    size += length
                    parts.append(
                        struct.pack("<QQII", entry.inode(), size, len(name), kind >> 12)
                        + name.ljust(length - 24, b"\0")
                    )
        finally:
            os.close(found)
        return b"".join(parts)

    def _listed(self, body: bytes) -> bytes:
        """As many whole entries of a listing as there is room for; an offset is one into our own text of it."""
        handle, offset, size = struct.unpack_from("<QQI", body)
        text = self.listings.get(handle, b"")
        end = at = int(offset)
        while at < len(text):
            at = struct.unpack_from("<Q", text, at + 8)[0]
            if at - offset > size:
                break
            end = at
        return text[int(offset) : end]


@contextmanager
def slow(folder: Path, milliseconds: float) -> Iterator[Counter[str]]:
    """`folder` read through latency while the block runs (root only); the counts are complete when it has ended."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=1048576"
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in ("slow", folder, "fuse.slow")]
    if libc.mount(*words, _RDONLY | _NOSUID | _NODEV, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    take, give = os.pipe()
    child = os.fork()
    if child == 0:
        server = Server(device, root, milliseconds / 1000)
        try:
            os.close(take)
            server.serve()
        finally:
            os.write(give, json.dumps(server.counts).encode())
            os._exit(0)
    for descriptor in (device, give, root):
        os.close(descriptor)
    place = folder.stat().st_dev
    Path(f"/sys/class/bdi/{os.major(place)}:{os.minor(place)}/read_ahead_kb").write_text(f"{_AHEAD}\n")
    counts: Counter[str] = Counter()
    try:
        yield counts
    finally:
        libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH: whoever still has a file open there keeps it
        with os.fdopen(take, "rb") as stream:
            counts.update(json.loads(stream.read() or b"{}"))
        os.waitpid(child, 0)
