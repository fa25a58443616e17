"""What can be said about an installed package without running it: files, prefix, libraries, bytecode, scripts."""

from __future__ import annotations

import _imp
import hashlib
import importlib.util
import marshal
import os
import stat
import subprocess
import typing
from dataclasses import dataclass, field

from conda_concept.inside.elf import Elf, Finder
from conda_concept.inside.fitted import resolved
from conda_concept.inside.survey import Owner, site_packages

#: glibc's own parts: always the host's, because conda environments never bring them.
GLIBC = (
    "libc",
    "libm",
    "libdl",
    "libpthread",
    "librt",
    "libutil",
    "libresolv",
    "libnsl",
    "libanl",
    "libmvec",
    "libBrokenLocale",
)
#: A longer first line is cut or refused by kernels before 5.1. (execve(2))
LONGEST_SHEBANG = 127
#: How many files without bytecode are compiled to see whether one could have any.
COMPILED = 50


@dataclass
class Checker:
    """The checks for one prefix. `foreign`: strings that must not be left in files, such as the staging folder.

    `host_links`: paths that are links to a file of the host, and to which. `host_software`: folders of the host whose
    libraries stand in for the environment's own, where LD_LIBRARY_PATH names them.
    """

    prefix: str
    foreign: tuple[str, ...] = ()
    host_folders: tuple[str, ...] = ()
    host_links: dict[str, str] = field(default_factory=dict)
    host_software: tuple[str, ...] = ()
    finder: Finder = field(init=False)
    of_host: dict[str, str] = field(init=False)
    allowed: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """The interpreter's own search path is what its extension modules inherit."""
        folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
        self.finder = Finder(os.path.join(self.prefix, "bin/python3"), folders=folders)
        self.of_host = {**self._software(folders), **self._linked()}
        allowed = (self.prefix, *self.host_folders, *self.host_software)
        self.allowed = tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in allowed)

    def _linked(self) -> dict[str, str]:
        """Library name -> the host's file, for those that config replaced by links."""
        return {os.path.basename(path): target for path, target in self.host_links.items() if ".so" in path}

    def _software(self, folders: list[str]) -> dict[str, str]:
        """Library name -> the host's file, for those of the site's software that LD_LIBRARY_PATH puts forward.

        A library that the environment brings as well is its own matter, but for MPI: ranks are started by the host.
        """
        named = [
            folder for folder in folders if f"{folder}/".startswith(tuple(f"{root}/" for root in self.host_software))
        ]
        return {
            name: os.path.join(folder, name)
            for folder in reversed(named)
            for name in (sorted(os.listdir(folder)) if os.path.isdir(folder) else ())
            if ".so" in name and (name.startswith("libmpi") or not self._brings(name))
        }

    def _brings(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.prefix, "lib", name))

    def all_of(self, owner: Owner) -> typing.Iterator[dict[str, object]]:
        """One result for each kind of thing that the package has: {check, package, looked_at, problems}."""
        for check, method in (
            ("files", self.files),
            ("prefix", self.placeholders),
            ("libraries", self.libraries),
            ("bytecode", self.bytecode),
            ("scripts", self.scripts),
            ("host-libraries", self.from_host),
        ):
            looked_at, problems = method(owner)
            if looked_at:
                yield {"check": check, "package": owner.name, "looked_at": looked_at, "problems": problems}

    def files(self, owner: Owner) -> tuple[int, list[str]]:
        """Every file that the record lists is there, with the size and the digest that it says."""
        facts = {str(path.get("_path")): path for path in owner.paths}
        found = [(path, self._file_problem(path, facts.get(path, {}))) for path in owner.files]
        return len(owner.files), [f"{path}: {problem}" for path, problem in found if problem]

    def _file_problem(self, path: str, fact: dict[str, object]) -> str:
        """Empty if the file is as `fact` says. Bytecode is the build's own, and `bytecode` looks at it."""
        full = os.path.join(self.prefix, path)
        try:
            status = os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                return "" if os.path.exists(full) else f"a link to nowhere ({os.readlink(full)})"
            if path.endswith(".pyc"):
                return ""
            # Where the prefix was written into the file, only `sha256_in_prefix` is about what is there now.
            moved = bool(fact.get("prefix_placeholder"))
            size, digest = fact.get("size_in_bytes"), fact.get("sha256_in_prefix") or (not moved and fact.get("sha256"))
            if isinstance(size, int) and size != status.st_size and not moved:
                return f"{status.st_size} bytes, its record says {size}"
            if digest and digest != _sha256(full):
                return f"its content is not what the record says (sha256 {str(digest)[:12]}…)"
        except OSError as error:
            return str(error.strerror)
        return ""

    def placeholders(self, owner: Owner) -> tuple[int, list[str]]:
        """Where the package's record asks for it, the build's prefix has been replaced by this one."""
        problems = []
        marked = [path for path in owner.paths if path.get("prefix_placeholder")]
        for path in marked:
            content = self._content(str(path["_path"]))
            old = str(path["prefix_placeholder"])
            if old != self.prefix and old.encode() in content:
                problems.append(f"{path['_path']}: still holds the build's prefix {old[:60]}")
            problems += [f"{path['_path']}: holds {text}" for text in self.foreign if text.encode() in content]
        return len(marked), problems

    def _content(self, path: str) -> bytes:
        try:
            with open(os.path.join(self.prefix, path), "rb") as file:
                return file.read()
        except OSError:
            return b""  # `files` says so

    def libraries(self, owner: Owner) -> tuple[int, list[str]]:
        """Every library that a binary asks for is found, in the prefix or in an allowed folder of the host.

        A library that another binary of the package asks for is looked at from there: the loader hands the asking
        binary's RPATH down, and wheels rely on that for the libraries that they bundle.
        """
        binaries, problems = self._binaries(owner)
        real = {path: os.path.realpath(os.path.join(self.prefix, path)) for path in binaries}
        own = {place: path for path, place in real.items()}
        brought = {name for elf in binaries.values() for name in elf.needed}
        looked_at: set[str] = set()
        # Those last that nobody has asked for in the end: they ask each other in a circle, or only share a name.
        for path in sorted(binaries, key=lambda one: os.path.basename(one) in brought):
            if real[path] in looked_at:
                continue
            try:
                reached = self.finder.reach(real[path])
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
                continue
            looked_at.update(reached.files)
            for asking, name in reached.lost:
                other = "" if asking == real[path] else f" (for {os.path.basename(asking)})"
                problems.append(f"{path}: {name} is nowhere{other}")
            problems += [
                f"{own[asking]}: {name} comes from the host ({place})"
                for asking, name, place in reached.found
                if asking in own and not self._may_come_from(name, place)
            ]
        return len(binaries), list(dict.fromkeys(problems))

    def _binaries(self, owner: Owner) -> tuple[dict[str, Elf], list[str]]:
        """The package's libraries and programs for this interpreter's machine, and what is wrong with the others."""
        python = self.finder.elf(os.path.realpath(self.finder.executable))
        binaries: dict[str, Elf] = {}
        problems: list[str] = []
        for path in owner.files:
            full = os.path.join(self.prefix, path)
            if os.path.islink(full) or not (".so" in os.path.basename(path) or path.startswith(("bin/", "libexec/"))):
                continue
            try:
                elf = self.finder.elf(full)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
                continue
            if elf is not None and (python is None or elf.kind == python.kind):
                binaries[path] = elf
        return binaries, problems

    def _may_come_from(self, name: str, place: str) -> bool:
        return name.split(".so", maxsplit=1)[0] in GLIBC or place.startswith(self.allowed)

    def from_host(self, owner: Owner) -> tuple[int, list[str]]:
        """Who asks for a library that is the host's gets the host's, as the host's loader says (`ldd`)."""
        wanted = self.of_host
        if not wanted:
            return 0, []
        users = {path: elf for path, elf in self._binaries(owner)[0].items() if wanted.keys() & set(elf.needed)}
        problems = []
        for path, elf in users.items():
            full = os.path.join(self.prefix, path)
            try:
                found = resolved(full)
                # The loader was asked of the file alone; in the interpreter, whose RPATH goes first, it may be another.
                inside = {name: place for asking, name, place in self.finder.reach(full).found if asking == full}
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                problems.append(f"{path}: the host's loader does not take it: {error}")
                continue
            for name in sorted(wanted.keys() & set(elf.needed)):
                places = (found.get(name, "not found"), inside.get(name, "not found"))
                wrong = [place for place in places if os.path.realpath(place) != os.path.realpath(wanted[name])]
                problems += [f"{path}: {name} is {place}, not the host's {wanted[name]}" for place in wrong[:1]]
        return len(users), problems

    def bytecode(self, owner: Owner) -> tuple[int, list[str]]:
        """Every source has bytecode that this interpreter takes as it is; a read-only image cannot write it later."""
        library = os.path.dirname(site_packages()) + "/"
        sources = [path for path in owner.files if path.endswith(".py") and path.startswith(library)]
        missing, stale = [], []
        for path in sources:
            state = self._bytecode_state(path)
            if state == "missing":
                missing.append(path)
            elif state:
                stale.append(f"{path}: {state}")
        problems = _counted(stale, "stale bytecode")
        if missing and any(self._compiles(path) for path in missing[:COMPILED]):
            problems += _counted(missing, "no bytecode")
        return len(sources), problems

    def _bytecode_state(self, path: str) -> str:
        """Empty if the bytecode is good: of this interpreter, of this source, and whole. See PEP 552."""
        source = os.path.join(self.prefix, path)
        try:
            with open(importlib.util.cache_from_source(source), "rb") as file:
                head, code = file.read(16), file.read()
            status = os.stat(source)
        except OSError:
            return "missing" if os.path.exists(source) else ""  # `files` says so
        if head[:4] != importlib.util.MAGIC_NUMBER or len(head) < 16:
            return "made by another interpreter"
        if int.from_bytes(head[4:8], "little") & 1:
            # Also where the interpreter does not look at the hash (unchecked): it would run another source's code.
            good = _imp.source_hash(int.from_bytes(importlib.util.MAGIC_NUMBER[:4], "little"), self._content(path))
            if head[8:16] != good:
                return "its source has another hash"
        else:
            times = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
            if head[8:16] != b"".join(number.to_bytes(4, "little") for number in times):
                return "its source has another time or size"
        try:
            marshal.loads(code)  # noqa: S302 - the interpreter would do it too, and in less of a sandbox
        except (EOFError, ValueError, TypeError):
            return "its code is cut or damaged"
        return ""

    def _compiles(self, path: str) -> bool:
        """Templates and files for another Python have no bytecode and need none."""
        try:
            compile(self._content(path), path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True

    def scripts(self, owner: Owner) -> tuple[int, list[str]]:
        """The first line of every script in `bin` names a program that is there and that the kernel can start."""
        problems, looked_at = [], 0
        for path in owner.files:
            if not path.startswith("bin/"):
                continue
            full = os.path.join(self.prefix, path)
            try:
                with open(full, "rb") as file:
                    line = file.readline(4096).rstrip(b"\r\n")
            except OSError:
                continue  # `files` says so
            if not line.startswith(b"#!"):
                continue
            looked_at += 1
            problem = self._shebang_problem(line[2:].decode("utf-8", "surrogateescape").strip())
            if len(line) > LONGEST_SHEBANG:
                problem = problem or f"its first line has {len(line)} bytes; older kernels take {LONGEST_SHEBANG}"
            if not os.access(full, os.X_OK):
                problem = problem or "not executable"
            if problem:
                problems.append(f"{path}: {problem}")
        return looked_at, problems

    def _shebang_problem(self, line: str) -> str:
        words = line.split()
        if not words:
            return "its first line names no program"
        if words[0] == "/bin/sh" and f"'exec' '{self.prefix}" in line:
            return ""
        if os.path.basename(words[0]) == "env":
            name = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
            folders = [os.path.join(self.prefix, "bin"), "/usr/bin", "/bin", "/usr/local/bin"]
            there = any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)
            return "" if name and there else f"its first line asks for `{name}`, which is nowhere"
        return "" if os.access(words[0], os.X_OK) else f"its first line names {words[0]}, which is not there"


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _counted(examples: list[str], what: str) -> list[str]:
    return [f"{what}: {len(examples)} file{'s' * (len(examples) != 1)}, such as {examples[0]}"] if examples else []
