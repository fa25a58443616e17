"""What the store's proofs are made of: small releases, a door that fails on demand, and the invariants.

The tests use it at a size of seconds, the benchmark at full size. Nothing here is part of the program.
"""

import datetime as dt
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from conda_concept.layout import Layout
from conda_concept.model import ImageFact, Release, ReleaseRecord, Source, Verdict
from conda_concept.progress import Reporter
from conda_concept.record import verdict_to_text
from conda_concept.settings import Groups, Retention, Site
from conda_concept.steps.publish import Asked
from conda_concept.store import AlreadyThere, Door, Identity, RealDoor, Store
from conda_concept.store.checking import Checker
from conda_concept.store.permissions import Permissions

ASKED = Asked(who="tester@here", wait=0.0)
#: What keeps nothing that is not needed.
NO_GRACE = Retention(grace_days=0, candidate_days=0, keep_builds=0)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

#: A modulefile as small as one can be that still says which release it belongs to.
MODULEFILE = """#%Module1.0
set prefix {prefix}
setenv CONDA_CONCEPT_RELEASE {release}
prepend-path PATH $prefix/bin
"""

#: A launcher that reads what a real one reads: its own text and the image beside it.
LAUNCHER = """#!/bin/sh
read -r first < {prefix}/image.sqsh || exit 70
echo "launcher={release} image=$first module=$CONDA_CONCEPT_RELEASE"
"""


class Killed(BaseException):
    """The process would be gone now. Nothing that catches errors catches this."""


class Dead:
    """An identity of a process of this machine that has ended, and one of a process that lives."""

    @staticmethod
    def identity() -> Identity:
        """As whom a run that will be killed acts, so that the next one sees a dead holder."""
        mine = Identity.of_this_process()
        return replace(mine, pid=(1 << 22) + 1, started=1)


@dataclass(slots=True)
class FaultyDoor:
    """A door that counts, and at the `at`-th call (from 1) ends the process or fails.

    `failure` is None to end it, or the number of an error. With `half` a write has put half its bytes on the disk
    before that. After the end nothing gets through any more, so that no clean-up hides what a real end would leave.
    With `sticky` everything that needs space fails from there on, as on a disk that stays full.
    """

    real: Door = field(default_factory=RealDoor)
    at: int = 0
    failure: int | None = None
    half: bool = False
    sticky: bool = False
    on_kill: Callable[[], None] | None = None
    log: list[tuple[str, str]] = field(default_factory=list)
    dead: bool = False

    def mkdir(self, path: Path) -> None:
        """Count, then do."""
        self._pass("mkdir", path)
        self.real.mkdir(path)

    def create(self, path: Path) -> int:
        """Count, then do."""
        self._pass("create", path)
        return self.real.create(path)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Count, perhaps do half, then do."""
        if self.half and len(self.log) + 1 == self.at:
            self.real.write(descriptor, bytes(data)[: len(data) // 2])
        self._pass("write", Path(f"/proc/self/fd/{descriptor}").readlink())
        self.real.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Count, then do nothing: a process that ends takes nothing of the system's memory along."""
        self._pass("sync", Path(f"/proc/self/fd/{descriptor}").readlink())

    def sync_directory(self, path: Path) -> None:
        """Count, then do nothing."""
        self._pass("sync_directory", path)

    def link(self, source: Path, path: Path) -> None:
        """Count, then do."""
        self._pass("link", path)
        self.real.link(source, path)

    def symlink(self, target: str, path: Path) -> None:
        """Count, then do."""
        self._pass("symlink", path)
        self.real.symlink(target, path)

    def rename(self, source: Path, path: Path) -> None:
        """Count, then do."""
        self._pass("rename", path)
        self.real.rename(source, path)

    def exchange(self, source: Path, path: Path) -> None:
        """Count, then do."""
        self._pass("exchange", path)
        self.real.exchange(source, path)

    def unlink(self, path: Path) -> None:
        """Count, then do."""
        self._pass("unlink", path)
        self.real.unlink(path)

    def rmdir(self, path: Path) -> None:
        """Count, then do."""
        self._pass("rmdir", path)
        self.real.rmdir(path)

    def chmod(self, path: Path, mode: int) -> None:
        """Count, then do."""
        self._pass("chmod", path)
        self.real.chmod(path, mode)

    def chgrp(self, path: Path, gid: int) -> None:
        """Count, then do."""
        self._pass("chgrp", path)
        self.real.chgrp(path, gid)

    def set_acl(self, path: Path, attribute: str, value: bytes) -> None:
        """Count, then do."""
        self._pass("set_acl", path)
        self.real.set_acl(path, attribute, value)

    def touch(self, path: Path) -> None:
        """Count, then do."""
        self._pass("touch", path)
        self.real.touch(path)

    def _pass(self, name: str, path: Path) -> None:
        if self.dead:
            raise Killed
        self.log.append((name, str(path)))
        if self.sticky and self.failure is not None and len(self.log) >= self.at > 0:
            if name in {"mkdir", "create", "write", "link", "symlink", "set_acl"}:
                raise OSError(self.failure, os.strerror(self.failure), str(path))
        elif len(self.log) == self.at:
            if self.failure is not None:
                raise OSError(self.failure, os.strerror(self.failure), str(path))
            self.dead = True
            if self.on_kill is not None:
                self.on_kill()
            raise Killed


def make_site(root: Path, *, groups: Groups | None = None, retention: Retention | None = None) -> Site:
    """The smallest site there is, with these rules of what `prune` keeps."""
    return Site(
        name="test",
        root=str(root),
        scratch=str(root / "scratch"),
        cache=str(root / "cache"),
        groups=groups or Groups(),
        retention=retention or Retention(),
    )


def make_store(
    root: Path, *, door: Door | None = None, identity: Identity | None = None, site: Site | None = None, days: float = 0
) -> Store:
    """A store at `root` whose clock stands `days` after `START`; notices go nowhere."""
    chosen = site or make_site(root)
    return Store(
        layout=Layout(root, chosen.product),
        site=chosen,
        door=door or FaultyDoor(),
        identity=identity or Identity.of_this_process(),
        permissions=Permissions.of(chosen.groups),
        notice=lambda _text: None,
        now=lambda: START + dt.timedelta(days=days),
        in_use=lambda _releases: {},
    )


def silent() -> Reporter:
    """A reporter that nobody reads."""
    return Reporter(StringIO(), quiet=True)


def release(version: str, build: int, environment: str = "analysis3") -> Release:
    """A release by number."""
    return Release(environment, version, f"{build:08x}")


def build(
    store: Store, wanted: Release, *, commands: int = 3, size: int = 4096, again: bool = False, lock: str = ""
) -> ReleaseRecord:
    """Stage a release: image (sparse beyond 4 kB), launchers, modulefile, lock (no real one), history, and a link.

    Or find it there already, unless `again`.
    """
    with store.stage(wanted, again=again) as staged:
        if isinstance(staged, AlreadyThere):
            return staged.record
        prefix = str(staged.prefix)
        staged.image_part.write_bytes(f"{wanted}\n".encode() + bytes(range(256)) * 16)
        if size > 4096:
            os.truncate(staged.image_part, size)
        copied = staged.image(staged.image_part)
        names = tuple(f"tool{number}" for number in range(commands))
        staged.write("bin/.launcher", LAUNCHER.format(prefix=prefix, release=wanted).encode(), program=True)
        for name in names:
            staged.hardlink("bin/.launcher", f"bin/{name}")
        staged.symlink("tool0", "bin/tool")
        staged.write("modulefile", MODULEFILE.format(prefix=prefix, release=wanted).encode())
        staged.write("conda-lock.yml", (lock or f"# of {wanted}\n").encode())
        staged.write("conda-meta/history", b"==> made by a test <==\n")
        staged.write("declared.json", b"{}\n")
        staged.write("launcher", f"#!/bin/sh\n# {wanted}\n".encode(), program=True)
        staged.write("bin/script", b"#!/bin/sh\necho instead of a launcher\n", program=True)
        return staged.finish(
            ReleaseRecord(
                release=wanted,
                prefix=prefix,
                platform="linux-64",
                packages=1015,
                lock_digest="ab" * 32,
                spec_digest="cd" * 32,
                builder="conda-concept test",
                built_at="2026-01-01T00:00:00+00:00",
                source=Source("0123456789abcdef", "12", "researcher"),
                image=ImageFact(copied.sha256, copied.size, 5, 12345, "zstd"),
                files=(),
                commands=names,
            )
        )


def judge(store: Store, wanted: Release, *, passed: bool = True, report: bytes = b"<testsuites/>\n") -> None:
    """Write a verdict on the image that is there."""
    sha256 = store.reader.record(wanted).image.sha256
    verdict = Verdict(sha256, passed, (("passed", 10),), "", hashlib.sha256(report).hexdigest())
    store.write_verdict(wanted, verdict_to_text(verdict).encode(), report)


def ready(store: Store, wanted: Release) -> Release:
    """A release that is built and tested."""
    build(store, wanted)
    judge(store, wanted)
    return wanted


_MODULE_VERSION = re.compile(r"^module-version \S+?/(\S+) ", re.MULTILINE)


def broken(store: Store) -> list[str]:
    """Every invariant of a store that does not hold: what must be true at any moment, crash or not.

    Every alias resolves to a complete release whose every byte is as recorded and whose tests passed; every module
    is the modulefile of the release that its name means; the default of `.modulerc` is a module that is there.
    """
    reader = store.reader
    state = reader.state()
    checker = Checker(store.layout, reader)
    found: list[str] = []
    checked: set[Release] = set()
    for alias in state.aliases:
        meant = state.release(alias.name)
        if meant is None or not state.complete(meant):
            found.append(f"alias {alias.name} -> {alias.target} means no complete release")
            continue
        if store.layout.alias(alias.name).resolve() != store.layout.prefix(meant).resolve():
            found.append(f"alias {alias.name} leads to {store.layout.alias(alias.name).resolve()}")
        if meant in checked:
            continue
        checked.add(meant)
        found += [f"{alias.name}: {problem.path} {problem.text}" for problem in checker.verify(meant)]
        why = checker.gate(meant, reader.record(meant))
        found += [f"{alias.name}: {why}"] if why else []
    for name in state.modules:
        meant = state.release(name)
        text = store.layout.module(name).read_text() if store.layout.module(name).exists() else ""
        if meant is None or f"setenv CONDA_CONCEPT_RELEASE {meant}\n" not in text:
            found.append(f"module {name} is not the modulefile of {meant}")
    for name in _MODULE_VERSION.findall(state.modulerc or ""):
        if name not in state.modules:
            found.append(f".modulerc names {name}, and there is no such module")
    return found


def contents(root: Path, *, without: Sequence[str] = ()) -> dict[str, str]:
    """Every path below a folder with what it is, to compare two states: link texts, sizes, kinds."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            if path.name in without:
                continue
            if path.is_symlink():
                found[relative] = f"-> {path.readlink()}"
            else:
                found[relative] = "directory" if path.is_dir() else f"{path.stat().st_size} bytes"
    return found
