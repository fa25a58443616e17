"""A real Slurm on loopback, behind its PBS-style commands: its own folder, ports, key and processes."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: What Debian's slurmctld, slurmd, munge and slurm-wlm-torque bring.
DAEMONS = {"munged": "/usr/sbin/munged", "slurmctld": "/usr/sbin/slurmctld", "slurmd": "/usr/sbin/slurmd"}
BIN = "/usr/bin"
#: One node, with more CPUs than the machine has, so that a job that sleeps is in nobody's way.
CONFIG = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser={owner}
SlurmdUser={owner}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=1,default_queue_depth=100
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
PreemptMode=OFF
KillWait=2
MinJobAge=300
JobRequeue=0
SlurmdParameters=config_overrides
MaxJobCount=1000
EnforcePartLimits=ALL
NodeName=node CPUs=8 RealMemory=8000 TmpDisk=1000 NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} State=UNKNOWN
PartitionName=normal Nodes=node Default=YES MaxTime=10 State=UP
PartitionName=closed Nodes=node MaxTime=10 State=DOWN
"""


@dataclass(frozen=True, slots=True)
class Slurm:
    """The running scheduler: `variables` is what its commands need to find it."""

    root: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of its commands."""
        return {"SLURM_CONF": str(self.root / "slurm.conf")}

    def command(self, *words: str, check: bool = True) -> str:
        """One of its own commands, as whoever started it: an operator."""
        environ = {"PATH": "/usr/bin:/bin", **self.variables}
        done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Every job that there ever was (for five minutes), by its number: its state."""
        lines = self.command("squeue", "--all", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def live(self) -> list[str]:
        """The jobs that wait or run."""
        return self.command("squeue", "--all", "--noheader", "--format=%i").split()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def slurm(root: Path) -> Iterator[Slurm]:
    """Start munged, slurmctld and slurmd below `root` (short, readable by the user), and end them, whatever happens."""
    missing = [path for path in (*DAEMONS.values(), f"{BIN}/qsub") if not Path(path).exists()]
    if missing:
        raise LookupError(f"{', '.join(missing)}: not on this machine; run ./ci/setup")
    for name in ("state", "spool", "munge"):
        (root / name).mkdir(mode=0o700)
    ports = _free_ports(2)
    owner = pwd.getpwuid(os.geteuid()).pw_name
    text = CONFIG.format(port=ports[0], node_port=ports[1], owner=owner, root=root, host=socket.gethostname())
    (root / "slurm.conf").write_text(text)
    key = root / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": str(root / "slurm.conf")}
    munge = [DAEMONS["munged"], "--foreground", "--force", f"--socket={root}/munge.socket", f"--key-file={key}"]
    munge += [f"--{what}-file={root}/munge/{what}" for what in ("log", "pid", "seed")]
    started: list[subprocess.Popen[bytes]] = []
    try:
        _start(started, munge, environ, root)
        _until((root / "munge.socket").exists, "munged", root)
        _start(started, [DAEMONS["slurmctld"], "-D", "-i"], environ, root)
        _start(started, [DAEMONS["slurmd"], "-D", "-N", "node"], environ, root)
        found = Slurm(root)
        _until(lambda: "idle" in found.command("sinfo", "-h", "-o", "%T", check=False), "the node", root)
        try:
            yield found
        finally:  # a job's own daemon would outlive the others
            for number in found.live():
                found.command("scancel", number, check=False)
            _until(lambda: not found.live(), "the end of the last job", root)
    finally:
        for process in reversed(started):
            _end(process)


def _start(started: list[subprocess.Popen[bytes]], argv: Sequence[str], environ: Mapping[str, str], root: Path) -> None:
    with (root / f"{Path(argv[0]).name}.out").open("wb") as out:
        started.append(subprocess.Popen(argv, env=environ, cwd=root, stdin=subprocess.DEVNULL, stdout=out, stderr=out))


def _until(ready: Callable[[], bool], what: str, root: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{path}:\n{path.read_text()[-1500:]}" for path in root.glob("*.log"))
            raise AssertionError(f"{what} did not come in a minute:\n{logs}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remove(root: Path) -> None:
    """What is left of it."""
    shutil.rmtree(root, ignore_errors=True)
