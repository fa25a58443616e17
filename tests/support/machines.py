"""Machines that are not here, by what they would answer: what `look` asks, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conda_concept.machine import Account

GB = 10**9
QUEUES = """\
Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type
---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----
copyq                0    45 yes yes    10    35     0     0     0     0 Rout
normal               0   812 yes yes   300   512     0     0     0     0 Rout
"""
LIBRARIES = """\
\tlibmpi.so.40 (libc6,x86-64) => /usr/lib64/openmpi/lib/libmpi.so.40
\tlibc.so.6 (libc6,x86-64) => /lib64/libc.so.6
"""


@dataclass(frozen=True)
class FakeHost:
    """A `looking.Host` of plain values. `answers` are by the words of a command, or by their first ones."""

    account_: Account
    names_: tuple[str, str, int]
    release: str
    mounts: Mapping[str, str]
    spaces: Mapping[str, tuple[int, int | None]]
    answers: Mapping[str, tuple[int, str]]
    programs: Mapping[str, str]
    readable: frozenset[str] = frozenset()
    writable: frozenset[str] = frozenset()
    starters: frozenset[str] = frozenset()
    folders: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, name: str) -> str:
        return self.variables.get(name, "")

    def ask(self, argv: Sequence[str]) -> tuple[int, str]:
        line = " ".join(argv[-1:] if argv[0] == "bash" else argv)
        return self.answers.get(line, (127, f"{argv[0]}: not found"))

    def read(self, path: str) -> str:
        if path == "/etc/os-release":
            return f'NAME="x"\nPRETTY_NAME="{self.release}"\n'
        lines = [f"2{n} 1 0:{n} / {path} rw - {kind} none rw" for n, (path, kind) in enumerate(self.mounts.items())]
        return "\n".join(["22 27 0:21 / /proc rw - proc proc rw", *lines, "broken line"])

    def find(self, name: str) -> str:
        return self.programs.get(name, "")

    def real(self, path: str) -> str:
        return path

    def top(self) -> dict[str, str]:
        return dict(self.folders)

    def space(self, path: str) -> tuple[int, int | None] | None:
        return self.spaces.get(path)

    def may(self, path: str, *, write: bool = False) -> bool:
        return path in self.writable or (not write and (path in self.readable or path in self.mounts))

    def setuid(self, path: str) -> bool:
        return path in self.starters

    def account(self) -> Account:
        return self.account_

    def names(self) -> tuple[str, str, int]:
        return self.names_


def _folders(real: str, **links: str) -> dict[str, str]:
    return dict.fromkeys(real.split(), "") | links


#: Lustre, PBS Pro, Environment Modules, a set-uid Singularity, half of the system behind links.
GADI = FakeHost(
    Account("xy0000", 12345, ("hh5", "hh5_w", "w97"), "/home/123/xy0000", 0o027),
    ("gadi-login-07.gadi.nci.org.au", "4.18.0-553.el8.x86_64", 48),
    "Rocky Linux 8.10 (Green Obsidian)",
    {"/": "tmpfs", "/g/data": "lustre", "/home": "nfs4", "/scratch": "lustre", "/local": "xfs", "/tmp": "tmpfs"},
    {
        "/": (90 * GB, None),
        "/g/data": (2_000_000 * GB, 900_000_000),
        "/home": (800 * GB, None),
        "/scratch": (900_000 * GB, 500_000_000),
        "/local": (400 * GB, 26_000_000),
        "/tmp": (90 * GB, None),
    },
    {
        "/opt/Modules/init/bash": (0, "Modules Release 4.3.0 (2019-07-26)\n"),
        "/opt/singularity/bin/singularity --version": (0, "singularity-ce version 4.1.3\n"),
        "unshare --user --map-current-user --mount true": (1, "unshare: unshare failed: No space left on device\n"),
        "qsub --version": (0, "pbs_version = 2021.1.3.20220217134230\n"),
        "qstat -Q": (0, QUEUES),
        "qstat -B -f": (0, "Server: gadi-pbs\n    server_state = Active\n    default_queue = normal\n\n"),
        "/apps/openmpi/4.1.5/bin/mpirun --version": (0, "mpirun (Open MPI) 4.1.5\n\nReport bugs to …\n"),
        "ldconfig -p": (0, "\tlibc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib64/libc.so.6\n"),
    },
    {
        "singularity": "/opt/singularity/bin/singularity",
        "qsub": "/opt/pbs/default/bin/qsub",
        "qstat": "/opt/pbs/default/bin/qstat",
        "mpirun": "/apps/openmpi/4.1.5/bin/mpirun",
        "mksquashfs": "/usr/sbin/mksquashfs",
        "unsquashfs": "/usr/sbin/unsquashfs",
        "setpriv": "/usr/bin/setpriv",
        "unshare": "/usr/bin/unshare",
        "flock": "/usr/bin/flock",
        "git": "/usr/bin/git",
        "patchelf": "/usr/bin/patchelf",
    },
    readable=frozenset({"/opt/Modules/init/bash", "/apps/openmpi/4.1.5/lib/libmpi.so"}),
    writable=frozenset({"/local", "/tmp"}),
    starters=frozenset({"/opt/singularity/libexec/singularity/bin/starter-suid"}),
    variables={"PROJECT": "w97"},
    folders=_folders(
        "apps boot dev g half-root home iointensive jobfs local opt proc ram root run scratch sys system tmp usr var",
        bin="usr/bin",
        etc="half-root/etc",
        images="half-root/images",
        lib="usr/lib",
        lib64="usr/lib64",
        sbin="usr/sbin",
    ),
)

#: GPFS, Slurm, Lmod, Apptainer without set-uid: user namespaces and FUSE for everybody.
SLURM = FakeHost(
    Account("svc_conda", 5001, ("climate", "users"), "/gpfs/home/svc_conda", 0o022),
    ("login2", "5.14.0-427.el9.x86_64", 64),
    "Red Hat Enterprise Linux 9.4 (Plow)",
    {"/": "xfs", "/gpfs": "gpfs", "/scratch/local": "xfs"},
    {"/": (60 * GB, 30_000_000), "/gpfs": (800_000 * GB, None), "/scratch/local": (1_500 * GB, 700_000_000)},
    {
        "/usr/share/lmod/lmod/init/bash": (
            0,
            "\nModules based on Lua: Version 8.7.37 2024-04-05 by Robert McLay mclay@tacc.utexas.edu\n",
        ),
        "/usr/bin/apptainer --version": (0, "apptainer version 1.3.4-1.el9\n"),
        "unshare --user --map-current-user --mount true": (0, ""),
        "sbatch --version": (0, "slurm 23.11.8\n"),
        "sinfo --noheader --format=%P": (0, "data\nshort*\nlong\ngpu\nshort*\n"),
        "ldconfig -p": (0, LIBRARIES),
        "/usr/lib64/openmpi/bin/mpirun --version": (0, "mpirun (Open MPI) 4.1.1\n"),
    },
    {
        "apptainer": "/usr/bin/apptainer",
        "sbatch": "/usr/bin/sbatch",
        "squeue": "/usr/bin/squeue",
        "mpirun": "/usr/lib64/openmpi/bin/mpirun",
        "bwrap": "/usr/bin/bwrap",
        "squashfuse_ll": "/usr/bin/squashfuse_ll",
        "mksquashfs": "/usr/sbin/mksquashfs",
        "setpriv": "/usr/bin/setpriv",
        "git": "/usr/bin/git",
    },
    readable=frozenset({"/usr/share/lmod/lmod/init/bash"}),
    writable=frozenset({"/gpfs", "/scratch/local", "/dev/fuse"}),
    folders=_folders(
        "afs boot dev etc gpfs home media mnt opt proc root run scratch srv sys tmp usr var",
        bin="usr/bin",
        lib="usr/lib",
        lib64="usr/lib64",
        sbin="usr/sbin",
    ),
)

#: Nothing that can start a release: no container program, no user namespaces, no modules, a root account.
BARE = FakeHost(
    Account("root", 0, ("root",), "/root", 0o077),
    ("node017", "3.10.0-1160.el7.x86_64", 8),
    "CentOS Linux 7 (Core)",
    {"/": "xfs", "/nfs/shared": "nfs"},
    {"/": (20 * GB, 10_000_000), "/nfs/shared": (5_000 * GB, 80_000_000)},
    {
        "unshare --user --map-current-user --mount true": (1, "unshare: unrecognized option '--map-current-user'\n"),
        "qsub --version": (0, "Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e\n"),
        "qstat -Q": (1, "Cannot connect to default server host\n"),
    },
    {"qsub": "/opt/torque/bin/qsub", "git": "/usr/bin/git"},
    writable=frozenset({"/", "/nfs/shared"}),
    folders=_folders("boot dev etc home nfs proc root run sys tmp usr var", bin="usr/bin", lib="usr/lib"),
)

MACHINES = {"gadi": GADI, "slurm": SLURM, "bare": BARE}
