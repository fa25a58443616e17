"""The real build workflow on a site whose builds are jobs of a real scheduler: cancelled, killed, and started again."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from conda_concept.localchannel import PackageSpec, index, write_package
from tests.support.fakegithub import FakeGitHub, Pull, State
from tests.support.forge import Forge, Ran, make_channel
from tests.support.scheduled import unmount_all
from tests.support.slurm import BIN, Slurm, remove, slurm
from tests.support.user import OrdinaryUser

EXECUTOR = """\
executor:
  kind: pbs
  dialect: slurm
  bin: {bin}
  build: {{queue: normal, cpus: 1, memory: 900MB, walltime: "00:05:00"}}
  variables: {{SLURM_CONF: "{conf}"}}
  poll_seconds: 0.5
  settle_seconds: 3
"""
SPEC = "environments/tiny/environment.yml"


@dataclass(frozen=True)
class Scheduled:
    """A repository on the fake GitHub, its site, and the scheduler of that."""

    forge: Forge
    slurm: Slurm

    def meanwhile(self, act: Callable[[], Ran]) -> tuple[threading.Thread, list[Ran], int, str]:
        """Start a workflow, and wait until its build's job runs: the step's process, and the job's number."""
        ran: list[Ran] = []
        logs, before = set(self.logs()), set(self.slurm.jobs())
        thread = threading.Thread(target=lambda: ran.append(act()))
        thread.start()
        until(lambda: set(self.logs()) - logs)
        (number,) = set(self.slurm.jobs()) - before
        (step,) = [
            pid for pid, words in processes().items() if "candidate" in words and str(self.forge.root) in cwd(pid)
        ]
        return thread, ran, step, number

    def logs(self) -> list[Path]:
        return list((self.forge.root / "cache" / "jobs").glob("build-tiny-*/cc-*/log"))

    def notes(self) -> list[Path]:
        return list((self.forge.root / "cache" / "jobs").glob("*/job.json"))


def until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes() -> dict[int, list[str]]:
    """Every process of this machine, with its words."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
    return found


def cwd(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def scheduled(ordinary_user: OrdinaryUser) -> Iterator[Scheduled]:
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    root = Path(tempfile.mkdtemp(prefix="conda-concept-forge-", dir="/tmp"))
    daemons = Path(tempfile.mkdtemp(prefix="conda-concept-slurm-", dir="/tmp"))
    for folder in (root, daemons):
        folder.chmod(0o755)
    try:
        state = State.make(root)
        state.people = {"maintainer": "write"}
        channels = make_channel(root / "channels")
        slow = {"etc/conda/activate.d/slow.sh": "sleep 8\n"}
        write_package(
            channels / "conda-forge", PackageSpec("slow", "1", subdir="linux-64", files=dict(slow), license="MIT")
        )
        index(channels / "conda-forge")
        with slurm(daemons) as scheduler, FakeGitHub.serve(state) as fake:
            executor = EXECUTOR.format(bin=BIN, conf=scheduler.variables["SLURM_CONF"])
            forge = Forge(root, fake, act, more_site=executor)
            forge.prepare(channels, "tiny")
            yield Scheduled(forge, scheduler)
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)
        remove(daemons)


def comment(forge: Forge, pull: Pull) -> str:
    (body,) = forge.state.said(pull.number, "build:tiny")
    return body


def test_a_build_is_cancelled_then_its_runner_dies_then_it_is_made(scheduled: Scheduled) -> None:
    forge, jobs = scheduled.forge, scheduled.slurm
    pull = forge.state.open_pull("maintainer", {SPEC: forge.state.text(SPEC) + "\n  - slow\n"})
    forge.report(forge.pull_request(pull))

    # Cancelled: what GitHub's runner does to the step's process.
    thread, ran, step, job = scheduled.meanwhile(lambda: forge.dispatched()[0])
    os.kill(step, signal.SIGINT)
    time.sleep(0.5)
    with suppress(ProcessLookupError):  # it may have ended by then
        os.kill(step, signal.SIGTERM)
    thread.join()
    assert ran[0].jobs["Build tiny"] == "failure", ran[0].log
    assert f"deleted job {job}" in ran[0].log
    until(lambda: jobs.jobs()[job] == "CANCELLED")
    assert jobs.live() == []
    assert scheduled.notes() == []
    assert "/build " in comment(forge, pull)

    # Killed: the runner with all that it has started; the job knows nothing of it.
    words = f"/build {pull.head_sha}"
    thread, _, step, job = scheduled.meanwhile(lambda: forge.comment(pull, "maintainer", words))
    family = [step]
    while Path(processes()[family[-1]][0]).name != "act":
        family.append(parent(family[-1]))
    for pid in reversed(family):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert jobs.live() == [job]

    before = set(jobs.jobs())
    again = forge.comment(pull, "maintainer", words)
    assert again.jobs == {"Guard": "success", "Build tiny": "success", "Last word": "success"}, again.log
    assert f"picked up job {job}" in again.log
    assert len(set(jobs.jobs()) - before) == 1  # the tests
    assert jobs.jobs()[job] == "COMPLETED"
    assert scheduled.notes() == []
    assert "### ✅" in comment(forge, pull)
