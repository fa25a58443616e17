"""Make a conda package of a CPython that is on this machine.

CPython finds its standard library by landmarks beside its executable (its `getpath` module), so a copy works at
any prefix without a placeholder, if its libraries are found from there too. What does name the prefix are the
texts about building (`sysconfig`'s data, `Makefile`, `python3-config`); those get a placeholder.
The copy keeps using this machine's C libraries (OpenSSL, SQLite, …): the package is for this machine and its like.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from conda_concept.errors import ToolError
from conda_concept.localchannel.debian import like_upstream, prefix_patterns
from conda_concept.localchannel.package import PLACEHOLDER, Entry, File, PackageSpec, Symlink, write_package
from conda_concept.run import find_tool, run

#: Run by the interpreter that is packed; prints what only it knows.
_PROBE = r"""
import calendar, importlib, json, pathlib, platform, sys, sysconfig, time
stdlib = sysconfig.get_path("stdlib")
broken = []
for path in sorted(pathlib.Path(stdlib, "lib-dynload").glob("*.so")):
    name = path.name.split(".")[0]
    if not name.startswith(("_test", "_ctypes_test", "_xxtest", "xxlimited")):
        try:
            importlib.import_module(name)
        except ImportError:
            broken.append(path.name)
built = calendar.timegm(time.strptime(platform.python_build()[1], "%b %d %Y %H:%M:%S"))
print(json.dumps(dict(
    version=platform.python_version(), prefix=sys.base_prefix, stdlib=stdlib, broken=broken, built=built * 1000,
    include=sysconfig.get_path("include"), multiarch=sysconfig.get_config_var("MULTIARCH") or "",
    libdir=sysconfig.get_config_var("LIBDIR") or "", wheels=sysconfig.get_config_var("WHEEL_PKG_DIR") or "",
)))
"""

#: Not in the package: tests and demonstrations, static libraries, what an operating system adds.
_LEFT_OUT_FOLDERS = {"__pycache__", "site-packages", "dist-packages", "idlelib", "turtledemo", "tests"}
_LEFT_OUT_FILES = re.compile(
    r"(EXTERNALLY-MANAGED|sitecustomize\.py|_distutils_system_mod\.py|.*\.a|.*\.o|.*\.py[co]"
    r"|(_test|_ctypes_test|_xxtest|xxlimited).*\.so)"
)
#: Useless without the extension module that they stand on.
_NEEDS_TK = ("tkinter/", "turtle.py")


@dataclass(frozen=True, slots=True)
class _Python:
    """What the probe said about an interpreter; paths are those of this machine."""

    executable: Path
    version: str
    prefix: Path
    stdlib: Path
    include: Path
    libdir: Path
    wheels: str
    multiarch: str
    built: int
    broken: frozenset[str] = field(default_factory=frozenset)

    @property
    def short(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def tag(self) -> str:
        """`cp311`."""
        return f"cp{self.short.replace('.', '')}"

    @property
    def of_system(self) -> bool:
        """Whether it shares its prefix with the operating system, as Debian's own does."""
        return self.prefix == Path("/usr")


def write_interpreter(channel_dir: Path, executable: Path | None = None) -> Path:
    """Write the packages `python` and `python_abi` and return the path of `python`.

    `executable` is a CPython on Linux x86-64, by default the one that runs this (below any virtual environment).
    A build from source (pyenv's, for example) and Debian's own are understood; Debian's needs `python3.11-venv`,
    and has the headers if `python3.11-dev` is installed.

    Raises:
        ToolError: if the interpreter does not answer, has no `ensurepip`, or `patchelf` is needed and missing.
    """
    python = _probe(executable or Path(getattr(sys, "_base_executable", "") or sys.executable))
    write_package(channel_dir, _abi(python))
    return write_package(channel_dir, _spec(python))


def _abi(python: _Python) -> PackageSpec:
    """`python_abi`, by which packages with machine code say for which Python they are, as conda-forge has it."""
    return PackageSpec(
        name="python_abi",
        version=python.short,
        build=f"0_{python.tag}",
        constrains=[f"python {python.short}.*"],
        license="BSD-3-Clause",
        summary="Metapackage to select the Python implementation",
        timestamp=python.built,
    )


def _spec(python: _Python) -> PackageSpec:
    """The interpreter itself."""
    files = _files(python)
    abi = f"python_abi {python.short}.* *_{python.tag}"
    return PackageSpec(
        name="python",
        version=python.version,
        build="0_cpython",
        subdir="linux-64",
        depends=[f"__glibc >={_glibc_needed(files)},<3.0.a0"],
        constrains=[abi],
        files=files,
        license="Python-2.0",
        home="https://www.python.org/",
        summary="General purpose programming language",
        run_exports={"noarch": ["python"], "weak": [abi]},
        test_imports=["ssl", "sqlite3", "ctypes", "lzma", "bz2", "hashlib", "multiprocessing", "venv", "ensurepip"],
        test_commands=["python --version", "python3 --version", f"python{python.short} --version"],
        timestamp=python.built,
    )


def _probe(executable: Path) -> _Python:
    """Ask an interpreter about itself."""
    real = Path(os.path.realpath(executable))
    answer: Mapping[str, Any] = json.loads(run([real, "-I", "-c", _PROBE], timeout=120).stdout)
    paths = {name: Path(os.path.realpath(answer[name])) for name in ("prefix", "stdlib", "include", "libdir")}
    texts = {name: str(answer[name]) for name in ("version", "wheels", "multiarch")}
    python = _Python(real, built=int(answer["built"]), broken=frozenset(answer["broken"]), **paths, **texts)  # type: ignore[arg-type]  # the two dictionaries have exactly the other fields
    if not any(_wheel_folder(python).glob("pip-*.whl")):
        raise ToolError(
            f"{real} has no `ensurepip` with its pip wheel, so virtual environments could not be made.",
            hint=f"On Debian: apt-get install python{python.short}-venv",
        )
    return python


def _wheel_folder(python: _Python) -> Path:
    """Where `ensurepip` takes pip from: its own folder, or the one that a distribution has for wheels."""
    return Path(python.wheels) if python.wheels else python.stdlib / "ensurepip" / "_bundled"


def _files(python: _Python) -> dict[str, Entry]:
    """Every path of the package."""
    lib = f"lib/python{python.short}"
    found: dict[str, Entry] = {
        f"{lib}/site-packages/README.txt": "Packages of this environment are installed here.\n",
        **_programs(python),
        **_tree(python.stdlib, lib),
        **_tree(python.include, f"include/python{python.short}"),
        **_shared_library(python),
    }
    if python.wheels:
        found |= _tree(Path(python.wheels), "share/python-wheels")
    without_tk = any(name.startswith("_tkinter.") for name in python.broken)
    for path in list(found):
        rest = path.removeprefix(f"{lib}/")
        unusable = PurePosixPath(path).name in python.broken and rest.startswith("lib-dynload/")
        if unusable or (without_tk and rest.startswith(_NEEDS_TK)):
            del found[path]
    found = {path: _with_placeholder(python, entry) for path, entry in found.items()}
    if python.of_system:
        found |= like_upstream(found, python.short, python.include, python.multiarch)
    # Debian's has no search paths; its library folder is the system's.
    return found if python.of_system else _relocatable(found, bytes(python.prefix))


def _programs(python: _Python) -> dict[str, Entry]:
    """`bin/`: the interpreter under its names, and the scripts that CPython's own installation makes."""
    short = python.short
    shebang = f"#!{PLACEHOLDER}/bin/python{short}\n"
    programs: dict[str, Entry] = {
        f"bin/python{short}": File(python.executable.read_bytes(), executable=True),
        f"bin/pydoc{short}": f"{shebang}import pydoc\n\nif __name__ == '__main__':\n    pydoc.cli()\n",
    }
    for name in ("python3", "python"):
        programs[f"bin/{name}"] = Symlink(f"python{short}")
    for name in ("pydoc3", "pydoc"):
        programs[f"bin/{name}"] = Symlink(f"pydoc{short}")
    config = python.executable.parent / f"python{short}-config"
    if config.exists():
        programs[f"bin/python{short}-config"] = File(config.read_bytes(), executable=True)
        programs["bin/python3-config"] = programs["bin/python-config"] = Symlink(f"python{short}-config")
    return programs


def _shared_library(python: _Python) -> dict[str, Entry]:
    """`lib/libpython…` of a build that links to it; nothing for one that has all of it in the executable."""
    name = f"libpython{python.short}.so"
    if f"{name}.1.0".encode() not in python.executable.read_bytes():
        return {}
    # Beside the executable first: an interpreter that was moved still says where it was built for.
    for folder in (python.prefix / "lib", python.libdir):
        if (folder / f"{name}.1.0").exists():
            library = File((folder / f"{name}.1.0").read_bytes(), executable=True)
            return {f"lib/{name}.1.0": library, f"lib/{name}": Symlink(f"{name}.1.0")}
    return {}


def _tree(root: Path, target: str) -> dict[str, Entry]:
    """The files below `root` (none if it is not there), without what is left out; links out of it are followed."""
    found: dict[str, Entry] = {}
    for path in _walk(root) if root.is_dir() else ():
        relative = path.relative_to(root)
        if _LEFT_OUT_FILES.fullmatch(path.name):
            continue
        place = f"{target}/{relative.as_posix()}"
        if path.is_symlink() and path.parent / path.readlink() == path.parent / path.readlink().name:
            found[place] = Symlink(str(path.readlink()))
        elif path.is_file() and not (path.is_symlink() and path.name.startswith("libpython")):
            found[place] = File(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
    return found


def _walk(root: Path) -> Iterator[Path]:
    """The files below `root` in order. Of the standard library's own tests only `test.support` stays: others use it."""
    for path in sorted(root.iterdir()):
        if not path.is_dir():
            yield path
        elif path.name == "test":
            if (path / "support").is_dir() and path.parent == root:
                yield path / "__init__.py"
                yield from _walk(path / "support")
        elif path.name not in _LEFT_OUT_FOLDERS:
            yield from _walk(path)


def _with_placeholder(python: _Python, entry: Entry) -> Entry:
    """Put the placeholder where a text names the prefix of the original."""
    if not isinstance(entry, File) or b"\0" in entry.data:
        return entry
    if not python.of_system:
        return File(entry.data.replace(bytes(python.prefix), PLACEHOLDER.encode()), executable=entry.executable)
    data = entry.data
    about_building = b"build_time_vars" in data or b"prefix_real" in data or data.startswith(b"# Generated auto")
    if about_building:
        for pattern, new in prefix_patterns(python.short, python.multiarch):
            data = pattern.sub(new, data)
    return File(data, executable=entry.executable)


def _relocatable(files: Mapping[str, Entry], prefix: bytes) -> dict[str, Entry]:
    """Let every ELF file that names the original's prefix (to search for libraries, mostly) search beside itself."""
    result = dict(files)
    groups: dict[str, list[str]] = {}
    for path, entry in files.items():
        if isinstance(entry, File) and entry.data.startswith(b"\x7fELF") and prefix in entry.data:
            up = "/".join([".."] * (len(PurePosixPath(path).parts) - 1))
            groups.setdefault(f"$ORIGIN/{up}/lib", []).append(path)
    if not groups:
        return result
    patchelf = find_tool("patchelf")
    with tempfile.TemporaryDirectory() as work:
        for rpath, paths in groups.items():
            copies = [Path(work, path.replace("/", "+")) for path in paths]
            for path, copy in zip(paths, copies, strict=True):
                entry = files[path]
                assert isinstance(entry, File)  # noqa: S101  # for the type checker: groups has only those
                copy.write_bytes(entry.data)
            run([patchelf, "--set-rpath", rpath, *copies])
            for path, copy in zip(paths, copies, strict=True):
                result[path] = File(copy.read_bytes(), executable=True)
    return result


def _glibc_needed(files: Mapping[str, Entry]) -> str:
    """The newest glibc symbol version that any ELF file asks for, `2.36`."""
    versions = {
        int(minor)
        for entry in files.values()
        if isinstance(entry, File) and entry.data.startswith(b"\x7fELF")
        for minor in re.findall(rb"GLIBC_2\.(\d+)\0", entry.data)
    }
    return f"2.{max(versions, default=17)}"
