"""Fixtures of the end-to-end tests: one store for the whole session, and both runtimes in turn."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conda_concept.run import run
from tests.support.release import Store, make_store
from tests.support.scheduled import unmount_all
from tests.support.user import OrdinaryUser


@pytest.fixture(scope="session")
def store(ordinary_user: OrdinaryUser) -> Iterator[Store]:
    """Three releases in a folder that everybody can read; mounts of the user's that are left are taken away after."""
    root = Path(tempfile.mkdtemp(prefix="conda-concept-store-", dir="/tmp"))
    root.chmod(0o755)
    work = Path(tempfile.mkdtemp(prefix="conda-concept-work-", dir="/tmp"))
    try:
        yield make_store(root, work)
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(work)
        shutil.rmtree(root)


@dataclass(frozen=True, slots=True)
class Inside:
    """A store, a runtime, and the ordinary user who calls commands of the one through the other."""

    store: Store
    runtime: str
    user: OrdinaryUser
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a command, beyond the ordinary user's own."""
        return {"CONDA_CONCEPT_RUNTIME": self.runtime, **self.env, **(env or {})}

    def out(self, argv: Sequence[str | Path], *, cwd: Path | str = "/", stdin: str = "", **env: str) -> str:
        """What a command prints; it has to end with 0 and say nothing on standard error."""
        done = self.user.run(argv, env=self.environment(env), cwd=cwd, stdin=stdin)
        assert done.stderr == ""
        return done.stdout

    def python(self, code: str, *arguments: str, **env: str) -> str:
        """What a Python program in the demo environment prints."""
        return self.out([self.store.command("python3"), "-c", code, *arguments], **env)

    def bash(self, script: str, *arguments: str | Path, cwd: Path | str = "/", **env: str) -> str:
        """What a bash script prints."""
        return self.user.bash(script, *arguments, env=self.environment(env), cwd=cwd).stdout


@pytest.fixture(params=["namespace", "singularity"])
def inside(request: pytest.FixtureRequest, store: Store, ordinary_user: OrdinaryUser) -> Inside:
    """Both runtimes in turn."""
    runtime: str = request.param
    return Inside(store, runtime, ordinary_user)


@pytest.fixture
def home(user_dir: Path) -> Path:
    """A folder of the user's with a name that is easily taken apart."""
    path = user_dir / "a b'c"
    path.mkdir()
    if path.stat().st_uid != user_dir.stat().st_uid:
        os.chown(path, user_dir.stat().st_uid, user_dir.stat().st_gid)
    return path


@pytest.fixture(scope="session")
def modules(store: Store, module_init: Path) -> str:
    """The beginning of a bash script that has the store's modules, in each module system in turn."""
    return f"source {module_init}; module use {store.layout.module_path}; "


def tool_version(argv: Sequence[str]) -> str:
    """A program's first line about itself."""
    return run(argv).stdout.splitlines()[0]
