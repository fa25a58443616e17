"""The work on one new version: look at what is there, do what comes next, say where it stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import cast

from conda_concept import quarter as rules
from conda_concept.conversation import IssueFacts, marker, ours
from conda_concept.document import MAX_BYTES, Problems, SourceText, parse
from conda_concept.errors import InputError, NetworkError, RefusedError
from conda_concept.forms import digest
from conda_concept.github import File, Hub, issues, releases
from conda_concept.quarter import Building, Progress, Wanted
from conda_concept.render import pullrequest
from conda_concept.render import quarter as render
from conda_concept.repository import Repository, read_text
from conda_concept.settings import Config
from conda_concept.spec import read_spec
from conda_concept.steps.admit import BEING_SOLVED, SOLVE_FIRST

#: No more steps than these lead from an issue to a wait.
_MOST = 8
#: Our comments in the pull request that the checklist leads to.
_KEYS = ("diff", "build", "release")


@dataclass(frozen=True, slots=True)
class Work:
    """The work on one issue."""

    hub: Hub
    issue: IssueFacts
    asked: Wanted
    retry: bool

    def go_on(self, *, begun: bool) -> str:
        """Do what comes next until others have to act; where it stands, in a word.

        A step that cannot be done is said in the checklist, and the next `/retry` begins with it.
        """
        retry = self.retry
        if not begun:
            trouble = self._impossible()
            if trouble:
                self.hub.say(self.issue.number, render.ANSWER, render.not_taken(trouble))
                return "refused"
        for _ in range(_MOST):
            there = self.look()
            self._say(there)
            step = rules.following(there, retry=retry)
            try:
                match step:
                    case "begin":
                        self._begin()
                    case "solve":
                        self._solve(there)
                        retry = False
                    case "release":
                        self.hub.dispatch("release.yml", self.hub.here.default_branch, {})
                        return "publishing"
                    case "close":
                        issues.close(self.hub, self.issue.number)
                        return "released"
                    case "wait" | "done":
                        return there.building or "waiting"
            except (InputError, RefusedError, NetworkError) as error:
                self._say(there, str(error))
                raise
        raise AssertionError("a step did not lead anywhere")

    def _say(self, there: Progress, trouble: str = "") -> None:
        text = render.checklist(there, digest(self.issue.body), trouble)
        self.hub.say(self.issue.number, render.CHECKLIST, text)

    # --- what is there ------------------------------------------------------------------------------------------

    def look(self) -> Progress:
        """How far it is, from GitHub alone."""
        hub, asked = self.hub, self.asked
        there = Progress(asked, self.issue.number, self.issue.author, hub.here.home, is_open=self.issue.is_open)
        base = hub.here.default_branch
        pulls = [
            one
            for one in hub.pulls_with_head(hub.here.repository, asked.branch, "all")
            if not one.from_fork and one.base_branch == base
        ]
        page = releases.published(hub, asked.label)
        if not pulls:
            return replace(there, page=page)
        pull = max(pulls, key=lambda one: one.number)
        comments = hub.comments(pull.number)
        found = {key: ours(comments, marker(key, asked.environment), hub.here.bot) for key in _KEYS}
        links = {
            key: f"{hub.here.home}/pull/{pull.number}#issuecomment-{one.number}" if one else ""
            for key, one in found.items()
        }
        state, said, _ = hub.status_of(pull.head_sha)
        return replace(
            there,
            pull=pull,
            building=cast("Building", state),
            said=said,
            diff=links["diff"],
            build=links["build"],
            release=links["release"],
            published=found["release"] is not None and pullrequest.is_published(found["release"].body),
            trial=render.trial_in(found["build"].body) if found["build"] else None,
            page=page,
        )

    def _impossible(self) -> Sequence[str]:
        """What the form asks for that cannot be, before anything is begun."""
        hub, asked = self.hub, self.asked
        try:
            config = self._config(hub.tip(hub.here.default_branch))[1]
            rules.refuse_older(asked, config)
        except InputError as error:
            return error.problems or (error.message,)
        stable = asked.stable or config.version
        known = {asked.version, config.stable}
        if stable not in known and not releases.commit_of(hub, f"tags/{asked.environment}-{stable}"):
            return (f"{asked.environment}-{stable}, which is to become stable, was never released: it has no tag",)
        return ()

    def _config(self, sha: str) -> tuple[str, Config]:
        """An environment's `config.yml` at a commit: its text and its values."""
        path = f"environments/{self.asked.environment}/"
        first, text = (self.hub.file_at(path + file, sha, MAX_BYTES) for file in ("environment.yml", "config.yml"))
        sources = SourceText(f"{path}environment.yml", first), SourceText(f"{path}config.yml", text)
        return text, read_spec(self.asked.environment, *sources).config

    # --- the steps ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The branch with its one commit, and the pull request."""
        hub, asked = self.hub, self.asked
        base = hub.here.default_branch
        path = f"environments/{asked.environment}/config.yml"
        end = releases.commit_of(hub, f"heads/{asked.branch}")
        tip = hub.tip(base)
        before, config = self._config(tip)
        after = configured(before, asked, config, path)
        if not end:
            message = f"Release {asked.label}\n\nAsked for in #{self.issue.number}.\n"
            end = issues.branch(hub, asked.branch, hub.new_commit(tip, [File(path, after)], message))
        elif _version(hub.file_at(path, end, MAX_BYTES)) != asked.version:
            raise RefusedError(
                f"the branch {asked.branch} is there already and is not about {asked.version}.",
                hint="Delete it if nobody needs it, then comment `/retry`.",
            )
        body = render.pull_body(asked, self.issue, difference(before, after, path))
        issues.open_pull(hub, issues.PullDraft(asked.branch, base, rules.title(asked), body))

    def _solve(self, there: Progress) -> None:
        """Start what a push would start: a pull request of a workflow's own token starts nothing by itself."""
        pull = there.pull
        assert pull is not None, "there is a pull request to solve"  # noqa: S101 - a rule of `following`
        inputs = {"pull_request": str(pull.number), "sha": pull.head_sha, "run": SOLVE_FIRST}
        pending = f"{BEING_SOLVED}, built and tested."
        if there.building:  # once more, at somebody's word: its guard refuses what the status says is done
            self.hub.status(pull.head_sha, "pending", pending)
        self.hub.dispatch("build.yml", self.hub.here.default_branch, inputs)
        self.hub.status(pull.head_sha, "pending", pending)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a new version would change, in a checkout, asking nobody."""

    repository: Repository
    asked: Wanted

    def show(self) -> str:
        """The lines of config.yml that would change, as a diff; `InputError` where it cannot be asked for."""
        config = self.repository.spec(self.asked.environment).config
        rules.refuse_older(self.asked, config)
        path = f"environments/{self.asked.environment}/config.yml"
        before = read_text(self.repository.root / path, MAX_BYTES, path)
        return difference(before, configured(before, self.asked, config, path), path)


def difference(before: str, after: str, path: str) -> str:
    """What changes in a file, as a diff without its head."""
    return "".join(unified_diff(before.splitlines(True), after.splitlines(True), path, path, n=1))


def configured(text: str, asked: Wanted, config: Config, path: str) -> str:
    """The new `config.yml`, if reading it gives exactly what is asked for; `InputError` otherwise."""
    after = rules.configured(text, asked, config)
    changed = {"version": asked.version, "stable": asked.stable or config.version}
    changed |= {"refresh": asked.version} if asked.refresh else {}
    problems = Problems()
    found = parse(SourceText(path, after), problems).data
    was = parse(SourceText(path, text), Problems()).data
    if problems.found or not isinstance(found, dict) or found != {**was, **changed}:
        raise InputError(
            f"{path} cannot be changed by rule: its `version:` or `stable:` is written in a way that I do not know.",
            hint='Write each on a line of its own: version: "26.07".',
        )
    return after


def _version(text: str) -> str:
    data = parse(SourceText("config.yml", text), Problems()).data
    return str(data.get("version")) if isinstance(data, dict) else ""
