"""How a job's end reads: the error that people see, and the exit code that goes with it."""

import json

from conda_concept.errors import ConcError, SchedulerError
from conda_concept.executor.task import Ended, Reason, Task

#: What a researcher has to know first.
OURS = "Nothing is wrong with what was asked for."


def ended(task: Task, number: str, end: Ended, folder: str) -> SchedulerError:
    """The error for a job that was ended from outside, or never ran."""
    asked = task.resources
    what = {
        "walltime": f"ran into its walltime of {asked.walltime}",
        "memory": f"needed more than its {asked.memory} of memory",
        "cpus": f"used more than its {asked.cpus} CPUs",
        "disk": "ran out of disk space or quota",
        "node": "was lost with its node",
        "deleted": "was deleted",
        "refused to start": "could not be started by the scheduler",
        "lost": "ended without leaving a result",
    }[end.reason]
    words = f" ({end.words})" if end.words else ""
    hint = f"{_ADVICE[end.reason]} Its files: {folder}"
    return SchedulerError(f"job {number} ({task.what}) {what}{words}. {OURS}", hint=hint)


_ADVICE: dict[Reason, str] = {
    "walltime": "Ask for more `walltime` in the site file's executor, and run it again.",
    "memory": "Ask for more `memory` in the site file's executor, and run it again.",
    "cpus": "Something in it does not keep to its CPUs; ask for more `cpus`, and tell conda-concept's developers.",
    "disk": "Ask for more `jobfs`, or make room where the site file's `scratch` and `root` are, and run it again.",
    "node": "Run it again; the scheduler gives it another node.",
    "deleted": "Somebody, or the scheduler, deleted it; run it again.",
    "refused to start": "Ask the machine's operators if it happens again.",
    "lost": "Run it again; if it happens again, look at the files, and at the node's health.",
}


def failed(task: Task, number: str, code: int, out: str, folder: str) -> ConcError:
    """The error of a job whose command failed by itself: the very one that it would have been in place."""
    try:
        facts = json.loads(out)["error"]
        kind = next(one for one in _kinds() if one.exit_code == facts["exit_code"] == code)
        return kind(str(facts["message"]), hint=str(facts["hint"]))
    except (ValueError, KeyError, TypeError, StopIteration):
        pass
    if code == 1:
        return ConcError(
            f"job {number} ({task.what}) met a defect of conda-concept; the traceback is above. {OURS}",
            hint=f"Please report it. The job's files: {folder}",
        )
    if code > 128:
        why = f"was ended by signal {code - 128}" + (", most often for want of memory" if code == 137 else "")
        return SchedulerError(f"job {number} ({task.what}) {why}. {OURS}", hint=f"Its files: {folder}")
    return SchedulerError(
        f"job {number} ({task.what}) ended with exit code {code}, which no step has. {OURS}",
        hint=f"126 and 127: its program is not to be seen from the node. The job's files: {folder}",
    )


def _kinds() -> list[type[ConcError]]:
    return [one for one in ConcError.__subclasses__() if one.__module__ == ConcError.__module__]
