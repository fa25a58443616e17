"""Damage of every kind, to every kind of file: `verify` finds each, and nothing damaged is published."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.storekit import ASKED, FaultyDoor, broken, build, judge, make_store, ready, release, silent
from conda_concept.errors import ConcError, GateError, IntegrityError
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


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_away(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


DAMAGES = (flip, flip_and_hide, truncate, empty, append, remove, open_to_all, directory, link_away)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One release, made once; each test damages it where it stands and puts it back."""
    root = tmp_path_factory.mktemp("damage") / "root"
    ready(make_store(root), ONE)
    shutil.copytree(root, root.with_name("good"), symlinks=True)
    return root


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
