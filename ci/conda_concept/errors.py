"""The errors that people see: one base, one exit code a kind, one table of them all.

Every text says what failed, where, and what to do next. `cli.py` alone catches them; anything else that is raised is
a defect of ours and keeps its traceback (exit code 1, Python's own).
"""

from collections.abc import Sequence


class ConcError(Exception):
    """An expected failure: `message` is shown as it is, `hint` says what to do, `exit_code` is the process's."""

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InputError(ConcError):
    """A spec, config, site file, lock or argument is wrong; `problems` has every one of them, each with its place."""

    exit_code = 2
    kind = "bad input"

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        text = "\n".join([message, *(f"  - {problem}" for problem in problems)])
        super().__init__(text, hint=hint)
        self.problems = tuple(problems)


class UnsolvableError(ConcError):
    """The requests contradict each other or the channels; `solver_text` is the solver's own account of it."""

    exit_code = 3
    kind = "no solution"

    def __init__(self, message: str, *, hint: str = "", solver_text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.solver_text = solver_text


class NetworkError(ConcError):
    """Something outside could not be reached: a failure of ours or of the network, never of the request."""

    exit_code = 4
    kind = "network"


class IntegrityError(ConcError):
    """Bytes are not what their record says: a damaged download, image or release."""

    exit_code = 5
    kind = "damaged"


class BusyError(ConcError):
    """Somebody else holds what is needed (the store's lock)."""

    exit_code = 6
    kind = "busy"


class ToolError(ConcError):
    """A program that is needed is missing or does not work here."""

    exit_code = 7
    kind = "tool"


class SpaceError(ConcError):
    """Out of bytes, inodes or quota; the state before is untouched."""

    exit_code = 8
    kind = "space"


class BuildError(ConcError):
    """The build itself failed: a package that does not install, a hook that ends badly."""

    exit_code = 9
    kind = "build"


class GateError(ConcError):
    """The tests say no: new failures, or no result where there has to be one."""

    exit_code = 10
    kind = "tests"


class NotFoundError(ConcError):
    """There is no such release, alias, environment or package."""

    exit_code = 11
    kind = "not found"


class RefusedError(ConcError):
    """A rule forbids it: an unpermitted user, an untested release, a moved head."""

    exit_code = 12
    kind = "refused"


class SolveTimeoutError(ConcError):
    """The solver used up its time budget."""

    exit_code = 13
    kind = "solver time"


class StorageError(ConcError):
    """The file system failed or said no: an input/output error, a missing permission, a read-only mount."""

    exit_code = 14
    kind = "file system"


class SchedulerError(ConcError):
    """The scheduler refused, ended or lost a job: a failure of ours or of the machine, never of what was asked for."""

    exit_code = 15
    kind = "scheduler"


#: What each exit code means; the README's table and a test read it. 0, 1 and 130 are not raised from here.
EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "a defect of conda-concept itself (with a traceback)",
    2: "the input is wrong; every problem is listed",
    3: "the requests have no solution; the explanation says why",
    4: "a network failure; try again",
    5: "damaged data: a hash does not match",
    6: "the store is in use by another process",
    7: "a program that is needed is missing or does not work",
    8: "out of disk space, inodes or quota",
    9: "the build failed",
    10: "the tests do not let this release through",
    11: "no such release, alias, environment or package",
    12: "refused by a rule; the message names it",
    13: "the solver ran out of its time budget",
    14: "the file system failed or denied access",
    15: "the scheduler refused, ended or lost the job",
    130: "interrupted",
}
