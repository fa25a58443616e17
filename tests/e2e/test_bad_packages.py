"""The bad packages where they are met for real: in an image, behind a launcher, as an ordinary user."""

import hashlib
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from conda_concept.image import commands, squash
from conda_concept.layout import Layout
from conda_concept.model import Release
from conda_concept.progress import Reporter
from conda_concept.render.launcher import LauncherFacts, choose_probe, launcher_files
from conda_concept.results import TestReport
from conda_concept.run import CLEAN_ENVIRONMENT
from conda_concept.run import run as command
from conda_concept.runtime import ensure_base, write_files
from conda_concept.settings import Config, Site, Squash, TestsConfig
from conda_concept.steps import test as step
from conda_concept.testing.declared import Declared
from conda_concept.testing.plan import Bounds
from conda_concept.testing.probe import Interpreter, activated
from tests.support.badpackages import bad_packages, make_prefix
from tests.support.user import OrdinaryUser

RELEASE = Release("bad", "26.11", "12345678")
#: The module's variables are there, and what lies in the image.
ASKS_FOR_VARIABLE = {"bad-fine": Declared(commands=('test "$BAD_FLAG" = "$PREFIX/flag"', 'test -d "$PREFIX/lib"'))}
BAD = {one.name: one for one in bad_packages()}


@dataclass(frozen=True, slots=True)
class Store:
    """A release of the bad packages below `root`; its launcher is written by the tests, one runtime after the other."""

    root: Path
    layout: Layout
    names: tuple[str, ...]
    probe: str


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    root = Path(tempfile.mkdtemp(prefix="conda-concept-bad-", dir="/tmp"))
    root.chmod(0o755)
    layout = Layout(root / "store")
    prefix, tree = layout.prefix(RELEASE), root / "tree"
    prefix.mkdir(parents=True)
    (root / "node").mkdir()
    (root / "node").chmod(0o1777)
    make_prefix(tree, [one.spec for one in BAD.values()], root / "channel", seen_at=prefix)
    squash(tree, layout.image(RELEASE), Squash(), 2)
    probe = choose_probe([f"conda-meta/{path.name}" for path in (tree / "conda-meta").iterdir()])
    names = commands(tree)
    shutil.rmtree(tree)
    yield Store(root, layout, names, probe)
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        mount = line.split()[1]
        if mount.startswith(f"{root}/"):
            words = ["/usr/bin/umount", "-l"] if os.geteuid() == 0 else ["/usr/bin/fusermount3", "-u", "-z"]
            command([*words, mount])
    shutil.rmtree(root)


def write_launchers(store: Store, runtime: str, apptainer: Path) -> None:
    prefix = store.layout.prefix(RELEASE)
    values = {
        "name": "test",
        "root": str(store.layout.root),
        "scratch": str(store.root),
        "cache": str(store.root),
        "runtime": runtime,
        "singularity": str(apptainer),
        "binds": ["/etc", "/usr"],
        "node_dir": str(store.root / "node"),
        "idle_seconds": 5,
    }
    site = Site.model_validate(values)
    facts = LauncherFacts(
        release=RELEASE,
        prefix=str(prefix),
        image_sha256=hashlib.sha256(store.layout.image(RELEASE).read_bytes()).hexdigest(),
        probe=store.probe,
        commands=store.names,
        base=str(ensure_base(site, store.layout.runtime)),
        site=site,
        config=Config.model_validate({"version": "26.11", "setenv": {"BAD_FLAG": "{prefix}/flag"}}),
    )
    for path in prefix.iterdir():
        if path.name != "image.sqsh":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_files(prefix, launcher_files(facts))


def run(store: Store, user: OrdinaryUser, baseline: Path | None, out: Path) -> TestReport:
    prefix = store.layout.prefix(RELEASE)
    ids = (user.uid, pwd.getpwuid(user.uid).pw_gid) if os.geteuid() == 0 else None
    environment = {**CLEAN_ENVIRONMENT, "HOME": str(user.home)}
    interpreter = Interpreter(activated(str(prefix)), str(prefix), environment, ids)
    subject = step.Subject(
        str(RELEASE), "0" * 64, interpreter, host_folders=("/lib", "/usr"), declared=ASKS_FOR_VARIABLE
    )
    config = TestsConfig(timeout=60, timeouts={"import bad_sleeps": 2})
    reporter = Reporter(StringIO(), quiet=True)
    return step.test(subject, config, step.Resources(2, Bounds(memory=300 * 2**20)), baseline, out, reporter)


@pytest.fixture(scope="module")
def results(store: Store) -> Path:
    return store.root / "tests.xml"


@pytest.mark.parametrize("runtime", ["namespace", "singularity"])
def test_every_bad_package_is_found_out_in_an_image(
    runtime: str, store: Store, ordinary_user: OrdinaryUser, apptainer: Path, results: Path
) -> None:
    write_launchers(store, runtime, apptainer)
    first = not results.exists()
    out = results if first else store.root / "again.xml"
    report = run(store, ordinary_user, None if first else results, out)
    assert report.problems == ()
    outcomes = {result.title: result.outcome for result in report.results}
    assert {one.test: outcomes.get(one.test) for one in BAD.values()} == {one.test: one.outcome for one in BAD.values()}
    assert outcomes["script bad-fine"] == "passed"
    assert dict(report.facts)["uid"] == str(ordinary_user.uid)
    facts = dict(report.facts)
    assert (facts["network"], facts["store"], facts["orphans"]) == ("namespace", "read-only", "adopted")
    # Nothing else fails, and against a run of the same image nothing is new.
    expected = {one.test for one in BAD.values() if one.outcome != "passed"} | {"libraries bad-library"}
    assert {result.title for result in report.results if result.failed} == expected
    assert report.passed == (not first)
    assert still_there(store.layout.prefix(RELEASE)) == []


def still_there(prefix: Path) -> list[str]:
    """Processes of the tests that are still alive after ten seconds."""
    until = time.monotonic() + 10
    while True:
        lines = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue
        found = [line[:200] for line in lines if f"{prefix}/bin/python3" in line]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)
