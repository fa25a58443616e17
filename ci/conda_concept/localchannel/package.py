"""Write one conda package: the `.conda` archive with everything that an installer and a reviewer read from it.

The formats are conda's own, as its documentation of package metadata describes them (`info/index.json`,
`info/paths.json`, `info/link.json`, `info/about.json`, `info/run_exports.json`) and as rattler-build writes tests
(`info/tests/tests.yaml`). The same input gives the same bytes: order, times, owners and compression are fixed.
"""

import hashlib
import io
import json
import posixpath
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from conda_package_streaming.create import conda_builder  # type: ignore[import-untyped]  # it ships no types

from conda_concept.errors import InputError

#: Stands for the prefix in the files of our packages. As long as conda-build's, so that it can be replaced in
#: binary files by every prefix of up to 255 bytes.
PLACEHOLDER = "/opt/conda_concept_prefix" + "_placehold" * 23

#: zstd 3: a local channel is read once or twice, so writing it quickly counts for more than its size.
_ZSTD_LEVEL = 3

#: The earliest moment that a zip file can name; members of every archive carry it, whenever they are made.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_TAR_EPOCH = 315_532_800

_NAME = re.compile(r"_?[a-z0-9][a-z0-9_.-]*")
_VERSION = re.compile(r"(?:[0-9]+!)?[A-Za-z0-9_.+]+")
_BUILD = re.compile(r"[A-Za-z0-9_.+]+")

Subdir = Literal["linux-64", "noarch"]
LinkMoment = Literal["pre-link", "post-link", "pre-unlink"]


@dataclass(frozen=True, slots=True)
class File:
    """A regular file: its bytes, and whether it can be executed."""

    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link; `target` is relative to the folder that holds the link."""

    target: str


#: What stands at a path of a package. Bare bytes or text become a file, which is executable if it is a script
#: (`#!`) or lies in `bin/`.
Entry = File | Symlink | bytes | str


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """Everything about a package that is to be written.

    Paths in `files` are relative to the prefix; in a noarch Python package (`python=True` and subdir `noarch`)
    what goes to Python's folder is below `site-packages/` and scripts are in `python-scripts/`. Every file that
    contains `PLACEHOLDER` gets the prefix there when it is installed. `depends` and `constrains` are match specs,
    `timestamp` is milliseconds since 1970. `entry_points` are lines such as `tool = module:function`, for noarch
    Python packages only (a `linux-64` package holds its scripts as files). `run_exports` maps a kind (`weak`,
    `strong`, …) to match specs.
    """

    name: str
    version: str
    build: str | None = None
    build_number: int = 0
    subdir: Subdir = "noarch"
    python: bool = False
    depends: Sequence[str] = ()
    constrains: Sequence[str] = ()
    files: Mapping[str, Entry] = field(default_factory=dict)
    entry_points: Sequence[str] = ()
    link_scripts: Mapping[LinkMoment, str] = field(default_factory=dict)
    license: str = ""
    home: str = ""
    summary: str = ""
    run_exports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    test_imports: Sequence[str] = ()
    test_commands: Sequence[str] = ()
    timestamp: int | None = None

    @property
    def build_string(self) -> str:
        """The build as given, or `py_N` for noarch Python packages and `N` for others, N the build number."""
        if self.build is not None:
            return self.build
        return f"py_{self.build_number}" if self.noarch == "python" else str(self.build_number)

    @property
    def stem(self) -> str:
        """The archive's name without `.conda`."""
        return f"{self.name}-{self.version}-{self.build_string}"

    @property
    def noarch(self) -> Literal["python", "generic"] | None:
        """The kind of a noarch package; None for one of a platform."""
        if self.subdir != "noarch":
            return None
        return "python" if self.python else "generic"


def write_package(channel_dir: Path, spec: PackageSpec) -> Path:
    """Write `spec` to `channel_dir/SUBDIR/NAME-VERSION-BUILD.conda` and return that path.

    An archive of this name that is there already is replaced in one step; the index is not touched (see `index`).

    Raises:
        InputError: if the spec is not a package that conda could install; every problem is listed.
    """
    problems = _problems(spec)
    if problems:
        raise InputError(f"{spec.name!r} {spec.version} cannot be made a conda package:", problems=problems)
    files = _all_files(spec)
    folder = channel_dir / spec.subdir
    folder.mkdir(parents=True, exist_ok=True)
    # conda-lock reads channels that have both folders; an index without noarch is an incomplete channel.
    (channel_dir / "noarch").mkdir(exist_ok=True)
    target = folder / f"{spec.stem}.conda"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as work:
        _write_archive(Path(work), spec, files)
        _fixed_times(Path(work, target.name), Path(work, "final"))
        Path(work, "final").replace(target)
    return target


def _problems(spec: PackageSpec) -> list[str]:
    """What is wrong with a spec, in words."""
    found = [
        f"{what} {value!r} has characters that conda does not allow"
        for what, value, pattern in (
            ("name", spec.name, _NAME),
            ("version", spec.version, _VERSION),
            ("build", spec.build_string, _BUILD),
        )
        if not pattern.fullmatch(value)
    ]
    for path in spec.files:
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path or pure.parts[0] == "info":
            found.append(f"path {path!r} is not a plain path below the prefix (and outside info/)")
        elif spec.noarch == "python" and pure.match("lib/python*/**"):
            found.append(f"path {path!r}: a noarch Python package does not know Python's folder: use site-packages/")
    if spec.entry_points and spec.noarch != "python":
        found.append("entry points are for noarch Python packages; write the scripts as files in bin/")
    return found


def _all_files(spec: PackageSpec) -> dict[str, File | Symlink]:
    """The package's paths in order, link scripts among them."""
    scripts: dict[str, Entry] = {f"bin/.{spec.name}-{moment}.sh": text for moment, text in spec.link_scripts.items()}
    entries = {path: _entry(path, entry) for path, entry in {**spec.files, **scripts}.items()}
    return dict(sorted(entries.items()))


def _entry(path: str, entry: Entry) -> File | Symlink:
    if isinstance(entry, File | Symlink):
        return entry
    data = entry.encode() if isinstance(entry, str) else entry
    return File(data, executable=data.startswith(b"#!") or path.startswith("bin/"))


def _write_archive(folder: Path, spec: PackageSpec, files: Mapping[str, File | Symlink]) -> None:
    """Write `STEM.conda` into `folder`."""
    mtime = max(_TAR_EPOCH, (spec.timestamp or 0) // 1000)
    with conda_builder(spec.stem, folder, compression_level=_ZSTD_LEVEL) as archive:
        for path, entry in [*_info_files(spec, files).items(), *files.items()]:
            member = tarfile.TarInfo(path)
            member.mtime = mtime
            if isinstance(entry, Symlink):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.target, 0o777
                archive.addfile(member)
            else:
                member.size, member.mode = len(entry.data), 0o755 if entry.executable else 0o644
                archive.addfile(member, io.BytesIO(entry.data))


def _fixed_times(source: Path, target: Path) -> None:
    """Copy a `.conda` (a zip of stored members) with one fixed time on every member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for member in old.infolist():
            info = zipfile.ZipInfo(member.filename, _ZIP_EPOCH)
            info.external_attr = 0o644 << 16
            with old.open(member) as reader, new.open(info, "w", force_zip64=member.file_size >= 2**31) as writer:
                while block := reader.read(1 << 20):
                    writer.write(block)


def _info_files(spec: PackageSpec, files: Mapping[str, File | Symlink]) -> dict[str, File | Symlink]:
    """The `info/` folder."""
    texts = {
        "info/about.json": _json(_about(spec)),
        "info/files": "".join(f"{path}\n" for path in files),
        "info/index.json": _json(_index(spec)),
        "info/paths.json": _json({"paths": [_path_fact(path, files) for path in files], "paths_version": 1}),
    }
    if spec.noarch == "python":
        noarch = {"type": "python", "entry_points": list(spec.entry_points)}
        texts["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    if spec.run_exports:
        texts["info/run_exports.json"] = _json({kind: list(specs) for kind, specs in spec.run_exports.items()})
    tests: list[dict[str, Any]] = []
    if spec.test_imports:
        tests.append({"python": {"imports": list(spec.test_imports)}})
    if spec.test_commands:
        tests.append({"script": list(spec.test_commands)})
    if tests:
        texts["info/tests/tests.yaml"] = yaml.safe_dump(tests, sort_keys=True)
    return {path: File(text.encode()) for path, text in sorted(texts.items())}


def _index(spec: PackageSpec) -> dict[str, Any]:
    """`info/index.json`: what becomes the package's record in the channel's index."""
    fields: dict[str, Any] = {
        "name": spec.name,
        "version": spec.version,
        "build": spec.build_string,
        "build_number": spec.build_number,
        "depends": list(spec.depends),
        "constrains": list(spec.constrains),
        "subdir": spec.subdir,
    }
    if spec.noarch:
        fields["noarch"] = spec.noarch
    else:
        fields |= {"arch": "x86_64", "platform": "linux"}
    if spec.license:
        fields["license"] = spec.license
    if spec.timestamp is not None:
        fields["timestamp"] = spec.timestamp
    return fields


def _about(spec: PackageSpec) -> dict[str, Any]:
    fields = {"home": spec.home, "license": spec.license, "summary": spec.summary}
    return {key: value for key, value in fields.items() if value}


def _path_fact(path: str, files: Mapping[str, File | Symlink]) -> dict[str, Any]:
    """One entry of `info/paths.json`. A link carries the facts of the file that it leads to, as conda-build does."""
    entry = files[path]
    fact: dict[str, Any] = {"_path": path, "path_type": "softlink" if isinstance(entry, Symlink) else "hardlink"}
    data = _followed(path, files)
    fact |= {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
    if isinstance(entry, File) and PLACEHOLDER.encode() in entry.data:
        fact |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in entry.data else "text"}
    return fact


def _followed(path: str, files: Mapping[str, File | Symlink]) -> bytes:
    """The bytes at `path`, through links within the package; nothing where a link leads elsewhere."""
    for _ in range(16):  # a ring of links ends here
        entry = files.get(path)
        if isinstance(entry, File):
            return entry.data
        if entry is None:
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.target))
    return b""


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
