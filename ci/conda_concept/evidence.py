"""What a help desk asks for, as plain values: where somebody is, which release, and whether its image can be read.

Nothing secret: of the environment only the variables that are named here, without what an address may carry.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BLOCK = 1 << 20
"""Images are read in blocks of so many bytes; the launcher's own report counts in the same."""

#: The variables that decide what is started and how. Everything else stays with the user.
ALLOWED = (
    *("CONDA_CONCEPT_RUNTIME", "CONDA_CONCEPT_DEBUG", "CONDA_CONCEPT_EXPLAIN", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
    *("VIRTUAL_ENV", "LOADEDMODULES", "MODULEPATH", "PATH", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "HOME", "TMPDIR", "SHELL", "LANG", "LC_ALL"),
    *("PBS_JOBID", "PBS_QUEUE", "PBS_NCPUS", "PBS_JOBFS"),
    *("SLURM_JOB_ID", "SLURM_JOB_PARTITION", "SLURM_CPUS_ON_NODE", "OMP_NUM_THREADS"),
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class ImageRead:
    """How reading the whole image went: its sha256 (empty where not all could be read), and the bad blocks.

    `size` is what is on disk, `bad` are ranges of blocks of 1 MiB, first and last, `why` the error of the first one;
    `stopped` is the block at which time was up, None where all were tried.
    """

    size: int
    sha256: str
    bad: tuple[tuple[int, int], ...] = ()
    why: str = ""
    stopped: int | None = None
    seconds: float = 0.0

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.size // BLOCK)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where somebody is: the job, the node, who, and what decides about a start there."""

    job: str
    node: str
    user: str
    groups: tuple[str, ...]
    time: str
    modules: tuple[str, ...]
    variables: Mapping[str, str]
    mounts: tuple[str, ...]
    space: tuple[tuple[str, int, int | None], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one release at one place.

    `expected` and `expected_size` are what the record says of the image, empty and None where there is no readable
    record (`trouble` says why). `start` is how a command of the release ended just now.
    """

    release: str
    product: str
    prefix: str
    image: str
    contact: str
    runtime: str
    version: str
    built: str
    expected: str
    expected_size: int | None
    read: ImageRead
    here: Surroundings
    history: tuple[str, ...]
    explain: str
    start: str
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Whether the image is what its record says."""
        return bool(self.read.sha256) and self.read.sha256 == self.expected


def ranges(blocks: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers in rising order as ranges, first and last."""
    found: list[tuple[int, int]] = []
    for block in blocks:
        if found and found[-1][1] == block - 1:
            found[-1] = (found[-1][0], block)
        else:
            found.append((block, block))
    return tuple(found)


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that may be shown, in the order of the list, without names and passwords in addresses."""
    return {name: _CREDENTIALS.sub("", environ[name]) for name in ALLOWED if environ.get(name)}


def job_of(environ: Mapping[str, str]) -> str:
    """The scheduler's name for the job; `none` outside of one."""
    return environ.get("PBS_JOBID") or environ.get("SLURM_JOB_ID") or "none"
