"""What a scheduler's words mean, as pure values: states, and why a job ended.

Sources: PBS Professional's reference guide (qstat, job states, exit status of jobs), OpenPBS's `job.h` for the numbers
below zero, and answers recorded from Slurm 22.05's qstat, which has neither exit status nor comment.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from conda_concept.executor.task import Ended, Ending, Exited, Facts, Gone, Left, Reason, Silent, View
from conda_concept.run import Finished

#: qstat's exit codes (PBSE_UNKJOBID 15001 and PBSE_HISTJOBID 15139, modulo 256).
UNKNOWN_JOB, FINISHED_JOB = 153, 35
#: What a job's state is to people; U is `suspended by a user` in PBS Pro and `unknown` in Slurm.
STATES: Mapping[str, str] = {
    "Q": "waits in its queue",
    "H": "is held",
    "W": "waits for its time",
    "T": "is being moved",
    "S": "is suspended",
    "R": "runs",
    "E": "is ending",
    "F": "has ended",
    "C": "has ended",
    "X": "has ended",
}
#: A negative exit status of PBS Pro is the machine's word, not the job's.
_STATUS: Mapping[int, Reason] = {
    **dict.fromkeys((-1, -2, -4, -5, -6, -7, -10, -13, -21), "refused to start"),
    **dict.fromkeys((-3, -11, -12, -14, -15, -20), "node"),
    **dict.fromkeys((-16, -17, -18, -19, -22, -23), "deleted"),
    -24: "cpus",
    -25: "cpus",
    -26: "memory",
    -27: "memory",
    -28: "walltime",
    -29: "walltime",
}
#: What both schedulers write into a job's own output when they end it, and into PBS's comment; the first that holds.
_WORDS: tuple[tuple[Reason, str], ...] = (
    ("walltime", r"job killed: (?:walltime|cput) .*|.*DUE TO TIME LIMIT.*|.*walltime .* exceeded limit.*"),
    ("memory", r"job killed: v?mem .*|.*(?:memory|mem) .*exceeded limit.*|.*exceeded (?:job |step )?memory limit.*"),
    ("memory", r".* has exceeded memory allocation on node .*"),  # NCI's own, with exit status 271
    ("memory", r".*oom[-_]kill.*|.*out of memory.*|.*cgroup mem(?:ory|sw)? limit exceeded.*"),
    ("cpus", r"job killed: ncpus .*"),
    ("disk", r".*jobfs .*exceeded.*|.*disk quota exceeded.*|.*No space left on device.*"),
    ("node", r".*DUE TO NODE FAILURE.*|.*DUE TO PREEMPTION.*|.*(?:node|vnode)s? .*(?:failed|down).*"),
    ("deleted", r".*CANCELLED AT .*|.*deleted by .*|.*job deleted.*"),
)


def read_view(done: Finished, number: str) -> View:
    """What `qstat` said about one job. JSON and text are told apart by their first character."""
    if done.returncode == 0:
        try:
            found = read_jobs(done.stdout)
        except ValueError as error:
            return Silent(f"its answer cannot be read: {error}")
        return next((one for one in found if _same(one.number, number)), Gone())
    words = " ".join((done.stderr or done.stdout).split())
    if done.returncode in (UNKNOWN_JOB, FINISHED_JOB) or re.search(r"Unknown Job Id|has finished", words):
        return Gone()
    return Silent(words or f"qstat ended with {done.returncode}")


def _same(one: str, other: str) -> bool:
    """`12` and `12.gadi-pbs` are one job."""
    return one.partition(".")[0] == other.partition(".")[0]


def read_jobs(text: str) -> tuple[Facts, ...]:
    """Every job of `qstat -f`'s answer, as JSON or as text; `ValueError` where it is neither."""
    if text.lstrip().startswith("{"):
        # Control characters and numbers with leading zeros come from jobs' variables.
        data = json.loads(re.sub(r":0+([0-9]+)\s*([,}])", r':"\1"\2', text), strict=False)
        jobs = data.get("Jobs", {}) if isinstance(data, dict) else {}
        return tuple(_facts(number, raw) for number, raw in jobs.items() if isinstance(raw, dict))
    found = []
    for part in re.split(r"(?m)^Job Id:\s*", text)[1:]:
        number, _, rest = part.partition("\n")
        found.append(_facts(number.strip(), _attributes(rest)))
    if text.strip() and not found:
        raise ValueError(text.strip().splitlines()[0][:200])
    return tuple(found)


def _attributes(text: str) -> dict[str, str]:
    """`name = value` lines; a line that is none goes on with the value before it, as PBS folds long ones."""
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        match = re.fullmatch(r"\s+([A-Za-z_][\w.]*) = (.*)", line)
        if match:
            key = match[1]
            found[key] = match[2].strip()
        elif key:
            found[key] += line.strip()
    return found


def _facts(number: str, raw: Mapping[str, Any]) -> Facts:
    status = str(raw.get("Exit_status", raw.get("exit_status", "")))
    return Facts(
        number=number,
        name=str(raw.get("Job_Name", "")),
        state=str(raw.get("job_state", "U")),
        comment=" ".join(str(raw.get("comment", "")).split()),
        exit_status=int(status) if re.fullmatch(r"-?[0-9]+", status) else None,
        host=str(raw.get("exec_host", "")).partition("/")[0],
    )


def read_left(text: str) -> Left | None:
    """What the job wrote at its end; None if that is not there as a whole."""
    found = re.fullmatch(r"([0-9]{1,3}) (yes|no) (yes|no)\n", text)
    return Left(int(found[1]), found[2] == "yes", found[3] == "yes") if found else None


def ending(left: Left | None, facts: Facts | None, said: str) -> Ending:
    """Why a job that is over has ended.

    `said` is the end of what the scheduler wrote into the job's own output, where no command of ours writes. The
    machine's reasons come first: what a job that is being killed says about itself is not worth anything.
    """
    status = facts.exit_status if facts else None
    if status is not None and status < 0:
        return Ended(_STATUS.get(status, "lost"), _last(said, facts) or f"exit status {status}")
    for text in (said, facts.comment if facts else ""):
        for reason, pattern in _WORDS:
            found = re.search(rf"(?im)^(?:=>> PBS: )?(?:{pattern})$", text)
            if found and not (reason == "node" and left is not None):
                return Ended(reason, " ".join(found[0].split()))
    if left is not None and left.oom:
        return Ended("memory", "the kernel ended a process of the job for want of memory")
    if left is not None and left.stopped:
        return Ended("deleted", "the job was told to end")
    if left is not None:
        return Exited(left.code)
    if status is not None and status > 256:  # 256 and a signal: qdel is 271, SIGTERM
        return Ended("deleted", f"ended by signal {status - 256}")
    return Ended("lost", _last(said, facts))


def _last(said: str, facts: Facts | None) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (facts.comment if facts else "") or (lines[-1] if lines else "")


def told(number: str, view: View) -> str:
    """A line for people about where a job is; empty where there is nothing to say."""
    match view:
        case Gone():
            return ""
        case Silent(why):
            return f"the scheduler does not answer; job {number} is left as it is: {why}"
        case Facts(state=state, comment=comment, host=host):
            words = STATES.get(state, f"is in state {state}")
            where = f" on {host}" if host and state == "R" else ""
            because = f": {comment}" if comment and state not in ("R", "E") and not view.over else ""
            return f"job {number} {words}{where}{because}"
