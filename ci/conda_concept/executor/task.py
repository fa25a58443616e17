"""The nouns of the executor, frozen: a task, what is known of a job, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conda_concept.settings import Resources


@dataclass(frozen=True, slots=True)
class Task:
    """Something that one job does.

    `key` names it for ever, so that a restarted process finds the job of the one before; `what` is for people. `argv`
    may name `files` by `{folder}/NAME`. `answers` are the exit codes that are results, and not failures.
    """

    key: str
    what: str
    argv: tuple[str, ...]
    resources: Resources
    files: Mapping[str, str] = field(default_factory=dict)
    answers: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a task: a name that no other job has, and its number as soon as it is known."""

    name: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the scheduler says about a job. `state` is PBS's letter; `exit_status` None where it does not say."""

    number: str
    name: str
    state: str
    comment: str = ""
    exit_status: int | None = None
    host: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended: F and X are PBS Pro's words for it, C is Slurm's and Torque's."""
        return self.state in ("F", "X", "C")


@dataclass(frozen=True, slots=True)
class Gone:
    """The scheduler knows no such job (any more)."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The scheduler could not be asked; `why` is what its program said."""

    why: str


View = Facts | Gone | Silent


@dataclass(frozen=True, slots=True)
class Left:
    """What the job itself wrote down at its end.

    `code` is its command's exit code, `stopped` whether it was told to end, `oom` whether the kernel ended something
    in it for want of memory.
    """

    code: int
    stopped: bool = False
    oom: bool = False


#: Why a job ended though nothing in it said so.
Reason = Literal["walltime", "memory", "cpus", "disk", "node", "deleted", "refused to start", "lost"]


@dataclass(frozen=True, slots=True)
class Exited:
    """It came to its own end."""

    code: int


@dataclass(frozen=True, slots=True)
class Ended:
    """It was ended from outside, or never really ran; `words` are the scheduler's own, if it had any."""

    reason: Reason
    words: str = ""


Ending = Exited | Ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """A task's result: the exit code (one of `answers`) and what its command wrote to standard output."""

    code: int
    out: str
