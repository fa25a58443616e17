"""Several images made into one: their blocks as they are, new tables."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conda_concept.errors import IntegrityError
from conda_concept.squashfs.format import (
    EXPORTABLE,
    FILE,
    FILE_HEAD,
    FOLDER,
    FOLDER_HEAD,
    FRAGMENT,
    HEAD,
    INDEX,
    LARGE,
    LARGE_FILE,
    LARGE_FOLDER,
    LINK,
    LIST_ENTRY,
    LIST_HEAD,
    MAGIC,
    META,
    META_PLAIN,
    NONE,
    NOWHERE,
    PAGE,
    PLAIN_TABLES,
    SUPER,
    Codec,
    File,
    Folder,
    Image,
    Link,
    codec,
)

#: Entries that one header of a folder's list may have, and how far an inode's number may be from the header's.
_RUN, _FAR = 256, 0x7FFF


@dataclass(frozen=True, slots=True)
class Part:
    """An image of which all contents are taken over, and which of its paths go where in the new one."""

    image: Image
    places: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Joined:
    """An image that is not written yet: `front`, then every part's `contents`, then `tables`."""

    front: bytes
    tables: bytes
    files: int
    content_size: int


def join(parts: Sequence[Part], level: int) -> Joined:
    """The image that has the files of all parts in their places; folders come from the paths.

    The last part gives the compressor's options and the empty folders. All parts have the same compressor and block
    size. `IntegrityError` if two parts put something in the same place, or a part has not what it should give.
    """
    last = parts[-1].image
    for part in parts:
        if (part.image.head.compressor, part.image.head.block) != (last.head.compressor, last.head.block):
            raise IntegrityError("images that are compressed in different ways cannot be one.")
    begin = SUPER.size + len(last.options)
    root, fragments, end = _placed(parts, begin)
    writer = _Writer(codec(last.head.compressor, level), fragments)
    writer.number(root)
    reference = writer.folder(root, writer.count + 1)
    return writer.finish(last, reference, end)


def _placed(parts: Sequence[Part], begin: int) -> tuple[Folder, list[tuple[int, int]], int]:
    """The new root, with every file moved to where its part's contents will be; the fragments; where contents end."""
    root = Folder()
    fragments: list[tuple[int, int]] = []
    at = begin
    for part in parts:
        shift, known = at - part.image.contents.start, len(fragments)
        fragments += [(start + shift, size) for start, size in part.image.fragments]
        at += len(part.image.contents)
        missing = 0
        for path, place in part.places.items():
            entry = part.image.files.get(path)
            if entry is None:
                missing += 1
                continue
            folder, name = _folder_of(root, place)
            if name in folder.entries:
                raise IntegrityError(f"two parts of an image have {place.decode(errors='replace')}.")
            folder.entries[name] = entry if isinstance(entry, Link) else _moved(entry, shift, known)
        if missing:
            raise IntegrityError(f"{missing} file(s) are not in the part of an image that should have them.")
    for path in parts[-1].image.folders:
        _folder_of(root, path + b"/")
    return root, fragments, at


def _moved(file: File, shift: int, fragments: int) -> File:
    start = file.start + shift if file.blocks else 0
    fragment = file.fragment + fragments if file.fragment != NONE else NONE
    return File(file.mode, file.size, start, file.blocks, fragment, file.offset, file.sparse)


def _folder_of(root: Folder, path: bytes) -> tuple[Folder, bytes]:
    *folders, name = path.split(b"/")
    for step in folders:
        inner = root.entries.setdefault(step, Folder())
        if not isinstance(inner, Folder):
            raise IntegrityError(f"{path.decode(errors='replace')} lies below something that is no folder.")
        root = inner
    return root, name


class _Table:
    """A table on its way: blocks of 8 KiB, each compressed where that makes it smaller."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.done, self.open = codec, bytearray(), bytearray()

    def place(self) -> tuple[int, int]:
        """Where the next byte goes: its block's place in the table, and its offset there."""
        return len(self.done), len(self.open)

    def add(self, data: bytes) -> None:
        self.open += data
        while len(self.open) >= META:
            self._close(bytes(self.open[:META]))
            del self.open[:META]

    def end(self) -> bytes:
        """The whole table."""
        if self.open:
            self._close(bytes(self.open))
            self.open.clear()
        return bytes(self.done)

    def _close(self, data: bytes) -> None:
        packed = self.codec.pack(data)
        if len(packed) < len(data):
            self.done += len(packed).to_bytes(2, "little") + packed
        else:
            self.done += (len(data) | META_PLAIN).to_bytes(2, "little") + data


@dataclass(slots=True)
class _Writer:
    """New tables."""

    codec: Codec
    fragments: Sequence[tuple[int, int]]
    count: int = 0
    files: int = 0
    content_size: int = 0
    numbers: dict[int, int] = field(default_factory=dict)
    inodes: _Table = field(init=False)
    lists: _Table = field(init=False)

    def __post_init__(self) -> None:
        self.inodes, self.lists = _Table(self.codec), _Table(self.codec)

    def number(self, root: Folder) -> None:
        """Give every entry its number, those of one folder one after the other: lists are then short."""
        todo = [root]
        while todo:
            folder = todo.pop()
            for name in sorted(folder.entries):
                self.count += 1
                entry = folder.entries[name]
                self.numbers[id(entry)] = self.count
                if isinstance(entry, Folder):
                    todo.append(entry)
        self.count += 1
        self.numbers[id(root)] = self.count

    def folder(self, folder: Folder, parent: int) -> tuple[int, int]:
        """Write a folder and all below it; where its inode is."""
        own = self.numbers[id(folder)]
        inner = {
            name: self.folder(entry, own) for name, entry in sorted(folder.entries.items()) if isinstance(entry, Folder)
        }
        first = self.numbers[id(folder.entries[min(folder.entries)])] if folder.entries else 0
        listed = []
        for number, (name, entry) in enumerate(sorted(folder.entries.items()), first):
            if isinstance(entry, Folder):
                listed.append((name, inner[name], FOLDER, number))
            else:
                listed.append((name, self._leaf(entry, number), FILE if isinstance(entry, File) else LINK, number))
        return self._inode(own, parent, len(inner) + 2, *self._list(listed))

    def _leaf(self, entry: File | Link, number: int) -> tuple[int, int]:
        place = self.inodes.place()
        self.files += 1
        if isinstance(entry, Link):
            head = HEAD.pack(LINK, 0o777, 0, 0, 0, number)
            self.inodes.add(head + struct.pack("<2I", 1, len(entry.target)) + entry.target)
            return place
        self.content_size += entry.size
        if entry.start <= NONE and entry.size <= NONE and not entry.sparse:
            head = HEAD.pack(FILE, entry.mode, 0, 0, 0, number)
            body = FILE_HEAD.pack(entry.start, entry.fragment, entry.offset, entry.size)
        else:
            head = HEAD.pack(FILE + LARGE, entry.mode, 0, 0, 0, number)
            where = (entry.start, entry.size, entry.sparse, 1, entry.fragment, entry.offset, NONE)
            body = LARGE_FILE.pack(*where)
        self.inodes.add(head + body + entry.blocks)
        return place

    def _list(
        self, listed: Sequence[tuple[bytes, tuple[int, int], int, int]]
    ) -> tuple[tuple[int, int], int, list[bytes]]:
        """Write a folder's list: where it begins, its size, and the names by which its later blocks are found."""
        begin = self.lists.place()
        size, at, indexed = 0, 0, begin[0]
        index: list[bytes] = []
        while at < len(listed):
            name, (block, _), _, base = listed[at]
            stop = at + 1
            while stop < min(len(listed), at + _RUN) and listed[stop][1][0] == block and listed[stop][3] - base < _FAR:
                stop += 1
            here = self.lists.place()[0]
            if here != indexed:
                index.append(INDEX.pack(size, here, len(name) - 1) + name)
                indexed = here
            piece = LIST_HEAD.pack(stop - at - 1, block, base) + b"".join(
                LIST_ENTRY.pack(offset, number - base, kind, len(one) - 1) + one
                for one, (_, offset), kind, number in listed[at:stop]
            )
            self.lists.add(piece)
            size += len(piece)
            at = stop
        return begin, size + 3, index

    def _inode(
        self, number: int, parent: int, links: int, begin: tuple[int, int], size: int, index: Sequence[bytes]
    ) -> tuple[int, int]:
        place = self.inodes.place()
        start, offset = begin
        if size <= 0xFFFF and not index:
            head = HEAD.pack(FOLDER, 0o755, 0, 0, 0, number)
            self.inodes.add(head + FOLDER_HEAD.pack(start, links, size, offset, parent))
        else:
            head = HEAD.pack(FOLDER + LARGE, 0o755, 0, 0, 0, number)
            body = LARGE_FOLDER.pack(links, size, start, parent, len(index), offset, NONE)
            self.inodes.add(head + body + b"".join(index))
        return place

    def finish(self, like: Image, root: tuple[int, int], begin: int) -> Joined:
        """The tables in the order that the kernel asks for, and the superblock that knows where they are."""
        inodes, lists = self.inodes.end(), self.lists.end()
        tables = bytearray(inodes + lists)
        packed = b"".join(FRAGMENT.pack(start, size, 0) for start, size in self.fragments)
        fragment_table = self._indexed(tables, begin, packed)
        owner_table = self._indexed(tables, begin, bytes(4))
        size = begin + len(tables)
        tables += bytes(-size % PAGE)
        head = like.head
        front = SUPER.pack(
            *(MAGIC, self.count, 0, head.block, len(self.fragments)),
            *(head.compressor, head.log, head.flags & ~(EXPORTABLE | PLAIN_TABLES), 1, 4, 0),
            *(root[0] << 16 | root[1], size, owner_table, NOWHERE),
            *(begin, begin + len(inodes), fragment_table, NOWHERE),
        )
        return Joined(front + like.options, bytes(tables), self.files, self.content_size)

    def _indexed(self, tables: bytearray, begin: int, data: bytes) -> int:
        """Add a table with a list of its blocks' places behind it; where that list is."""
        places = []
        for at in range(0, len(data), META):
            places.append(begin + len(tables))
            block = _Table(self.codec)
            block.add(data[at : at + META])
            tables += block.end()
        at = begin + len(tables)
        tables += struct.pack(f"<{len(places)}Q", *places)
        return at
