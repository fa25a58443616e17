"""Heavy steps as jobs of a real scheduler: Slurm behind its PBS-style commands, and everybody an ordinary user."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import unmount_all
from tests.support import forge
from tests.support.slurm import BIN, Slurm, slurm
from tests.support.user import OrdinaryUser, program

SITE = """\
name: here
root: {root}/store
scratch: ${{TMPDIR:-/tmp}}
cache: {root}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp]
host_libraries: [/usr/lib, /lib]
node_dir: {root}/node
executor:
  kind: pbs
  dialect: slurm
  bin: {bin}
  build: {{queue: normal, cpus: 1, memory: 900MB, walltime: "00:05:00"}}
  test: {{cpus: 2, memory: 900MB, walltime: "00:05:00"}}
  variables: {variables}
  poll_seconds: 0.5
"""
CONFIG = 'version: "26.11"\ndescription: tiny\nvirtual_packages:\n  __glibc: "2.36"\n'
ENVIRONMENT = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n  - hello\n"


@dataclass(frozen=True, slots=True)
class Machine:
    """A scheduler, and a release account that is nobody special: its repository, channel, store and jobs."""

    root: Path
    slurm: Slurm
    user: OrdinaryUser
    program: tuple[list[str], dict[str, str]]

    @property
    def environ(self) -> dict[str, str]:
        return {**self.program[1], "CONDA_CHANNEL_ALIAS": (self.root / "channels").as_uri(), "GITHUB_TOKEN": "never in a job"}

    def argv(self, *words: str) -> list[str]:
        """`conda-concept` as the release account types it."""
        concept = [*self.program[0], *words]
        concept += ["--repository", str(self.root / "repository"), "--site", "here"]
        return self.user.command(concept, self.environ)

    def concept(self, *words: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words), cwd="/", capture_output=True, text=True, timeout=timeout, check=False
        )

    def environment(self, name: str) -> None:
        """An environment that asks for what no other does, so that it has to be built."""
        folder = self.root / "repository" / "environments" / name
        folder.mkdir(parents=True)
        (folder / "environment.yml").write_text(ENVIRONMENT.replace("tiny", name))
        (folder / "config.yml").write_text(CONFIG)
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, self.user.uid)
        locked = self.concept("lock", name)
        assert locked.returncode == 0, locked.stderr

    @property
    def jobs(self) -> Path:
        return self.root / "cache" / "jobs"

    def notes(self) -> list[str]:
        """What jobs are known to whoever comes next."""
        return [str(path) for path in self.jobs.glob("*/job.json")]


@pytest.fixture(scope="module")
def machine(ordinary_user: OrdinaryUser, bwrap: Path, squashfuse: Path, mksquashfs: Path) -> Iterator[Machine]:
    del bwrap, squashfuse, mksquashfs
    root = Path(tempfile.mkdtemp(prefix="conda-concept-pbs-", dir="/tmp"))
    daemons = Path(tempfile.mkdtemp(prefix="conda-concept-slurm-", dir="/tmp"))
    daemons.chmod(0o755)
    try:
        forge.make_channel(root / "channels")
        with slurm(daemons) as scheduler:
            (root / "repository" / "ci" / "sites").mkdir(parents=True)
            (root / "repository" / "environments").mkdir()
            (root / "node").mkdir()
            (root / "repository" / "ci" / "sites" / "here.yml").write_text(
                SITE.format(root=root, bin=BIN, variables=json.dumps(dict(scheduler.variables)))
            )
            for path in (root, *root.rglob("*")):
                os.chown(path, ordinary_user.uid, -1)
            yield Machine(root, scheduler, ordinary_user, program(ordinary_user, daemons / "program"))
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(daemons, ignore_errors=True)


def until(there: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} seconds"
        time.sleep(0.05)


def test_a_release_is_built_and_tested_in_jobs_and_published(machine: Machine) -> None:
    machine.environment("tiny")
    before = set(machine.slurm.jobs())
    done = machine.concept("try", "tiny", "--publish", "--json")
    assert done.returncode == 0, done.stderr
    submitted = {number: state for number, state in machine.slurm.jobs().items() if number not in before}
    assert list(submitted.values()) == ["COMPLETED", "COMPLETED"], done.stderr
    print(done.stderr)
