"""report: check what the untrusted job computed, say it in the pull request, start the build where that is right."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conda_concept.conversation import PullFacts, RunFacts, asked_by, asked_by_us, marker, may_build, ours, superseded
from conda_concept.document import MAX_BYTES
from conda_concept.errors import ConcError, InputError, IntegrityError, NotFoundError, RefusedError
from conda_concept.matrix import touched
from conda_concept.proposal import Part, Proposal
from conda_concept.render import diff as render_diff
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.steps.accept import Desk, line
from conda_concept.steps.diff import compare


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
        """Comment on every environment, set the status, start the build."""
        hub, pull = self.desk.hub, self.pull
        try:
            proposal = self.desk.proposal(self.run, pull)
        except NotFoundError:
            # The job ended before it had anything to say: a runner, the network, a defect of ours.
            hub.status(pull.head_sha, "error", "Not your change: our job did not finish. It can be run again.")
            return Reported(pull, (), building=False)
        except (InputError, IntegrityError):
            hub.status(pull.head_sha, "error", "The data of this run is not what our job writes: nothing was used.")
            raise
        paths = hub.changed_files(pull.number)
        self._refuse_less(proposal, paths)
        if not proposal.parts:
            hub.status(pull.head_sha, "success", "No environment is touched.")
            return Reported(pull, (), building=False, untouched=True)
        trusted = asked_by_us(pull, hub.here.bot) or may_build(hub.permission(asked_by(pull, hub.here.bot)))
        machinery = render.machinery(paths)
        said = [self._say(part, proposal, machinery, trusted=trusted) for part in proposal.parts]
        building = trusted and all(one.ready for one in said)
        self._settle(said, building=building)
        verdicts = tuple((one.name, one.verdict) for one in said)
        return Reported(pull, verdicts, building=building, tables=tuple(one.table for one in said if one.table))

    def _refuse_less(self, proposal: Proposal, paths: Sequence[str]) -> None:
        """`RefusedError` where the data leaves out what is touched: silence must not pass the required status."""
        hub, sha = self.desk.hub, self.pull.head_sha
        folders = {path.split("/")[1] for path in paths if path.startswith("environments/") and path.count("/") > 1}
        names = sorted({*self.desk.main.environments(), *folders})
        for item in touched(paths, names, self.site):
            if proposal.part(item.environment) is None and self._there(item.environment):
                hub.status(sha, "error", "The data of this run is not what our job writes: nothing was used.")
                raise RefusedError(
                    f"{item.environment} is touched, and the data of run {self.run.number} leaves it out."
                )

    def _there(self, name: str) -> bool:
        try:
            self.desk.hub.file_at(f"environments/{name}/environment.yml", self.pull.head_sha, MAX_BYTES)
        except InputError as error:
            return "is missing" not in error.message
        return True

    def _say(self, part: Part, proposal: Proposal, machinery: Sequence[str], *, trusted: bool) -> "_Spoken":
        spoken = self._words(part, proposal, machinery, trusted=trusted)
        hub, pull = self.desk.hub, self.pull
        self.desk.at(pull.number, pull.head_sha)  # stops here if the head has moved
        hub.say(pull.number, marker("diff", part.name), spoken.text)
        self._supersede(part.name)
        return spoken

    def _supersede(self, name: str) -> None:
        """What was built before this commit is not wrong, it is about another one."""
        hub, mark = self.desk.hub, marker("build", name)
        before = ours(hub.comments(self.pull.number), mark, hub.here.bot)
        if before is not None and f"`{self.pull.head_sha[:12]}`" not in before.body.rpartition("<sub>")[2]:
            hub.say(self.pull.number, mark, superseded(before.body, self.pull.head_sha), only_update=True)

    def _words(self, part: Part, proposal: Proposal, machinery: Sequence[str], *, trusted: bool) -> "_Spoken":
        heading = self._heading(part, proposal)
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
        step = render.next_step(self.pull.head_sha, accepted.widened, trusted=trusted)
        notes = (*part.notes, *machinery, *self._behind(part.name, proposal))
        text = render.changes(part.name, replace(heading, next_step=step, notes=notes), diffs)
        verdict = "widened" if accepted.widened else "solved"
        return _Spoken(part.name, verdict, text, render_diff.text(heading, diffs))

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

    def _settle(self, said: "Sequence[_Spoken]", *, building: bool) -> None:
        hub, sha = self.desk.hub, self.pull.head_sha
        verdicts = {one.verdict for one in said}
        if building:
            inputs = {"pull_request": str(self.pull.number), "sha": sha, "run": str(self.run.number)}
            hub.status(sha, "pending", "Solved; being built and tested.")
            try:
                hub.dispatch(self.workflow, hub.here.default_branch, inputs)
            except ConcError:
                hub.status(sha, "error", f"Not your change: the build could not begin. `/build {sha}` tries again.")
                raise
        elif "failed" in verdicts:
            hub.status(sha, "error", "Not your change: something failed on our side. It can be run again.")
        elif "refused" in verdicts:
            hub.status(sha, "error", "The lock of this run is not one that may be built.")
        elif verdicts & {"invalid", "unsolvable"}:
            what = "cannot be solved" if "unsolvable" in verdicts else "has a mistake"
            names = ", ".join(one.name for one in said if one.verdict in ("invalid", "unsolvable"))
            hub.status(sha, "failure", f"{names} {what}; the comment says why.")
        else:
            hub.status(sha, "pending", "Solved; waits for a maintainer to start the build.")


@dataclass(frozen=True, slots=True)
class _Spoken:
    name: str
    verdict: str
    text: str
    table: str = ""

    @property
    def ready(self) -> bool:
        return self.verdict == "solved"
