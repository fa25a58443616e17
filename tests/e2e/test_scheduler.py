"""Heavy steps as jobs of a real scheduler: Slurm behind its PBS-style commands, and everybody an ordinary user."""

import json
import os
import shlex
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

from conda_concept.localchannel import PackageSpec, index, write_package
from tests.conftest import MODULE_INITS
from tests.e2e.conftest import unmount_all
from tests.support import forge
from tests.support.slurm import BIN, Slurm, remove, slurm
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
  bin: {root}/bin
  build: {{queue: {queue}, cpus: 1, memory: {memory}, walltime: "{walltime}"}}
  test: {{cpus: 2, memory: 900MB, walltime: "00:05:00"}}
  variables: {variables}
  download: {download}
  download_job: {{cpus: 1, memory: 500MB, walltime: "00:05:00"}}
  poll_seconds: 0.5
  settle_seconds: 3
  queue_hours: {hours}
"""
CONFIG = 'version: "26.11"\ndescription: {about}\nvirtual_packages:\n  __glibc: "2.36"\n'
ENVIRONMENT = "name: {name}\nchannels:\n  - conda-forge\ndependencies:\n"
#: A machine that dies between the scheduler's answer and the moment that it is written down.
QSUB = """\
#!/bin/sh
number=$(/usr/bin/qsub "$@") || {{ echo "$number"; exit 1; }}
[ ! -e {root}/die ] || {{ rm {root}/die; kill -9 $PPID; }}
echo "$number"
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A scheduler, and a release account that is nobody special: its repository, channel, store and jobs."""

    root: Path
    slurm: Slurm
    user: OrdinaryUser
    program: tuple[list[str], dict[str, str]]

    @property
    def environ(self) -> dict[str, str]:
        return {
            **self.program[1],
            "CONDA_CHANNEL_ALIAS": (self.root / "channels").as_uri(),
            "GITHUB_TOKEN": "never in a job",
        }

    def argv(self, *words: str, site: str = "here") -> list[str]:
        """`conda-concept` as the release account types it."""
        concept = [*self.program[0], *words]
        concept += ["--repository", str(self.root / "repository"), "--site", site]
        return self.user.command(concept, self.environ)

    def concept(self, *words: str, site: str = "here") -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        argv = self.argv(*words, site=site)
        return subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=200, check=False)

    def environment(self, name: str, *requests: str, about: str = "tiny") -> None:
        """An environment that is locked, and not built."""
        folder = self.root / "repository" / "environments" / name
        folder.mkdir(parents=True, exist_ok=True)
        wanted = "".join(f"  - {one}\n" for one in requests)
        (folder / "environment.yml").write_text(ENVIRONMENT.format(name=name) + wanted)
        (folder / "config.yml").write_text(CONFIG.format(about=about))
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, self.user.uid)
        locked = self.concept("lock", name)
        assert locked.returncode == 0, locked.stderr

    def site(self, name: str, **changes: str) -> None:
        """A site file."""
        usual = {"queue": "normal", "walltime": "00:05:00", "hours": "1", "download": "here", "memory": "900MB"}
        variables = json.dumps(dict(self.slurm.variables))
        text = SITE.format(root=self.root, variables=variables, **usual | changes)
        (self.root / "repository" / "ci" / "sites" / f"{name}.yml").write_text(text)

    def start(self, *words: str, site: str = "here") -> subprocess.Popen[str]:
        """A step as GitHub's runner starts it: a shell with a script, whose one line begins with `exec`."""
        script = self.root / "step.sh"
        script.write_text(f"exec {shlex.join(self.argv(*words, site=site))}\n")
        shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
        return subprocess.Popen(shell, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def running(self, name: str) -> tuple[subprocess.Popen[str], str]:
        """A build whose job has begun, and the job's number."""
        before, logs = set(self.slurm.jobs()), set(self.jobs.glob(f"build-{name}-*/cc-*/log"))
        process = self.start("build", name)
        until(lambda: set(self.jobs.glob(f"build-{name}-*/cc-*/log")) - logs, "the job's log")
        (number,) = set(self.slurm.jobs()) - before
        return process, number

    def left(self) -> list[str]:
        """Jobs that are known to whoever comes next."""
        return [str(path) for path in self.jobs.glob("*/job.json")]

    @property
    def jobs(self) -> Path:
        return self.root / "cache" / "jobs"


@pytest.fixture(scope="module")
def machine(
    ordinary_user: OrdinaryUser, bwrap: Path, apptainer: Path, squashfuse: Path, mksquashfs: Path
) -> Iterator[Machine]:
    del bwrap, apptainer, squashfuse, mksquashfs
    root = Path(tempfile.mkdtemp(prefix="conda-concept-pbs-", dir="/tmp"))
    daemons = Path(tempfile.mkdtemp(prefix="conda-concept-slurm-", dir="/tmp"))
    for folder in (root, daemons):
        folder.chmod(0o755)
    try:
        channel(root / "channels")
        with slurm(daemons) as scheduler:
            made = Machine(root, scheduler, ordinary_user, program(ordinary_user, daemons / "program"))
            for name in ("repository/ci/sites", "repository/environments", "node", "bin"):
                (root / name).mkdir(parents=True)
            made.site("here")
            (root / "bin" / "qsub").write_text(QSUB.format(root=root))
            (root / "bin" / "qsub").chmod(0o755)
            for name in ("qstat", "qdel"):
                (root / "bin" / name).symlink_to(f"{BIN}/{name}")
            for path in (root, *root.rglob("*")):
                os.chown(path, ordinary_user.uid, -1, follow_symlinks=False)
            yield made
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root, ignore_errors=True)
        remove(daemons)


def channel(folder: Path) -> None:
    """The workflows' channel, and packages whose activation scripts take long, never end, or fail: builds run those."""
    forge.make_channel(folder)
    greedy = "/usr/bin/python3 -c 'import time; x = b\"x\" * 900_000_000; time.sleep(20)'"
    scripts = (("slow", "sleep 5"), ("endless", "sleep 250"), ("failing", "exit 3"), ("greedy", greedy))
    for name, script in scripts:
        files = {f"etc/conda/activate.d/{name}.sh": script + "\n"}
        write_package(folder / "conda-forge", PackageSpec(name, "1", subdir="linux-64", files=files, license="MIT"))
    index(folder / "conda-forge")


@pytest.fixture(scope="module")
def endless(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """A build that will run into its walltime, which takes a minute and more: it starts first and is looked at last."""
    machine.environment("endless", "hello", "endless")
    machine.site("short", walltime="00:00:30")
    process = machine.start("build", "endless", site="short")
    yield process
    process.kill()
    process.communicate()


def until(there: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} seconds"
        time.sleep(0.05)


@pytest.mark.usefixtures("endless")
def test_a_release_is_built_and_tested_in_jobs_and_published(machine: Machine) -> None:
    until(machine.slurm.live, "the endless job")
    before = set(machine.slurm.jobs())
    machine.environment("tiny", "python", "hello")
    machine.site("far", download="queue")
    done = machine.concept("try", "tiny", "--publish", "--json", site="far")
    assert done.returncode == 0, done.stderr
    submitted = {number: state for number, state in machine.slurm.jobs().items() if number not in before}
    assert list(submitted.values()) == ["COMPLETED"] * 3, done.stderr
    assert "download 2 packages in a job" in done.stderr
    assert "│ install into a clean prefix" in done.stderr
    lines = json.loads(done.stdout)["lines"]
    for init in MODULE_INITS.values():
        for runtime in ("namespace", "singularity"):
            script = f". {init}; " + "; ".join([*lines[:-1], "hello", "python3 -c 'import sys; print(sys.prefix)'"])
            said = machine.user.bash(script, env={"CONDA_CONCEPT_RUNTIME": runtime}).stdout.split()
            assert said[:3] == ["hello", "2.0", "in"]
            assert said[3] == said[4]
    tests = next(machine.root.glob("store/apps/conda_concept/releases/tiny-26.11/*/tests.xml"))
    assert 'name="workers" value="2"' in tests.read_text()  # the CPUs of its job; the build had one
    again = machine.concept("build", "tiny")
    assert "nothing to build" in again.stderr
    assert len(machine.slurm.jobs()) == len(before) + 3


@pytest.fixture(scope="module")
def slow(machine: Machine) -> str:
    machine.environment("slow", "hello", "slow")
    return "slow"


def test_site_check_goes_the_whole_way_in_jobs(machine: Machine) -> None:
    """A trivial job, then download, build and test with the resources that the site file has for them."""
    machine.site("checked", download="queue")
    before = set(machine.slurm.jobs())
    done = machine.concept("site", "check", "--json", site="checked")
    found = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    said = {name: stage["found"][0]["text"] for name, stage in found.items()}
    assert done.returncode == 0, done.stderr
    assert "a job in normal ran on " in said["executor"]
    assert said["build"].endswith(", in a job")
    assert said["tests"].endswith("none bad, in a job")
    submitted = {number: state for number, state in machine.slurm.jobs().items() if number not in before}
    assert list(submitted.values()) == ["COMPLETED"] * 4
    assert "download 3 packages in a job" in done.stderr
    assert not list(machine.jobs.glob("site-check-*"))
    assert not list((machine.root / "store").glob(".check-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_job(machine: Machine, slow: str, number: signal.Signals) -> None:
    process, job = machine.running(slow)
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # GitHub's runner becomes impatient
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"deleted job {job}" in said
    until(lambda: machine.slurm.jobs()[job] == "CANCELLED", "Slurm's own word")
    assert job not in machine.slurm.live()
    assert not [path for path in machine.left() if "/build-slow" in path]


def test_a_job_that_somebody_deletes_is_nobodys_fault_and_made_anew(machine: Machine, slow: str) -> None:
    process, job = machine.running(slow)
    for path in machine.jobs.glob("build-slow-*/cc-*/*"):
        assert b"never in a job" not in path.read_bytes(), path
    machine.slurm.command("scancel", job)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 15, said
    assert f"job {job} (build slow-26.11/" in said
    assert "was deleted (slurmstepd-node: error: *** JOB" in said
    assert "Nothing is wrong with what was asked for." in said
    assert list(machine.root.glob("store/apps/conda_concept/releases/slow-26.11/*")) == []


def test_a_job_that_runs_out_of_memory_is_ours(machine: Machine) -> None:
    machine.environment("greedy", "hello", "greedy")
    machine.site("small", memory="500MB")
    done = machine.concept("build", "greedy", site="small")
    assert done.returncode == 15, done.stderr
    assert "needed more than its 500MB of memory" in done.stderr
    assert "Ask for more `memory`" in done.stderr


def test_a_killed_process_is_followed_by_one_that_picks_its_job_up(machine: Machine, slow: str) -> None:
    process, job = machine.running(slow)
    process.kill()
    process.communicate()
    before = set(machine.slurm.jobs())
    done = machine.concept("build", slow, "--json")
    assert done.returncode == 0, done.stderr
    assert f"picked up job {job}" in done.stderr
    assert "│ run activation scripts" in done.stderr  # the log, from its beginning
    assert set(machine.slurm.jobs()) == before
    assert Path(json.loads(done.stdout)["record"]["prefix"], "image.sqsh").exists()


def test_a_process_that_dies_before_it_knows_its_jobs_number_finds_it_by_name(machine: Machine) -> None:
    machine.environment("slow", "hello", "slow", about="once more")
    (machine.root / "die").touch()
    before = set(machine.slurm.jobs())
    died = machine.concept("build", "slow")
    assert died.returncode == -signal.SIGKILL
    done = machine.concept("build", "slow")
    assert done.returncode == 0, done.stderr
    (job,) = set(machine.slurm.jobs()) - before
    assert f"picked up job {job}" in done.stderr


def test_a_failing_step_ends_as_it_would_have_in_place(machine: Machine) -> None:
    machine.environment("failing", "hello", "failing")
    there, here = machine.concept("build", "failing"), machine.concept("build", "failing", "--in-place")
    assert there.returncode == here.returncode == 9
    message = here.stderr[here.stderr.index("conda-concept build: ") :]
    assert there.stderr.endswith(message), there.stderr


def test_a_queue_that_says_no_or_never_begins(machine: Machine) -> None:
    machine.environment("waiting", "hello")
    machine.site("refused", queue="nowhere")
    refused = machine.concept("build", "waiting", site="refused")
    assert refused.returncode == 15
    assert "invalid partition specified: nowhere" in refused.stderr
    assert "Look at `queue` there" in refused.stderr
    machine.site("closed", queue="closed", hours="0.0005")
    closed = machine.concept("build", "waiting", site="closed")
    assert closed.returncode == 15
    assert "did not begin within 0.0005 hours, so it was deleted" in closed.stderr
    assert not [path for path in machine.left() if "/build-waiting" in path]


def test_a_job_that_runs_into_its_walltime_is_ours(machine: Machine, endless: subprocess.Popen[str]) -> None:
    _, said = endless.communicate(timeout=200)
    assert endless.returncode == 15, said
    assert "ran into its walltime of 00:00:30 (slurmstepd-node: error: *** JOB" in said
    assert "Nothing is wrong with what was asked for." in said
    until(lambda: not machine.slurm.live(), "no job is left")
    assert machine.left() == []
