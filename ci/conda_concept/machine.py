"""What a machine is, as far as a site file has to know it: facts as plain values, and what programs' answers mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ModuleKind = Literal["Environment Modules", "Lmod"]
SchedulerKind = Literal["PBS Pro", "Torque", "Slurm"]

#: File systems that every node of a cluster sees alike.
SHARED = frozenset(
    {
        *("lustre", "nfs", "nfs4", "gpfs", "beegfs", "beegfs_nodev", "ceph", "cifs", "smb3", "panfs", "glusterfs"),
        *("pvfs2", "orangefs", "wekafs", "afs", "9p", "virtiofs", "quobyte", "vast", "daos"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.cernvm", "cvmfs2", "fuse.sshfs", "fuse.quobyte"),
    }
)
#: File systems of one node, on a disk or in memory.
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "tmpfs", "overlay", "bcachefs"})


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks: `groups` has the primary one first, `umask` is the process's."""

    name: str
    uid: int
    groups: tuple[str, ...]
    home: str
    umask: int


@dataclass(frozen=True, slots=True)
class ModuleSystem:
    """A module system; `init` is what bash sources to have it."""

    kind: ModuleKind
    version: str
    init: str


@dataclass(frozen=True, slots=True)
class Container:
    """An Apptainer or Singularity: `program` without links on the way, `setuid` if it has a starter that is root's."""

    program: str
    version: str
    setuid: bool


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A batch system, by its programs and their folder.

    `queues` are empty where it did not answer, `default` is the one that a job goes to if it names none, `project`
    what the account's environment says that it is charged to.
    """

    kind: SchedulerKind
    version: str
    programs: tuple[str, ...]
    folder: str
    queues: tuple[str, ...] = ()
    default: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system: where, and of which type."""

    path: str
    type: str

    @property
    def shared(self) -> bool:
        """Whether other nodes see it too."""
        return self.type in SHARED


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A mount, what is free on it (bytes; inodes, None without a fixed number), and whether we may write at its top."""

    mount: Mount
    free: int
    inodes: int | None
    writable: bool


@dataclass(frozen=True, slots=True)
class Mpi:
    """The host's `mpirun`; `libraries` is the folder of its libmpi, empty where it was not found."""

    program: str
    version: str
    libraries: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that `look` found.

    `no_namespaces` says why an ordinary user namespace cannot be made, empty where it can. `tools` are programs by
    name with their paths, empty where they are not there. `folders` are the real folders at the top, `links` the
    links there with their text.
    """

    host: str
    system: str
    kernel: str
    cpus: int
    account: Account
    modules: tuple[ModuleSystem, ...] = ()
    containers: tuple[Container, ...] = ()
    no_namespaces: str = ""
    fuse: bool = False
    tools: Mapping[str, str] = field(default_factory=dict)
    scheduler: Scheduler | None = None
    file_systems: tuple[FileSystem, ...] = ()
    mpi: Mpi | None = None
    #: Where the host's C library is: /lib64, or /lib/x86_64-linux-gnu.
    libraries: str = ""
    folders: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_root(self) -> bool:
        """Whether the release account would be root."""
        return self.account.uid == 0

    @property
    def has_namespace_runtime(self) -> bool:
        """Whether the runtime `namespace` has all that it needs."""
        return not self.no_namespaces and self.fuse and bool(self.tools.get("squashfuse_ll"))

    def holding(self, path: str) -> FileSystem | None:
        """The file system that a path lies on."""
        above = [one for one in self.file_systems if f"{path}/".startswith(f"{one.mount.path.rstrip('/')}/")]
        return max(above, key=lambda one: len(one.mount.path), default=None)


# --- what programs and the kernel answer ----------------------------------------------------------------------------


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The file systems of /proc/self/mountinfo (proc(5)) that hold files of people, the last at a place counts."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split(" ")[0]
        if len(fields) < 5 or kind not in SHARED | LOCAL:
            continue
        path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if not path.startswith(("/dev", "/proc", "/sys", "/run")):
            found[path] = Mount(path, kind)
    return tuple(sorted(found.values(), key=lambda mount: mount.path))


def parse_modules(text: str, init: str) -> ModuleSystem | None:
    """What `module --version` says: `Modules Release 5.2.0 (…)`, or `Modules based on Lua: Version 8.6.19 …`."""
    lmod = re.search(r"based on Lua: Version ([0-9.]+)", text)
    if lmod:
        return ModuleSystem("Lmod", lmod[1], init)
    modules = re.search(r"Modules Release ([0-9.]+)", text) or re.search(r"VERSION=([0-9.]+)", text)
    return ModuleSystem("Environment Modules", modules[1], init) if modules else None


def parse_system(text: str) -> str:
    """The name of the system from /etc/os-release."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', text, re.MULTILINE)
    return found[1] if found else "an unnamed Linux"


def pbs_kind(version: str) -> SchedulerKind:
    """PBS Pro and OpenPBS say `pbs_version = 2022.1.1`; Torque says `Version: 6.1.2` or only a number."""
    return "PBS Pro" if "pbs_version" in version else "Torque"


def parse_version(text: str) -> str:
    """The first thing in a program's answer that looks like a version."""
    found = re.search(r"[0-9]+(\.[0-9A-Za-z]+)+[0-9A-Za-z.+-]*", text)
    return found[0] if found else ""


def parse_queues(kind: SchedulerKind, text: str) -> tuple[str, ...]:
    """The queues: the first column of `qstat -Q` below its line of dashes, or the lines of `sinfo -h -o %P`."""
    lines = [line for line in text.splitlines() if line.strip()]
    if kind != "Slurm":
        dashes = next((number for number, line in enumerate(lines) if line.startswith("---")), len(lines))
        lines = lines[dashes + 1 :]
    return tuple(dict.fromkeys(line.split()[0].rstrip("*") for line in lines))


def parse_default(kind: SchedulerKind, text: str) -> str:
    """The default queue: `default_queue = normal` of `qstat -B -f`, or the line of `sinfo -h -o %P` with a star."""
    pattern = r"^(\S+)\*$" if kind == "Slurm" else r"^\s*default_queue = (\S+)$"
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def parse_library(text: str, name: str) -> str:
    """The folder that `ldconfig -p` names for a library; empty where it does not know it."""
    found = re.search(rf"^\s*{re.escape(name)}\S* .*=> (\S+)/[^/\n]+$", text, re.MULTILINE)
    return found[1] if found else ""
