"""A damaged release is built anew in its own place: for those who use it, something whole is there at any moment."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.storekit import (
    ASKED,
    Dead,
    FaultyDoor,
    Killed,
    broken,
    build,
    judge,
    make_store,
    ready,
    release,
    silent,
)
from conda_concept.errors import IntegrityError
from conda_concept.steps.doctor import doctor
from conda_concept.steps.publish import publish_release
from conda_concept.steps.verify import verify
from conda_concept.store import Store
from tests.support.tiny import Tiny

ONE = release("23.04", 1)


class WithoutExchange(FaultyDoor):
    """A file system that cannot do it, as NFS."""

    def exchange(self, source: Path, path: Path) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(source), None, str(path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A published release, pinned, whose image is damaged."""
    made = make_store(tmp_path / "root")
    publish_release(made, ready(made, ONE), "23.04", ASKED, silent())
    made.layout.keep(ONE).write_text("a paper\n")
    made.layout.image(ONE).write_bytes(b"other bytes")
    return made


def problems(store: Store) -> set[str]:
    return {problem.path for problem in verify(store, (ONE,), silent()).problems}


@pytest.mark.parametrize("door", [FaultyDoor, WithoutExchange])
def test_names_and_jobs_keep_what_they_have(store: Store, door: type[FaultyDoor]) -> None:
    with store.layout.image(ONE).open("rb") as job:
        build(make_store(store.layout.root, door=door()), ONE, again=True)
        assert job.read() == b"other bytes"
    assert problems(store) == {"tests.json"}  # they were of the bytes that went
    judge(store, ONE)
    assert broken(store) == []
    assert store.layout.keep(ONE).read_text() == "a paper\n"
    aside = store.layout.replaced(ONE, 1)
    assert (aside / "image.sqsh").read_bytes() == b"other bytes"
    found = [one for one in doctor(store, ASKED).findings if aside.name in one.where]
    assert [(one.severity, one.what) for one in found] == [("untidy", "was replaced by `build --replace`")]


def test_a_release_that_names_mean_and_that_lost_its_record_is_built_beside_it(store: Store) -> None:
    store.layout.record(ONE).unlink()

    class Looking(FaultyDoor):
        def write(self, descriptor: int, data: bytes | memoryview) -> None:
            assert store.layout.bin(ONE).joinpath("tool0").exists()
            super().write(descriptor, data)

    build(make_store(store.layout.root, door=Looking()), ONE)
    judge(store, ONE)
    assert broken(store) == []
    assert store.layout.replaced(ONE, 1).is_dir()


def test_a_broken_record_says_what_to_do(store: Store) -> None:
    store.layout.record(ONE).write_text("{}")
    with pytest.raises(IntegrityError) as error:
        build(store, ONE)
    assert "`conda-concept build analysis3 --replace`" in error.value.hint
    build(store, ONE, again=True)
    assert problems(store) == {"tests.json"}


def test_killed_anywhere_names_mean_a_release_and_the_next_run_finishes(store: Store) -> None:
    root = store.layout.root
    shutil.copytree(root, root.with_name("before"), symlinks=True)
    ended = 0
    for at in range(1, 200):
        shutil.rmtree(root)
        shutil.copytree(root.with_name("before"), root, symlinks=True)
        try:
            build(make_store(root, door=FaultyDoor(at=at), identity=Dead.identity()), ONE, again=True)
        except Killed:
            ended += 1
        else:
            break
        state = store.reader.state()
        assert state.release("analysis3") == ONE
        assert state.complete(ONE), at
        build(store, ONE, again="image.sqsh" in problems(store))
        judge(store, ONE)
        assert broken(store) == []
        here = {path.name for path in store.layout.prefix(ONE).parent.iterdir()}
        assert here == {ONE.build_id, store.layout.replaced(ONE, 1).name}, at
    assert ended >= 40


def test_build_replace_as_it_is_typed(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    prefix = Path(tiny.concept("build", "tiny").out.strip())
    assert tiny.concept("publish", "tiny-26.11", "--force", "a test").code == 0
    assert "nothing to build" in tiny.concept("build", "tiny", "--replace").err
    image = prefix / "image.sqsh"
    good = image.read_bytes()
    image.write_bytes(good[:-1] + b"x")
    assert "nothing to build" in tiny.concept("build", "tiny").err
    assert tiny.concept("verify").code == IntegrityError.exit_code
    again = tiny.concept("build", "tiny", "--replace")
    assert again.code == 0, again.err
    assert "damaged: image.sqsh has other content than it had" in again.err
    assert image.read_bytes() == good
    assert tiny.concept("verify").code == 0
