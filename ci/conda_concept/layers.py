"""An image from layers: what a package brings is squashed once, and is in every later image as it is.

Most of an image is the same from one build to the next: the files of packages that did not change, and the bytecode of
their sources. A layer holds both for one package and one interpreter. It is kept in the cache and its compressed blocks
are copied into each image, so a pull request that changes one package compresses one package. An image is always made
from layers, whether they were there or not: the same lock gives the same bytes.

Not in a layer, and squashed anew for each image: files that the prefix is written into, links, entry points,
`conda-meta`, wheels, what hooks made, and everything of a package that is not in the tree as the package brought it.

The layers of a build serve builds of other pull requests too. They are made of verified archives by mksquashfs, and of
bytecode in which no other package had a hand (see `bytecode`).
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conda_concept import squashfs
from conda_concept.bytecode import Compiled, Compiler, is_source, sources
from conda_concept.download import Cache
from conda_concept.errors import IntegrityError
from conda_concept.image import squash, squash_layer, squash_version, unpacked
from conda_concept.model import Package
from conda_concept.progress import Reporter
from conda_concept.sandbox import Sandbox
from conda_concept.settings import Squash
from conda_concept.squashfs import Image, Joined, Part

#: Counts up when the same package and interpreter would give another layer.
_RECIPE = "1"
#: The folder of a layer that has bytecode, beside the package's own.
_BYTECODE = b"bytecode/"
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A package that is in the tree as it was brought: where its layer is kept, and which file goes where.

    `places` maps paths of the unpacked `folder` to the tree's.
    """

    folder: Path
    layer: Path
    places: Mapping[str, str]

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that have bytecode in the layer, as paths of the tree."""
        return tuple(sorted(place for place in self.places.values() if is_source(place)))

    def size(self) -> int:
        """Bytes of the files, to deal them out."""
        return sum(os.lstat(f"{self.folder}/{path}").st_size for path in self.places)

    def check(self) -> None:
        """Compare every file in the package cache with the package's list, which came with the archive.

        Raises:
            IntegrityError: with the first that has other bytes.
        """
        buffer = memoryview(bytearray(1 << 20))
        for entry in _listed(self.folder):
            digest = hashlib.sha256()
            path = f"{self.folder}/{entry['_path']}"
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib doubles the time of 250,000 files
                while count := file.readinto(buffer):
                    digest.update(buffer[:count])
            if digest.hexdigest() != entry["sha256"]:
                raise IntegrityError(
                    f"{path} has other bytes than its package's list says.",
                    hint=f"Somebody or something changed it: remove {self.folder} and build again.",
                )

    def has_all(self, image: Image) -> bool:
        """Whether an image has all files that the layer should have."""
        return all(os.fsencode(f"{self.folder.name}/{path}") in image.files for path in self.places)

    def part(self, image: Image) -> Part:
        """The layer's image as part of another: the package's files, and all bytecode."""
        places = {os.fsencode(f"{self.folder.name}/{path}"): os.fsencode(place) for path, place in self.places.items()}
        places |= {path: path.removeprefix(_BYTECODE) for path in image.files if path.startswith(_BYTECODE)}
        return Part(image, places)


@dataclass(frozen=True, slots=True)
class Layered:
    """An image that is written when its bytes are asked for: new tables around contents that are there already."""

    joined: Joined
    contents: tuple[tuple[Path, range], ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        own = len(self.joined.front) + len(self.joined.tables)
        return own + sum(len(stretch) for _, stretch in self.contents)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The image from its first byte to its last."""
        yield self.joined.front
        buffer = memoryview(bytearray(_CHUNK))
        for path, stretch in self.contents:
            with path.open("rb", buffering=0) as file:
                file.seek(stretch.start)
                left = len(stretch)
                while left:
                    count = file.readinto(buffer[: min(left, _CHUNK)])
                    if not count:
                        raise IntegrityError(f"{path} became shorter while an image was made from it.")
                    yield buffer[:count]
                    left -= count
        yield self.joined.tables


@dataclass(slots=True)
class Layers:
    """Makes one image; `scratch` is a folder of this build, which keeps what the image is written from."""

    packages: Sequence[Package]
    cache: Cache
    scratch: Path
    options: Squash
    workers: int
    reporter: Reporter
    sandbox: Sandbox

    def compile(self, tree: Path, prefix: Path) -> "Tree":
        """Find out which packages are whole and have a layer, and compile the sources of all that have none.

        Raises:
            BuildError: if the interpreter does not start, or a source crashes it.
        """
        compiler = Compiler(self.packages, self.cache, self.scratch, self.workers, self.sandbox)
        found = self._wholes(tree, compiler.identity)
        kept = {one: image for one in found if (image := _kept(one)) is not None}
        missing = [one for one in found if one not in kept]
        groups: dict[str, Sequence[str]] = {str(number): one.sources for number, one in enumerate(missing)}
        known = {path for one in found for path in one.sources}
        groups["loose"] = sorted(set(sources(tree)) - known)
        made = compiler.compile(tree, prefix, groups, self._bytecode)
        from_layers = sum(path.startswith(_BYTECODE) for image in kept.values() for path in image.files)
        return Tree(tree, kept, missing, replace(made, kept=from_layers))

    def squash(self, tree: "Tree") -> "Squashed":
        """Make the layers that are missing, and squash what is in none; the tree is not needed any more afterwards."""
        images = {**tree.kept, **self._made(tree.missing)}
        order = sorted(images, key=lambda one: one.folder.name)
        parts = tuple(one.part(images[one]) for one in order)
        rest = self._rest(tree.path, {place for part in parts for place in part.places.values()})
        return Squashed(parts, tuple(one.layer for one in order), rest)

    def join(self, squashed: "Squashed") -> Layered:
        """Put all together."""
        rest = squashfs.read(squashed.rest)
        parts = (*squashed.parts, Part(rest, {path: path for path in rest.files}))
        files = (*squashed.layers, squashed.rest)
        joined = squashfs.join(parts, self.options.level)
        return Layered(joined, tuple((file, part.image.contents) for file, part in zip(files, parts, strict=True)))

    def _bytecode(self, group: str) -> Path:
        return self.scratch / "compiled" / group / "bytecode"

    def _wholes(self, tree: Path, interpreter: str) -> list[Whole]:
        """The packages that are in the tree as they were brought, in their order.

        `conda-meta` tells: paths that were taken away, replaced or changed are not in it, or have no digest of the
        package's any more. A path that two packages bring makes neither of them whole.
        """
        folders = unpacked(self.packages, self.cache)
        records = {name: _json(tree / "conda-meta" / f"{folder.name}.json") for name, folder in folders.items()}
        owners = Counter(path for record in records.values() for path in record["files"])
        kept = self.cache.folder / "layers" / f"{_RECIPE}-{self._options()}"
        python = next(iter(sorted(tree.glob("lib/python3.*/site-packages"))), tree)
        site_packages = str(python.relative_to(tree))
        found = []
        for package in self.packages:
            if package.name not in folders or package.manager != "conda" or not package.sha256:
                continue
            folder = folders[package.name]
            places = _places(folder, records[package.name], owners, site_packages)
            if not places:
                continue
            name = f"{package.sha256}-{interpreter[:16]}" if any(map(is_source, places.values())) else package.sha256
            found.append(Whole(folder, kept / f"{name}.sqsh", places))
        return found

    def _options(self) -> str:
        """What else a layer's bytes depend on."""
        options = self.options
        return f"{options.compression}-{options.level}-{options.block}-{squash_version()}"

    def _made(self, missing: Sequence[Whole]) -> dict[Whole, Image]:
        """Squash layers side by side, the largest first, so that the end is not one worker with the largest."""
        order = sorted(range(len(missing)), key=lambda number: -missing[number].size())
        made: dict[Whole, Image] = {}
        with (
            self.reporter.bar("squashing", total=len(order)) as bar,
            ThreadPoolExecutor(max_workers=self.workers) as pool,
        ):
            futures = {pool.submit(self._make, missing[number], number): missing[number] for number in order}
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    made[futures[future]] = future.result()
                    bar.update(done=done, text=futures[future].folder.name)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return made

    def _make(self, whole: Whole, number: int) -> Image:
        """Squash a layer, and have it in the cache whole or not at all."""
        compiled = self._bytecode(str(number))
        part = whole.layer.with_name(f".{whole.layer.name}.{os.getpid()}.part")
        left_out = self.scratch / f"left-out.{number}"
        left_out.write_text("".join(f"{path}\n" for path in _others(whole)), "utf-8", errors="surrogateescape")
        trees = [whole.folder, *([compiled] if compiled.is_dir() else [])]
        try:
            whole.check()
            whole.layer.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            squash_layer(trees, left_out, part, self.options)
            image = squashfs.read(part)
            part.replace(whole.layer)
        finally:
            part.unlink(missing_ok=True)
            left_out.unlink()
            shutil.rmtree(compiled.parent, ignore_errors=True)
        return image

    def _rest(self, tree: Path, known: set[bytes]) -> Path:
        """An image of all that is in no layer, and of the folders that have nothing in them."""
        rest, target = self.scratch / "rest", self.scratch / "rest.sqsh"
        rest.mkdir(mode=0o755)
        loose = self._bytecode("loose")
        for source in (loose, tree):
            if source.is_dir():
                _link(os.fsencode(source), b"", os.fsencode(rest), known)
        squash(rest, target, self.options, self.workers)
        return target


@dataclass(frozen=True, slots=True)
class Tree:
    """A finished tree with its layers: those that were kept, and the packages whose layer is to be made."""

    path: Path
    kept: Mapping[Whole, Image]
    missing: Sequence[Whole]
    compiled: Compiled


@dataclass(frozen=True, slots=True)
class Squashed:
    """All that an image is made of: layers with their files, and the image of what is in none."""

    parts: tuple[Part, ...]
    layers: tuple[Path, ...]
    rest: Path


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _places(folder: Path, record: Mapping[str, Any], owners: Mapping[str, int], site_packages: str) -> dict[str, str]:
    """Where the files of a layer go: by their path in the unpacked package, its path in the tree.

    Nothing if any of them is not in the tree as the package has it, or is another package's too.
    """
    facts = {fact["_path"]: fact.get("sha256") for fact in (record.get("paths_data") or {}).get("paths") or ()}
    found = {}
    for entry in _listed(folder):
        path = str(entry["_path"])
        place = path
        if record.get("noarch") == "python":
            for own, there in (("site-packages/", f"{site_packages}/"), ("python-scripts/", "bin/")):
                if path.startswith(own):
                    place = there + path.removeprefix(own)
        if facts.get(place) != entry["sha256"] or owners[place] != 1:
            return {}
        found[path] = place
    return found


def _listed(folder: Path) -> list[Mapping[str, Any]]:
    """What of a package's own list belongs in a layer: files that are the same in every prefix, but no bytecode."""
    try:
        entries = _json(folder / "info" / "paths.json")["paths"]
    except FileNotFoundError:  # packages of before 2017
        return []
    return [
        entry
        for entry in entries
        if entry.get("path_type", "hardlink") == "hardlink"
        and entry.get("sha256")
        and not entry.get("prefix_placeholder")
        and "/__pycache__/" not in entry["_path"]
    ]


def _others(whole: Whole) -> Iterator[str]:
    """What lies in a package's folder and does not belong in its layer; a folder in place of all that is in it.

    A name that the list of mksquashfs cannot hold is left: it is in the layer then, and nowhere in an image.
    """
    folders = {path[: path.rindex("/") + 1] for path in whole.places if "/" in path}
    above = {folder[: end + 1] for folder in folders for end, letter in enumerate(folder) if letter == "/"}
    todo = [""]
    while todo:
        here = todo.pop()
        for entry in os.scandir(f"{whole.folder}/{here}"):
            path = here + entry.name
            if entry.is_dir(follow_symlinks=False) and f"{path}/" in above:
                todo.append(f"{path}/")
            elif path not in whole.places and "\n" not in path:
                yield entry.path


def _kept(whole: Whole) -> Image | None:
    """The layer that is in the cache, if it is there and whole."""
    try:
        image = squashfs.read(whole.layer)
    except (FileNotFoundError, IntegrityError):
        return None
    return image if whole.has_all(image) else None


def _link(tree: bytes, path: bytes, to: bytes, known: set[bytes]) -> None:
    """Have all of a tree in another folder, by links, but what is `known`, and folders in which all is known."""
    entries = list(os.scandir(tree + b"/" + path))
    if not entries:
        os.makedirs(to + b"/" + path, exist_ok=True)  # noqa: PTH103 - bytes, as the names may be anything
    for entry in entries:
        inner = path + entry.name
        if entry.is_dir(follow_symlinks=False):
            _link(tree, inner + b"/", to, known)
        elif inner not in known:
            target = to + b"/" + inner
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 - the same
            # Bytecode of ours is there already, in place of what a package brought.
            with suppress(FileExistsError):
                os.link(entry.path, target, follow_symlinks=False)
