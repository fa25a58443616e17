"""Which libraries an ELF file asks for, and where the dynamic loader would find them: enough of ELF for that.

Formats from elf(5), the search order from ld.so(8). Nothing is loaded or run, so ten thousand files take seconds and
none of them can do any harm.
"""

from __future__ import annotations

import glob
import os
import struct
import typing
from dataclasses import dataclass, field

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 14, 15, 29
#: Where the loader looks last; multiarch folders are found below.
SYSTEM = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


@dataclass(frozen=True)
class Elf:
    """One file's dynamic section: `kind` tells 64-bit x86 from others, `rpath` and `runpath` are not yet expanded."""

    kind: tuple[int, int]
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]


def read_elf(path: str) -> Elf | None:
    """The dynamic section of a file; None if it is no dynamic ELF file. A damaged one raises `ValueError`."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return None
        try:
            return _parse(file, head)
        except (struct.error, IndexError, OverflowError, MemoryError) as error:
            raise ValueError(f"damaged ELF file: {error}") from error


def _parse(file: typing.BinaryIO, head: bytes) -> Elf | None:
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    if wide:
        machine, _, _, phoff = struct.unpack_from(order + "HIQQ", head, 18)
        phsize, phnum = struct.unpack_from(order + "HH", head, 54)
    else:
        machine, _, _, phoff = struct.unpack_from(order + "HIII", head, 18)
        phsize, phnum = struct.unpack_from(order + "HH", head, 42)
    file.seek(phoff)
    table = file.read(phsize * phnum)
    loads, dynamic = [], b""
    for number in range(phnum):
        if wide:
            kind, _, offset, address, _, size = struct.unpack_from(order + "IIQQQQ", table, number * phsize)
        else:
            kind, offset, address, _, size = struct.unpack_from(order + "IIIII", table, number * phsize)
        if kind == PT_LOAD:
            loads.append((address, offset, size))
        elif kind == PT_DYNAMIC:
            file.seek(offset)
            dynamic = file.read(size)
    return _dynamic(file, (head[4], machine), [*struct.iter_unpack(order + ("qQ" if wide else "iI"), dynamic)], loads)


def _dynamic(
    file: typing.BinaryIO, kind: tuple[int, int], entries: list[tuple[int, ...]], loads: list[tuple[int, int, int]]
) -> Elf | None:
    if not entries:
        return None
    address = next((value for tag, value in entries if tag == DT_STRTAB), None)
    if address is None:
        return Elf(kind, (), (), ())
    start = next((address - at + offset for at, offset, size in loads if at <= address < at + size), None)
    if start is None:
        raise ValueError("damaged ELF file: its strings lie nowhere")

    def text(value: int) -> str:
        file.seek(start + value)
        return bytes(file.read(4096).split(b"\0", 1)[0]).decode("utf-8", "surrogateescape")

    def all_of(wanted: int) -> tuple[str, ...]:
        return tuple(text(value) for tag, value in entries if tag == wanted)

    def folders(wanted: int) -> tuple[str, ...]:
        return tuple(folder for words in all_of(wanted) for folder in words.split(":") if folder)

    return Elf(kind, all_of(DT_NEEDED), folders(DT_RPATH), folders(DT_RUNPATH))


def system_folders() -> list[str]:
    """The folders of the loader's cache (`/etc/ld.so.conf` and what it includes) and its defaults."""
    folders: list[str] = []
    todo = ["/etc/ld.so.conf"]
    seen: set[str] = set()
    while todo:
        name = todo.pop(0)
        if name in seen:
            continue
        seen.add(name)
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                lines = [line.split("#")[0].strip() for line in file]
        except OSError:
            continue
        for line in lines:
            if line.startswith("include"):
                todo += sorted(glob.glob(line.split(None, 1)[1]))
            elif line.startswith("/"):
                folders.append(line)
    return [*folders, *SYSTEM]


@dataclass
class Reached:
    """What one file brings with it: `files` (itself first), `lost` (asking file, name), `found` (…, name, path)."""

    files: list[str] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    found: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Finder:
    """Finds libraries as the loader of one interpreter would; remembers what it has read.

    `folders` are those of LD_LIBRARY_PATH.
    """

    executable: str
    system: list[str] = field(default_factory=system_folders)
    folders: list[str] = field(default_factory=list)
    _read: dict[str, Elf | None] = field(default_factory=dict)

    def elf(self, path: str) -> Elf | None:
        """The dynamic section, read once."""
        if path not in self._read:
            self._read[path] = read_elf(path)
        return self._read[path]

    def reach(self, path: str) -> Reached:
        """What a file needs, and what that needs, each with who asks for it.

        A library that an earlier one has already brought counts as found, as it does for the loader (it compares
        names).
        """
        main = self.elf(os.path.realpath(self.executable))
        inherited = _expand(main.rpath, os.path.realpath(self.executable)) if main and not main.runpath else []
        reached = Reached()
        places: dict[str, str | None] = {}
        todo = [(path, inherited)]
        while todo:
            asking, above = todo.pop(0)
            elf = self.elf(asking)
            if elf is None:
                continue
            reached.files.append(asking)
            own = [] if elf.runpath else _expand(elf.rpath, asking)
            first = [] if elf.runpath else [*own, *above]
            folders = [*first, *self.folders, *_expand(elf.runpath, asking), *self.system]
            for name in elf.needed:
                if name.startswith(("ld-linux", "ld64.", "linux-vdso")):
                    continue
                if name not in places:
                    places[name] = self._find(name, folders, elf.kind, asking)
                    todo += [(place, [*own, *above]) for place in [places[name]] if place is not None]
                place = places[name]
                if place is None:
                    reached.lost.append((asking, name))
                else:
                    reached.found.append((asking, name, place))
        return reached

    def _find(self, name: str, folders: list[str], kind: tuple[int, int], asking: str) -> str | None:
        if "/" in name:
            name = _expand((name,), asking)[0]
            return os.path.realpath(name) if os.path.exists(name) else None
        for folder in folders:
            place = os.path.join(folder, name)
            if os.path.exists(place):
                try:
                    elf = self.elf(os.path.realpath(place))
                except (OSError, ValueError):
                    continue
                if elf is not None and elf.kind == kind:
                    return os.path.realpath(place)
        return None


def _expand(folders: tuple[str, ...], path: str) -> list[str]:
    origin = os.path.dirname(path)
    return [
        os.path.normpath(folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin).replace("$LIB", "lib64"))
        for folder in folders
    ]
