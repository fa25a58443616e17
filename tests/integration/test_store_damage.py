"""Damage of every kind, to every kind of file: `verify` finds each, and nothing damaged is published."""

import hashlib
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.storekit import ASKED, FaultyDoor, Killed, broken, build, judge, make_store, ready, release, silent
from conda_concept.errors import ConcError, GateError, IntegrityError
from conda_concept.model import Verdict
from conda_concept.record import verdict_to_text
from conda_concept.steps.doctor import doctor
from conda_concept.steps.list_ import list_releases
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.steps.verify import verify
from conda_concept.store import Store

ONE, TWO = release("23.04", 1), release("23.04", 2)

FILES = (
    "image.sqsh",
    "release.json",
    "tests.json",
    "tests.xml",
    "modulefile",
    "conda-lock.yml",
    "bin/.launcher",
    "bin/tool1",
    "conda-meta/history",
    "declared.json",
    "launcher",
    "bin/script",
)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def flip_and_hide(path: Path) -> None:
    """As a bad disk does it: the same size, the same times."""
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def remove(path: Path) -> None:
    path.unlink()


def open_to_all(path: Path) -> None:
    path.chmod(0o666)


def close(path: Path) -> None:
    path.chmod(0o600)


def lock_out(path: Path) -> None:
    path.chmod(0)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_away(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


DAMAGES = (flip, flip_and_hide, truncate, empty, append, remove, open_to_all, close, lock_out, directory, link_away)


NOBODY = 65534


def as_nobody(act: Callable[[], object]) -> bool:
    """Whether an account that owns the store, and is not root, can do it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture(scope="module")
def pristine() -> Iterator[Path]:
    """One release, made once where every account may go; each test damages it where it stands and puts it back."""
    folder = Path(tempfile.mkdtemp(prefix="damage-"))
    folder.chmod(0o755)
    root = folder / "root"
    ready(make_store(root), ONE)
    shutil.copytree(root, root.with_name("good"), symlinks=True)
    yield root
    shutil.rmtree(folder)


@pytest.fixture
def store(pristine: Path) -> Store:
    shutil.rmtree(pristine)
    shutil.copytree(pristine.with_name("good"), pristine, symlinks=True)
    return make_store(pristine)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_not_published(store: Store, name: str, damage: Callable[[Path], None]) -> None:
    assert verify(store, (), silent()).problems == ()
    damage(store.layout.prefix(ONE) / name)
    if (name, damage) == ("tests.json", remove):
        # A candidate without a verdict is not damaged, but not tested either.
        with pytest.raises(GateError, match="has not been tested"):
            publish_release(store, ONE, "23.04", ASKED, silent())
        return
    found = verify(store, (ONE,), silent()).problems
    assert found, f"{damage.__name__} of {name} was not noticed"
    with pytest.raises(ConcError):
        publish_release(store, ONE, "23.04", ASKED, silent())
    assert store.reader.state().aliases == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda prefix: (prefix / "bin/new").write_text("x"), "is not in the record"),
        (lambda prefix: (prefix / "bin/tool").unlink(), "is missing"),
        (lambda prefix: ((prefix / "bin/tool").unlink(), (prefix / "bin/tool").symlink_to("tool1")), "leads to tool1"),
        (lambda prefix: (prefix / "bin").chmod(0o777), "has permissions 0777"),
        (lambda prefix: shutil.rmtree(prefix / "conda-meta"), "is missing"),
    ],
)
def test_damage_of_links_and_folders(store: Store, change: Callable[[Path], object], words: str) -> None:
    change(store.layout.prefix(ONE))
    assert any(words in problem.text for problem in verify(store, (), silent()).problems)


@pytest.mark.parametrize("name", [*FILES, "bin", "."])
@pytest.mark.parametrize("mode", [0, 0o400, 0o100])
def test_what_cannot_be_read_is_damage_and_hides_no_other(store: Store, name: str, mode: int) -> None:
    """As the release account meets it, which is not root."""
    ready(store, TWO)
    publish_release(store, ONE, "23.04", ASKED, silent())
    flip(store.layout.image(TWO))
    shutil.chown(store.layout.root, NOBODY)
    for folder, folders, files in os.walk(store.layout.root):
        for entry in (*folders, *files):
            os.chown(Path(folder, entry), NOBODY, -1, follow_symlinks=False)
    path = store.layout.prefix(ONE) / name
    path.chmod(mode)

    def looks() -> None:
        found = verify(store, (), silent())
        assert {problem.release for problem in found.problems} >= {TWO}
        assert [problem for problem in found.problems if problem.release == ONE] or name == "."
        assert doctor(store, ASKED).findings
        assert list_releases(store)

    assert as_nobody(looks)
    path.chmod(0o755)


@pytest.mark.parametrize("names", [("tests.json",), ("tests.xml",), ("tests.json", "tests.xml")])
def test_what_was_published_as_tested_and_has_no_results_is_damaged(store: Store, names: tuple[str, ...]) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())
    publish_release(store, ready(store, TWO), "23.04", ASKED, silent())
    for name in names:
        (store.layout.prefix(ONE) / name).unlink()
    problems = verify(store, (), silent()).problems
    assert {(problem.release, problem.path) for problem in problems} == {(ONE, names[0])}
    assert "is missing" in problems[0].text
    tests = {row.release: row.tests for row in list_releases(store)}
    assert tests == {ONE: "passed" if names == ("tests.xml",) else "MISSING", TWO: "passed"}
    with pytest.raises(ConcError, match=names[0]):
        roll_back(store, ONE.label, "", ASKED, silent())
    judge(store, ONE)
    assert verify(store, (), silent()).problems == ()


def test_a_test_again_that_ended_anywhere_leaves_the_old_results_or_the_new(store: Store) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())
    before = store.reader.verdict(ONE)
    sha256 = store.reader.record(ONE).image.sha256
    seen = set()
    for at in range(1, 100):
        text = b"<testsuites name='%d'/>" % at
        verdict = Verdict(sha256, passed=True, counts=(("passed", at),), report_sha256=hashlib.sha256(text).hexdigest())
        door = FaultyDoor(at=at)
        with suppress(Killed):
            make_store(store.layout.root, door=door).write_verdict(ONE, verdict_to_text(verdict).encode(), text)
        assert broken(store) == [], door.log[-1]
        now = store.reader.verdict(ONE)
        assert now in (before, verdict)
        seen.add(now == verdict)
        before = now
        if not door.dead:
            break
    assert seen == {True, False}
    assert at > 8


def test_what_was_published_against_its_tests_needs_none(store: Store) -> None:
    store.layout.verdict(ONE).unlink()
    store.layout.tests(ONE).unlink()
    publish_release(store, ONE, "23.04", replace(ASKED, force="urgent"), silent())
    assert verify(store, (), silent()).problems == ()


def test_a_release_that_was_moved_is_refused(store: Store) -> None:
    store.layout.prefix(ONE).rename(store.layout.prefix(TWO))
    with pytest.raises(IntegrityError, match="works only at the path that it was built for"):
        store.reader.record(TWO)


def test_a_damaged_target_is_not_rolled_back_to(store: Store) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())
    publish_release(store, ready(store, TWO), "23.04", ASKED, silent())
    flip_and_hide(store.layout.image(ONE))
    with pytest.raises(IntegrityError, match=r"image.sqsh: has other content"):
        roll_back(store, ONE.label, "", ASKED, silent())
    assert store.reader.state().target(ONE.label) == TWO.build_id
    assert broken(store) == []


def test_an_image_that_changes_between_check_and_switch_is_refused(store: Store) -> None:
    """The lock is taken after the check: what happens in between must not slip through."""

    class Meddling(FaultyDoor):
        def link(self, source: Path, path: Path) -> None:
            super().link(source, path)
            if path == store.layout.lock:
                flip_and_hide(store.layout.image(ONE))

    with pytest.raises(IntegrityError, match="was changed while it was checked"):
        publish_release(make_store(store.layout.root, door=Meddling()), ONE, "23.04", ASKED, silent())
    assert store.reader.state().aliases == ()


def test_an_incomplete_release_is_refused_whatever_the_reason(store: Store) -> None:
    store.layout.incomplete(ONE).write_text("")
    with pytest.raises(IntegrityError, match="is not complete"):
        publish_release(store, ONE, "23.04", ASKED, silent())


def test_building_what_is_there_changes_nothing(store: Store) -> None:
    door = FaultyDoor()
    record = build(make_store(store.layout.root, door=door), ONE)
    assert record == store.reader.record(ONE)
    assert door.log == []
