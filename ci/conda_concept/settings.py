"""What people write: an environment's `config.yml` and a site's file, as frozen models that refuse unknown keys.

pydantic finds every mistake of a file in one go; `document.validate` says each with its line.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

#: Names that become file names, module names and branch names.
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
#: `YY.MM` with an optional fix level: `23.07`, `23.07.1`. A string always: YAML reads 26.10 as 26.1.
ReleaseVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.(0[1-9]|1[0-2])(\.[0-9]{1,3})?$")]

#: An environment variable's name, as POSIX has it.
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
#: A command's name: a file name that is no option and holds nothing a shell or a bind would take apart.
CommandName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9_.+@\[-]*$")]

#: A pattern of library names as the loader has them.
LibraryPattern = Annotated[str, StringConstraints(pattern=r"^[^/]{1,100}$")]
#: A folder of the host.
HostPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./+@-]*$")]
#: A pattern of host names.
NodePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?-]{1,100}$")]
#: A file's name, without its folder.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]


class Strict(BaseModel):
    """A mapping that people write: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExcludeNewer(Strict):
    """A delay before a new upload is taken: most malicious or broken uploads are noticed within days."""

    days: int = Field(ge=0, le=365)
    except_channels: tuple[str, ...] = Field(default=(), strict=False)
    except_packages: tuple[str, ...] = Field(default=(), strict=False)


class Expectation(Strict):
    """What people know about a test: its title (`import numpy`; `*` matches), why, and where it is followed up."""

    test: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=300)
    issue: str = Field(default="", max_length=300, pattern=r"^(https://\S+)?$")


class Variant(Strict):
    """Which of several builds of a host's library is meant: by what the replaced file, or who uses it, asks for.

    `by_needed` maps each variant's word to patterns of library names (`libgfortran.so.*`); `otherwise` is the word
    where none of them is asked for.
    """

    by_needed: Mapping[VariableName, Annotated[tuple[LibraryPattern, ...], Field(strict=False)]] = Field(min_length=1)
    otherwise: VariableName | None = None


class HostFile(Strict):
    """Which of a package's paths (a pattern: `*` stays in one folder, `**` does not) become links, and where to.

    `to` is relative to the replacement's `root`; `{name}` stands for the file's name, `{path}` for its whole path,
    and `{WORD}` for the variant that the rule of that name chooses.
    """

    path: str = Field(min_length=1, max_length=300)
    to: str = Field(min_length=1, max_length=300)


class Replacement(Strict):
    """One package whose files become links to the host's; the first of `files` that matches a path counts."""

    #: Where the host has it: an absolute folder, or `{NAME}/…` with a name of the site's `host_software`.
    root: str = Field(min_length=1, max_length=300)
    files: tuple[HostFile, ...] = Field(strict=False, min_length=1)
    variants: Mapping[VariableName, Variant] = Field(default_factory=dict)


#: Commands that start work on other nodes, for which there is a ready-made script that takes the environment along.
Carried = Literal["ssh", "rsh", "pbs_tmrsh", "orted", "prted", "mpirun", "mpiexec", "prterun", "prun"]


class TestsConfig(Strict):
    """`tests:` in a config: what not to run, what is known to fail, and how long a test may take, in seconds."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    skip: tuple[Expectation, ...] = Field(default=(), strict=False)
    expect_fail: tuple[Expectation, ...] = Field(default=(), strict=False)
    timeout: int = Field(default=120, ge=1, le=3600)
    #: By the title of a test, where one needs another limit.
    timeouts: Mapping[str, Annotated[int, Field(ge=1, le=36000)]] = Field(default_factory=dict)


class Config(Strict):
    """`environments/NAME/config.yml`: everything about an environment that conda's own format has no place for."""

    version: ReleaseVersion
    #: The version that the plain name (`analysis3`) points at; this one where it is not given.
    stable: ReleaseVersion | None = None
    #: The version whose first lock is solved from nothing, so that everything moves; after it packages stay again.
    refresh: ReleaseVersion | None = None
    #: An issue that asks for the next version is opened when a quarter of the year begins.
    quarterly: bool = False
    #: Versions that go away, and the last day that they can be loaded: loading one warns until then.
    retire: Mapping[ReleaseVersion, Annotated[dt.date, Field(strict=False)]] = Field(default_factory=dict)
    platforms: tuple[str, ...] = Field(default=("linux-64",), strict=False, min_length=1)
    #: Of the machine that the environment runs on: {"__glibc": "2.28", "__cuda": "12.9"}.
    virtual_packages: Mapping[str, str] = Field(default_factory=dict)
    channel_priority: Literal["strict", "disabled"] = "strict"
    allowed_channels: tuple[str, ...] = Field(default=("conda-forge",), strict=False, min_length=1)
    #: Hosts that pip's packages may come from, beside the addresses that the spec itself names.
    pip_hosts: tuple[str, ...] = Field(default=(), strict=False)
    exclude_newer: ExcludeNewer | None = None
    #: Packages that may come from a channel's `broken` label.
    allow_broken: tuple[str, ...] = Field(default=(), strict=False)
    #: Packages whose changes are always shown openly (SPEC 0's core projects, say).
    key_packages: tuple[str, ...] = Field(default=(), strict=False)
    description: str = Field(default="", max_length=200)
    #: Whom users ask: an address or a link.
    contact: str = Field(default="", max_length=200)
    #: Variables that the modulefile sets, beside those that the packages' activation scripts set.
    setenv: Mapping[VariableName, str] = Field(default_factory=dict)
    #: Folders that the modulefile puts in front of a path variable; `{prefix}` stands for the release's prefix, and
    #: `{NAME}` for what the site's `host_software` has by that name, here and in `setenv`.
    prepend_path: Mapping[VariableName, str] = Field(default_factory=dict)
    #: Variables that no command of this environment sees.
    unset: tuple[VariableName, ...] = Field(default=("PYTHONHOME",), strict=False)
    #: Commands that stay the host's although packages bring them: they have no launcher, and are not in the image.
    host_commands: tuple[CommandName, ...] = Field(default=(), strict=False)
    #: Commands that a script of ours stands for, inside and outside: name -> file beside config.yml.
    overrides: Mapping[CommandName, str] = Field(default_factory=dict)
    #: Commands that a ready-made script of ours stands for, which takes the environment along to other nodes.
    carry: tuple[Carried, ...] = Field(default=(), strict=False)
    #: Files of packages that are taken out: package -> patterns of its own paths (`["**"]`: all of them).
    remove: Mapping[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(default_factory=dict)
    #: Files of packages that become links to the host's, by package.
    replace: Mapping[str, Replacement] = Field(default_factory=dict)
    #: Scripts in `hooks/` beside config.yml that run in the finished prefix, in this order, before it is squashed.
    hooks: tuple[FileName, ...] = Field(default=(), strict=False)
    #: Host folders that this environment needs to see, beside the site's.
    binds: tuple[str, ...] = Field(default=(), strict=False)
    tests: TestsConfig = TestsConfig()


class Groups(Strict):
    """Unix groups: who reads and executes, and who writes. None: the process's own, nothing is changed."""

    users: str | None = None
    owners: str | None = None


class Retention(Strict):
    """What `prune` keeps, besides everything that is pointed at, pinned or in use."""

    #: Days that a release stays after it was last pointed at: longer than the longest job and its requeues.
    grace_days: float = Field(default=30, ge=0)
    #: Days that a candidate which was never published stays; a closed pull request ends them at once.
    candidate_days: float = Field(default=30, ge=0)
    #: Builds of one label that stay beside the present one, newest first, so that there is something to roll back to.
    keep_builds: int = Field(default=2, ge=0)
    #: Hours without a sign of life after which a lock that another machine holds counts as left behind.
    lock_hours: float = Field(default=2, gt=0)


class Squash(Strict):
    """How images are compressed; the defaults were chosen by measurement (tests/bench/RESULTS.md)."""

    compression: Literal["zstd", "lz4", "gzip", "xz"] = "zstd"
    level: int = Field(default=3, ge=1, le=22)
    block: Literal["64K", "128K", "256K", "512K", "1M"] = "256K"


#: `4GB`: a number and a unit, as `qsub` takes it.
Amount = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}(MB|GB|TB)$")]
#: `"04:00:00"`, in quotes: YAML reads a bare 10:00:00 as a number of seconds.
Walltime = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]$")]
#: A word that no shell, no comma list and no percent rule takes apart.
PlainWord = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@][A-Za-z0-9_@.+:/=-]*$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]*$")]


class LocalExecutor(Strict):
    """Heavy steps run in place, in the process that asks for them."""

    kind: Literal["local"] = "local"


class Resources(Strict):
    """What a job asks its queue for. The CPUs are the ones that the step inside uses, no more and no fewer."""

    queue: PlainWord | None = None
    cpus: int = Field(ge=1, le=4096)
    memory: Amount
    walltime: Walltime
    #: Disk of the node, of the job's own; the site's `scratch` says where it is (`${PBS_JOBFS}`).
    jobfs: Amount | None = None


class PbsExecutor(Strict):
    """Heavy steps are jobs of a scheduler that is spoken to with `qsub`, `qstat` and `qdel`."""

    kind: Literal["pbs"]
    #: `pbspro`: PBS Pro and OpenPBS. `slurm`: Slurm's own `qsub`, `qstat` and `qdel` (slurm-torque), which know less:
    #: no exit status, no held state, no `storage`; what they do not say is read from the job's own files.
    dialect: Literal["pbspro", "slurm"] = "pbspro"
    #: The folder of the scheduler's programs (never looked up in a PATH).
    bin: AbsolutePath = "/opt/pbs/default/bin"
    project: PlainWord | None = None
    #: File systems that a job has to ask for to see them: [gdata/hh5, scratch/hh5].
    storage: tuple[PlainWord, ...] = Field(default=(), strict=False)
    build: Resources
    #: For the tests of a release; none: as for the build.
    test: Resources | None = None
    #: Where archives are fetched: `here`, by the process that waits, since compute nodes often have no network; in the
    #: build's own `job`; or before it in a job of its own, in a `queue` that has a network (`download_job`).
    download: Literal["here", "job", "queue"] = "here"
    download_job: Resources | None = None
    #: More resources, each a `-l NAME=VALUE`.
    resources: Mapping[VariableName, PlainWord] = Field(default_factory=dict)
    #: More words for `qsub`: ["-W", "group_list=hh5_w"].
    options: tuple[PlainWord | Annotated[str, StringConstraints(pattern=r"^-[A-Za-z]$")], ...] = Field(
        default=(), strict=False
    )
    #: Variables that the scheduler's programs and the jobs get: where the scheduler is, or a proxy. Never a secret.
    variables: Mapping[VariableName, str] = Field(default_factory=dict)
    #: Where jobs' scripts, logs and results are, seen from every node; none: the folder `jobs` of the site's cache.
    folder: AbsolutePath | None = None
    #: The scheduler is asked this often.
    poll_seconds: float = Field(default=20, ge=0.2, le=600)
    #: A file that a node has written is seen here after so long at most (NFS keeps what it knows of a folder for 60).
    settle_seconds: float = Field(default=60, ge=0.1, le=600)
    #: A job that has not begun after so long is deleted (GitHub ends a job of its own after 24 hours in a queue).
    queue_hours: float = Field(default=20, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> "PbsExecutor":
        if self.download == "queue" and self.download_job is None:
            raise ValueError(
                "`download: queue` wants `download_job`: the queue that has a network, cpus, memory, walltime"
            )
        if self.dialect == "slurm" and self.storage:
            raise ValueError("Slurm's qsub knows no `storage`; leave it out")
        return self


#: What can make a place for code of packages during a build.
SandboxKind = Literal["bubblewrap", "singularity"]


class Site(Strict):
    """`ci/sites/NAME.yml`: one machine's settings. No other file may hold a path of one machine."""

    name: str
    #: Everything published lies below it; `${NAME}` is taken from the environment.
    root: str
    #: Fast local disk: the tree of a build lives and dies here.
    scratch: str
    #: Downloaded archives and repodata, kept between builds and safe to share.
    cache: str
    #: The folder below `apps/` and `modules/`, and so the first half of `module load conda_concept/analysis3`.
    product: str = "conda_concept"
    groups: Groups = Groups()
    retention: Retention = Retention()
    #: The environment that a bare `module load PRODUCT` loads (its stable); none: the only one there is, if so.
    default_environment: EnvironmentName | None = None
    runtime: Literal["singularity", "namespace"] = "singularity"
    #: Host folders that are visible inside, where they exist.
    binds: tuple[str, ...] = Field(default=(), strict=False)
    #: Links in the container's base, for folders of the host that are links there: {/opt/pbs: /half-root/opt/pbs}.
    links: Mapping[str, str] = Field(default_factory=dict)
    #: The container program by absolute path, outside the folders that are bound.
    singularity: str = "/usr/bin/singularity"
    squash: Squash = Squash()
    #: What keeps code of packages in its place while a release is built; none: bubblewrap where it works, else
    #: Singularity.
    sandbox: SandboxKind | None = None
    #: Whom tests run as when the release account is root; none: `nobody`. Code of packages never runs as root.
    test_user: str | None = None
    #: Folders of the host, beside its loader's own, that libraries may come from (an MPI in /apps, say).
    host_libraries: tuple[str, ...] = Field(default=(), strict=False)
    #: Where the host keeps software that environments use in place of their own: {openmpi: /apps/openmpi/4.1.4}.
    host_software: Mapping[VariableName, HostPath] = Field(default_factory=dict)
    #: Whether what a release links to has to be on the machine that builds it; else what is missing is a warning.
    host_files_required: bool = False
    #: Names of this machine's nodes (`gadi-*`): `ssh` to these takes the environment along, if a config carries it.
    #: The nodes of a PBS job always count.
    nodes: tuple[NodePattern, ...] = Field(default=(), strict=False)
    #: How several ranks are started on one node, ready for a command: [/apps/openmpi/bin/mpirun, -n, "4"].
    mpi_run: tuple[str, ...] = Field(default=(), strict=False)
    #: How Singularity gets at an image. `shared`: a FUSE mount that all commands of a user and job on a node share.
    #: `container`: each container mounts it (a set-uid Singularity cannot see a user's FUSE mount).
    mounting: Literal["shared", "container"] = "shared"
    #: Local disk of a node that every user can write, for mount points.
    node_dir: str = "/tmp"  # noqa: S108 - the folder below it is the user's own, which the launcher checks
    #: A shared mount that nobody used for so many seconds ends itself.
    idle_seconds: int = Field(default=600, ge=5, le=86400)
    #: How often a start is tried before its command has started.
    start_tries: int = Field(default=3, ge=1, le=10)
    #: Where the host's own programs are (never looked up in a user's PATH).
    host_bin: str = "/usr/bin"
    squashfuse: str = "/usr/bin/squashfuse_ll"
    #: How heavy steps (building, testing) are run.
    executor: Annotated[LocalExecutor | PbsExecutor, Field(discriminator="kind")] = LocalExecutor()
    #: Where a quarter begins when it begins there: a name of the time zone database (Australia/Sydney).
    time_zone: str = "UTC"
    #: A release older than so many days warns when its module is loaded; 0: never.
    old_after_days: int = Field(default=0, ge=0)
