"""The main job as `./ci/demo` plays it, and what an ordinary user has of it, in both module systems and runtimes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conda_concept.testing.junit import read_junit
from tests.support.user import OrdinaryUser

TOP = Path(__file__).resolve().parent.parent.parent
RUNTIMES = ("singularity", "namespace")


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that has run: its folder, its store, and what it printed."""

    folder: Path
    root: Path
    out: str

    @classmethod
    def run(cls, folder: Path, root: Path) -> "Demo":
        words = [sys.executable, str(TOP / "ci" / "demo.py"), "--folder", str(folder), "--root", str(root)]
        environ = {**os.environ, "TMPDIR": "/var/tmp"}
        done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return cls(folder, root, done.stdout)

    def lines(self) -> list[str]:
        """What it says that a user should type."""
        return [line.strip() for line in self.out.rstrip().splitlines()[-3:]]

    def record(self) -> dict[str, object]:
        """The release record of what is published."""
        record: dict[str, object] = json.loads(
            (self.root / "apps/conda_concept/envs/demo/release.json").read_text("utf-8")
        )
        return record


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    top = Path(tempfile.mkdtemp(prefix="cc-demo-", dir="/tmp"))
    top.chmod(0o755)
    yield Demo.run(top / "work", top / "store")
    shutil.rmtree(top)


def test_it_shows_the_comments_the_table_and_the_lines(demo: Demo) -> None:
    for said in (
        "1-diff.md",
        "[dask-jobqueue]",
        "for dask-jobqueue → distributed",
        "2-build.md",
        "Try it now",
        "module load conda_concept/demo-pr1",
        "3-release.md",
        "To go back: `conda-concept rollback demo-26.11`",
    ):
        assert said in demo.out, said
    table = demo.out[demo.out.index("step     ") :]
    for step in (
        "make a channel",
        "solve demo",
        "download",
        "install",
        "compile",
        "squash",
        "tests",
        "publish",
        "in all",
    ):
        assert step in table
    assert demo.lines()[:2] == [f"module use {demo.root}/modules", "module load conda_concept/demo"]


def test_its_own_tests_ran_inside(demo: Demo) -> None:
    report = read_junit(demo.root / "apps/conda_concept/envs/demo/tests.xml")
    own = {one.name: one.outcome for one in report.results if one.kind == "own"}
    assert own == {
        "test_stack::test_netcdf_there_and_back_in_chunks[False]": "passed",
        "test_stack::test_netcdf_there_and_back_in_chunks[True]": "passed",
        "test_stack::test_a_plot": "passed",
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_printed_lines_work_for_an_ordinary_user(
    demo: Demo, ordinary_user: OrdinaryUser, module_init: Path, runtime: str
) -> None:
    script = "\n".join([f". {module_init}", *demo.lines()])
    done = ordinary_user.bash(script, env={"CONDA_CONCEPT_RUNTIME": runtime})
    prefix = (demo.root / "apps/conda_concept/envs/demo").resolve()
    assert done.stdout.strip().endswith(f"in {prefix}")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_real_work_is_done_inside(demo: Demo, ordinary_user: OrdinaryUser, user_dir: Path, runtime: str) -> None:
    """Compressed netCDF written and read back, and a plot, by the environment's own libraries."""
    code = (
        "import numpy as np, xarray as xr, matplotlib; matplotlib.use('Agg')\n"
        "data = xr.Dataset({'t': (('x', 'y'), np.arange(12.0).reshape(3, 4))})\n"
        "data.to_netcdf('out.nc', encoding={'t': {'zlib': True}})\n"
        "back = xr.open_dataset('out.nc', chunks={'x': 1})\n"
        "print(float(back.t.mean().compute()))\n"
        "data.t.plot(); import matplotlib.pyplot as plt; plt.savefig('out.png')\n"
    )
    python = demo.root / "apps/conda_concept/envs/demo/bin/python3"
    done = ordinary_user.run([python, "-c", code], cwd=user_dir, env={"CONDA_CONCEPT_RUNTIME": runtime})
    assert done.stdout.strip() == "5.5"
    assert (user_dir / "out.png").read_bytes().startswith(b"\x89PNG")
    assert (user_dir / "out.nc").stat().st_size > 1000


def test_the_candidate_can_still_be_tried_by_its_pull_request(
    demo: Demo, ordinary_user: OrdinaryUser, module_init: Path
) -> None:
    script = (
        f". {module_init}\nmodule use {demo.root}/apps/conda_concept/candidates\n"
        "module load conda_concept/demo-pr1\npython3 -c 'import distributed; print(distributed.__version__)'"
    )
    assert ordinary_user.bash(script).stdout.strip()


def test_variables_of_the_spec_are_set_and_gone_after_unload(
    demo: Demo, ordinary_user: OrdinaryUser, module_init: Path
) -> None:
    script = (
        f". {module_init}\nmodule use {demo.root}/modules\nmodule load conda_concept/demo\n"
        "echo loaded=$OMP_NUM_THREADS\nmodule unload conda_concept\necho unloaded=$OMP_NUM_THREADS\n"
    )
    assert ordinary_user.bash(script).stdout.split() == ["loaded=1", "unloaded="]


def test_a_second_run_changes_nothing(demo: Demo) -> None:
    def state() -> dict[str, tuple[int, int, bytes | str]]:
        found: dict[str, tuple[int, int, bytes | str]] = {}
        for path in sorted(demo.root.rglob("*")):
            facts = path.lstat()
            if path.is_symlink():
                found[str(path)] = (facts.st_ino, 0, str(path.readlink()))
            elif path.is_file():
                found[str(path)] = (facts.st_ino, facts.st_mtime_ns, b"")
        return found

    before = state()
    again = Demo.run(demo.folder, demo.root)
    assert state() == before
    start, end = "comment comments/pull-request/1-diff.md", "step     "
    comments = again.out[again.out.index(start) : again.out.index(end)]
    assert comments == demo.out[demo.out.index(start) : demo.out.index(end)]


def test_rollback_and_publish_again(demo: Demo, ordinary_user: OrdinaryUser) -> None:
    """What the release comment promises: back with one command, and forward again."""
    python = demo.root / "apps/conda_concept/envs/demo/bin/python3"
    has: list[str | Path] = [
        python,
        "-c",
        "import importlib.util; print(importlib.util.find_spec('dask_jobqueue') is not None)",
    ]
    words = [sys.executable, "-m", "conda_concept"]
    rest = ["--repository", str(demo.folder / "repository")]
    environ = {**os.environ, "CONDA_CONCEPT_ROOT": str(demo.root)}
    latest = str((demo.root / "apps/conda_concept/envs/demo").resolve())

    assert ordinary_user.run(has).stdout.strip() == "True"
    subprocess.run([*words, "rollback", "demo-26.11", *rest], env=environ, check=True, capture_output=True)
    assert ordinary_user.run(has).stdout.strip() == "False"
    subprocess.run([*words, "publish", latest, *rest], env=environ, check=True, capture_output=True)
    assert ordinary_user.run(has).stdout.strip() == "True"
    verified = subprocess.run([*words, "verify", *rest], env=environ, check=True, capture_output=True, text=True)
    assert "every byte is what its record says" in verified.stdout
