"""Bytecode for sources of a tree, written beside nothing: layers and the rest of an image take it from there.

A package's bytecode depends on its sources and on the interpreter, both of which the lock names by hash, and it serves
builds of other pull requests too (see `layers`). So no package may have a hand in another's: the interpreter that
compiles is the `python` package as it came out of its archive, beside no other package and without `site` (whose `.pth`
files run code); it reads the tree and cannot write to it.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from conda_concept.download import Cache
from conda_concept.errors import BuildError
from conda_concept.image import unpacked
from conda_concept.model import Package
from conda_concept.run import CommandError
from conda_concept.sandbox import Inside, Sandbox, Shown

#: Source bytes of one task: small enough that two workers end together, large enough that a package is one or two.
_TASK = 2 << 20
_TAG = re.compile(r"[a-z]+-?[0-9]+")
#: Where the interpreter and the results are in the sandbox.
_PYTHON, _OUT = "/python", "/out"


@dataclass(frozen=True, slots=True)
class Compiled:
    """How many sources have bytecode that was kept, that was made now, and how many cannot be compiled."""

    kept: int
    made: int
    refused: int


@dataclass(frozen=True, slots=True)
class Task:
    """Some sources of a group, compiled together; `name` is that of the file with the results."""

    name: str
    group: str
    sources: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles sources of trees with the locked `python` package; `scratch` is a folder of this build."""

    packages: Sequence[Package]
    cache: Cache
    scratch: Path
    workers: int
    sandbox: Sandbox

    @property
    def identity(self) -> str:
        """The digest of the interpreter's package; empty where the lock has none."""
        return next((str(item.sha256) for item in self.packages if item.name == "python" and self._folder(item)), "")

    def compile(
        self, tree: Path, prefix: Path, groups: Mapping[str, Sequence[str]], place: Callable[[str], Path]
    ) -> Compiled:
        """Write the bytecode of each group of sources (paths below `tree`) below the folder `place(group)`.

        Files that are not Python for this version (templates, samples) are passed over. Without an interpreter in the
        lock nothing is done.

        Raises:
            BuildError: if the interpreter does not start, or a source crashes it.
        """
        interpreter = next((folder for item in self.packages if (folder := self._folder(item))), None)
        tasks = [task for group, paths in groups.items() for task in _tasks(tree, group, paths)]
        if interpreter is None or not tasks:
            return Compiled(0, 0, 0)
        made = refused = 0
        for task, file in self._compiled(tasks, tree, prefix, interpreter):
            written, bad = _take(file, place(task.group), task)
            made, refused = made + written, refused + bad
        return Compiled(0, made, refused)

    def _folder(self, package: Package) -> Path | None:
        """The unpacked `python` package."""
        if package.name != "python" or package.manager != "conda":
            return None
        folder = unpacked([package], self.cache).get("python")
        return folder if folder is not None and (folder / "bin" / "python3").exists() else None

    def _compiled(
        self, tasks: Sequence[Task], tree: Path, prefix: Path, interpreter: Path
    ) -> Iterator[tuple[Task, Path]]:
        """Run tasks in the sandbox; each with the file that holds its bytecode, until the next is asked for."""
        out = self.scratch / "tasks"
        out.mkdir(mode=0o755, exist_ok=True)
        # The largest first, so that the end is not one worker with the largest.
        order = [[task.name, task.sources] for task in sorted(tasks, key=lambda task: -task.size)]
        request = {"root": str(prefix), "out": _OUT, "workers": self.workers, "tasks": order}
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
        for task in tasks:
            yield task, out / task.name
            (out / task.name).unlink()


def _tasks(tree: Path, group: str, paths: Sequence[str]) -> Iterator[Task]:
    """Sources in their order, some at a time."""
    some: list[str] = []
    size = number = 0
    for path in paths:
        some.append(path)
        size += os.stat(f"{tree}/{path}").st_size  # noqa: PTH116 - pathlib doubles the time of 80,000 files
        if size >= _TASK:
            yield Task(f"{group}.{number}", group, tuple(some), size)
            some, size, number = [], 0, number + 1
    if some:
        yield Task(f"{group}.{number}", group, tuple(some), size)


def _take(file: Path, folder: Path, task: Task) -> tuple[int, int]:
    """Write the bytecode in a task's file below a folder; how many are written, how many are no Python."""
    with file.open("rb") as stream:
        head = json.loads(stream.readline())
        tag, entries = str(head["tag"]), [(str(path), int(size)) for path, size in head["files"]]
        whole = stream.tell() + sum(size for _, size in entries if size > 0)
        right = tuple(path for path, _ in entries) == task.sources and _TAG.fullmatch(tag)
        if not right or os.fstat(stream.fileno()).st_size != whole:
            raise BuildError(f"the compiler did not account for all of {task.sources[0]} and what follows.")
        for path, size in entries:
            if size >= 0:
                _write(f"{folder}/{path}", tag, stream.read(size))
    refused = sum(size < 0 for _, size in entries)
    return len(entries) - refused, refused


def _write(source: str, tag: str, content: bytes) -> None:
    """A new file in the `__pycache__` beside where a source would be."""
    place, _, name = source.rpartition("/")
    folder = f"{place}/__pycache__"
    target = f"{folder}/{name.removesuffix('.py')}.{tag}.pyc"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(target, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - strings here: pathlib doubles the time of 80,000 files
        descriptor = os.open(target, flags, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def is_source(path: str) -> bool:
    """Whether a path of a tree gets bytecode."""
    return path.startswith("lib/") and path.endswith(".py")


def sources(tree: Path) -> Iterator[str]:
    """Every source of a tree, as a path below it."""
    for folder, folders, names in os.walk(tree / "lib"):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        here = os.path.relpath(folder, tree)
        for name in names:
            if name.endswith(".py") and os.path.isfile(f"{folder}/{name}"):  # noqa: PTH113 - the same
                yield f"{here}/{name}"
