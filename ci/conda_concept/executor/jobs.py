"""One job for one task: submitted, followed, explained, deleted when nobody wants it any more, and found again.

The order of things is such that a process that is killed at any moment leaves neither a lost job nor two:

1. an attempt gets a name that no other job has, a folder, and in it the file `go`;
2. a note with that name is on the disk before `qsub` is called, and one with the job's number after it;
3. a job begins by taking `go` away. So a process that finds a note without a number looks for a job of that name, and
   if there is none, takes `go` away itself: a job that comes late does nothing.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from conda_concept.errors import BusyError, SchedulerError, ToolError
from conda_concept.executor import request, verdict
from conda_concept.executor.answers import STATES, ending, read_left, told
from conda_concept.executor.follow import Follower, quoted
from conda_concept.executor.note import Home, Note, durable
from conda_concept.executor.process import private, umask, undisturbed
from conda_concept.executor.scheduler import Scheduler
from conda_concept.executor.task import Attempt, Ended, Exited, Facts, Gone, Left, Outcome, Silent, Task, View
from conda_concept.progress import Reporter
from conda_concept.settings import PbsExecutor
from conda_concept.store.door import explained
from conda_concept.store.lease import Lease, Taker

#: Hours that a scheduler may give no answer before we stop asking; the job is left alone.
SILENT_HOURS = 2.0
#: Seconds for `qdel` when a job is given up.
DELETE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Jobs:
    """How tasks become jobs here.

    `taker` makes sure that one process at a time looks after a task. A job's command begins with `command` and ends
    with `flags`; `environment` is what it gets, `passed` names what it gets of the job's own, `files` are in every
    job's folder.
    """

    scheduler: Scheduler
    folder: Path
    taker: Taker
    reporter: Reporter
    command: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def pbs(self) -> PbsExecutor:
        """The site's settings."""
        return self.scheduler.pbs

    def run(self, task: Task, over: Callable[[str], None] = lambda _host: None) -> Outcome:
        """Do a task in a job, or go on with the job that is doing it; its result.

        Raises what the command would have raised in place, `SchedulerError` for a job that was ended from outside, and
        `BusyError` where another process looks after this very task. An interrupt deletes the job and goes on. `over`
        is called when a job is known to have ended without a result, with the name of the machine that it ran on.
        """
        home = Home(self.folder / task.key)
        with explained(f"use {self.folder} for jobs"):
            private(self.folder)
            private(home.path)
            self._sweep()
        with self.taker.held(home.path / "waiting", f"waiting for {task.what}", wait=60) as lease:
            return _Watch(self, task, home, lease, over).run()

    def _sweep(self) -> None:
        """Once more delete the jobs that were given up when the scheduler did not listen."""
        for path in self.folder.glob("*/job.json"):
            home = Home(path.parent)
            note = home.read()
            if note is None or not note.given_up:
                continue
            with suppress(BusyError), self.taker.held(home.path / "waiting", "deleting a job that was given up"):
                number = note.attempt.number or self.scheduler.find(note.attempt)
                if home.read() == note and (not number or self.scheduler.delete(number, DELETE_SECONDS)):
                    home.discard()


@dataclass(slots=True)
class _Watch:
    """This process, looking after one task."""

    jobs: Jobs
    task: Task
    home: Home
    lease: Lease
    over: Callable[[str], None]
    attempt: Attempt | None = None
    told: str = ""
    begun: float = field(default_factory=time.monotonic)

    def run(self) -> Outcome:
        try:
            if not self._pick_up():
                self._submit()
            return self._conclude(*self._wait())
        except KeyboardInterrupt:
            with undisturbed():
                self.give_up("interrupted")
            raise

    # --- having a job -------------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        assert self.attempt is not None  # noqa: S101 - set before anything asks
        return self.home.folder(self.attempt)

    @property
    def _number(self) -> str:
        return self.attempt.number if self.attempt else ""

    def _pick_up(self) -> bool:
        """Find the job of a process before this one; False where a new one has to be made."""
        note = self.home.read()
        if note is None:
            return False
        self.attempt = note.attempt
        number = "" if note.given_up else note.attempt.number or self._find()
        if not number:
            if not self.give_up("an earlier run gave it up"):
                raise SchedulerError(f"the job that an earlier run gave up ({self.task.what}) cannot be deleted.")
            return False
        self._know(number)
        self.jobs.reporter.say(f"picked up job {number} ({self.task.what}), which an earlier run submitted")
        view = self.jobs.scheduler.look(number)
        if isinstance(view, Gone) or (isinstance(view, Facts) and view.over):
            left = self._settle(lambda: self._left() is not None) and self._left()
            if not left or left.code not in self.task.answers or left.stopped:
                self.jobs.reporter.say(f"job {number} ended meanwhile without a result: it is submitted anew")
                self._end()
                return False
        return True

    def _find(self) -> str:
        """The number of an attempt that was noted before `qsub` had answered: from the job, or by its name."""
        assert self.attempt is not None  # noqa: S101
        for _ in range(4):
            number = self._read("number").strip() or self.jobs.scheduler.find(self.attempt)
            if number:
                return number
            time.sleep(min(2.0, self.jobs.pbs.poll_seconds))
        if self.home.withdraw(self.attempt):
            return ""
        self._settle(lambda: self._read("number") != "")  # it has begun in this moment
        return self._read("number").strip()

    def _submit(self) -> None:
        jobs, task = self.jobs, self.task
        attempt = Attempt(f"cc-{secrets.token_hex(6)}")
        folder = self.home.folder(attempt)
        with explained(f"prepare a job in {folder}"):
            self.home.tidy()
            private(folder)
            for name, text in task.files.items():
                durable(folder / name, text)
            threads = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS"))
            environment = {**jobs.environment, **{name: str(task.resources.cpus) for name in threads}}
            durable(folder / "script", request.script(task, folder, environment, jobs.passed, umask()))
            durable(folder / "go", "")
            self.attempt = attempt
            self.home.write(Note(attempt))
        try:
            number = jobs.scheduler.submit(attempt, task.resources, folder)
        except (SchedulerError, ToolError):
            self.home.withdraw(attempt)  # should it be there all the same, it does nothing
            self.home.discard()
            raise
        self._know(number)
        where = f" in queue {task.resources.queue}" if task.resources.queue else ""
        jobs.reporter.say(f"submitted job {number}{where}: {task.what}")

    def _know(self, number: str) -> None:
        assert self.attempt is not None  # noqa: S101
        if number != self.attempt.number:
            self.attempt = replace(self.attempt, number=number)
            self.home.write(Note(self.attempt))

    # --- waiting ------------------------------------------------------------------------------------------------

    def _wait(self) -> tuple[Left | None, Facts | None]:
        """Until the job is over: what it left, and what the scheduler says of it."""
        pbs, follower = self.jobs.pbs, Follower(self._folder / "log", self.jobs.reporter)
        pause, asked, heard, breath = min(1.0, pbs.poll_seconds), 0.0, time.monotonic(), time.monotonic()
        facts: Facts | None = None
        while True:
            follower.pump()
            left = self._left()
            if left is not None and left.code == 0:
                break
            now = time.monotonic()
            if now - breath > 60:
                with explained(f"go on waiting for job {self._number}"):
                    self.lease.refresh()
                breath = now
            if now - asked >= pause:
                asked, pause = now, min(pause * 2, pbs.poll_seconds)
                view = self.jobs.scheduler.look(self._number)
                if not isinstance(view, Silent):
                    heard = now
                facts = view if isinstance(view, Facts) else facts
                self._tell(view, now - heard)
                if isinstance(view, Gone) or (isinstance(view, Facts) and view.over):
                    self._settle(lambda: self._left() is not None)
                    left = self._left()
                    again = self.jobs.scheduler.look(self._number) if left is None else view
                    if not isinstance(again, Facts) or again.over:  # a server that has just come up may have forgotten
                        break
                self._patience(view)
            time.sleep(min(1.0, pbs.poll_seconds))
        self._settle(lambda: left is None or (self._folder / "log").exists())
        follower.finish()
        return left, facts

    def _tell(self, view: View, silence: float) -> None:
        """Say it when something has changed."""
        line = told(self._number, view)
        if line and line != self.told:
            self.told = line
            self.jobs.reporter.say(line)
        if isinstance(view, Silent) and silence > SILENT_HOURS * 3600:
            raise SchedulerError(
                f"the scheduler has not answered for {SILENT_HOURS:g} hours: {view.why}",
                hint=f"Job {self._number} may still run. The same command picks it up again.",
            )

    def _patience(self, view: View) -> None:
        """Give up a job that does not begin."""
        if not isinstance(view, Facts):
            return
        if view.state not in ("Q", "H", "W", "T"):
            self.begun = time.monotonic()
            return
        hours = self.jobs.pbs.queue_hours
        if time.monotonic() - self.begun > hours * 3600:
            self.give_up("it did not begin")
            why = f": {view.comment}" if view.comment else ""
            raise SchedulerError(
                f"job {self._number} ({self.task.what}) did not begin within {hours:g} hours, so it was deleted; "
                f"it {STATES[view.state]}{why}. {verdict.OURS}",
                hint="Look at `queue` and `queue_hours` in the site file's executor, and at what the project has left.",
            )

    def _settle(self, there: Callable[[], bool]) -> bool:
        """Give a file server the time that it may need to show here what a node has written there."""
        deadline = time.monotonic() + self.jobs.pbs.settle_seconds
        while not there():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    # --- its end ------------------------------------------------------------------------------------------------

    def _conclude(self, left: Left | None, facts: Facts | None) -> Outcome:
        folder, number, task = self._folder, self._number, self.task
        done = left is not None and left.code == 0
        if not done:
            # The machine's reason stands there, if it has one; without a word of the job's it has to.
            said, own = self._folder / "scheduler", left is not None and not left.stopped
            self._settle(lambda: said.exists() and (own or self._read("scheduler") != ""))
            for line in self._read("scheduler").splitlines()[-30:]:
                self.jobs.reporter.say(quoted(line))
        end = Exited(0) if done else ending(left, facts, self._read("scheduler"))
        out = self._read("out")
        match end:
            case Exited(code) if code in task.answers:
                self.home.discard()
                shutil.rmtree(folder, ignore_errors=True)
                return Outcome(code, out)
            case Exited(code):
                self._end()
                raise verdict.failed(task, number, code, out, str(folder))
            case Ended():
                self._end()
                raise verdict.ended(task, number, end, str(folder))

    def give_up(self, why: str) -> bool:
        """Nobody wants this job any more: it must not begin, and it has to go. Whether it is gone."""
        if self.attempt is None:
            return True
        scheduler, say = self.jobs.scheduler, self.jobs.reporter.say
        with suppress(OSError):  # the job has to go even where the disk is full
            self.home.write(Note(self.attempt, given_up=True))  # whoever comes next goes on with this
        with suppress(OSError):
            self.home.withdraw(self.attempt)
        number = self._number or self._read("number").strip() or scheduler.find(self.attempt)
        if not number:
            self.home.discard()
            return True
        say(f"deleting job {number}: {why} …")
        if not scheduler.delete(number, DELETE_SECONDS):
            self.jobs.reporter.warn(f"job {number} could not be deleted; the next run tries again.")
            return False
        self._settle(lambda: scheduler.over(number))
        self._end()
        say(f"deleted job {number}")
        return True

    def _end(self) -> None:
        """The present job has ended, without a result: the next process makes a new one."""
        self.home.discard()
        host = self._read("host").strip()
        if host:
            self.over(host)

    def _left(self) -> Left | None:
        return read_left(self._read("exit"))

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_bytes()[-(1 << 24) :].decode("utf-8", errors="replace")
        except OSError:
            return ""
