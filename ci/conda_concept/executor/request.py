"""What is said to a scheduler, as pure values: argument lists, and the script of a job."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from conda_concept.errors import InputError
from conda_concept.executor.task import Attempt, Task
from conda_concept.render.quote import templates
from conda_concept.settings import PbsExecutor, Resources

#: Variables of the job itself that its command sees; everything else is said by us.
PASSED = (
    "HOME",
    "LOGNAME",
    "USER",
    "PBS_JOBFS",
    "PBS_JOBID",
    "PBS_NCPUS",
    "NCPUS",
    "SLURM_JOB_ID",
    "SLURM_CPUS_ON_NODE",
)
#: Characters that no shell takes apart: Slurm's qsub hands its words to one.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@+=:,./-")


def submit(pbs: PbsExecutor, attempt: Attempt, resources: Resources, folder: Path) -> list[str]:
    """The `qsub` line of an attempt whose files are in `folder`."""
    words = [f"{pbs.bin}/qsub", "-N", attempt.name]
    words += ["-q", resources.queue] if resources.queue else []
    match pbs.dialect:
        case "pbspro":
            # A job that its scheduler starts a second time would hide that its node has failed.
            words += [*(("-P", pbs.project) if pbs.project else ()), "-S", "/bin/sh", "-r", "n", "-j", "oe"]
            words += [word for item in _resources(pbs, resources) for word in ("-l", item)]
        case "slurm":
            # Its qsub reads only the last -l, counts CPUs by ppn, and calls local disk `file`.
            words += [*(("-A", pbs.project) if pbs.project else ()), "-r", "n", "-j", "oe"]
            words += ["-l", ",".join(_resources(pbs, resources))]
    words += ["-o", str(folder / "scheduler"), *pbs.options, str(folder / "script")]
    if pbs.dialect == "slurm":
        odd = [word for word in words if not set(word) <= _PLAIN]
        if odd:
            raise InputError(
                f"Slurm's qsub cannot be given {odd[0]!r}: it hands its words to a shell.",
                hint="Choose folders and options of letters, digits and _@+=:,./- in the site file.",
            )
    return words


def _resources(pbs: PbsExecutor, asked: Resources) -> list[str]:
    slurm = pbs.dialect == "slurm"
    items = [f"nodes=1:ppn={asked.cpus}" if slurm else f"ncpus={asked.cpus}"]
    items += [f"mem={asked.memory}", f"walltime={asked.walltime}"]
    items += [f"{'file' if slurm else 'jobfs'}={asked.jobfs}"] if asked.jobfs else []
    items += [f"storage={'+'.join(pbs.storage)}"] if pbs.storage else []
    return [*items, *(f"{name}={value}" for name, value in pbs.resources.items())]


def status(pbs: PbsExecutor, number: str, *, history: bool = True) -> list[str]:
    """The `qstat` line about one job; with `history`, PBS Pro also tells of one that has ended."""
    if pbs.dialect == "slurm":
        return [f"{pbs.bin}/qstat", "-f", number]
    return [f"{pbs.bin}/qstat", *(["-x"] if history else []), "-f", "-F", "json", number]


def status_text(pbs: PbsExecutor, number: str) -> list[str]:
    """PBS Pro's other way to say the same: its JSON is not always JSON (openpbs/openpbs issues 1255, 2541)."""
    return [f"{pbs.bin}/qstat", "-x", "-f", number]


def named(pbs: PbsExecutor, name: str) -> list[str]:
    """The line that finds a job by its name: `qselect` prints numbers, Slurm's `qstat -f` tells of all jobs."""
    return [f"{pbs.bin}/qstat", "-f"] if pbs.dialect == "slurm" else [f"{pbs.bin}/qselect", "-N", name]


def delete(pbs: PbsExecutor, number: str) -> list[str]:
    """The `qdel` line."""
    return [f"{pbs.bin}/qdel", number]


def script(task: Task, folder: Path, environment: Mapping[str, str], passed: Sequence[str], umask: int) -> str:
    """The job's script. `environment` is all that its command sees, beside `passed` variables of the job itself."""
    names = sorted({*PASSED, *passed} - {*environment, "TMPDIR"})
    return (
        templates()
        .get_template("job")
        .render(
            folder=str(folder),
            umask=f"{umask:04o}",
            assignments=[f"{name}={value}" for name, value in sorted(environment.items())],
            # `NAME=value` if the job has that variable; names are identifiers, which Settings and Site see to.
            passed=[f'${{{name}+"{name}=${name}"}}' for name in names],
            argv=[word.replace("{folder}", str(folder)) for word in task.argv],
        )
    )
