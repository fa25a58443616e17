"""Several squashfs images made into one without compressing anything again: their blocks as they are, new tables.

mksquashfs writes every block of data; what is written here is only what says where they are: inodes, directories,
fragments. The result is a function of the images and of where their files go, so the same images give the same bytes.

Source of the format: the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h (version 4.0).
Only what mksquashfs writes with `squash_argv`'s options is read: one owner, no times, no extended attributes, files,
folders and symbolic links. Anything else is refused.
"""

import lzma
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lz4.block
import zstandard

from conda_concept.errors import IntegrityError

_MAGIC = 0x73717368
_NONE = 0xFFFFFFFF
_NOWHERE = 0xFFFFFFFFFFFFFFFF
#: Bytes of one block of a table, and the bit of its header that says that it is not compressed.
_META, _META_PLAIN = 8192, 0x8000
#: Of the superblock's flags: options of the compressor follow it; no attributes; an export table is there; and that
#: tables (inodes, owners) are not compressed, which is true of the parts only.
_OPTIONS, _NO_XATTRS, _EXPORTABLE, _PLAIN_TABLES = 0x400, 0x200, 0x80, 0x1 | 0x800
_FOLDER, _FILE, _LINK, _LARGE = 1, 2, 3, 7
#: Kernels read whole pages from a device. And what is read at first: superblock and compressor's options.
_PAGE, _FRONT = 4096, 8192

_SUPER = struct.Struct("<5I6H8Q")
_HEAD = struct.Struct("<4H2I")
_FILE_HEAD, _LARGE_FILE = struct.Struct("<4I"), struct.Struct("<3Q4I")
_FOLDER_HEAD, _LARGE_FOLDER = struct.Struct("<2I2HI"), struct.Struct("<4I2HI")
_LIST_HEAD, _LIST_ENTRY = struct.Struct("<3I"), struct.Struct("<HhHH")
_INDEX, _FRAGMENT = struct.Struct("<3I"), struct.Struct("<Q2I")
#: Entries that one header of a folder's list may have, and how far an inode's number may be from the header's.
_RUN, _FAR = 256, 0x7FFF


@dataclass(frozen=True, slots=True)
class Codec:
    """A compressor as the kernel knows it."""

    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]


def _xz(data: bytes) -> bytes:
    # The kernel makes room for a dictionary of one block and refuses a stream that asks for more.
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": _META}]
    return lzma.compress(data, lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


def codec(number: int, level: int) -> Codec:
    """The compressor with a number of the superblock, at a level; `IntegrityError` for one that nobody asked for."""
    if number == 1:
        return Codec(lambda data: zlib.compress(data, min(level, 9)), zlib.decompress)
    if number == 4:
        return Codec(_xz, lzma.decompress)
    if number == 5:
        return Codec(
            lambda data: lz4.block.compress(data, store_size=False),
            lambda data: lz4.block.decompress(data, uncompressed_size=_META),
        )
    if number == 6:
        packer, unpacker = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
        return Codec(packer.compress, lambda data: unpacker.decompress(data, max_output_size=_META))
    raise IntegrityError(f"an image is compressed in a way that is not known here (number {number}).")


@dataclass(frozen=True, slots=True)
class File:
    """A file's mode and size, and where its content is: blocks from `start` on, the rest in a fragment."""

    mode: int
    size: int
    start: int
    blocks: bytes
    fragment: int
    offset: int
    sparse: int


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(slots=True)
class Folder:
    """A folder on its way, with what is in it by name."""

    entries: "dict[bytes, File | Link | Folder]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Superblock:
    """What an image says about itself, as far as it matters here."""

    inodes: int
    block: int
    fragments: int
    compressor: int
    log: int
    flags: int
    owners: int
    root: int
    size: int
    owner_table: int
    inode_table: int
    folder_table: int
    fragment_table: int
    export_table: int

    @classmethod
    def parse(cls, data: bytes, length: int) -> "Superblock":
        """Read the first bytes of a file of some length; `IntegrityError` if it is not a whole image."""
        try:
            values = _SUPER.unpack_from(data)
        except struct.error:
            raise IntegrityError("there is no image: the file is too short.") from None
        magic, inodes, _, block, fragments, compressor, log, flags, owners, major, minor = values[:11]
        root, size, owner_table, _, inode_table, folder_table, fragment_table, export_table = values[11:]
        if magic != _MAGIC or (major, minor) != (4, 0):
            raise IntegrityError("there is no squashfs image, or one of another version than 4.0.")
        if size > length or not _SUPER.size <= inode_table <= folder_table <= size:
            raise IntegrityError("the image has not all of its bytes.")
        return cls(
            inodes=inodes,
            block=block,
            fragments=fragments,
            compressor=compressor,
            log=log,
            flags=flags,
            owners=owners,
            root=root,
            size=size,
            owner_table=owner_table,
            inode_table=inode_table,
            folder_table=folder_table,
            fragment_table=fragment_table,
            export_table=export_table,
        )


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was read: its files and folders by path, the stretch of it that has all contents, its fragments."""

    head: Superblock
    options: bytes
    files: Mapping[bytes, File | Link]
    folders: Sequence[bytes]
    contents: range
    fragments: Sequence[tuple[int, int]]


def read(path: Path) -> Image:
    """Read an image's tables; `IntegrityError` if it is damaged, or is not one of ours."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        front = file.read(_FRONT)
        head = Superblock.parse(front, length)
        if head.owners != 1 or not head.flags & _NO_XATTRS:
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
        after = _SUPER.size
        self.options = b""
        if head.flags & _OPTIONS:
            size = int.from_bytes(front[after : after + 2], "little") & ~_META_PLAIN
            self.options = front[after : after + 2 + size]
            after += 2 + size
        self.contents = range(after, head.inode_table)
        self.inodes, self.inode_starts = self._table(head.inode_table, head.folder_table)
        self.places = self._places(head.fragment_table, -(-head.fragments // (_META // _FRAGMENT.size)))
        exports = self._places(head.export_table, 1) if head.flags & _EXPORTABLE else ()
        self.lists, self.list_starts = self._table(
            head.folder_table, min((*self.places, *exports, *self._places(head.owner_table, 1)))
        )

    def image(self) -> Image:
        """All of it."""
        found = b"".join(self._block(place)[0] for place in self.places)
        each = _FRAGMENT.iter_unpack(found[: self.head.fragments * _FRAGMENT.size])
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
        size = head & ~_META_PLAIN
        raw = self.tables[at + 2 : at + 2 + size]
        if at < 0 or len(raw) != size:
            raise ValueError("a table ends too early")
        return (raw if head & _META_PLAIN else self.codec.unpack(raw)), place + 2 + size

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
        kind, mode, *_ = _HEAD.unpack_from(self.inodes, at)
        at += _HEAD.size
        if kind in (_FILE, _FILE + _LARGE):
            return self._file(kind, mode, at)
        if kind == _LINK:
            _, size = struct.unpack_from("<2I", self.inodes, at)
            return Link(self.inodes[at + 8 : at + 8 + size])
        return self._folder(block, offset)

    def _folder(self, block: int, offset: int) -> tuple[int, int]:
        at = self.inode_starts[block] + offset
        kind = _HEAD.unpack_from(self.inodes, at)[0]
        at += _HEAD.size
        if kind == _FOLDER:
            place, _, size, offset, _ = _FOLDER_HEAD.unpack_from(self.inodes, at)
        elif kind == _FOLDER + _LARGE:
            _, size, place, _, _, offset, _ = _LARGE_FOLDER.unpack_from(self.inodes, at)
        else:
            raise ValueError(f"an entry of kind {kind}")
        # A folder's size counts three bytes for `.` and `..`, which are not listed.
        return (self.list_starts[place] + offset if size > 3 else 0), size - 3

    def _file(self, kind: int, mode: int, at: int) -> File:
        sparse = 0
        if kind == _FILE:
            start, fragment, offset, size = _FILE_HEAD.unpack_from(self.inodes, at)
            at += _FILE_HEAD.size
        else:
            start, size, sparse, _, fragment, offset, _ = _LARGE_FILE.unpack_from(self.inodes, at)
            at += _LARGE_FILE.size
        count = size // self.head.block if fragment != _NONE else -(-size // self.head.block)
        return File(mode, size, start, self.inodes[at : at + 4 * count], fragment, offset, sparse)

    def _listed(self, at: int, size: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """What a folder has: each name, and where its inode is."""
        end = at + size
        while at < end:
            count, block, _ = _LIST_HEAD.unpack_from(self.lists, at)
            at += _LIST_HEAD.size
            for _ in range(count + 1):
                offset, _, _, length = _LIST_ENTRY.unpack_from(self.lists, at)
                at += _LIST_ENTRY.size
                yield self.lists[at : at + length + 1], (block, offset)
                at += length + 1


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
    begin = _SUPER.size + len(last.options)
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
    fragment = file.fragment + fragments if file.fragment != _NONE else _NONE
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
        while len(self.open) >= _META:
            self._close(bytes(self.open[:_META]))
            del self.open[:_META]

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
            self.done += (len(data) | _META_PLAIN).to_bytes(2, "little") + data


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
                listed.append((name, inner[name], _FOLDER, number))
            else:
                listed.append((name, self._leaf(entry, number), _FILE if isinstance(entry, File) else _LINK, number))
        return self._inode(own, parent, len(inner) + 2, *self._list(listed))

    def _leaf(self, entry: File | Link, number: int) -> tuple[int, int]:
        place = self.inodes.place()
        self.files += 1
        if isinstance(entry, Link):
            head = _HEAD.pack(_LINK, 0o777, 0, 0, 0, number)
            self.inodes.add(head + struct.pack("<2I", 1, len(entry.target)) + entry.target)
            return place
        self.content_size += entry.size
        if entry.start <= _NONE and entry.size <= _NONE and not entry.sparse:
            head = _HEAD.pack(_FILE, entry.mode, 0, 0, 0, number)
            body = _FILE_HEAD.pack(entry.start, entry.fragment, entry.offset, entry.size)
        else:
            head = _HEAD.pack(_FILE + _LARGE, entry.mode, 0, 0, 0, number)
            where = (entry.start, entry.size, entry.sparse, 1, entry.fragment, entry.offset, _NONE)
            body = _LARGE_FILE.pack(*where)
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
                index.append(_INDEX.pack(size, here, len(name) - 1) + name)
                indexed = here
            piece = _LIST_HEAD.pack(stop - at - 1, block, base) + b"".join(
                _LIST_ENTRY.pack(offset, number - base, kind, len(one) - 1) + one
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
            head = _HEAD.pack(_FOLDER, 0o755, 0, 0, 0, number)
            self.inodes.add(head + _FOLDER_HEAD.pack(start, links, size, offset, parent))
        else:
            head = _HEAD.pack(_FOLDER + _LARGE, 0o755, 0, 0, 0, number)
            body = _LARGE_FOLDER.pack(links, size, start, parent, len(index), offset, _NONE)
            self.inodes.add(head + body + b"".join(index))
        return place

    def finish(self, like: Image, root: tuple[int, int], begin: int) -> Joined:
        """The tables in the order that the kernel asks for, and the superblock that knows where they are."""
        inodes, lists = self.inodes.end(), self.lists.end()
        tables = bytearray(inodes + lists)
        packed = b"".join(_FRAGMENT.pack(start, size, 0) for start, size in self.fragments)
        fragment_table = self._indexed(tables, begin, packed)
        owner_table = self._indexed(tables, begin, bytes(4))
        size = begin + len(tables)
        tables += bytes(-size % _PAGE)
        head = like.head
        front = _SUPER.pack(
            *(_MAGIC, self.count, 0, head.block, len(self.fragments)),
            *(head.compressor, head.log, head.flags & ~(_EXPORTABLE | _PLAIN_TABLES), 1, 4, 0),
            *(root[0] << 16 | root[1], size, owner_table, _NOWHERE),
            *(begin, begin + len(inodes), fragment_table, _NOWHERE),
        )
        return Joined(front + like.options, bytes(tables), self.files, self.content_size)

    def _indexed(self, tables: bytearray, begin: int, data: bytes) -> int:
        """Add a table with a list of its blocks' places behind it; where that list is."""
        places = []
        for at in range(0, len(data), _META):
            places.append(begin + len(tables))
            block = _Table(self.codec)
            block.add(data[at : at + _META])
            tables += block.end()
        at = begin + len(tables)
        tables += struct.pack(f"<{len(places)}Q", *places)
        return at
