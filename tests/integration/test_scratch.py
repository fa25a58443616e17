"""A build's own folder: what is killed is swept by the next, what lives is not touched."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conda_concept.errors import SpaceError
from conda_concept.scratch import scratch_folder, sweep

HOLD = """
import sys, pathlib, time
from conda_concept.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1])) as scratch:
    (scratch.path / "tree").mkdir()
    print(scratch.path, flush=True)
    time.sleep(600)
"""


def test_everything_is_gone_at_the_end_also_what_was_discarded(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "below") as scratch:
        tree = scratch.path / "tree"
        (tree / "folder").mkdir(parents=True)
        scratch.discard(tree)
    assert list((tmp_path / "below").iterdir()) == []


def test_a_failure_leaves_nothing_and_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="no space left below"), scratch_folder(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_is_swept_by_the_next_and_a_living_one_is_not(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        assert sweep(tmp_path) == ()
        assert folder.is_dir()
        process.kill()
        process.wait()
    assert (folder / "tree").is_dir()
    with scratch_folder(tmp_path):
        assert not folder.exists()


def test_what_has_no_sign_of_life_is_kept_as_long_as_it_may_be_new(tmp_path: Path) -> None:
    folder = tmp_path / "conda-concept-build-x"
    folder.mkdir()
    (tmp_path / "conda-concept-build-link").symlink_to("/etc")
    assert sweep(tmp_path) == ()
    os.utime(folder, (0, time.time() - 7200))
    assert sweep(tmp_path) == (folder,)
    assert (tmp_path / "conda-concept-build-link").is_symlink()
