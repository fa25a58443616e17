"""Make a conda package of a wheel. Wheels are read by `installer`, their metadata by `packaging`."""

import base64
import calendar
import csv
import hashlib
import io
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from installer.exceptions import InstallerError
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import parse_entrypoints
from packaging.metadata import RawMetadata, parse_email
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from conda_concept.errors import IntegrityError
from conda_concept.localchannel.package import PLACEHOLDER, File, PackageSpec, write_package
from conda_concept.localchannel.translate import license_of, match_specs, version_spec

#: The glibc of the older names of manylinux platforms (PEP 513, 571, 599).
_OLD_MANYLINUX = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}

#: Where conda puts a noarch package's files, seen from `site-packages`.
_SCRIPTS_FROM_SITE = "../../../bin"
_PREFIX_FROM_SITE = "../../.."


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A wheel in memory: its parts by where they go, and what it says about itself."""

    metadata: RawMetadata
    tags: frozenset[Tag]
    site: Mapping[str, File]
    scripts: Mapping[str, File]
    data: Mapping[str, File]
    headers: Mapping[str, File]
    console: tuple[Script, ...]
    entry_lines: tuple[str, ...]
    dist_info: str
    timestamp: int

    @property
    def name(self) -> str:
        """The normalised name, which is the conda package's."""
        return canonicalize_name(self.metadata["name"])

    @property
    def version(self) -> str:
        """The normalised version."""
        return str(Version(self.metadata["version"]))

    @property
    def pure(self) -> bool:
        """Whether it is the same for every platform and Python."""
        return all(tag.platform == "any" and tag.abi == "none" for tag in self.tags)


def wheel_package(channel_dir: Path, wheel: Path, *, python: str | None = None) -> Path:
    """Write the conda package of a wheel and return its path.

    A pure wheel becomes `noarch: python`; any other becomes a `linux-64` package for CPython `python` (a full
    version, `3.11.7`; by default the one that runs this), which is also what environment markers are evaluated
    for. Times come from the wheel's own members, so the same wheel always gives the same package.

    Raises:
        IntegrityError: if the file is no wheel, or its contents do not match its `RECORD`.
    """
    content = _read(wheel)
    full = python or platform.python_version()
    return write_package(channel_dir, _pure_spec(content, full) if content.pure else _native_spec(content, full))


def _read(path: Path) -> _Wheel:
    """Read and check a wheel."""
    try:
        _, _, _, tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive, WheelFile.open(path) as source:
            source.validate_record(validate_contents=True)
            latest = max(member.date_time for member in archive.infolist())
            parts = _parts(source)
            metadata, _ = parse_email(source.read_dist_info("METADATA"))
            entries = []
            if "entry_points.txt" in source.dist_info_filenames:
                entries = list(parse_entrypoints(source.read_dist_info("entry_points.txt")))
            dist_info = source.dist_info_dir
    except (InstallerError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            f"{path} is not a wheel that can be used: {error}", hint="Delete it and download it again."
        ) from error
    return _Wheel(
        metadata=metadata,
        tags=frozenset(tags),
        **parts,
        console=tuple(Script(name, module, attr, section) for name, module, attr, section in entries),
        entry_lines=tuple(f"{name} = {module}:{attr}" for name, module, attr, _ in entries),
        dist_info=dist_info,
        timestamp=calendar.timegm((*latest, 0, 0, 0)) * 1000,
    )


def _parts(source: WheelFile) -> dict[str, dict[str, File]]:
    """The wheel's files by where they go. `RECORD` is left out: it is written anew."""
    parts: dict[str, dict[str, File]] = {"site": {}, "scripts": {}, "data": {}, "headers": {}}
    for (path, _, _), stream, executable in source.get_contents():
        scheme, rest = "purelib", path
        if path.startswith(f"{source.data_dir}/"):
            scheme, rest = path.removeprefix(f"{source.data_dir}/").split("/", 1)
        data = stream.read()
        if scheme == "scripts":
            data = re.sub(rb"\A#!pythonw?(?=[ \r\n])", f"#!{PLACEHOLDER}/bin/python".encode(), data)
        signatures = ("RECORD", "RECORD.jws", "RECORD.p7s")
        if rest in {f"{source.dist_info_dir}/{name}" for name in signatures}:
            continue
        group = {"purelib": "site", "platlib": "site"}.get(scheme, scheme)
        parts[group][rest] = File(data, executable=executable or scheme == "scripts")
    return parts


def _pure_spec(wheel: _Wheel, python: str) -> PackageSpec:
    """A wheel as a `noarch: python` package: the installer makes the entry points' scripts."""
    needed = version_spec(SpecifierSet(wheel.metadata.get("requires_python") or ">=3"))
    site = _site_files(wheel)
    return _spec(
        wheel,
        python,
        PackageSpec(
            name=wheel.name,
            version=wheel.version,
            python=True,
            depends=[f"python {needed}"],
            files={
                **{f"site-packages/{path}": file for path, file in site.items()},
                **{f"python-scripts/{path}": file for path, file in wheel.scripts.items()},
                **_elsewhere(wheel, python),
            },
            entry_points=wheel.entry_lines,
        ),
    )


def _native_spec(wheel: _Wheel, python: str) -> PackageSpec:
    """A wheel with machine code as a `linux-64` package for one Python, scripts included."""
    major, minor = python.split(".")[:2]
    tag = f"cp{major}{minor}"
    interpreter = f"#!{PLACEHOLDER}/bin/python{major}.{minor}".encode()
    scripts = {script.name: _script(script, interpreter) for script in wheel.console} | dict(wheel.scripts)
    return _spec(
        wheel,
        python,
        PackageSpec(
            name=wheel.name,
            version=wheel.version,
            build=f"py{major}{minor}_0",
            subdir="linux-64",
            depends=[
                f"__glibc >=2.{_glibc(wheel.tags)},<3.0.a0",
                f"python >={major}.{minor},<{major}.{int(minor) + 1}.0a0",
                f"python_abi {major}.{minor}.* *_{tag}",
            ],
            files={
                **{f"lib/python{major}.{minor}/site-packages/{path}": f for path, f in _site_files(wheel).items()},
                **{f"bin/{path}": file for path, file in scripts.items()},
                **_elsewhere(wheel, python),
            },
        ),
    )


def _spec(wheel: _Wheel, python: str, base: PackageSpec) -> PackageSpec:
    """`base` with what both kinds of package have."""
    fields = {name: getattr(base, name) for name in ("name", "version", "build", "subdir", "python", "files")}
    metadata = wheel.metadata
    return PackageSpec(
        **fields,
        depends=[*base.depends, *match_specs(metadata.get("requires_dist", []), python)],
        entry_points=base.entry_points,
        license=license_of(metadata),
        home=_home(metadata),
        summary=metadata.get("summary", ""),
        test_imports=_import_names(wheel),
        timestamp=wheel.timestamp,
    )


def _script(script: Script, shebang: bytes) -> File:
    """The script of an entry point, made for a short interpreter: the placeholder would look too long for `#!`."""
    _, text = script.generate("python", "posix")
    return File(text.replace(b"#!python", shebang, 1), executable=True)


def _elsewhere(wheel: _Wheel, python: str) -> dict[str, File]:
    """What goes neither to `site-packages` nor to `bin/`."""
    include = f"include/python{'.'.join(python.split('.')[:2])}/{wheel.name}"
    return dict(wheel.data) | {f"{include}/{path}": file for path, file in wheel.headers.items()}


def _site_files(wheel: _Wheel) -> dict[str, File]:
    """`site-packages`, with `INSTALLER` and a `RECORD` of where everything really goes, so that pip knows it."""
    record, installer = f"{wheel.dist_info}/RECORD", f"{wheel.dist_info}/INSTALLER"
    site = {**wheel.site, installer: File(b"conda\n")}
    rows = [*_record_rows(wheel, site), (record, "", "")]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(rows))
    return {**site, record: File(out.getvalue().encode())}


def _record_rows(wheel: _Wheel, site: Mapping[str, File]) -> Iterator[tuple[str, str, str]]:
    """Path, hash and size of each file; no hash for scripts, which get the prefix when they are installed."""
    for path, file in site.items():
        yield path, *_proof(file.data)
    for path, file in wheel.data.items():
        yield f"{_PREFIX_FROM_SITE}/{path}", *_proof(file.data)
    for name in {*wheel.scripts, *(script.name for script in wheel.console)}:
        yield f"{_SCRIPTS_FROM_SITE}/{name}", "", ""


def _proof(data: bytes) -> tuple[str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}", str(len(data))


def _glibc(tags: frozenset[Tag]) -> int:
    """The oldest glibc 2.N that one of the wheel's platforms names; 17 where none does (`linux_x86_64`)."""
    found = []
    for tag in tags:
        match = re.match(r"manylinux_2_(\d+)_", tag.platform)
        old = _OLD_MANYLINUX.get(tag.platform.split("_", 1)[0])
        found += [int(match[1])] if match else [old] if old is not None else []
    return min(found, default=17)


def _home(metadata: RawMetadata) -> str:
    """The home page, in either of the places where metadata has it."""
    links = {label.lower(): link for label, link in metadata.get("project_urls", {}).items()}
    for label in ("homepage", "home", "source", "source code", "repository", "github"):
        if label in links:
            return links[label]
    return metadata.get("home_page", "") or next(iter(links.values()), "")


def _import_names(wheel: _Wheel) -> tuple[str, ...]:
    """The public modules at the top of the wheel: packages with an `__init__`, and single files."""
    names = set()
    for path in wheel.site:
        parts = PurePosixPath(path).parts
        is_package = len(parts) == 2 and parts[1] == "__init__.py"
        is_module = len(parts) == 1 and path.endswith((".py", ".so"))
        if is_package or is_module:
            names.add(parts[0].split(".")[0])
    return tuple(sorted(name for name in names if name.isidentifier() and not name.startswith("_")))
