"""Bytecode for every source of a tree, compiled once for each package and interpreter and kept beside the archives.

Compiling is the longest part of a first build, and of a later one when only a handful of packages are new. A package's
bytecode depends on its sources and on the interpreter, both of which the lock names by hash: so it is kept under those
two hashes and used again, and the bytes are the same as if it had been compiled again.

What is kept serves builds of other pull requests too, so no package may have a hand in another's: the interpreter that
compiles is the `python` package as it came out of its archive, beside no other package and without `site` (whose `.pth`
files run code); it reads the tree and cannot write to it.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from conda_concept.download import Cache
from conda_concept.errors import BuildError
from conda_concept.image import unpacked
from conda_concept.model import Package
from conda_concept.run import CommandError
from conda_concept.sandbox import Inside, Sandbox, Shown

#: Counts up when the same source and interpreter would give other bytecode.
_RECIPE = "1"
#: Source bytes of one task: small enough that two workers end together, large enough that a package is one or two.
_TASK = 2 << 20
_TAG = re.compile(r"[a-z]+-?[0-9]+")
#: Where the interpreter and the results are in the sandbox.
_PYTHON, _OUT = "/python", "/out"


@dataclass(frozen=True, slots=True)
class Part:
    """Some sources of a package, compiled together: the file in the cache, and their paths in the tree."""

    key: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """How many sources have bytecode that was kept, that was made now, and how many cannot be compiled."""

    kept: int
    made: int
    refused: int


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles trees with the locked `python` package; `scratch` is a folder of this build."""

    packages: Sequence[Package]
    cache: Cache
    scratch: Path
    workers: int
    sandbox: Sandbox

    def compile(self, tree: Path, prefix: Path) -> Compiled:
        """Put bytecode beside every source below `tree`'s `lib`, in place of what packages brought.

        A source that is not as its package's list says (the prefix was written into it, another package's won, a hook
        changed it) is compiled from the tree and not kept. Files that are not Python for this version (templates,
        samples) are passed over. Without an interpreter in the lock nothing is done.

        Raises:
            BuildError: if the interpreter does not start, or a source crashes it.
        """
        python = self._python()
        todo = set(_sources(tree))
        if python is None or not todo:
            return Compiled(0, 0, 0)
        interpreter, kept_in = python
        kept = made = refused = 0
        missing: list[Part] = []
        for part in _parts(tree, self.packages, unpacked(self.packages, self.cache)):
            found = _take(kept_in / part.key, tree, set(part.sources))
            if found is None:
                missing.append(part)
                continue
            kept, refused = kept + found.written, refused + found.refused
            todo -= found.seen
        todo -= {path for part in missing for path in part.sources}
        loose = [Part(f"loose.{number}", some) for number, some in enumerate(_dealt(sorted(todo), tree))]
        for part, file in self._compiled([*missing, *loose], tree, prefix, interpreter):
            found = _take(file, tree, set(part.sources))
            if found is None or found.seen != set(part.sources):
                raise BuildError(f"the compiler did not account for all of {part.key}.")
            made, refused = made + found.written, refused + found.refused
            if not part.key.startswith("loose."):
                _keep(file, kept_in / part.key)
        return Compiled(kept, made, refused)

    def _python(self) -> tuple[Path, Path] | None:
        """The unpacked `python` package, and the folder of what was compiled with it; None where there is no such."""
        for package in self.packages:
            if package.name == "python" and package.manager == "conda":
                folder = unpacked([package], self.cache).get("python")
                if folder is not None and (folder / "bin" / "python3").exists():
                    return folder, self.cache.folder / "bytecode" / f"{_RECIPE}-{package.sha256}"
        return None

    def _compiled(
        self, parts: Sequence[Part], tree: Path, prefix: Path, interpreter: Path
    ) -> Iterator[tuple[Part, Path]]:
        """Compile parts in the sandbox; each with the file that holds its bytecode, until the next is asked for."""
        if not parts:
            return
        out = self.scratch / "bytecode"
        out.mkdir(mode=0o755, exist_ok=True)
        # The largest first, so that the end is not one worker with the largest.
        order = sorted(parts, key=lambda part: -sum(os.lstat(tree / path).st_size for path in part.sources))
        tasks = [[part.key, part.sources] for part in order]
        request = {"root": str(prefix), "out": _OUT, "workers": self.workers, "tasks": tasks}
        text = (files("conda_concept") / "inside" / "compiler.py").read_text(encoding="utf-8")
        shown = (Shown(str(interpreter), _PYTHON), Shown(str(out), _OUT, writable=True))
        # -I -S: nothing but the interpreter's own standard library, no setting and no package of anybody.
        words = [f"{_PYTHON}/bin/python3", "-I", "-S", "-B", "-W", "ignore", "-c", text, f"{_OUT}/request"]
        (out / "request").write_text(json.dumps(request), encoding="utf-8")
        done = self.sandbox.run(Inside(tree, prefix, words, shown, read_only=True))
        if done.returncode != 0:
            raise BuildError(
                f"bytecode could not be compiled: {CommandError(words[:1], done.returncode, done.stderr)}",
                hint="The interpreter of the `python` package did not start, or a source crashed its compiler.",
            )
        for part in parts:
            yield part, out / part.key
            (out / part.key).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of a part's file: the sources that it knows, how many were written, how many are no Python."""

    seen: set[str]
    written: int
    refused: int


def _take(file: Path, tree: Path, wanted: set[str]) -> _Taken | None:
    """Write the bytecode in `file` of the `wanted` sources into the tree; None where there is no (whole) such file."""
    try:
        with file.open("rb") as stream:
            head = json.loads(stream.readline())
            tag, entries = str(head["tag"]), [(str(path), int(size)) for path, size in head["files"]]
            whole = stream.tell() + sum(size for _, size in entries if size > 0)
            if not _TAG.fullmatch(tag) or os.fstat(stream.fileno()).st_size != whole:
                return None
            written = refused = 0
            for path, size in entries:
                content = stream.read(max(0, size))
                if path in wanted and size >= 0:
                    _write(f"{tree}/{path}", tag, content)
                    written += 1
                refused += path in wanted and size < 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _Taken({path for path, _ in entries} & wanted, written, refused)


def _write(source: str, tag: str, content: bytes) -> None:
    """A new file in `__pycache__`; what the package brought there may be a link into the package cache."""
    place, _, name = source.rpartition("/")
    folder = f"{place}/__pycache__"
    target = f"{folder}/{name.removesuffix('.py')}.{tag}.pyc"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(target, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - strings here: pathlib doubles the time of 80,000 files
        descriptor = os.open(target, flags, 0o644)
    except FileExistsError:
        os.unlink(target)  # noqa: PTH108 - the same
        descriptor = os.open(target, flags, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _keep(file: Path, target: Path) -> None:
    """Have `file` in the cache, whole or not at all; the cache may be on another file system than the scratch."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.move(file, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _sources(tree: Path) -> Iterator[str]:
    """Every source below `lib`, as a path below the tree."""
    for folder, folders, names in os.walk(tree / "lib"):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        here = os.path.relpath(folder, tree)
        for name in names:
            if name.endswith(".py") and os.path.isfile(f"{folder}/{name}"):  # noqa: PTH113 - pathlib doubles the time
                yield f"{here}/{name}"


def _parts(tree: Path, packages: Sequence[Package], folders: Mapping[str, Path]) -> Iterator[Part]:
    """The sources of each package that are in the tree as the package brought them, a few million bytes at a time."""
    for package in packages:
        folder = folders.get(package.name)
        if package.manager != "conda" or folder is None or not package.sha256:
            continue
        for number, some in enumerate(_by_size(_listed(tree, folder))):
            pristine = tuple(source.path for source in some if source.is_pristine(tree))
            if pristine:
                yield Part(f"{package.sha256}.{number}", pristine)


@dataclass(frozen=True, slots=True)
class _Source:
    """A source as its package's list has it: path in the tree, the file in the unpacked package, digest, size."""

    path: str
    original: str
    sha256: str
    size: int

    def is_pristine(self, tree: Path) -> bool:
        """Whether the tree has these bytes: the same file, where the tree is linked, or the same digest."""
        try:
            present = os.stat(f"{tree}/{self.path}")  # noqa: PTH116 - as in `_write`
            if os.path.samestat(present, os.stat(self.original)):  # noqa: PTH116
                return True
            if present.st_size != self.size:
                return False
            return hashlib.sha256((tree / self.path).read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


def _listed(tree: Path, folder: Path) -> list[_Source]:
    """The sources that a package's record lists below `lib`, those aside that the prefix is written into."""
    record = json.loads((tree / "conda-meta" / f"{folder.name}.json").read_text("utf-8"))
    noarch = record.get("noarch") == "python"
    found = []
    moved = re.compile(r"^lib/python3\.\d+/")
    for entry in (record.get("paths_data") or {}).get("paths") or ():
        path = str(entry.get("_path"))
        if not path.endswith(".py") or not path.startswith("lib/") or entry.get("prefix_placeholder"):
            continue
        own = moved.sub("", path) if noarch else path
        found.append(_Source(path, f"{folder}/{own}", str(entry.get("sha256")), int(entry.get("size_in_bytes") or 0)))
    return sorted(found, key=lambda source: source.path)


def _by_size(sources: Iterable[_Source]) -> Iterator[list[_Source]]:
    """In their order, some at a time: always the same ones together, whatever the tree is like."""
    some: list[_Source] = []
    size = 0
    for source in sources:
        some.append(source)
        size += source.size
        if size >= _TASK:
            yield some
            some, size = [], 0
    if some:
        yield some


def _dealt(paths: Sequence[str], tree: Path) -> Iterator[tuple[str, ...]]:
    """Paths, some at a time."""
    sized = (_Source(path, f"{tree}/{path}", "", (tree / path).stat().st_size) for path in paths)
    for some in _by_size(sized):
        yield tuple(source.path for source in some)
