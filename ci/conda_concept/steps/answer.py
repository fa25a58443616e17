"""Answer a request for a package in its issue, and open the pull request that it leads to, each of them once.

This runs with the right to write. So nothing of the request is run or resolved here: what was found out about it is
data (`requesting.Finding`), a lock in it is checked like any other, and what the pull request asks for is taken from
the issue again by this very code. Every step looks first whether it is done, so that a run that ended early is
finished by the next one, and two runs do nothing twice.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from conda_concept.conversation import IssueFacts, PullFacts, asked_by, may_build, ours
from conda_concept.document import MAX_BYTES, SourceText
from conda_concept.errors import InputError, IntegrityError, NotFoundError, RefusedError
from conda_concept.forms import digest, fill, read_form
from conda_concept.github import File, Hub, issues
from conda_concept.github.issues import PullDraft
from conda_concept.lockcheck import check_lock
from conda_concept.lockfile import loads as read_lock
from conda_concept.pipsolver import pypi_name
from conda_concept.proposal import MAX_BYTES as MAX_FINDING
from conda_concept.render import request as render
from conda_concept.render.request import Opened, Told
from conda_concept.repository import Repository
from conda_concept.requesting import ARTIFACT, FORM, LABEL, MEMBER, Asked, Finding, answers, asked_in, edited, loads
from conda_concept.steps.admit import BEING_SOLVED, SOLVE_FIRST
from conda_concept.steps.request import tell

RETRY = "/retry"
#: So many pull requests are open at once for one person who may not write here: anybody can fill in a form.
MOST_OPEN = 10


@dataclass(frozen=True, slots=True)
class Call:
    """What an event says: the issue, its text then, and the comment (with its author) that asks to look again."""

    number: int
    body: str
    comment: int = 0
    speaker: str = ""


def call_of(event_name: str, event: Mapping[str, Any]) -> Call:
    """The call in an event; `RefusedError` where it is none."""
    issue, action = event.get("issue") or {}, event.get("action")
    if "pull_request" in issue or not isinstance(issue.get("number"), int):
        raise RefusedError("this is about no issue.")
    number, body = int(issue["number"]), str(issue.get("body") or "")
    if event_name == "issues" and action in ("opened", "edited", "reopened"):
        return Call(number, body)
    comment = event.get("comment") or {}
    words = str(comment.get("body") or "").replace("\r\n", "\n").split("\n", 1)[0].split()
    if event_name == "issue_comment" and action == "created" and words == [RETRY]:
        return Call(number, body, int(comment["id"]), str((comment.get("user") or {}).get("login") or ""))
    raise RefusedError(f"nothing is done for {event_name} {action}.")


def wanted_in(repository: Repository, number: int, body: str) -> Asked:
    """What an issue's text asks for, read by the form of the checkout; `InputError` with everything that is wrong."""
    name = f"issue #{number}"
    wanted = asked_in(fill(read_form(repository.form(FORM)), SourceText(name, body)), name)
    if wanted.environment not in repository.environments():
        known = ", ".join(repository.environments())
        raise InputError(name, problems=[f"{name}: there is no environment `{wanted.environment}`; there are: {known}"])
    return wanted


@dataclass(frozen=True, slots=True)
class Answered:
    """What was said: the issue, the verdict in a word, the pull request (0: none)."""

    issue: int
    outcome: str
    pull: int = 0


@dataclass(frozen=True, slots=True)
class Answering:
    """One answer. `main` is the checkout of the main branch, `branch` its name, `run` the run with the finding."""

    hub: Hub
    main: Repository
    branch: str
    run: int
    now: dt.datetime
    workflow: str = "build.yml"

    def make(self, call: Call) -> Answered:
        """Answer an issue, if it is a request that is open and says what it said when this began."""
        hub = self.hub
        issue = issues.issue(hub, call.number)
        if LABEL not in issue.labels or not issue.is_open:
            raise RefusedError(f"#{issue.number} is no open issue with the label `{LABEL}`.")
        if call.comment and not self._may_retry(call, issue):
            hub.react(call.comment, issue.number, "confused")
            raise RefusedError(f"{call.speaker} neither opened #{issue.number} nor may write here.")
        if digest(call.body) != digest(issue.body):
            raise RefusedError(f"#{issue.number} was edited meanwhile, which has a run of its own.")
        try:
            wanted = wanted_in(self.main, issue.number, issue.body)
        except InputError as error:
            self._say(issue, render.invalid(error.problems or (error.message,), hub.here.run_url))
            return Answered(issue.number, "invalid")
        told = self._told(issue, wanted, self._finding(issue, wanted))
        told = self._with_pull(told, issue)
        self._say(issue, render.answer(told))
        if call.comment:
            hub.react(call.comment, issue.number, "+1")
        return Answered(issue.number, told.finding.outcome, told.opened.number if told.opened else 0)

    def _say(self, issue: IssueFacts, text: str) -> None:
        """The answer, unless it is there already: another run's link alone is no reason to write."""
        before = ours(self.hub.comments(issue.number), render.ANSWER, self.hub.here.bot)
        if before is None or _words(before.body) != _words(text):
            self.hub.say(issue.number, render.ANSWER, text)

    def _may_retry(self, call: Call, issue: IssueFacts) -> bool:
        return call.speaker == issue.author or may_build(self.hub.permission(call.speaker))

    # --- what was found out -------------------------------------------------------------------------------------

    def _finding(self, issue: IssueFacts, wanted: Asked) -> Finding:
        """The other job's finding, if it is about this very text; a failure of ours where there is none."""
        try:
            text = self.hub.member(self.run, ARTIFACT, MEMBER, MAX_FINDING).decode("utf-8", errors="replace")
            finding = loads(text)
        except NotFoundError:
            return self._failed(issue, wanted, "our job ended before it had an answer")
        except InputError as error:
            return self._failed(issue, wanted, str(error)[:1000])
        if finding.digest != digest(issue.body) or not answers(wanted, finding, str(pypi_name(finding.name))):
            return self._failed(issue, wanted, f"the data of run {self.run} is not about what is asked for here")
        if finding.base and not self.main.is_ancestor(finding.base):
            return self._failed(issue, wanted, f"it was tried on {finding.base[:12]}, no commit of {self.branch}")
        return finding

    def _failed(self, issue: IssueFacts, wanted: Asked, why: str) -> Finding:
        about = {name: getattr(wanted, name) for name in ("environment", "name", "manager", "version", "channel")}
        known = {"schema": 1, "digest": digest(issue.body), "outcome": "failed", "problems": (why,)}
        return Finding.model_validate(about | known)

    def _told(self, issue: IssueFacts, wanted: Asked, finding: Finding) -> Told:
        """The finding with what this job knows itself: the diff, where the package is already, who else asks."""
        try:
            self._checked(finding)
        except (InputError, IntegrityError) as error:
            finding = self._failed(issue, wanted, f"the lock that was computed is refused: {error}"[:1000])
        told = tell(self.main, finding, self.now)
        return replace(told, same=self._same(issue, wanted), run=self.hub.here.run_url)

    def _checked(self, finding: Finding) -> None:
        """`IntegrityError` where the lock of a finding is not one that may be built."""
        if finding.part is None or finding.outcome != "solved":
            return
        spec = edited(finding.asked, *self.main.sources(finding.environment)).spec
        lock, platforms = read_lock(finding.part.lock), spec.config.platforms
        wrong = [one for each in platforms for one in check_lock(lock, spec, each, spec.config.virtual_packages)]
        if wrong:
            raise IntegrityError("; ".join(wrong)[:900])

    def _same(self, issue: IssueFacts, wanted: Asked) -> tuple[int, ...]:
        """Other open requests for the same package in the same environment, oldest first."""
        found = []
        for other in issues.issues(self.hub, LABEL):
            try:
                if other.number != issue.number and wanted_in(self.main, other.number, other.body).key == wanted.key:
                    found.append(other.number)
            except InputError:
                continue  # it has an answer of its own that says so
        return tuple(sorted(found))

    # --- the pull request ---------------------------------------------------------------------------------------

    def _with_pull(self, told: Told, issue: IssueFacts) -> Told:
        """With the pull request that asks for it, which is opened here where it fits and nobody did before."""
        wanted, hub = told.finding.asked, self.hub
        own = self._own(issue, wanted)
        if own is not None:
            if own.state == "new":
                self._solve(hub.pull(own.number))
            return _and(told, own)
        mark = render.pull_marker(wanted)
        ours_open = [one for one in issues.open_pulls(hub) if one.author == hub.here.bot]
        others = [one for one in ours_open if mark in one.body.replace("\r\n", "\n").split("\n")]
        if others:
            first = min(others, key=lambda one: one.number)
            issues.rewrite_pull(hub, first.number, render.joined(first.body, issue))
            return _and(told, Opened(first.number, "other"))
        if told.finding.outcome != "solved":
            return told
        mine = [one for one in ours_open if asked_by(one, hub.here.bot) == issue.author]
        if len(mine) >= MOST_OPEN and not may_build(hub.permission(issue.author)):
            return _and(told, Opened(len(mine), "many"))
        return _and(told, Opened(self._open(issue, told).number, "new"))

    def _own(self, issue: IssueFacts, wanted: Asked) -> Opened | None:
        """The pull request that this issue has already."""
        found = issues.pulls_from(self.hub, branch_of(issue))
        if not found:
            return None
        last = max(found, key=lambda one: one.number)
        if not last.is_open:
            return Opened(last.number, "merged" if last.merged else "closed")
        path = f"environments/{wanted.environment}/environment.yml"
        try:
            text = self.hub.file_at(path, last.head_sha, MAX_BYTES)
            asks = edited(wanted, SourceText(path, text), self.main.sources(wanted.environment)[1]).edit
            current = asks.text == text
        except InputError:
            current = False
        return Opened(last.number, "new" if current else "changed")

    def _open(self, issue: IssueFacts, told: Told) -> PullFacts:
        hub, wanted, name = self.hub, told.finding.asked, branch_of(issue)
        end = issues.branch(hub, name, hub.tip(self.branch))
        path = f"environments/{wanted.environment}/environment.yml"
        before = hub.file_at(path, end, MAX_BYTES)
        edit = edited(wanted, SourceText(path, before), self.main.sources(wanted.environment)[1]).edit
        if edit.text != before:
            end = hub.commit(name, end, [File(path, edit.text)], render.commit_message(wanted, issue))
        draft = PullDraft(name, self.branch, render.pull_title(wanted), render.pull_body(told, issue))
        pull = issues.open_pull(hub, draft)
        self._solve(pull)
        return pull

    def _solve(self, pull: PullFacts) -> None:
        """Start what a push would start: GitHub starts no workflow for what was made with a job's token."""
        if issues.has_status(self.hub, pull.head_sha):
            return
        inputs = {"pull_request": str(pull.number), "sha": pull.head_sha, "run": SOLVE_FIRST}
        self.hub.dispatch(self.workflow, self.branch, inputs)
        # Last: a run that ends between the two starts it once more, which only says the same again.
        self.hub.status(pull.head_sha, "pending", f"{BEING_SOLVED}.")


def _words(comment: str) -> str:
    """A comment without its footer, which says from which run it is."""
    return comment.replace("\r\n", "\n").rpartition("\n<sub>")[0].strip()


def branch_of(issue: IssueFacts) -> str:
    """The branch of an issue's pull request: nothing that somebody typed is in it, and it is no release branch."""
    return f"request/{issue.number}"


def _and(told: Told, opened: Opened) -> Told:
    return replace(told, opened=opened)
