"""The checkout: what changed since a commit, locks at a commit, and files that are not what they seem."""

from pathlib import Path

import pytest

from conda_concept.errors import InputError, NotFoundError
from conda_concept.repository import Repository
from conda_concept.run import run

IDENTITY = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]


def git(root: Path, *words: str) -> None:
    run(["git", "-C", root, *IDENTITY, *words])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "environments" / "demo"
    folder.mkdir(parents=True)
    (folder / "environment.yml").write_text("name: demo\nchannels: [conda-forge]\ndependencies: [numpy]\n")
    (folder / "config.yml").write_text('version: "26.11"\n')
    (folder / "conda-lock.yml").write_text("old lock\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "start")
    return tmp_path


def test_changes_are_committed_edited_and_new_files_since_the_merge_base(checkout: Path) -> None:
    git(checkout, "branch", "base")
    (checkout / "environments/demo/config.yml").write_text('version: "26.12"\n')
    git(checkout, "commit", "-qam", "config")
    (checkout / "environments/demo/environment.yml").write_text("name: other\n")
    (checkout / "environments/demo/a b\tc.txt").write_text("new\n")
    git(checkout, "branch", "-f", "elsewhere", "base")
    found = Repository(checkout).changed_since("base")
    assert found == tuple(f"environments/demo/{name}" for name in ("a b\tc.txt", "config.yml", "environment.yml"))


def test_a_lock_is_read_as_it_was(checkout: Path) -> None:
    (checkout / "environments/demo/conda-lock.yml").write_text("new lock\n")
    repository = Repository(checkout)
    assert repository.lock_text("demo") == "new lock\n"
    assert repository.lock_text_at("demo", "HEAD") == "old lock\n"
    (checkout / "environments/demo/conda-lock.yml").unlink()
    assert repository.lock_text("demo") is None
    assert repository.head().endswith("-dirty")


@pytest.mark.parametrize("ref", ["nothing", "--output=/tmp/x", "HEAD:environments", "$(id)", ""])
def test_a_ref_that_is_none_is_not_found(checkout: Path, ref: str) -> None:
    with pytest.raises(NotFoundError, match="there is no commit"):
        Repository(checkout).commit(ref)


def test_names_and_folders_that_are_not_there(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no environment `dem`; there are: demo"):
        Repository(checkout).spec("dem")
    with pytest.raises(InputError, match="not an environment's name"):
        Repository(checkout).spec("../demo")
    with pytest.raises(NotFoundError, match="no folder `environments`"):
        Repository(tmp_path / "elsewhere").environments()


def test_a_link_out_of_the_checkout_is_not_followed(checkout: Path) -> None:
    path = checkout / "environments/demo/config.yml"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="is a symbolic link") as caught:
        Repository(checkout).spec("demo")
    assert "root" not in str(caught.value)


def test_big_and_binary_files_are_refused_unread(checkout: Path) -> None:
    path = checkout / "environments/demo/environment.yml"
    path.write_bytes(b"x" * 10_000_000)
    with pytest.raises(InputError, match="environments/demo/environment.yml has 10,000,000 bytes; 1,000,000 is the"):
        Repository(checkout).spec("demo")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        Repository(checkout).spec("demo")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Repository(checkout).spec("demo")
