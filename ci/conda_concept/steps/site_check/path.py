"""The way of a release in a scratch root: a channel of three packages, lock, build, tests, publication."""

import datetime as dt
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar

from conda_concept.assembly import Assembler
from conda_concept.checkup import Finding, ok, wrong
from conda_concept.download import Cache
from conda_concept.errors import StorageError
from conda_concept.executor.setup import jobs
from conda_concept.layout import Layout
from conda_concept.localchannel import PackageSpec, index, write_interpreter, write_package
from conda_concept.lockfile import dumps
from conda_concept.locking import Wish, solve
from conda_concept.model import Lock, ReleaseRecord, Source
from conda_concept.repository import Repository
from conda_concept.settings import PbsExecutor, Site
from conda_concept.site import changed as other_site
from conda_concept.solver import Settings
from conda_concept.steps.build import Order
from conda_concept.steps.edges import Edges
from conda_concept.steps.publish import Asked, publish_release
from conda_concept.steps.site_check.place import Ground
from conda_concept.steps.work import build, judge
from conda_concept.store import Store
from conda_concept.store.door import RealDoor
from conda_concept.store.permissions import Permissions, obstacles, settle

NAME = "check"
#: A scratch root's name; short, because the prefix below it has to fit into the first line of a script.
SCRATCH = ".check-"
_CONFIG = """\
version: "00.01"
description: The three packages that `conda-concept site check` releases
virtual_packages: {{__glibc: "{glibc}"}}
"""
_ENVIRONMENT = f"name: {NAME}\nchannels:\n  - conda-forge\ndependencies:\n  - site-check\n"
#: The third package, beside python and python_abi: a module, and a command that says where it runs.
_MODULE = 'import sys\n\n\ndef main() -> None:\n    print("site check in", sys.prefix)\n'


@contextmanager
def scratch_root(ground: Ground, *, keep: bool) -> Iterator[Path]:
    """A folder of its own in the site's root, on the same file system; all of it goes, and what was made above it."""
    top = Path(ground.site.root)
    made = [folder for folder in (top, *top.parents) if not folder.is_dir()]
    try:
        # As the store itself would make it, whatever our umask is.
        settle(RealDoor(), top, top, Permissions.of(ground.site.groups))
        root = Path(mkdtemp(prefix=SCRATCH, dir=top))
    except OSError as error:
        raise StorageError(f"{top} cannot hold a scratch root: {error.strerror}.") from error
    try:
        yield root
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
            with suppress(OSError):  # somebody else's things may be in there by now
                for folder in made:
                    folder.rmdir()


@dataclass(slots=True)
class Rehearsal:
    """One release, from nothing to its publication, in `root`."""

    root: Path
    ground: Ground
    edges: Edges
    lock: Lock | None = None
    record: ReleaseRecord | None = None
    #: Folders for mounts that were there before, by uid: those that were not, go.
    node_folders: dict[int, bool] = field(default_factory=dict)

    names: ClassVar[tuple[str, ...]] = ("channel", "lock", "build", "permissions", "tests", "publish")
    #: Without these there is nothing to start, or nobody who could.
    needed: ClassVar[frozenset[str]] = frozenset({"channel", "lock", "build", "permissions"})

    @classmethod
    def at(cls, root: Path, ground: Ground) -> "Rehearsal":
        """The edges of a site that lives in `root`, with a cache and a repository of its own."""
        # Everything in one place, so that a kill leaves that alone; a mount that it leaves ends after five seconds.
        changed: dict[str, object] = {"root": str(root), "cache": str(root / "cache"), "scratch": str(root / "scratch")}
        changed |= {"idle_seconds": 5, "default_environment": None}
        site = ground.site.model_copy(update=changed)
        alias = (root / "channels").as_uri()
        settings = Settings(
            channel_alias=alias,
            time_limit=120,
            now=dt.datetime.now(tz=dt.UTC),
            cache=root / "cache" / "repodata",
            pip_index="",
            environ=ground.environ,
        )
        store = Store.open(Layout(root, site.product), site, ground.reporter.warn)
        assembler = Assembler(site, Cache(Path(site.cache), alias), ground.reporter, ground.workers)
        repository = Repository(root / "repository", home=str(root))
        edges = Edges(repository, store, assembler, settings, ground.reporter, ground.workers)
        match site.executor:
            case PbsExecutor() as pbs if ground.source is not None:
                # Jobs' own scratch stays what the site says: the disk of a node.
                words = {key: value for key, value in changed.items() if key != "scratch"}
                source = other_site(ground.source, words)
                here = pbs.model_copy(update={"folder": str(root / "jobs")})
                edges = replace(edges, jobs=jobs(here, source, store, ground.environ, alias, ground.reporter))
            case _:
                pass
        made = cls(root, ground, edges)
        made.node_folders = {uid: made.node_folder(uid).is_dir() for uid in made.uids}
        return made

    @property
    def site(self) -> Site:
        """The scratch site."""
        return self.edges.store.site

    @property
    def uids(self) -> tuple[int, ...]:
        """Who starts commands here: we, and the user."""
        return tuple(dict.fromkeys((os.geteuid(), *(self.ground.user or ())[:1])))

    def node_folder(self, uid: int) -> Path:
        """Where the launcher mounts images for a user."""
        return Path(self.site.node_dir) / f"{self.site.product}.{uid}"

    def home(self, uid: int) -> Path:
        """A home for whoever starts commands here: what container programs write there goes with the rest."""
        folder = self.root / "home" / str(uid)
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.parent.chmod(0o755)
            folder.chmod(0o700)
            if uid != os.geteuid():
                os.chown(folder, uid, -1)
        return folder

    @property
    def released(self) -> ReleaseRecord:
        """What was built."""
        if self.record is None:
            raise AssertionError("nothing is built yet")
        return self.record

    @property
    def _where(self) -> str:
        return ", in a job" if self.edges.jobs else ""

    def acts(self) -> tuple[tuple[str, Callable[[], Sequence[Finding]]], ...]:
        """The stages, in order."""
        acts = (self._channel, self._lock, self._build, self._permissions, self._tests, self._publish)
        return tuple(zip(self.names, acts, strict=True))

    def _channel(self) -> list[Finding]:
        folder = self.root / "channels" / "conda-forge"
        python = write_interpreter(folder)
        files = {"site-packages/site_check.py": _MODULE}
        write_package(
            folder,
            PackageSpec(
                "site-check",
                "1.0",
                subdir="noarch",
                python=True,
                depends=["python", "python_abi"],
                files=dict(files),
                entry_points=["site-check = site_check:main"],
                license="Apache-2.0",
                test_imports=["site_check"],
            ),
        )
        index(folder)
        environment = self.edges.repository.root / "environments" / NAME
        environment.mkdir(parents=True)
        glibc = platform.libc_ver()[1] or "2.28"
        (environment / "config.yml").write_text(_CONFIG.format(glibc=glibc), "utf-8")
        (environment / "environment.yml").write_text(_ENVIRONMENT, "utf-8")
        return [ok(f"three packages: {python.stem}, python_abi, site-check")]

    def _lock(self) -> list[Finding]:
        spec = self.edges.repository.spec(NAME)
        self.lock = solve(spec, None, Wish(), self.edges.settings, self.ground.reporter).lock
        return [ok(f"{len(self.lock.packages)} packages locked")]

    def _build(self) -> list[Finding]:
        if self.lock is None:
            raise AssertionError("no lock")
        order = Order(self.edges.repository.spec(NAME), self.lock, dumps(self.lock), Source())
        self.record = build(order, self.edges).record
        image = self.record.image
        squash = self.site.squash
        how = f"{squash.compression} {squash.level}, blocks of {squash.block}"
        return [ok(f"{image.files:,} files in an image of {image.size / 1e6:.0f} MB ({how}){self._where}")]

    def _permissions(self) -> list[Finding]:
        """Whether a user can read everything that a start needs: the launcher, the image, the container's base."""
        layout, release = self.edges.store.layout, self.released.release
        base = [path for path in sorted(layout.runtime.iterdir()) if path.is_dir()]
        paths = [layout.image(release), layout.prefix(release) / "launcher", layout.modulefile(release), *base]
        rule = self.edges.store.permissions
        found = [
            wrong(text, "Look at the groups in the site file and at the folders above its root.")
            for text in dict.fromkeys(text for path in paths for text in obstacles(path, rule))
        ]
        if rule.lacking:
            found.append(Finding("warning", rule.lacking))
        names = ", ".join(path.name for path in base)
        return found or [ok(f"users can read image, launchers, modulefile and the container's base ({names})")]

    def _tests(self) -> list[Finding]:
        spec = self.edges.repository.spec(NAME)
        report = judge(self.released.release, spec, self.edges, again=False).report
        if report.passed:
            return [ok(f"{len(report.results)} results as {self.ground.user_name}, none bad{self._where}")]
        bad = [f"{one.title}: {one.message}" for one in report.results if one.failed]
        said = "; ".join((*report.problems, *bad)[:5]) or "the tests did not come to an end"
        return [wrong(said, "Start the release by hand with --keep, as that user, and look at what it says.")]

    def _publish(self) -> list[Finding]:
        config = self.edges.repository.spec(NAME).config
        asked = Asked("site check")
        done = publish_release(self.edges.store, self.released.release, config.version, asked, self.ground.reporter)
        found = [Finding("warning", notice) for notice in done.notices]
        return [*found, ok(f"{len(done.operations)} operations in {done.seconds_switching * 1000:.0f} ms")]
