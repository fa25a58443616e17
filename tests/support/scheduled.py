"""An ordinary account that releases, on a machine with a real scheduler: its repository, channel, store and jobs."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conda_concept.run import run
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
        return subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=900, check=False)

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


@contextmanager
def scheduled(user: OrdinaryUser, fill: Callable[[Path], object]) -> Iterator[Machine]:
    """Everything in place; `fill` makes the channel. Afterwards nothing is left, no mount either."""
    root = Path(tempfile.mkdtemp(prefix="conda-concept-pbs-", dir="/tmp"))
    daemons = Path(tempfile.mkdtemp(prefix="conda-concept-slurm-", dir="/tmp"))
    for folder in (root, daemons):
        folder.chmod(0o755)
    try:
        fill(root / "channels")
        with slurm(daemons) as scheduler:
            made = Machine(root, scheduler, user, program(user, daemons / "program"))
            for name in ("repository/ci/sites", "repository/environments", "node", "bin"):
                (root / name).mkdir(parents=True)
            made.site("here")
            (root / "bin" / "qsub").write_text(QSUB.format(root=root))
            (root / "bin" / "qsub").chmod(0o755)
            for name in ("qstat", "qdel"):
                (root / "bin" / name).symlink_to(f"{BIN}/{name}")
            for path in (root, *root.rglob("*")):
                os.chown(path, user.uid, -1, follow_symlinks=False)
            yield made
    finally:
        unmount_all(user, root)
        shutil.rmtree(root, ignore_errors=True)
        remove(daemons)


def unmount_all(user: OrdinaryUser, root: Path) -> None:
    """End the mounts that commands made below `root`."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        mount = line.split()[1]
        if mount.startswith(f"{root}/"):
            if os.geteuid() == 0:
                run(["/usr/bin/umount", "-l", mount])
            else:
                user.run(["/usr/bin/fusermount3", "-u", "-z", mount])


def until(there: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} seconds"
        time.sleep(0.05)
