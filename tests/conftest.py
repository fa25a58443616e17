"""Fixtures for every tier: the ordinary user, folders that both can see, and the tools, which must be there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.run import leave
from tests.support.user import OrdinaryUser

#: Where ci/setup puts what has no place in PATH.
APPTAINER = Path("/opt/singularity/bin/singularity")
MODULE_INITS = {
    "environment-modules": Path("/usr/share/modules/init/bash"),
    "lmod": Path("/usr/share/lmod/lmod/init/bash"),
}


_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how it went, for the last moment."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without taking the interpreter apart: py-rattler's threads crash it then, after everything has passed."""
    if _STATUS in config.stash and not hasattr(config, "workerinput"):
        leave(config.stash[_STATUS])


def _need(what: str, path: Path | str | None) -> Path:
    """`path` if there is such a file; a missing tool fails the test, it never skips it."""
    if path is None or not Path(path).exists():
        pytest.fail(f"{what} is not on this machine; run ./ci/setup", pytrace=False)
    return Path(path)


@pytest.fixture(scope="session")
def ordinary_user() -> OrdinaryUser:
    """Somebody who is not root; `ordinary_user.run([...])` is the way that tests act as a user."""
    try:
        return OrdinaryUser.find()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A fresh folder that everybody can read and only the tests can write: a store as users see it.

    pytest's own `tmp_path` is closed to the ordinary user.
    """
    path = Path(tempfile.mkdtemp(prefix="conda-concept-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def user_dir(ordinary_user: OrdinaryUser) -> Iterator[Path]:
    """A fresh folder of the ordinary user's own, to work in."""
    path = Path(tempfile.mkdtemp(prefix="conda-concept-user-", dir="/tmp"))
    if ordinary_user.uid != os.geteuid():
        shutil.chown(path, ordinary_user.uid)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def apptainer() -> Path:
    """Apptainer or Singularity, at the path that the site file of these tests has."""
    return _need("Apptainer", APPTAINER)


@pytest.fixture(scope="session")
def bwrap() -> Path:
    """The program of the namespace runtime."""
    return _need("bubblewrap", shutil.which("bwrap"))


@pytest.fixture(scope="session")
def squashfuse() -> Path:
    """The program that mounts an image for it."""
    return _need("squashfuse", shutil.which("squashfuse_ll"))


@pytest.fixture(scope="session")
def mksquashfs() -> Path:
    """squashfs-tools."""
    return _need("squashfs-tools", shutil.which("mksquashfs"))


@pytest.fixture(scope="session")
def envmodules_init() -> Path:
    """What bash sources to have Environment Modules; its neighbours are for the other shells."""
    return _need("Environment Modules", MODULE_INITS["environment-modules"])


@pytest.fixture(scope="session")
def lmod_init() -> Path:
    """What bash sources to have Lmod; its neighbours are for the other shells."""
    return _need("Lmod", MODULE_INITS["lmod"])


@pytest.fixture(scope="session", params=sorted(MODULE_INITS))
def module_init(request: pytest.FixtureRequest) -> Path:
    """Both of them in turn: a test that asks for this runs twice."""
    name: str = request.param
    return _need(name, MODULE_INITS[name])
