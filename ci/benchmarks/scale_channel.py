"""Write the synthetic channel: the interpreter that runs this, and the planned packages around it.

Archives are written as they are made up, file by file, so that memory does not grow with a package; two processes
write at once. The same plan and interpreter give the same bytes.
"""

import hashlib
import io
import json
import os
import shutil
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import zstandard
from realdata import RealData
from scale_content import Content
from scale_plan import Interpreter, Plan, Planned, PlannedFile, files_of, make_plan

from conda_concept.localchannel import PLACEHOLDER, index
from conda_concept.localchannel.interpreter import write_interpreter

#: Quick to write; real archives are made with 16 or more, are a tenth smaller, and unpack as fast.
_LEVEL = 1
_EPOCH, _ZIP_EPOCH = 1_700_000_000, (1980, 1, 1, 0, 0, 0)
#: The standard library's extension modules that need nothing but the C library, the first that is there is taken.
_DONORS = ("_queue", "_opcode", "_statistics", "_bisect", "_heapq", "_json", "_random", "resource")
_STDLIB = ("json", "re", "logging", "datetime", "pathlib", "dataclasses", "functools", "typing", "enum", "collections")
STAMP = "scale.json"


@dataclass(frozen=True, slots=True)
class Made:
    """A written channel: the folder that channel names are below, the plan, and what a release of it has to hold.

    `changed` are packages of which there is a second, later version: what a pull request moves.
    """

    alias: Path
    plan: Plan
    changed: tuple[Planned, ...]
    archives: int

    @property
    def channel(self) -> Path:
        """The only channel."""
        return self.alias / "conda-forge"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is taken from the running interpreter: version (3.11), how extension modules end, one such module."""

    short: str
    suffix: str
    donor: str
    binary: bytes

    @classmethod
    def find(cls) -> "Machine":
        """This process's interpreter. One whose extension modules are all built in has no donor."""
        folder = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
        suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
        short = str(sysconfig.get_config_var("py_version_short"))
        for name in _DONORS:
            if (folder / f"{name}{suffix}").is_file():
                return cls(short, suffix, name, (folder / f"{name}{suffix}").read_bytes())
        return cls(short, suffix, "", b"\x7fELF")


def make_channel(folder: Path, data: RealData, fraction: float, workers: int) -> Made:
    """Write the channel of a size to `folder` (or find it there, whole), index included."""
    channel, stamp = folder / "conda-forge", folder / STAMP
    if not stamp.exists():
        shutil.rmtree(channel, ignore_errors=True)
        channel.mkdir(parents=True)
        write_interpreter(channel)
    machine = Machine.find()
    plan = make_plan(data, fraction, _interpreter(channel, machine))
    changed = changing(plan)
    if not stamp.exists():
        newer = [replace(package, version=f"{package.version}.1") for package in changed]
        _write_all(channel, [*plan.packages, *newer], plan, workers, machine)
        index(channel)
        archives = sum(path.stat().st_size for path in channel.glob("*/*.conda"))
        stamp.write_text(json.dumps({"archives": archives}) + "\n")
    return Made(folder, plan, changed, int(json.loads(stamp.read_text())["archives"]))


def changing(plan: Plan) -> tuple[Planned, ...]:
    """Five pure Python packages of middling size that are asked for: what a usual pull request touches.

    Where there are none, others that are asked for.
    """
    asked = set(plan.requests)
    found = [package for package in plan.packages if package.name in asked]
    order = sorted(found, key=lambda one: (one.kind != "pure", abs(one.sources - 100), one.name))
    return tuple(order[:5])


def _interpreter(channel: Path, machine: Machine) -> Interpreter:
    """What the package of the interpreter holds, by its own list."""
    (archive,) = channel.glob("linux-64/python-[0-9]*.conda")
    with zipfile.ZipFile(archive) as packed, tempfile.TemporaryFile() as plain:
        name = next(name for name in packed.namelist() if name.startswith("info-"))
        zstandard.ZstdDecompressor().copy_stream(io.BytesIO(packed.read(name)), plain)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as info:
            member = info.extractfile("info/paths.json")
            paths = json.load(member)["paths"] if member else []
    sources = [path for path in paths if path["_path"].endswith(".py")]
    return Interpreter(
        version=machine.short,
        files=len(paths),
        sources=len(sources),
        size=sum(path["size_in_bytes"] for path in paths if path["path_type"] == "hardlink"),
        source_size=sum(path["size_in_bytes"] for path in sources),
    )


def _write_all(channel: Path, packages: Sequence[Planned], plan: Plan, workers: int, machine: Machine) -> None:
    """The largest first, so that the end is not one worker with the largest."""
    content = Content()
    content.prepare()
    writer = Writer(channel, content, machine, plan.by_name)
    ordered = sorted(packages, key=lambda package: -package.bulk)
    # `fork`: the pools are made, and the children have them.
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=_become, initargs=(writer,)) as pool:
        for _ in pool.map(_write, ordered):
            pass


def _become(writer: "Writer") -> None:
    """In a worker: the writer that it inherited is the one that `_write` means."""
    _WRITER.append(writer)


def _write(package: Planned) -> None:
    _WRITER[-1].write(package)


_WRITER: list["Writer"] = []


@dataclass(frozen=True)
class Writer:
    """Writes packages into a channel's folder."""

    channel: Path
    content: Content
    machine: Machine
    others: dict[str, Planned]

    def write(self, package: Planned) -> None:
        """One archive: `info-` and `pkg-` as zstandard streams in a zip, as conda-package-format 2 has it."""
        subdir = "noarch" if package.kind in ("pure", "generic") else "linux-64"
        stem = f"{package.name}-{package.version}-{package.build}"
        folder = self.channel / subdir
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=self.channel) as inside, tempfile.TemporaryFile(dir=self.channel) as info:
            paths = _pack(inside, self._files(package))
            _pack(info, _info(package, subdir, paths))
            part = folder / f".{stem}.part"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(zipfile.ZipInfo("metadata.json", _ZIP_EPOCH), '{"conda_pkg_format_version": 2}')
                for name, stream in ((f"info-{stem}.tar.zst", info), (f"pkg-{stem}.tar.zst", inside)):
                    stream.seek(0)
                    with archive.open(zipfile.ZipInfo(name, _ZIP_EPOCH), "w", force_zip64=True) as target:
                        shutil.copyfileobj(stream, target, 1 << 20)
            os.replace(part, folder / f"{stem}.conda")  # noqa: PTH105 - the same, and says what it does

    def _files(self, package: Planned) -> Iterator[tuple[str, list[bytes | memoryview], bool]]:
        """Path, bytes in pieces, and whether it is a program, of every file."""
        rng = package.rng
        rng.random()
        first_library = True
        for number, file in enumerate(files_of(package, self.machine.suffix)):
            path = file.path.replace("@", self.machine.short)
            if file.kind == "library" and package.kind == "extension" and first_library and self.machine.donor:
                # Its name is the donor's, whose initialising function it has: so it really can be imported.
                path = f"{path.rpartition('/')[0]}/{self.machine.donor}{self.machine.suffix}"
                first_library = False
            yield path, list(self._content(package, file, number)), file.kind == "script"
        if package.is_python:
            yield from self._metadata(package)

    def _content(self, package: Planned, file: PlannedFile, number: int) -> Iterator[bytes | memoryview]:
        rng, size = package.rng, file.size
        rng.seed(f"{package.name} {package.version} {number}")
        match file.kind:
            case "source":
                lines = self._imports(package) if number == 0 else []
                yield self.content.python(size, lines, rng) if size else b""
            case "library" if size > len(self.machine.binary) + 512:
                tail = PLACEHOLDER.encode() + b"\0" if rng.random() < 0.05 else b""
                yield self.machine.binary
                yield from self.content.machine_code.pieces(size - len(self.machine.binary) - len(tail), rng)
                yield tail
            case "library":
                yield from self.content.machine_code.pieces(size, rng)
            case "header":
                yield from self.content.header.pieces(size, rng)
            case "script":
                head = (
                    f"#!{PLACEHOLDER}/bin/python3\nimport {package.module}\n" if package.is_python else "#!/bin/sh\n:\n"
                )
                yield head.encode() + b"# " + b"-" * max(0, size - len(head) - 3) + b"\n"
            case _:
                yield from self.content.data.pieces(size, rng)

    def _imports(self, package: Planned) -> list[str]:
        """What the package's `__init__` loads: something of the standard library, of its own, of what it needs."""
        rng = package.rng
        lines = [f"import {name}" for name in rng.sample(_STDLIB, 3)]
        own = min(package.sources - 1, 12)
        lines += [f"from . import module{number}" for number in range(own)]
        if package.kind == "extension" and self.machine.donor and self._has_extension(package):
            lines.append(f"from . import {self.machine.donor}")
        needed = [self.others[name] for name in package.needs if name in self.others]
        modules = [one.module for one in needed if one.is_python and package.name not in one.needs]
        lines += [f"import {module}" for module in modules[:4]]
        return [*lines, "def main():\n    return 0"]

    def _has_extension(self, package: Planned) -> bool:
        """Whether the first library has room for the donor's machine code."""
        libraries = [file for file in files_of(package, self.machine.suffix) if file.kind == "library"]
        return bool(libraries) and libraries[0].size > len(self.machine.binary) + 512

    def _metadata(self, package: Planned) -> Iterator[tuple[str, list[bytes | memoryview], bool]]:
        site = "site-packages" if package.kind == "pure" else f"lib/python{self.machine.short}/site-packages"
        folder = f"{site}/{package.module}-1.0.dist-info"
        needed = [self.others[name] for name in package.needs if name in self.others]
        head = ["Metadata-Version: 2.1", f"Name: {package.module}", "Version: 1.0"]
        head += [f"Requires-Dist: {one.module}" for one in needed if one.is_python]
        commands = "".join(f"{line}\n" for line in entry_points(package))
        scripts = f"[console_scripts]\n{commands}" if commands else ""
        yield f"{folder}/METADATA", [("\n".join(head) + "\n\n").encode()], False
        yield f"{folder}/top_level.txt", [f"{package.module}\n".encode()], False
        yield f"{folder}/entry_points.txt", [scripts.encode()], False


def entry_points(package: Planned) -> list[str]:
    """The commands of a pure package, as its metadata names them."""
    if package.kind != "pure":
        return []
    return [f"{package.name}-{number} = {package.module}:main" for number in range(package.commands)]


def _pack(target: Any, files: Iterator[tuple[str, list[bytes | memoryview], bool]]) -> list[dict[str, Any]]:
    """A zstandard stream of a tar of these files; the facts of each for `paths.json`."""
    facts = []
    with (
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(target, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar,
    ):
        for path, pieces, program in files:
            data = b"".join(pieces)
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(data), 0o755 if program else 0o644, _EPOCH
            tar.addfile(member, io.BytesIO(data))
            fact: dict[str, Any] = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(data)}
            fact["sha256"] = hashlib.sha256(data).hexdigest()
            if PLACEHOLDER.encode() in data:
                fact |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in data else "text"}
            facts.append(fact)
    return facts


def _recipe(package: Planned) -> bytes:
    """A rendered recipe of the usual length (6 kB), with the usual tests: an import, or that something is there."""
    pins = "".join(f"    - {name} {number}.{number % 7}.*\n" for number, name in enumerate(package.needs))
    variants = "".join(f"  variant_{number}: 'value {number} of the build matrix'\n" for number in range(120))
    test = (
        f"  imports:\n    - {package.module}\n"
        if package.is_python
        else "  commands:\n    - test -d $PREFIX/conda-meta\n"
    )
    head = (
        f"package:\n  name: {package.name}\n  version: '{package.version}'\nrequirements:\n  run:\n    - libc\n{pins}"
    )
    return f"{head}test:\n{test}extra:\n{variants}".encode()


def _info(
    package: Planned, subdir: str, paths: list[dict[str, Any]]
) -> Iterator[tuple[str, list[bytes | memoryview], bool]]:
    fields: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": package.build_number,
        "depends": list(package.depends),
        "subdir": subdir,
        "license": "MIT",
        "timestamp": package.timestamp,
    }
    noarch = {"pure": "python", "generic": "generic"}.get(package.kind)
    if noarch:
        fields["noarch"] = noarch
    texts: dict[str, Any] = {"info/index.json": fields, "info/paths.json": {"paths": paths, "paths_version": 1}}
    if noarch == "python":
        link = {"type": "python", "entry_points": entry_points(package)}
        texts["info/link.json"] = {"noarch": link, "package_metadata_version": 1}
    yield "info/recipe/meta.yaml", [_recipe(package)], False
    yield "info/files", ["".join(f"{path['_path']}\n" for path in paths).encode()], False
    for path, value in texts.items():
        yield path, [json.dumps(value, sort_keys=True).encode()], False
