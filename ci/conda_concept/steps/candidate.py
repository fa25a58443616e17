"""candidate: build and test, on the site, what a pull request asks for: its spec and lock as data, all else main's."""

from dataclasses import dataclass

from conda_concept.conversation import PullFacts, RunFacts, Said, asked_by, is_about, marker, ours
from conda_concept.errors import BuildError, ConcError, GateError, InputError, RefusedError
from conda_concept.lockfile import digest
from conda_concept.model import Lock, Release, ReleaseRecord, Source, Spec
from conda_concept.operations import release_candidate
from conda_concept.proposal import Proposal
from conda_concept.render import comments, report
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.run import CommandError
from conda_concept.steps.accept import UNFINISHED, Desk
from conda_concept.steps.build import Order
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import published
from conda_concept.steps.work import build, judge

#: What a build says about the change itself; everything else is a failure of ours.
THEIRS = (BuildError, CommandError, InputError)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One build for one environment of one pull request."""

    desk: Desk
    edges: Edges
    pull: PullFacts
    run: RunFacts
    name: str

    def make(self) -> ReleaseRecord:
        """Build, test, offer for a try, and say so; what failed is said too, and raised again."""
        proposal = self.desk.proposal(self.run, self.pull)
        part = proposal.part(self.name)
        if part is None or part.outcome != "solved":
            raise RefusedError(f"run {self.run.number} has no lock for {self.name}.")
        self._say(render.started(self.name, self._heading))
        try:
            return self._build(proposal)
        except GateError:
            raise  # the comment is there
        except THEIRS as error:
            self._say(render.broken(self.name, str(error), self._heading))
            self.desk.hub.status(self.pull.head_sha, "failure", f"{self.name} cannot be built; the comment says why.")
            raise
        except (ConcError, KeyboardInterrupt) as error:
            again = f"A maintainer can start it again with a comment `/build {self.pull.head_sha}`"
            self._say(render.unfinished(self.name, str(error), self._heading, again=again))
            self.desk.hub.status(self.pull.head_sha, "error", "Not your change: the build failed on our side.")
            raise

    def _build(self, proposal: Proposal) -> ReleaseRecord:
        part = proposal.part(self.name)
        if part is None:
            raise RefusedError(f"run {self.run.number} says nothing about {self.name}.")
        accepted = self.desk.accept(part, proposal)
        source = Source(
            commit=self.pull.head_sha,
            pull_request=str(self.pull.number),
            author=asked_by(self.pull, self.desk.hub.here.bot),
            base_lock=started_from(
                accepted.spec, accepted.before, self.desk.main.locked_version(self.name, proposal.base)
            ),
        )
        edges, spec = self.edges, accepted.spec
        known = spec.name in edges.repository.environments()
        # main's files, never the pull request's
        scripts = (edges.repository.overrides(spec), edges.repository.hooks(spec)) if known else ((), ())
        order = Order(spec, accepted.lock, accepted.text, source, *scripts)
        built = build(order, edges)
        judged = judge(built.record.release, spec, edges, again=False)
        trial = self._expose(built.record.release) if judged.report.passed else None
        before = published(built.record.release, edges)
        text = comments.build_comment(
            built.record,
            edges.store.reader.record(before) if before else None,
            judged.report,
            trial,
            commit=self.pull.head_sha,
            waiting=self._own_tests_wait(),
        )
        self._say(text)
        if not judged.report.passed:
            self.desk.hub.status(self.pull.head_sha, "failure", f"{self.name} is built, but its tests say no.")
            raise GateError(report.verdict_line(judged.report))
        return built.record

    def _own_tests_wait(self) -> bool:
        """Whether the pull request changes the environment's own tests, which do not run before it is merged."""
        folder = f"environments/{self.name}/tests/"
        return any(path.startswith(folder) for path in self.desk.hub.changed_files(self.pull.number))

    def _expose(self, release: Release) -> comments.Trial:
        state = self.edges.store.reader.state()
        new = not state.target(release.label)  # a version that nobody has yet: this is a release candidate
        name = release_candidate(state, release) if new else f"{self.name}-pr{self.pull.number}"
        folder = self.edges.store.expose(release, name)
        return comments.Trial(str(folder), f"{self.edges.store.layout.product}/{name}")

    @property
    def _heading(self) -> Heading:
        url = self.desk.hub.here.run_url
        return Heading(self.name, commit=self.pull.head_sha, links=(("run", url),) if url else ())

    def _say(self, text: str) -> None:
        """Say it while the head is what it is about; afterwards a newer commit has its own comment."""
        try:
            self.desk.at(self.pull.number, self.pull.head_sha)
        except RefusedError as error:
            self.edges.reporter.warn(f"not said in the pull request: {error.message}")
            return
        self.desk.hub.say(self.pull.number, marker("build", self.name), text)


ANEW = "nothing: all packages were free to move"
"""What a lock says that it was solved from where it starts a version anew."""


def started_from(spec: Spec, before: Lock | None, locked: str) -> str:
    """What the lock of `spec` is solved from, where the present lock is `before`, that of version `locked`."""
    return ANEW if spec.starts_anew(locked) else base_digest(before)


def base_digest(before: Lock | None) -> str:
    """What a lock was solved from: its digest for the platforms that it has; `none` for a first lock."""
    return "none" if before is None else " ".join(digest(before, platform) for platform in sorted(before.platforms))


def settle(desk: Desk, pull: PullFacts, names: tuple[str, ...], result: str) -> None:
    """The last word on all builds of a commit: `result` is GitHub's word on the job matrix.

    A runner that died, or that never came, has said nothing: then the comments say so, as a failure of ours. No names
    at all are a guard or a report that did not come to an end, whose own words stay where it could still say why.
    """
    hub = desk.hub
    if result == "success":
        hub.status(pull.head_sha, "success", "Built and tested; merging publishes it.")
        return
    said = hub.comments(pull.number)
    silent = [name for name in names if not _heard(ours(said, marker("build", name), hub.here.bot), name, pull)]
    for name in silent:
        heading = Heading(name, commit=pull.head_sha)
        again = f"A maintainer can start it again with a comment `/build {pull.head_sha}`"
        words = render.unfinished(name, f"the job ended: {result}", heading, again=again)
        hub.say(pull.number, marker("build", name), words)
    if silent or (names and result == "cancelled"):
        hub.status(pull.head_sha, "error", "Not your change: the build did not finish on our side.")
    elif not names and hub.status_of(pull.head_sha)[0] not in ("error", "failure"):
        hub.status(pull.head_sha, "error", UNFINISHED)


def _heard(comment: Said | None, name: str, pull: PullFacts) -> bool:
    """Whether a build has said how it ended: there is a comment about this commit, and it is not that it began."""
    if comment is None or not is_about(comment.body, pull.head_sha):
        return False
    began = render.started(name, Heading(name, commit=pull.head_sha)).split("\n")[1]
    return comment.body.replace("\r\n", "\n").split("\n")[1] != began
