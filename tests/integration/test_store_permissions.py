"""Users read and execute, owners write, others nothing: tried by real processes of such users."""

import grp
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.storekit import ASKED, make_site, make_store, ready, release, silent
from conda_concept.errors import InputError
from conda_concept.settings import Groups
from conda_concept.steps.doctor import doctor
from conda_concept.steps.publish import publish_release
from conda_concept.store import Store
from conda_concept.store.permissions import ACCESS, DEFAULT, Permissions, obstacles, settle
from conda_concept.store.staging import apply_tree

NOBODY = 65534
#: Two groups that every Debian has and that no process of the tests is in.
USERS, OWNERS = "users", "staff"
#: And one more, which has no business in the store.
OTHERS = "games"
ONE = release("23.04", 1)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="store-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def published(place: Path, groups: Groups) -> tuple[Store, tuple[str, ...]]:
    site = make_site(place / "root", groups=groups)
    store = make_store(place / "root", site=site)
    done = publish_release(store, ready(store, ONE), "23.04", ASKED, silent())
    return store, done.notices


def can(act: Callable[[], object], *groups: str) -> bool:
    """Whether somebody who is in these groups only can do it."""
    assert os.geteuid() == 0, "these tests act as other users, which only root can"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([grp.getgrnam(name).gr_gid for name in groups])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def reads(store: Store) -> Callable[[], object]:
    """What loading and launching need."""

    def act() -> None:
        store.layout.modulerc.read_bytes()
        store.layout.module(ONE.label).read_bytes()
        store.layout.image(ONE).read_bytes()
        if not os.access(store.layout.bin(ONE) / "tool0", os.X_OK):
            raise PermissionError

    return act


def writes(store: Store) -> Callable[[], object]:
    """What a publish by another maintainer needs."""

    def act() -> None:
        new = store.layout.envs / ".analysis3.new"
        new.symlink_to("analysis3-23.04")
        new.replace(store.layout.alias("analysis3"))

    return act


def test_both_groups(place: Path) -> None:
    store, notices = published(place, Groups(users=USERS, owners=OWNERS))
    assert notices == ()
    assert can(reads(store), USERS)
    assert can(reads(store), OWNERS)
    assert can(writes(store), OWNERS)
    assert not can(writes(store), USERS)
    assert not can(reads(store))
    assert store.layout.bin(ONE).stat().st_mode & 0o7777 == 0o2770
    assert store.layout.image(ONE).stat().st_mode & 0o7777 == 0o640
    made = store.layout.envs / "by-hand"
    made.write_text("")
    assert made.stat().st_gid == grp.getgrnam(USERS).gr_gid


def test_users_only(place: Path) -> None:
    store, notices = published(place, Groups(users=USERS))
    assert notices == ()
    assert can(reads(store), USERS)
    assert not can(reads(store), OWNERS)
    assert not can(writes(store), USERS)


def test_no_groups_lets_everybody_read(place: Path) -> None:
    store, notices = published(place, Groups())
    assert notices == ()
    assert can(reads(store))
    assert not can(writes(store))


def test_owners_only(place: Path) -> None:
    store, notices = published(place, Groups(owners=OWNERS))
    assert notices == ()
    assert can(reads(store))
    assert can(writes(store), OWNERS)
    assert not can(writes(store), USERS)


@pytest.mark.parametrize("groups", [Groups(), Groups(users=USERS), Groups(users=USERS, owners=OWNERS)])
def test_what_keeps_users_out_is_told_at_publish(place: Path, groups: Groups) -> None:
    store, _ = published(place, groups)
    store.layout.releases.chmod(0o750 if groups.users is None else 0o2705)
    again = publish_release(store, ONE, "23.04", ASKED, silent())
    assert any(str(store.layout.releases) in notice and "may not pass through" in notice for notice in again.notices)
    assert not can(reads(store), *filter(None, [groups.users]))


def test_a_folder_that_a_killed_run_left_closed_is_opened(place: Path) -> None:
    """A folder is made for its owner only; a run that ended before it set the permissions must not shut users out."""
    store, _ = published(place, Groups(users=USERS))
    store.layout.releases.chmod(0o700)
    store.layout.releases.parent.chmod(0o700)
    assert publish_release(store, ONE, "23.04", ASKED, silent()).notices == ()
    assert can(reads(store), USERS)


def test_the_check_agrees_with_real_users(place: Path) -> None:
    """Whatever the bits are, what is said is what happens."""
    store, _ = published(place, Groups(users=USERS))
    path = store.layout.image(ONE)
    for mode in (0o640, 0o600, 0o604, 0o644, 0o040, 0o000):
        path.chmod(mode)
        assert (obstacles(path, store.permissions) == ()) == can(path.read_bytes, USERS), oct(mode)


def found(store: Store) -> dict[str, tuple[str, str]]:
    """What the doctor says of permissions, by path below the root."""
    return {one.where: (one.severity, one.what) for one in doctor(store, ASKED).findings}


def let_write(path: Path, group: str) -> None:
    """One more entry in a path's access control list, as `setfacl -m g:GROUP:rwx` makes it."""
    entries = [*struct.iter_unpack("<HHI", os.getxattr(path, ACCESS)[4:]), (0x08, 0o7, grp.getgrnam(group).gr_gid)]
    os.setxattr(path, ACCESS, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in sorted(entries)))


def test_the_doctor_looks_at_every_folder_and_mends_it(place: Path) -> None:
    store, _ = published(place, Groups(users=USERS, owners=OWNERS))
    layout = store.layout
    store.expose(ONE, "analysis3-pr1")
    base = layout.runtime / "base-0123456789ab"
    (base / "etc").mkdir(parents=True)
    apply_tree(store.door, layout.runtime, store.permissions)
    settle(store.door, layout.notices, layout.root, store.permissions)
    layout.notice(ONE.label).write_text("it goes\n")
    store.permissions.apply(store.door, layout.notice(ONE.label), "file")
    assert found(store) == {}
    folders = (layout.candidates, layout.candidates / layout.product, layout.notices, layout.runtime, base / "etc")
    for folder in folders:
        folder.chmod(0o2777)
    layout.notice(ONE.label).chmod(0o600)
    os.removexattr(layout.envs, DEFAULT)  # what is made there gets the wrong permissions
    let_write(layout.modules, OTHERS)
    let_write(layout.bin(ONE), OTHERS)
    said = found(store)
    for folder in folders:
        assert said[str(folder.relative_to(layout.root))] == ("risk", "has permissions 2777 and should have 2770")
    assert said["apps/conda_concept/notices/analysis3-23.04"][0] == "broken"
    assert said["apps/conda_concept/envs"] == (
        "untidy",
        "has no default access list where that of the site's groups should be",
    )
    another = "has another access list where that of the site's groups should be"
    assert said["modules/conda_concept"] == ("risk", another)
    assert said[str(ONE)] == ("risk", f"bin {another}")
    assert can(lambda: (layout.modules / "x").write_text(""), OTHERS, USERS)
    doctor(store, ASKED, repair=True)
    (layout.modules / "x").unlink()
    assert not can(lambda: (layout.modules / "x").write_text(""), OTHERS, USERS)
    assert found(store) == {}


def test_the_doctor_says_who_else_may_write_above_the_store(place: Path) -> None:
    store, _ = published(place, Groups())
    for folder in (store.layout.modules.parent, store.layout.apps.parent):
        folder.chmod(0o777)
        assert found(store)[folder.name] == ("risk", "has permissions 0777: everybody may write")
        folder.chmod(0o1777)
        assert found(store) == {}


@pytest.mark.parametrize("closed", ["modules", "modules/conda_concept", "apps/conda_concept/envs"])
def test_what_hides_the_links_on_the_way_to_a_module_is_told(place: Path, closed: str) -> None:
    store, _ = published(place, Groups())
    folder = store.layout.root / closed
    folder.chmod(0o750)
    again = publish_release(store, ONE, "23.04", ASKED, silent())
    assert f"{folder}: others may not pass through" in again.notices
    assert found(store)[closed][0] == "broken"
    folder.chmod(0o755)
    store.layout.modulerc.chmod(0o600)
    again = publish_release(store, ONE, "23.04", ASKED, silent())
    assert f"{store.layout.modulerc}: others may not read it" in again.notices


def test_the_doctor_knows_file_systems_without_lists(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = published(place, Groups(users=USERS))
    both = replace(store, permissions=Permissions.of(Groups(users=USERS, owners=OWNERS)))
    monkeypatch.setattr("conda_concept.store.permissions._knows_lists", lambda _path: False)
    assert found(both) == {}


def test_a_file_system_without_lists_keeps_users_reading(place: Path) -> None:
    site = make_site(place / "root", groups=Groups(users=USERS, owners=OWNERS))
    store = make_store(place / "root", site=site)
    real = store.door

    class WithoutLists(type(real)):  # type: ignore[misc]  # the door of the tests, whichever it is
        def set_acl(self, path: Path, attribute: str, value: bytes) -> None:
            del path, attribute, value
            raise OSError(95, "Operation not supported")

    plain = replace(store, door=WithoutLists())
    done = publish_release(plain, ready(plain, ONE), "23.04", ASKED, silent())
    assert any("without access control lists" in notice for notice in done.notices)
    assert can(reads(plain), USERS)
    assert not can(reads(plain))
    assert not can(writes(plain), USERS)


def test_a_group_that_is_not_there() -> None:
    with pytest.raises(InputError) as error:
        Permissions.of(Groups(users="no_such_group_1", owners="no_such_group_2"))
    assert error.value.problems == (
        "groups.users: this machine has no group `no_such_group_1`",
        "groups.owners: this machine has no group `no_such_group_2`",
    )
