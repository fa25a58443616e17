"""Tags and releases against the fake: once, also when an answer is lost; published ones are left alone."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.errors import NetworkError, RefusedError
from conda_concept.github.releases import Attachment, ReleaseDraft, commit_of, publish, published, tag
from tests.support.fakegithub import FakeGitHub, Fault, State

TAG = "tiny-26.10"
FILES = (Attachment("lock.yml", b"lock\n"), Attachment("sbom.json", b'{"a": 1}\n', "application/json"))
DRAFT = ReleaseDraft(TAG, "tiny 26.10", "notes", FILES)
WRITES = ("POST", "PATCH", "DELETE", "PUT")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeGitHub]:
    state = State.make(tmp_path)
    state.commit("main", {"a": "a\n"})
    state.tokens = {"all": {"contents": "write", "metadata": "read"}, "reader": {"contents": "read"}}
    with FakeGitHub.serve(state) as served:
        yield served
    assert served.invalid == []
    assert served.denied == []


def writes(fake: FakeGitHub) -> int:
    return sum(method in WRITES for method, _, _ in fake.asked)


def test_a_tag_is_made_once_and_never_moved(fake: FakeGitHub) -> None:
    sha = fake.state.git("rev-parse", "main")
    for _ in range(2):
        tag(fake.hub(), TAG, sha)
    assert writes(fake) == 1
    assert commit_of(fake.hub(), f"tags/{TAG}") == sha
    later = fake.state.commit("main", {"a": "b\n"})
    with pytest.raises(RefusedError, match="and not at"):
        tag(fake.hub(), TAG, later)
    assert fake.state.git("rev-parse", TAG) == sha


@pytest.mark.parametrize("kind", ["before", "after", "lost"])
@pytest.mark.parametrize("where", [r"/git/refs$", r"/releases$", r"/assets$", r"/releases/\d+$"])
def test_a_failure_anywhere_leaves_one_release_with_every_file_once(fake: FakeGitHub, where: str, kind: str) -> None:
    method = "PATCH" if where.endswith(r"\d+$") else "POST"
    fake.faults.append(Fault(method, where, kind))
    for _ in range(2):
        tag(fake.hub(), TAG, fake.state.git("rev-parse", "main"))
        publish(fake.hub(), DRAFT)
    (made,) = fake.state.releases
    assert not made.draft
    assert [(one.name, one.data) for one in made.assets] == [(one.name, one.data) for one in FILES]
    assert published(fake.hub(), TAG)


def test_users_see_nothing_before_every_file_is_there(fake: FakeGitHub) -> None:
    tag(fake.hub(), TAG, fake.state.git("rev-parse", "main"))
    fake.faults.append(Fault("POST", "/assets", "before", times=3))
    with pytest.raises(NetworkError, match="attach lock.yml"):
        publish(fake.hub(), DRAFT)
    assert published(fake.hub("reader"), TAG) == ""
    publish(fake.hub(), DRAFT)
    assert published(fake.hub("reader"), TAG).endswith(TAG)


def test_an_upload_that_broke_off_is_sent_again(fake: FakeGitHub) -> None:
    tag(fake.hub(), TAG, fake.state.git("rev-parse", "main"))
    fake.state.broken_uploads = 2
    publish(fake.hub(), DRAFT)
    (made,) = fake.state.releases
    assert [(one.name, one.state) for one in made.assets] == [("lock.yml", "uploaded"), ("sbom.json", "uploaded")]
    assert all(len(one.data) for one in made.assets)


def test_a_draft_takes_the_newest_files_and_a_published_release_none(fake: FakeGitHub) -> None:
    tag(fake.hub(), TAG, fake.state.git("rev-parse", "main"))
    fake.faults.append(Fault("PATCH", "/releases/", "before", times=9))
    with pytest.raises(NetworkError):
        publish(fake.hub(), DRAFT)
    fake.faults.clear()
    other = ReleaseDraft(TAG, "tiny 26.10", "notes", (Attachment("lock.yml", b"other\n"), FILES[1]))
    publish(fake.hub(), other)
    (made,) = fake.state.releases
    assert hashlib.sha256(made.assets[-1].data).digest() == hashlib.sha256(b"other\n").digest()
    before = writes(fake)
    publish(fake.hub(), DRAFT)
    assert writes(fake) == before
