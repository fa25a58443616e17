"""The words of squashfs 4.0: superblock, inodes, lists of folders, compressors.

Source of the format: the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h (version 4.0).
"""

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import lz4.block
import zstandard

from conda_concept.errors import IntegrityError

MAGIC = 0x73717368
NONE = 0xFFFFFFFF
NOWHERE = 0xFFFFFFFFFFFFFFFF
#: Bytes of one block of a table, and the bit of its header that says that it is not compressed.
META, META_PLAIN = 8192, 0x8000
#: Of the superblock's flags: options of the compressor follow it; no attributes; an export table is there; and that
#: tables (inodes, owners) are not compressed, which is true of the parts only.
OPTIONS, NO_XATTRS, EXPORTABLE, PLAIN_TABLES = 0x400, 0x200, 0x80, 0x1 | 0x800
FOLDER, FILE, LINK, LARGE = 1, 2, 3, 7
#: Kernels read whole pages from a device. And what is read at first: superblock and compressor's options.
PAGE, FRONT = 4096, 8192

SUPER = struct.Struct("<5I6H8Q")
HEAD = struct.Struct("<4H2I")
FILE_HEAD, LARGE_FILE = struct.Struct("<4I"), struct.Struct("<3Q4I")
FOLDER_HEAD, LARGE_FOLDER = struct.Struct("<2I2HI"), struct.Struct("<4I2HI")
LIST_HEAD, LIST_ENTRY = struct.Struct("<3I"), struct.Struct("<HhHH")
INDEX, FRAGMENT = struct.Struct("<3I"), struct.Struct("<Q2I")


@dataclass(frozen=True, slots=True)
class Codec:
    """A compressor as the kernel knows it."""

    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]


def _xz(data: bytes) -> bytes:
    # The kernel makes room for a dictionary of one block and refuses a stream that asks for more.
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": META}]
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
            lambda data: lz4.block.decompress(data, uncompressed_size=META),
        )
    if number == 6:
        packer, unpacker = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
        return Codec(packer.compress, lambda data: unpacker.decompress(data, max_output_size=META))
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
            values = SUPER.unpack_from(data)
        except struct.error:
            raise IntegrityError("there is no image: the file is too short.") from None
        magic, inodes, _, block, fragments, compressor, log, flags, owners, major, minor = values[:11]
        root, size, owner_table, _, inode_table, folder_table, fragment_table, export_table = values[11:]
        if magic != MAGIC or (major, minor) != (4, 0):
            raise IntegrityError("there is no squashfs image, or one of another version than 4.0.")
        if size > length or not SUPER.size <= inode_table <= folder_table <= size:
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
