"""Look at the machine that we are on: ask the kernel, the disk and a few programs, change nothing, ask nobody."""

import grp
import os
import platform
import pwd
import shutil
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conda_concept.errors import ConcError
from conda_concept.machine import (
    Account,
    Container,
    FileSystem,
    Machine,
    ModuleSystem,
    Mpi,
    Scheduler,
    parse_default,
    parse_library,
    parse_modules,
    parse_mounts,
    parse_queues,
    parse_system,
    parse_version,
    pbs_kind,
)
from conda_concept.run import CLEAN_ENVIRONMENT, run

#: What bash sources to have a module system, where distributions and sites put it, and where variables point.
MODULE_INITS = (
    *("/usr/share/modules/init/bash", "/usr/share/Modules/init/bash", "/opt/Modules/init/bash"),
    *("/usr/local/Modules/init/bash", "/opt/modules/default/init/bash", "/opt/cray/pe/modules/default/init/bash"),
    *("/usr/share/lmod/lmod/init/bash", "/usr/local/lmod/lmod/init/bash", "/opt/apps/lmod/lmod/init/bash"),
    *("/apps/lmod/lmod/init/bash", "/opt/cray/pe/lmod/lmod/init/bash", "/etc/profile.d/modules.sh"),
)
#: Programs that a build or a launcher uses, beside the container runtime.
TOOLS = (
    "mksquashfs",
    "unsquashfs",
    "squashfuse_ll",
    "fusermount3",
    "bwrap",
    "setpriv",
    "unshare",
    "flock",
    "git",
    "patchelf",
)
#: Beyond PATH: where sites put what has no place there.
_ELSEWHERE = ("/opt/singularity/bin", "/opt/apptainer/bin", "/opt/pbs/bin", "/usr/local/bin", "/usr/sbin", "/sbin")
#: A scheduler or a file server that does not answer must not keep an operator waiting.
_PATIENCE = 15.0


class Host(Protocol):
    """What can be asked of a machine; tests bring other machines."""

    def environment(self, name: str) -> str:
        """A variable; empty where it is not set."""

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        """A program's status and what it said, standard output first; status 127 where it cannot be started."""

    def read(self, path: str) -> str:
        """A file's text; empty where it cannot be read."""

    def find(self, name: str) -> str:
        """The absolute path of a program; empty where there is none."""

    def real(self, path: str) -> str:
        """A path without links."""

    def top(self) -> dict[str, str]:
        """What lies at the top: folders with an empty text, links to folders with theirs."""

    def space(self, path: str) -> tuple[int, int | None] | None:
        """Free bytes and inodes (None without a fixed number) for this account; None where it cannot be known."""

    def may(self, path: str, *, write: bool = False) -> bool:
        """Whether this account can read (and write) a path."""

    def setuid(self, path: str) -> bool:
        """Whether there is a file that runs as root."""

    def account(self) -> Account:
        """Who we are."""

    def names(self) -> tuple[str, str, int]:
        """Host name, kernel release, CPUs that this process may use."""


def look(host: Host) -> Machine:
    """Everything about a machine that its site file needs."""
    name, kernel, cpus = host.names()
    _, libraries = host.ask(["ldconfig", "-p"])
    return Machine(
        host=name,
        system=parse_system(host.read("/etc/os-release")),
        kernel=kernel,
        cpus=cpus,
        account=host.account(),
        modules=module_systems(host),
        containers=_containers(host),
        no_namespaces=_no_namespaces(host),
        fuse=host.may("/dev/fuse", write=True),
        tools={tool: host.find(tool) for tool in TOOLS},
        scheduler=_scheduler(host),
        file_systems=_file_systems(host),
        mpi=_mpi(host, parse_library(libraries, "libmpi.so")),
        libraries=parse_library(libraries, "libc.so.6"),
        folders=tuple(sorted(name for name, link in host.top().items() if not link)),
        links={name: link for name, link in sorted(host.top().items()) if link},
    )


def module_systems(host: Host) -> tuple[ModuleSystem, ...]:
    """Each module system that answers, once."""
    inits = [f"{host.environment(name)}/init/bash" for name in ("MODULESHOME", "LMOD_PKG") if host.environment(name)]
    found: dict[tuple[str, str], ModuleSystem] = {}
    for init in dict.fromkeys((*inits, *MODULE_INITS)):
        if not host.may(init):
            continue
        script = '. "$1" >/dev/null 2>&1; module --version 2>&1'
        _, said = host.ask(["bash", "--noprofile", "--norc", "-c", script, "bash", init])
        one = parse_modules(said, init)
        if one is not None:
            found.setdefault((one.kind, one.version), one)
    return tuple(found.values())


def _containers(host: Host) -> tuple[Container, ...]:
    programs = {host.real(path) for name in ("singularity", "apptainer") if (path := host.find(name))}
    places = [f"{folder}/{name}" for folder in _ELSEWHERE for name in ("singularity", "apptainer")]
    programs |= {host.real(path) for path in places if host.may(path)}
    found = []
    for program in sorted(programs):
        status, said = host.ask([program, "--version"])
        if status == 0:
            found.append(
                Container(program, said.strip().splitlines()[0] if said.strip() else program, _setuid(host, program))
            )
    return tuple(found)


def _setuid(host: Host, program: str) -> bool:
    """Whether its starter is root's: beside it, where both projects' builds put it, and in Debian's folder."""
    top = str(Path(program).parent.parent)
    folders = [f"{top}/{place}" for place in ("libexec", "lib", "lib/x86_64-linux-gnu", "lib64")]
    return any(
        host.setuid(f"{folder}/{name}/bin/starter-suid") for folder in folders for name in ("singularity", "apptainer")
    )


def _no_namespaces(host: Host) -> str:
    status, said = host.ask(["unshare", "--user", "--map-current-user", "--mount", "true"])
    return "" if status == 0 else (said.strip().splitlines() or ["they cannot be made"])[-1]


def _scheduler(host: Host) -> Scheduler | None:
    programs = tuple(name for name in ("sbatch", "qsub", "qstat", "squeue") if host.find(name))
    if not programs or programs[0] not in ("sbatch", "qsub"):
        return None
    slurm = programs[0] == "sbatch"
    _, version = host.ask([programs[0], "--version"])
    kind = "Slurm" if slurm else pbs_kind(version)
    status, queues = host.ask(["sinfo", "--noheader", "--format=%P"] if slurm else ["qstat", "-Q"])
    named = parse_queues(kind, queues) if status == 0 else ()
    return Scheduler(
        kind,
        parse_version(version),
        programs,
        folder=str(Path(host.find(programs[0])).parent),
        queues=named,
        default=parse_default(kind, queues if slurm else host.ask(["qstat", "-B", "-f"])[1]),
        project=host.environment("PROJECT"),
    )


def _file_systems(host: Host) -> tuple[FileSystem, ...]:
    found = []
    for mount in parse_mounts(host.read("/proc/self/mountinfo")):
        space = host.space(mount.path) if host.may(mount.path) else None
        # What has no room at all is an image, or a mount that only hides something.
        if space is not None and space[0] > 1_000_000:
            found.append(FileSystem(mount, *space, writable=host.may(mount.path, write=True)))
    return tuple(found)


def _mpi(host: Host, known: str) -> Mpi | None:
    """The host's MPI; `known` is where the loader finds one, which counts where there is none beside the program."""
    program = host.find("mpirun")
    if not program:
        return None
    _, said = host.ask([program, "--version"])
    version = said.strip().splitlines()[0] if said.strip() else ""
    beside = f"{Path(host.real(program)).parent.parent}/lib"
    if host.may(f"{beside}/libmpi.so"):
        return Mpi(program, version.strip(), beside)
    return Mpi(program, version.strip(), known)


@dataclass(frozen=True, slots=True)
class RealHost:
    """This machine; `environ` is the process's, handed in."""

    environ: dict[str, str]

    def environment(self, name: str) -> str:
        """See `Host`."""
        return self.environ.get(name, "")

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        """See `Host`. Schedulers and MPI get the caller's PATH, and nothing else of the caller's."""
        environment = {**CLEAN_ENVIRONMENT, "PATH": self._path(), "HOME": self.environ.get("HOME", "/")}
        try:
            done = run([*argv], env=environment, timeout=_PATIENCE, check=False)
        except (ConcError, OSError) as error:
            return 127, str(error)
        return done.returncode, done.stdout + done.stderr

    def read(self, path: str) -> str:
        """See `Host`."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def find(self, name: str) -> str:
        """See `Host`."""
        return shutil.which(name, path=self._path()) or ""

    def real(self, path: str) -> str:
        """See `Host`."""
        return os.path.realpath(path)

    def top(self) -> dict[str, str]:
        """See `Host`."""
        found = {}
        for path in Path("/").iterdir():
            if path.is_dir():
                found[path.name] = str(path.readlink()) if path.is_symlink() else ""
        return found

    def space(self, path: str) -> tuple[int, int | None] | None:
        """See `Host`."""
        try:
            found = os.statvfs(path)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None

    def may(self, path: str, *, write: bool = False) -> bool:
        """See `Host`."""
        return os.access(path, os.R_OK | (os.W_OK if write else 0))

    def setuid(self, path: str) -> bool:
        """See `Host`."""
        try:
            found = os.stat(path)  # noqa: PTH116 - one call, no Path needed
        except OSError:
            return False
        return found.st_uid == 0 and bool(found.st_mode & stat.S_ISUID)

    def account(self) -> Account:
        """See `Host`."""
        entry = pwd.getpwuid(os.geteuid())
        umask = os.umask(0o077)
        os.umask(umask)
        numbers = dict.fromkeys((os.getegid(), *os.getgroups()))
        return Account(entry.pw_name, entry.pw_uid, tuple(_group(gid) for gid in numbers), entry.pw_dir, umask)

    def names(self) -> tuple[str, str, int]:
        """See `Host`."""
        return socket.gethostname(), platform.release(), len(os.sched_getaffinity(0))

    def _path(self) -> str:
        return ":".join(filter(None, (self.environ.get("PATH", CLEAN_ENVIRONMENT["PATH"]), *_ELSEWHERE)))


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
