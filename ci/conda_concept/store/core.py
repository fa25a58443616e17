"""One store, ready for use: its paths, the door to its disk, who we are, and the site's rules."""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conda_concept.errors import ConcError, InputError, IntegrityError
from conda_concept.layout import INCOMPLETE, Layout
from conda_concept.model import Release, ReleaseRecord
from conda_concept.operations import DropCandidate, SetCandidate, candidate_target
from conda_concept.settings import Site
from conda_concept.space import Room, require
from conda_concept.store.applying import Applier
from conda_concept.store.checking import Checker, rebuild
from conda_concept.store.door import Door, RealDoor, explained, remove_tree, write_new
from conda_concept.store.lease import Identity, Lease, Taker
from conda_concept.store.permissions import Permissions, settle
from conda_concept.store.reading import Reader, part_of
from conda_concept.store.replacing import Replacing
from conda_concept.store.staging import Staged
from conda_concept.store.usage import in_use

_CANDIDATE = re.compile(r"[a-z][a-z0-9_]{0,31}-[A-Za-z0-9][A-Za-z0-9_.]{0,63}(-rc[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """A release with this build id is there as a whole: there is nothing to build."""

    release: Release
    record: ReleaseRecord


@dataclass(frozen=True, slots=True)
class Store:
    """A site's store. `Store.open` makes one for this process; tests give another door, identity or clock."""

    layout: Layout
    site: Site
    door: Door
    identity: Identity
    permissions: Permissions
    notice: Callable[[str], None]
    now: Callable[[], dt.datetime]
    #: Which of these releases somebody has open, and what is known about it.
    in_use: Callable[[Sequence[Release]], Mapping[Release, str]]

    @classmethod
    def open(cls, layout: Layout, site: Site, notice: Callable[[str], None]) -> "Store":
        """The store at `layout`; `notice` is told what somebody should look at. Nothing is read or made yet."""
        return cls(
            layout=layout,
            site=site,
            door=RealDoor(),
            identity=Identity.of_this_process(),
            permissions=Permissions.of(site.groups),
            notice=notice,
            now=lambda: dt.datetime.now(tz=dt.UTC),
            in_use=partial(in_use, layout),
        )

    @property
    def reader(self) -> Reader:
        """Reads this store."""
        return Reader(self.layout, self.identity, self.site.retention.lock_hours)

    @property
    def checker(self) -> Checker:
        """Checks this store's releases."""
        return Checker(self.layout, self.reader)

    @property
    def taker(self) -> Taker:
        """Takes this store's leases."""
        hours = self.site.retention.lock_hours

        def now() -> str:
            return self.now().isoformat(timespec="seconds")

        return Taker(self.door, self.identity, hours, self.notice, now, self.permissions)

    @contextmanager
    def locked(self, purpose: str, *, wait: float = 0.0) -> Iterator[Applier]:
        """Hold the store's lock and change the store through the applier; `BusyError` names who holds it."""
        with explained(f"{purpose} in {self.layout.apps}"):
            settle(self.door, self.layout.apps, self.layout.root, self.permissions)
            with self.taker.held(self.layout.lock, purpose, wait=wait) as lease, lease.kept_fresh():
                yield Applier(self.door, self.layout, self.permissions, lease)

    @contextmanager
    def stage(self, release: Release, *, again: bool = False) -> Iterator[Staged | AlreadyThere]:
        """Make a release at its final path; `AlreadyThere` where it is complete, `BusyError` where somebody builds it.

        With `again` a complete release is made anew, since it is damaged; so is an incomplete one that names mean. That
        happens beside it, and then the two change places: names and jobs find a whole release at any moment, and what
        was there is kept. Leaving the block without `Staged.finish`, or by an error, removes everything again.
        """
        replacing = Replacing(self.door, self.layout, release, self.permissions)
        if replacing.is_due():
            with self.locked(f"replace {release}", wait=60.0):
                again = not replacing.finish() and again
        if self.reader.complete(release) and not again:
            yield self._already_there(release)
            return
        beside = again or bool(self.reader.state().names_of(release))
        folder = self.layout.again(release) if beside else self.layout.prefix(release)
        with explained(f"begin {release}"):
            lease = self._begin(release, folder)
        if self.reader.complete(release) and not again:  # finished by another between the look and the marker
            lease.release()
            yield self._already_there(release)
            return
        staged = Staged(self.door, self.layout, release, self.permissions, lease, folder)
        try:
            with lease.kept_fresh():
                with explained(f"clear what an earlier build of {release} left"):
                    remove_tree(self.door, folder, spare=frozenset({INCOMPLETE}))
                yield staged
        except BaseException:
            with suppress(ConcError, OSError):  # what failed first is what people should see
                self._abandon(staged)
            raise
        if staged.record is None:
            self._abandon(staged)
        elif beside:
            with self.locked(f"replace {release}", wait=60.0):
                replacing.finish()

    def _already_there(self, release: Release) -> AlreadyThere:
        try:
            return AlreadyThere(release, self.reader.record(release))
        except IntegrityError as error:
            raise IntegrityError(error.message, hint=rebuild(release)) from error

    def write_verdict(self, release: Release, verdict: bytes, report: bytes) -> None:
        """Put `tests.xml` and `tests.json` beside a release: the rename of the report brings the verdict into force.

        Between the two renames the verdict is read from where it waits (`Reader.verdict`), so that at any moment there
        are the old two or the new two.
        """
        layout = self.layout
        with explained(f"write the test results of {release}"):
            if self.reader.waiting_verdict(release) is not None:  # a run ended between the two
                self.door.rename(part_of(layout.verdict(release)), layout.verdict(release))
            for path, data in ((layout.tests(release), report), (layout.verdict(release), verdict)):
                write_new(self.door, part_of(path), data)
                self.permissions.apply(self.door, part_of(path), "file")
            for path in (layout.tests(release), layout.verdict(release)):
                self.door.rename(part_of(path), path)
            self.door.sync_directory(layout.prefix(release))

    def expose(self, release: Release, name: str, *, wait: float = 60.0) -> Path:
        """Let a candidate be tried as the module `name` (`analysis3-pr12`); returns what `module use` takes."""
        if not _CANDIDATE.fullmatch(name):
            raise InputError(f"`{name}` cannot be the name of a candidate.", hint="Write it as analysis3-pr12.")
        self.reader.record(release)
        with self.locked(f"expose {name}", wait=wait) as applier:
            before = self.reader.state().candidates.get(name, "")
            if before != candidate_target(release):
                applier.switch([SetCandidate(name, release, before)])
        return self.layout.candidates

    def hide(self, names: Sequence[str], *, wait: float = 60.0) -> tuple[str, ...]:
        """Take candidate modules away; the names that were there. The releases stay until `prune`."""
        with self.locked(f"hide {', '.join(names)}", wait=wait) as applier:
            present = self.reader.state().candidates
            found = tuple(name for name in names if name in present)
            applier.switch([DropCandidate(name, present[name]) for name in found])
        return found

    def check_space(self, size: int, inodes: int, doing: str) -> None:
        """`SpaceError` if the store's file system has fewer free bytes or inodes than these."""
        require(self.layout.apps, Room(size, inodes), doing, "`conda-concept prune --dry-run` shows what could go.")

    def _begin(self, release: Release, folder: Path) -> Lease:
        """Make a release's directory and take its marker. A prune may remove the empty folder in between: once more."""
        for attempt in range(3):
            try:
                settle(self.door, folder, self.layout.root, self.permissions)
                return self.taker.take(folder / INCOMPLETE, f"building {release}")
            except (FileNotFoundError, FileExistsError):
                if attempt == 2:
                    raise
        raise AssertionError("the loop returns or raises")

    def _abandon(self, staged: Staged) -> None:
        """Remove a release that will not be finished; one whose record is written may be whole, and stays."""
        if (staged.folder / self.layout.record(staged.release).name).exists():
            return
        with explained(f"remove the unfinished {staged.release}"):
            staged.lease.check()
            remove_tree(self.door, staged.folder, spare=frozenset({INCOMPLETE}))
            staged.lease.release()
            self.door.rmdir(staged.folder)
