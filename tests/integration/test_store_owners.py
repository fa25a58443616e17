"""Several maintainers, each with an account of its own: real processes of two users who share a store."""

import grp
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.storekit import (
    ASKED,
    NO_GRACE,
    FaultyDoor,
    broken,
    build,
    judge,
    make_site,
    make_store,
    release,
    silent,
)
from conda_concept.errors import BusyError, NotFoundError
from conda_concept.model import Release
from conda_concept.settings import Groups
from conda_concept.steps.doctor import doctor
from conda_concept.steps.list_ import list_releases
from conda_concept.steps.prune import prune
from conda_concept.steps.publish import publish_release
from conda_concept.steps.verify import verify
from conda_concept.store import AlreadyThere, RealDoor, Store

GROUPS = Groups(users="users", owners="staff")
#: Numbers of accounts that nobody has, in both groups; and one of the users alone.
ANNE, BERT, USER = 61001, 61002, 61003
ONE, TWO = release("23.04", 1), release("23.04", 2)


@pytest.fixture(scope="module", autouse=True)
def _everything_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The interpreter may be in a home that other accounts cannot enter: what is loaded late is loaded before."""
    store = make_store(tmp_path_factory.mktemp("once") / "root")
    release_it(ONE)(store)
    looks(store)
    prune(store, ASKED)


@pytest.fixture
def root() -> Iterator[Path]:
    """A store's root that both owners may write."""
    place = Path(tempfile.mkdtemp(prefix="store-"))
    place.chmod(0o755)
    make_store(place / "root", site=make_site(place / "root", groups=GROUPS)).hide([])
    yield place / "root"
    shutil.rmtree(place)


def act(root: Path, account: int, what: Callable[[Store], object], door: FaultyDoor | None = None) -> int:
    """Start a process of an account that does this; its number."""
    assert os.geteuid() == 0, "these tests act as other users, which only root can"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            names = ("users",) if account == USER else ("users", "staff")
            os.setgroups([grp.getgrnam(name).gr_gid for name in names])
            os.setgid(account)
            os.setuid(account)
            os.umask(0o077)
            site = make_site(root, groups=GROUPS)
            what(make_store(root, site=site, door=door or RealDoor(), days=1))
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def ended(child: int) -> int:
    return os.waitpid(child, 0)[1]


def does(root: Path, account: int, what: Callable[[Store], object], door: FaultyDoor | None = None) -> bool:
    """Whether an account can do it."""
    return ended(act(root, account, what, door)) == 0


def release_it(one: Release) -> Callable[[Store], object]:
    def it(store: Store) -> None:
        build(store, one)
        judge(store, one)
        publish_release(store, one, "23.04", ASKED, silent())

    return it


def building(one: Release) -> Callable[[Store], object]:
    """A build that has got to its launchers, and takes very long there."""

    def it(store: Store) -> None:
        with store.stage(one) as staged:
            assert not isinstance(staged, AlreadyThere)
            staged.write("bin/tool0", b"#!/bin/sh\n", program=True)
            time.sleep(60)

    return it


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def looks(store: Store) -> None:
    """What everybody may do while others work."""
    list_releases(store)
    doctor(store, ASKED)
    verify(store, (), silent())


def test_two_maintainers_publish_build_and_take_over(root: Path) -> None:
    assert does(root, ANNE, release_it(ONE))
    assert does(root, BERT, release_it(TWO))
    assert does(root, USER, looks)
    seen = make_store(root, site=make_site(root, groups=GROUPS))
    assert seen.reader.state().release("analysis3") == TWO
    assert broken(seen) == []


def test_a_lock_is_read_by_the_other_owner_and_taken_over_when_its_holder_is_gone(root: Path) -> None:
    def holds(store: Store) -> None:
        with store.locked("a long publish"):
            time.sleep(60)

    def refused(store: Store) -> None:
        with pytest.raises(BusyError, match="a long publish"):
            store.hide([], wait=0)

    lock = make_store(root).layout.lock
    anne = act(root, ANNE, holds)
    until(lock.exists)
    assert does(root, BERT, refused)
    os.kill(anne, signal.SIGKILL)
    ended(anne)
    assert lock.exists()
    assert does(root, BERT, lambda store: store.hide([], wait=0))


def test_a_build_is_seen_by_others_and_taken_over_when_its_builder_is_gone(root: Path) -> None:
    assert does(root, ANNE, release_it(ONE))
    prefix = make_store(root).layout.prefix(TWO)
    anne = act(root, ANNE, building(TWO))
    until((prefix / "bin/tool0").exists)

    def watches(store: Store) -> None:
        looks(store)
        (standing,) = (one for one in store.reader.state().releases if one.release == TWO)
        assert f"process {anne} " in standing.builder
        with pytest.raises(BusyError, match="building analysis3-23"):
            build(store, TWO)
        publish_release(store, ONE, "23.04", ASKED, silent())

    assert does(root, BERT, watches)
    assert does(root, USER, list_releases)
    os.kill(anne, signal.SIGKILL)
    ended(anne)
    assert does(root, BERT, release_it(TWO))
    assert broken(make_store(root)) == []


@pytest.mark.parametrize("at", range(1, 52, 3))
def test_a_build_that_ended_anywhere_is_taken_over_by_the_other_owner(root: Path, at: int) -> None:
    door = FaultyDoor(at=at, on_kill=lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert os.WIFSIGNALED(ended(act(root, ANNE, lambda store: build(store, TWO), door)))
    assert does(root, BERT, looks)
    assert does(root, BERT, release_it(TWO))
    assert broken(make_store(root)) == []


def test_what_may_not_be_looked_into_hides_nothing_else(root: Path) -> None:
    """What somebody did by hand to one release: the others are seen, and it is not pruned unseen."""
    assert does(root, ANNE, release_it(ONE))
    assert does(root, ANNE, lambda store: build(store, TWO))
    layout = make_store(root).layout
    layout.keep(ONE).write_text("a reason\n")
    layout.keep(ONE).chmod(0o600)
    layout.prefix(TWO).chmod(0o700)

    def looks_and_prunes(store: Store) -> None:
        looks(store)
        rows = {row.release: row for row in list_releases(store)}
        assert rows[ONE].state == "published"
        assert rows[ONE].pinned == "its reason may not be read by this account"
        assert rows[TWO].state == "incomplete"
        prune(replace(store, site=make_site(root, groups=GROUPS, retention=NO_GRACE)), ASKED)

    assert does(root, BERT, looks_and_prunes)
    assert {ONE, TWO} <= set(make_store(root).reader.releases())
    with pytest.raises(NotFoundError):
        make_store(root).reader.record(release("23.07", 7))
