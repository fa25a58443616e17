"""report: check what the untrusted job computed, say it in the pull request, start the build where that is right."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from conda_concept.conversation import (
    MovedOnError,
    PullFacts,
    RunFacts,
    all_ours,
    asked_by,
    asked_by_us,
    is_about,
    marker,
    may_build,
    superseded,
    was_started,
    with_run,
)
from conda_concept.document import MAX_BYTES
from conda_concept.errors import ConcError, InputError, IntegrityError, NotFoundError, RefusedError
from conda_concept.github.hub import State
from conda_concept.lockfile import digest as lock_digest
from conda_concept.matrix import touched
from conda_concept.proposal import Part, Proposal, digest
from conda_concept.render import diff as render_diff
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.steps.accept import UNFINISHED, Desk, line
from conda_concept.steps.diff import compare

#: Reasons why an environment is touched after which it is built before the merge. All else (a site file, templates,
#: hooks) is main's until then, and such a build would be what is published already; of tests, the build's comment says.
_BUILT = frozenset({"spec", "config", "lock", "tests"})


@dataclass(frozen=True, slots=True)
class Reported:
    """What was said: the pull request, each environment's verdict in a word, and whether a build was started.

    `untouched`: there was nothing to say, because no environment is touched.
    """

    pull: PullFacts
    verdicts: tuple[tuple[str, str], ...]
    building: bool
    #: Everything that changes, for the job summary: a comment may have to leave something out.
    tables: tuple[str, ...] = ()
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """One report on one run."""

    desk: Desk
    run: RunFacts
    pull: PullFacts
    now: dt.datetime
    site: str
    workflow: str = "build.yml"

    def make(self) -> Reported:
        """Comment on every environment, set the status, start the build; delivered once more, change nothing.

        Whatever ends this early is in the status before it is raised: people look there, and not into a job's log.
        `MovedOnError` alone says nothing, because a newer commit has a run of its own.
        """
        hub, pull = self.desk.hub, self.pull
        try:
            proposal = self.desk.proposal(self.run, pull)
            paths = hub.changed_files(pull.number)
            touched_here = self._touched(proposal, paths)
        except NotFoundError:
            # The job ended before it had anything to say: a runner, the network, a defect of ours.
            hub.status(pull.head_sha, "error", UNFINISHED)
            return Reported(pull, (), building=False)
        except (InputError, IntegrityError, RefusedError):
            hub.status(pull.head_sha, "error", "The data of this run is not what our job writes: nothing was used.")
            raise
        except ConcError:
            hub.status(pull.head_sha, "error", UNFINISHED)
            raise
        try:
            context = _Context(
                proposal, render.machinery(paths), touched_here, self._is_trusted(), self._was_started(proposal)
            )
            said = [self._say(part, context) for part in proposal.parts]
            self._supersede({one.name: one.locks for one in said})
        except MovedOnError:
            raise
        except ConcError:
            hub.status(pull.head_sha, "error", UNFINISHED)
            raise
        building = self._settle(said, context)
        return Reported(
            pull,
            tuple((one.name, one.verdict) for one in said),
            building=building,
            tables=tuple(one.table for one in said if one.table),
            untouched=not said,
        )

    def _is_trusted(self) -> bool:
        """Whether this is built unasked: nobody can change what it comes from but people who may start a build."""
        hub, pull = self.desk.hub, self.pull
        if asked_by_us(pull, hub.here.bot):
            return True
        return pull.from_its_author and may_build(hub.permission(asked_by(pull, hub.here.bot)))

    def _was_started(self, proposal: Proposal) -> bool:
        """Whether a build of this very proposal was asked for before; see `_start`."""
        hub, pull = self.desk.hub, self.pull
        comments = hub.comments(pull.number)
        return was_started(comments, pull.head_sha, hub.here.bot, self.run.number, digest(proposal))

    def _touched(self, proposal: Proposal, paths: Sequence[str]) -> dict[str, frozenset[str]]:
        """The environments that the pull request touches, with the reasons; `RefusedError` where the data has others.

        What is left out would pass the required status in silence; what is too much would be built unasked.
        """
        folders = {path.split("/")[1] for path in paths if path.startswith("environments/") and path.count("/") > 1}
        names = sorted({*self.desk.main.environments(), *folders})
        found = {item.environment: frozenset(item.reasons) for item in touched(paths, names, self.site)}
        for name in found:
            if proposal.part(name) is None and self._there(name):
                raise RefusedError(f"{name} is touched, and the data of run {self.run.number} leaves it out.")
        for part in proposal.parts:
            if part.name not in found:
                raise RefusedError(f"{part.name} is not touched, and is in the data of run {self.run.number}.")
        return found

    def _there(self, name: str) -> bool:
        try:
            self.desk.hub.file_at(f"environments/{name}/environment.yml", self.pull.head_sha, MAX_BYTES)
        except InputError as error:
            return "is missing" not in error.message
        return True

    def _say(self, part: Part, context: "_Context") -> "_Spoken":
        spoken = self._words(part, context)
        hub, pull = self.desk.hub, self.pull
        self.desk.at(pull.number, pull.head_sha)  # stops here if the head has moved
        plan = digest(context.proposal) if context.started else ""
        hub.say(pull.number, marker("diff", part.name), with_run(spoken.text, self.run.number, plan))
        return spoken

    def _supersede(self, locks: Mapping[str, frozenset[str]]) -> None:
        """What was said before is not wrong, it is about another commit or another lock.

        `locks`: the environments that have a new diff by now, with the digests of what it shows, for each platform.
        """
        hub, pull = self.desk.hub, self.pull
        self.desk.at(pull.number, pull.head_sha)
        for (key, name), comment in all_ours(hub.comments(pull.number), hub.here.bot).items():
            current = name in locks and (key == "diff" or is_about(comment.body, pull.head_sha, locks[name]))
            if key in ("diff", "build") and not current:
                words = superseded(comment.body, pull.head_sha, touched=name in locks)
                hub.say(pull.number, marker(key, name), words, only_update=True)

    def _words(self, part: Part, context: "_Context") -> "_Spoken":
        proposal = context.proposal
        heading = replace(self._heading(part, proposal), notes=context.machinery)
        if part.outcome == "failed":
            return _Spoken(part.name, "failed", render.failed(part.name, part.problems, heading))
        try:
            spec = self.desk.spec(part.name, proposal.head)
        except InputError as error:
            return _Spoken(part.name, "invalid", render.invalid(part.name, error.problems or (str(error),), heading))
        heading = replace(heading, label=spec.label)
        if part.outcome == "invalid":
            return _Spoken(part.name, "invalid", render.invalid(part.name, part.problems, heading))
        if part.unsolvable is not None:
            text = render.unsolvable(part.name, heading, part.unsolvable.explanation)
            return _Spoken(part.name, "unsolvable", text)
        try:
            accepted = self.desk.accept(part, proposal)
        except IntegrityError as error:
            return _Spoken(part.name, "refused", render.refused(part.name, str(error), heading))
        diffs = compare(accepted.before, accepted.lock, spec, self.now)
        notes = (*part.notes, *context.machinery, *self._behind(part.name, proposal))
        if not context.touched[part.name] & _BUILT and not any(diff.changes for diff in diffs):
            heading = replace(heading, next_step=render.after_the_merge(), notes=notes)
            return _Spoken(part.name, "later", render.changes(part.name, heading, diffs))
        step = render.next_step(self.pull.head_sha, accepted.widened, trusted=context.trusted)
        text = render.changes(part.name, replace(heading, next_step=step, notes=notes), diffs)
        verdict = "widened" if accepted.widened else "solved"
        locks = frozenset(lock_digest(accepted.lock, platform) for platform in accepted.lock.platforms)
        return _Spoken(part.name, verdict, text, render_diff.text(heading, diffs), locks)

    def _behind(self, name: str, proposal: Proposal) -> list[str]:
        main = self.desk.main
        if name not in main.environments() or main.lock_text_at(name, proposal.base) == main.lock_text_at(
            name, line(self.pull)
        ):
            return []
        words = (
            f"{self.pull.base_branch} has a newer lock of {name} than this branch starts from. The merge will build "
            "once more before it publishes; update the branch to see here what comes out."
        )
        return [words]

    def _heading(self, part: Part, proposal: Proposal) -> Heading:
        here = self.desk.hub.here
        base = f"{self.pull.base_branch} at {proposal.base[:12]}"
        run = ("run", f"{here.home}/actions/runs/{self.run.number}")
        return Heading(part.name, commit=proposal.head, base=base, links=(run,))

    def _settle(self, said: "Sequence[_Spoken]", context: "_Context") -> bool:
        """Set the status, and start the build where that is right; whether it was started here.

        Where a build of this very proposal was asked for before, the status is that build's: whether it waits, runs,
        or has ended, it stays as it is. Only what failed on our side is started once more.
        """
        verdicts = {one.verdict for one in said}
        if not verdicts:
            self._status("success", "No environment is touched.")
        elif verdicts == {"later"}:
            self._status("success", "No package changes; what else changes is built and tested after the merge.")
        elif context.trusted and "solved" in verdicts and verdicts <= {"solved", "later"}:
            if context.started and self.desk.hub.status_of(self.pull.head_sha)[0] != "error":
                return False
            self._start(context.proposal)
            return True
        elif "failed" in verdicts:
            self._status("error", "Not your change: something failed on our side. It can be run again.")
        elif "refused" in verdicts:
            self._status("error", "The lock of this run is not one that may be built.")
        elif verdicts & {"invalid", "unsolvable"}:
            what = "cannot be solved" if "unsolvable" in verdicts else "has a mistake"
            names = ", ".join(one.name for one in said if one.verdict in ("invalid", "unsolvable"))
            self._status("failure", f"{names} {what}; the comment says why.")
        elif not context.started:
            self._status("pending", "Solved; waits for a maintainer to start the build.")
        return False

    def _status(self, state: State, text: str) -> None:
        """Set the status, unless it says so already: another run's link alone is no reason to write."""
        if self.desk.hub.status_of(self.pull.head_sha)[:2] != (state, text):
            self.desk.hub.status(self.pull.head_sha, state, text)

    def _start(self, proposal: Proposal) -> None:
        """Start the build, and write down that it was.

        The status comes first: set after the build was asked for, it could hide what a quick build has said by then.
        What keeps the same report, delivered again, from asking again comes last, and is in the comments, where it
        hides nothing. So a job that dies before that is made up for by the next delivery. Between the last two steps
        the build is asked for twice, unless its guard has noted it: that costs time, and changes nothing. The other
        way round a pull request could wait for ever for a build that nobody had asked for.
        """
        hub, sha = self.desk.hub, self.pull.head_sha
        inputs = {"pull_request": str(self.pull.number), "sha": sha, "run": str(self.run.number)}
        self._status("pending", "Solved; being built and tested.")
        try:
            hub.dispatch(self.workflow, hub.here.default_branch, inputs)
        except ConcError:
            hub.status(sha, "error", f"Not your change: the build could not begin. `/build {sha}` tries again.")
            raise
        self.desk.note_start(self.run, self.pull, proposal)


@dataclass(frozen=True, slots=True)
class _Context:
    """What holds for all parts: the data, a sentence about machinery, why each environment is touched, trust.

    `started`: a build of this very data was asked for before.
    """

    proposal: Proposal
    machinery: tuple[str, ...]
    touched: Mapping[str, frozenset[str]]
    trusted: bool
    started: bool


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A comment and its verdict: failed, invalid, unsolvable, refused, widened, solved, or `later`: after the merge.

    `locks`: the digests of the lock that it shows, for each platform; empty where there is none to build.
    """

    name: str
    verdict: str
    text: str
    table: str = ""
    locks: frozenset[str] = frozenset()
