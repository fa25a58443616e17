"""What is in an image, and where: read from its tables alone.

Only what mksquashfs writes with `squash_argv`'s options is read: one owner, no times, no extended attributes, files,
folders and symbolic links. Anything else is refused.
"""

import lzma
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import lz4.block
import zstandard

from conda_concept.errors import IntegrityError
from conda_concept.squashfs.format import (
    EXPORTABLE,
    FILE,
    FILE_HEAD,
    FOLDER,
    FOLDER_HEAD,
    FRAGMENT,
    FRONT,
    HEAD,
    LARGE,
    LARGE_FILE,
    LARGE_FOLDER,
    LINK,
    LIST_ENTRY,
    LIST_HEAD,
    META,
    META_PLAIN,
    NO_XATTRS,
    NONE,
    OPTIONS,
    SUPER,
    File,
    Image,
    Link,
    Superblock,
    codec,
)


def read(path: Path) -> Image:
    """Read an image's tables; `IntegrityError` if it is damaged, or is not one of ours."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        front = file.read(FRONT)
        head = Superblock.parse(front, length)
        if head.owners != 1 or not head.flags & NO_XATTRS:
            raise IntegrityError("the image has owners or attributes, which ours have not.")
        file.seek(head.inode_table)
        tables = file.read(head.size - head.inode_table)
    try:
        return _Reader(front, tables, head).image()
    except (struct.error, ValueError, IndexError, KeyError, ArithmeticError) as error:
        raise IntegrityError(f"the image is damaged: {error!r}.") from error
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, lz4.block.LZ4BlockError) as error:
        raise IntegrityError(f"the image is damaged: {error!r}.") from error


class _Reader:
    """The tables of an image, unpacked."""

    def __init__(self, front: bytes, tables: bytes, head: Superblock) -> None:
        self.tables, self.head = tables, head
        self.codec = codec(head.compressor, 1)
        after = SUPER.size
        self.options = b""
        if head.flags & OPTIONS:
            size = int.from_bytes(front[after : after + 2], "little") & ~META_PLAIN
            self.options = front[after : after + 2 + size]
            after += 2 + size
        self.contents = range(after, head.inode_table)
        self.inodes, self.inode_starts = self._table(head.inode_table, head.folder_table)
        self.places = self._places(head.fragment_table, -(-head.fragments // (META // FRAGMENT.size)))
        exports = self._places(head.export_table, 1) if head.flags & EXPORTABLE else ()
        self.lists, self.list_starts = self._table(
            head.folder_table, min((*self.places, *exports, *self._places(head.owner_table, 1)))
        )

    def image(self) -> Image:
        """All of it."""
        found = b"".join(self._block(place)[0] for place in self.places)
        each = FRAGMENT.iter_unpack(found[: self.head.fragments * FRAGMENT.size])
        fragments = [(start, size) for start, size, _ in each]
        if len(fragments) != self.head.fragments:
            raise ValueError("fragments are missing")
        files: dict[bytes, File | Link] = {}
        folders: list[bytes] = []
        todo = [(b"", self._folder(self.head.root >> 16, self.head.root & 0xFFFF))]
        while todo:
            path, listed = todo.pop()
            for name, place in self._listed(*listed):
                entry = self._entry(*place)
                if isinstance(entry, tuple):
                    if len(folders) >= self.head.inodes:
                        raise ValueError("a folder lies in itself")
                    folders.append(path + name)
                    todo.append((path + name + b"/", entry))
                else:
                    files[path + name] = entry
        return Image(self.head, self.options, files, folders, self.contents, fragments)

    def _places(self, table: int, count: int) -> tuple[int, ...]:
        """Where the first blocks of a table are that has a list of them."""
        return struct.unpack_from(f"<{count}Q", self.tables, table - self.head.inode_table) if count else ()

    def _block(self, place: int) -> tuple[bytes, int]:
        """A table's block, and where the next one begins."""
        at = place - self.head.inode_table
        head = int.from_bytes(self.tables[at : at + 2], "little")
        size = head & ~META_PLAIN
        raw = self.tables[at + 2 : at + 2 + size]
        if at < 0 or len(raw) != size:
            raise ValueError("a table ends too early")
        return (raw if head & META_PLAIN else self.codec.unpack(raw)), place + 2 + size

    def _table(self, start: int, end: int) -> tuple[bytes, dict[int, int]]:
        """A table in one piece, and where each of its blocks is in that, by its place in the image."""
        pieces, starts, place, done = [], {}, start, 0
        while place < end:
            starts[place - start] = done
            piece, place = self._block(place)
            pieces.append(piece)
            done += len(piece)
        return b"".join(pieces), starts

    def _entry(self, block: int, offset: int) -> File | Link | tuple[int, int]:
        """A file, a link, or where a folder's list is and how long."""
        at = self.inode_starts[block] + offset
        kind, mode, *_ = HEAD.unpack_from(self.inodes, at)
        at += HEAD.size
        if kind in (FILE, FILE + LARGE):
            return self._file(kind, mode, at)
        if kind == LINK:
            _, size = struct.unpack_from("<2I", self.inodes, at)
            return Link(self.inodes[at + 8 : at + 8 + size])
        return self._folder(block, offset)

    def _folder(self, block: int, offset: int) -> tuple[int, int]:
        at = self.inode_starts[block] + offset
        kind = HEAD.unpack_from(self.inodes, at)[0]
        at += HEAD.size
        if kind == FOLDER:
            place, _, size, offset, _ = FOLDER_HEAD.unpack_from(self.inodes, at)
        elif kind == FOLDER + LARGE:
            _, size, place, _, _, offset, _ = LARGE_FOLDER.unpack_from(self.inodes, at)
        else:
            raise ValueError(f"an entry of kind {kind}")
        # A folder's size counts three bytes for `.` and `..`, which are not listed.
        return (self.list_starts[place] + offset if size > 3 else 0), size - 3

    def _file(self, kind: int, mode: int, at: int) -> File:
        sparse = 0
        if kind == FILE:
            start, fragment, offset, size = FILE_HEAD.unpack_from(self.inodes, at)
            at += FILE_HEAD.size
        else:
            start, size, sparse, _, fragment, offset, _ = LARGE_FILE.unpack_from(self.inodes, at)
            at += LARGE_FILE.size
        count = size // self.head.block if fragment != NONE else -(-size // self.head.block)
        return File(mode, size, start, self.inodes[at : at + 4 * count], fragment, offset, sparse)

    def _listed(self, at: int, size: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """What a folder has: each name, and where its inode is."""
        end = at + size
        while at < end:
            count, block, _ = LIST_HEAD.unpack_from(self.lists, at)
            at += LIST_HEAD.size
            for _ in range(count + 1):
                offset, _, _, length = LIST_ENTRY.unpack_from(self.lists, at)
                at += LIST_ENTRY.size
                yield self.lists[at : at + length + 1], (block, offset)
                at += length + 1
