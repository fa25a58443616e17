"""The scheduler's own programs, started and understood: one method each."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import SchedulerError, ToolError
from conda_concept.executor import request
from conda_concept.executor.answers import read_jobs, read_view
from conda_concept.executor.task import Attempt, Facts, Gone, Silent, View
from conda_concept.run import CLEAN_ENVIRONMENT, Finished, find_tool, run
from conda_concept.settings import PbsExecutor, Resources

#: Seconds that one of its programs may take; a busy server answers late, not never.
LIMIT = 120.0
#: How often a submission is tried that the server did not take for a reason of its own.
TRIES = 5
_NUMBER = re.compile(r"[0-9]+(\[\])?(\.[A-Za-z0-9_.-]+)?")
#: Words of a server that is away, restarting or busy, as against those of one that says no.
_AWAY = re.compile(
    r"cannot connect|connection refused|unable to contact|timed? ?out|communication failure|end of file"
    r"|temporarily|try again|server shutting down|no server|slurm_receive|Protocol error",
    re.IGNORECASE,
)
#: What an operator can do about a refusal, by a word in it.
_ADVICE = (
    (r"limit|exceed|maxim|more processors|too many", "Ask for less there, or wait for other jobs to end."),
    (r"project|account|allocation|grant|balance", "Look at `project` there, and at what it has left."),
    (r"storage", "Look at `storage` there."),
    (r"queue|partition", "Look at `queue` there: does it exist, and may this account use it?"),
)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One scheduler, as the site file describes it."""

    pbs: PbsExecutor

    def submit(self, attempt: Attempt, resources: Resources, folder: Path) -> str:
        """The number of the job that an attempt has become. `SchedulerError` with the scheduler's words if it says no.

        A server that is away is tried again, each time after a look whether the job is there all the same.
        """
        argv = request.submit(self.pbs, attempt, resources, folder)
        for turn in range(1, TRIES + 1):
            done = self._submitted(argv, folder)
            said = " ".join((done.stderr + "\n" + done.stdout).split())
            lines = done.stdout.split()
            if done.returncode == 0 and lines and _NUMBER.fullmatch(lines[-1]):
                return lines[-1]
            if turn == TRIES or not _AWAY.search(said):
                words = said[-1500:] or f"qsub ended with {done.returncode}"
                raise SchedulerError(f"the scheduler did not take the job: {words}", hint=_advice(said))
            time.sleep(self.pbs.poll_seconds * turn)
            number = self.find(attempt)
            if number:
                return number
        raise AssertionError("the loop returns or raises")

    def _submitted(self, argv: list[str], folder: Path) -> Finished:
        """What `qsub` said; one that did not end in time is a server that is away."""
        if not Path(argv[0]).exists():
            raise ToolError(f"there is no {argv[0]}.", hint="Look at `bin` in the site file's executor.")
        try:
            return self._run(argv, folder)
        except ToolError as error:
            return Finished(tuple(argv), 1, "", f"timed out: {error}")

    def look(self, number: str) -> View:
        """What is known of a job now; never raises."""
        try:
            done = self._run(request.status(self.pbs, number))
            if self.pbs.dialect == "pbspro" and "job history" in done.stderr:  # switched off at this server
                done = self._run(request.status(self.pbs, number, history=False))
            view = read_view(done, number)
            if isinstance(view, Silent) and done.returncode == 0 and self.pbs.dialect == "pbspro":
                view = read_view(self._run(request.status_text(self.pbs, number)), number)
        except ToolError as error:
            return Silent(str(error))
        return view

    def find(self, attempt: Attempt) -> str:
        """The number of the job that has an attempt's name; empty if there is none now."""
        try:
            done = self._run(request.named(self.pbs, attempt.name))
        except ToolError:
            return ""
        if self.pbs.dialect == "pbspro":
            found = [line for line in done.stdout.split() if _NUMBER.fullmatch(line)]
            return found[-1] if found else ""
        try:
            jobs = read_jobs(done.stdout)
        except ValueError:
            return ""
        return next((job.number for job in jobs if job.name == attempt.name), "")

    def delete(self, number: str, seconds: float) -> bool:
        """Delete a job, for so many seconds at most; whether the scheduler has taken the wish, or the job is over.

        `qdel` is nobody's child (`setsid --fork`): GitHub's runner kills us with all our children ten seconds after a
        run is cancelled, and a busy server may need longer. So its exit code is not known; where it fails, it says so.
        """
        argv = [str(find_tool("setsid")), "--fork", *request.delete(self.pbs, number)]
        try:
            done = run(argv, env=self._environment, timeout=seconds, check=False)
        except ToolError:
            return self.over(number)
        return not (done.stdout + done.stderr).strip() or self.over(number)

    def over(self, number: str) -> bool:
        """Whether a job has ended, or is not known (any more)."""
        view = self.look(number)
        return isinstance(view, Gone) or (isinstance(view, Facts) and view.over)

    @property
    def _environment(self) -> dict[str, str]:
        return {**CLEAN_ENVIRONMENT, **self.pbs.variables}

    def _run(self, words: list[str], folder: Path | None = None) -> Finished:
        return run(words, env=self._environment, cwd=folder, timeout=LIMIT, check=False)


def _advice(said: str) -> str:
    found = [advice for pattern, advice in _ADVICE if re.search(pattern, said, re.IGNORECASE)]
    return " ".join(["What is asked for stands in the site file's `executor`.", *found[:1]])
