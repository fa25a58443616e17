"""merged: what was merged and is not released yet, whose pull requests it came with, and what they hear if it fails."""

from collections.abc import Sequence
from dataclasses import dataclass

from conda_concept.changelog import Cause
from conda_concept.conversation import PullFacts, asked_by, marker, ours
from conda_concept.errors import BuildError, GateError, InputError, RefusedError, UnsolvableError
from conda_concept.github import Hub, releases
from conda_concept.matrix import everywhere
from conda_concept.record import LABEL
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.render.quote import fenced
from conda_concept.repository import Repository
from conda_concept.requesting import package_of
from conda_concept.run import CommandError
from conda_concept.steps.announce import unannounced


@dataclass(frozen=True, slots=True)
class Line:
    """A branch whose merges are releases, as it is checked out, for one site.

    The main branch, or that of an older version (`analysis3-23.07`), where only that environment is released.
    """

    repository: Repository
    branch: str
    site: str

    @property
    def is_fix(self) -> bool:
        """Whether this is the branch of an older version, whose fixes touch that version only."""
        return bool(LABEL.fullmatch(self.branch))

    def waiting(self, name: str) -> tuple[str, ...]:
        """The commits of an environment that are not released, oldest first.

        On the main branch what ends up in every release counts too, as it does for the plan of a pull request.
        """
        return self.repository.since_released(name, () if self.is_fix else everywhere(self.site))

    def due(self, hub: Hub | None = None) -> tuple[str, ...]:
        """The environments that a release has to look at.

        With a `hub` also those with a version that is published and not announced yet, because a run ended in between.
        """
        if self.is_fix:
            return self._fixed()
        known = self.repository.environments()
        names = tuple(name for name in known if self.waiting(name))
        if hub is None or names == known:
            return names
        told = releases.all_published(hub)
        return tuple(name for name in known if name in names or unannounced(told, self.repository, name))

    def _fixed(self) -> tuple[str, ...]:
        """The one environment of this branch, if it is due; `RefusedError` where others are changed here too.

        What was not released of others when the branch was begun is the main branch's.
        """
        own = self.branch.partition("-")[0]
        begun = self.repository.released(own)
        others = [
            name
            for name in self.repository.environments()
            if name != own and any(not self.repository.is_ancestor(sha, begun) for sha in self.waiting(name))
        ]
        if others:
            raise RefusedError(
                f"the branch {self.branch} is for fixes of that version, and changes {', '.join(others)} too.",
                hint="Take those changes back there, and make a pull request against the main branch.",
            )
        return (own,) if own in self.repository.environments() and self.waiting(own) else ()

    def merged(self, hub: Hub, name: str) -> "Merged":
        """What is to be released of an environment, with whose pull requests."""
        pulls: dict[int, PullFacts] = {}
        causes: dict[object, Cause] = {}
        commits = self.waiting(name)
        for sha in commits:
            found = [one for one in hub.pulls_of(sha) if one.base_branch == self.branch]
            for pull in found:
                pulls[pull.number] = pull
                package = package_of(pull, hub.here.bot, name)
                asked = asked_by(pull, hub.here.bot)
                causes[pull.number] = Cause(pull.number, pull.title, asked, package=package)
            if not found:
                title, author = self.repository.subject(sha)
                causes[sha] = Cause(0, title, author, sha)
        return Merged(hub, self, name, commits, tuple(pulls.values()), tuple(causes.values()))


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be released of one environment: commits of the branch, their pull requests, and why, for people."""

    hub: Hub
    line: Line
    name: str
    commits: tuple[str, ...]
    pulls: tuple[PullFacts, ...]
    causes: tuple[Cause, ...]

    def say(self, text: str) -> None:
        """The one comment on the release, in every pull request that it came of."""
        for pull in self.pulls:
            self.hub.say(pull.number, marker("release", self.name), text)

    def excuse(self, error: BaseException) -> None:
        """Say why it is not published."""
        self.say(self._not_published(error))

    def last_word(self, error: BaseException | None) -> Sequence[int]:
        """The pull requests that a release that has ended had said nothing to: they are told now.

        Without an error a runner was lost, and nobody knows more.
        """
        mark, hub = marker("release", self.name), self.hub
        silent = [one for one in self.pulls if ours(hub.comments(one.number), mark, hub.here.bot) is None]
        for pull in silent:
            hub.say(pull.number, mark, self._not_published(error))
        return [pull.number for pull in silent]

    def _not_published(self, error: BaseException | None) -> str:
        match error:
            case GateError():
                why = error.hint
            case RefusedError():
                why = f"A rule forbids it:\n\n{fenced(str(error)[:6000])}"
            case UnsolvableError() | BuildError() | CommandError() | InputError():
                why = f"As it is on `{self.line.branch}` now, it cannot be built:\n\n{fenced(str(error)[:6000])}"
            case _:
                why = self._ours
        url = self.hub.here.run_url
        return render.not_published(self.name, why, Heading(self.name, links=(("run", url),) if url else ()))

    @property
    def _ours(self) -> str:
        again = "" if self.line.is_fix else ", and so does the next merge, or else the run of the coming night"
        return f"Something failed on our side, not in what was merged. Running the job again finishes it{again}."


def settle_release(hub: Hub, line: Line) -> tuple[int, ...]:
    """The last word on a release that did not end well; the pull requests that had heard nothing.

    A runner that died, or that never came, has said nothing; nor has a job that refused the branch before any runner
    was asked. What was published meanwhile waits no longer.
    """
    refused = None
    try:
        line.due()
    except RefusedError as error:
        refused = error
    names = [name for name in line.repository.environments() if line.waiting(name)]
    return tuple(number for name in names for number in line.merged(hub, name).last_word(refused))
