"""What the trusted jobs take from a pull request, and on what terms: spec and lock as data, at one commit."""

from dataclasses import dataclass

from conda_concept.conversation import BUILDING, SHA, PullFacts, RunFacts, bind, still, with_start
from conda_concept.document import MAX_BYTES, SourceText
from conda_concept.errors import ConcError, IntegrityError, RefusedError
from conda_concept.github import Hub
from conda_concept.lockcheck import check_lock
from conda_concept.lockfile import loads as read_lock
from conda_concept.model import Lock, Spec
from conda_concept.proposal import ARTIFACT, MEMBER, Part, Proposal, digest, loads
from conda_concept.proposal import MAX_BYTES as MAX_PROPOSAL
from conda_concept.record import LABEL
from conda_concept.repository import Repository
from conda_concept.settings import Config
from conda_concept.spec import read_spec

#: The status where a job of ours ended before it could say more.
UNFINISHED = "Not your change: our job did not finish. It can be run again."


@dataclass(frozen=True, slots=True)
class Accepted:
    """A checked lock for a checked spec, the lock that it starts from, and what a maintainer has to know.

    `widened` are channels, hosts and exceptions that the pull request itself adds: never built unasked.
    """

    spec: Spec
    lock: Lock
    text: str
    before: Lock | None
    widened: tuple[str, ...] = ()


def line(pull: PullFacts) -> str:
    """What it is to be merged into, in a checkout of the main branch: that, or the branch of an older version."""
    return f"origin/{pull.base_branch}" if LABEL.fullmatch(pull.base_branch) else "HEAD"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a trusted job works: GitHub, and the checkout of the main branch."""

    hub: Hub
    main: Repository

    def proposal(self, run: RunFacts, pull: PullFacts) -> Proposal:
        """The proposal of a run, if it is about the pull request's present head; `RefusedError` otherwise."""
        if run.repository != self.hub.here.repository:
            raise RefusedError(f"run {run.number} is one of {run.repository}.")
        main = self.hub.here.default_branch
        if run.path == BUILDING:
            # The answer to `/relock`: main's own code made it, in a run of main's own.
            if run.event not in ("issue_comment", "workflow_dispatch") or run.head_branch != main:
                raise RefusedError(f"run {run.number} is not one of {BUILDING} on {main}.")
        elif bind(run, [pull]) != pull:
            raise RefusedError(f"run {run.number} is not one of pull request #{pull.number}.")
        text = self.hub.member(run.number, ARTIFACT, MEMBER, MAX_PROPOSAL).decode("utf-8", errors="replace")
        proposal = loads(text)
        if proposal.head != pull.head_sha:
            raise RefusedError(
                f"the data of run {run.number} is about commit {proposal.head[:12]}, "
                f"pull request #{pull.number} is at {pull.head_sha[:12]}: it is not used."
            )
        if not self.main.is_ancestor(proposal.base, line(pull)):
            raise RefusedError(f"{proposal.base[:12]}, which it starts from, is no commit of {pull.base_branch}.")
        return proposal

    def pull_of(self, run: RunFacts) -> PullFacts:
        """The pull request that a run was made for."""
        branch = run.head_branch or "-"
        return bind(run, self.hub.pulls_with_head(run.head_repository or "-", branch))

    def at(self, number: int, sha: str) -> PullFacts:
        """The pull request, if its head is this commit now."""
        if not SHA.fullmatch(sha):
            raise RefusedError(f"`{sha[:60]}` is not a full commit.")
        return still(self.hub.pull(number), sha)

    def note_start(self, run: RunFacts, pull: PullFacts, proposal: Proposal) -> None:
        """Write down, in our comments that show this proposal, that its build was asked for; twice is once."""
        hub, sha = self.hub, pull.head_sha
        comments = hub.comments(pull.number)
        for mark, text in with_start(comments, sha, hub.here.bot, run.number, digest(proposal)).items():
            hub.say(pull.number, mark, text, only_update=True)

    def spec(self, name: str, sha: str) -> Spec:
        """The spec of an environment at a commit, taken as data; `InputError` with everything that is wrong."""
        files = [f"environments/{name}/{file}" for file in ("environment.yml", "config.yml")]
        first, second = (SourceText(path, self.hub.file_at(path, sha, MAX_BYTES)) for path in files)
        return read_spec(name, first, second)

    def accept(self, part: Part, proposal: Proposal) -> Accepted:
        """The lock of a solved part, if it holds for the spec at that commit; `IntegrityError` with what does not."""
        spec = self.spec(part.name, proposal.head)
        try:
            lock = read_lock(part.lock)
            problems = [
                problem
                for platform in spec.config.platforms
                for problem in check_lock(lock, spec, platform, spec.config.virtual_packages)
            ]
        except ConcError as error:
            problems = [error.message]
            lock = None
        if problems or lock is None:
            listed = "\n".join(f"- {problem[:300]}" for problem in problems[:20])
            raise IntegrityError(f"the lock that was computed for {part.name} is not one that may be built:\n{listed}")
        before = self.main.lock_text_at(part.name, proposal.base)
        return Accepted(spec, lock, part.lock, read_lock(before) if before else None, self._widened(spec))

    def _widened(self, spec: Spec) -> tuple[str, ...]:
        """What this spec would allow that the main branch's does not; a new environment is all new."""
        if spec.name not in self.main.environments():
            return (f"a new environment, with channels {', '.join(spec.config.allowed_channels)}",)
        config, known = spec.config, self.main.spec(spec.name).config
        found = [("channel", config.allowed_channels, known.allowed_channels)]
        found += [("pip host", config.pip_hosts, known.pip_hosts), ("broken", config.allow_broken, known.allow_broken)]
        found += [("bind", config.binds, known.binds), ("hook", config.hooks, known.hooks)]
        found += [("files of the host below", _roots(config), _roots(known))]
        own = [request.text for request in spec.requests if request.manager == "pip" and "@" in request.text]
        old = [request.text for request in self.main.spec(spec.name).requests]
        found += [("address", tuple(own), tuple(old))]
        return tuple(f"{what} {one}" for what, new, before in found for one in new if one not in before)


def _roots(config: Config) -> tuple[str, ...]:
    """Where a config takes files of the host from."""
    return tuple(one.root for one in config.replace.values())
