"""quarter: bring a new version one step further, as far as it can go by itself, and say where it stands."""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from conda_concept import quarter as rules
from conda_concept.conversation import IssueFacts, may_build, ours
from conda_concept.document import MAX_BYTES, SourceText
from conda_concept.errors import InputError, RefusedError
from conda_concept.forms import Filled, Form, digest, fill, read_form, written
from conda_concept.github import Hub, issues
from conda_concept.github.connect import asking
from conda_concept.progress import Attempts, Reporter
from conda_concept.quarter import Wanted
from conda_concept.render import quarter as render
from conda_concept.repository import Repository, read_text
from conda_concept.steps.quarterwork import Rehearsal, Work


@dataclass(frozen=True, slots=True)
class Attended:
    """What was looked at: each issue and where it stands, in a word."""

    stands: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Office:
    """Where new versions are looked after: GitHub, and the checkout of the main branch."""

    hub: Hub
    main: Repository
    reporter: Reporter
    form: Form

    @classmethod
    def of(cls, hub: Hub, main: Repository, reporter: Reporter) -> "Office":
        """With the form of the main branch, which is read once."""
        text = read_text(main.root / rules.FORM, MAX_BYTES, rules.FORM)
        return cls(hub, main, reporter, read_form(SourceText(rules.FORM, text)))

    def attend(self, event_name: str, event: Mapping[str, Any], now: dt.datetime) -> Attended:
        """Do what an event asks for; `now` with the zone in which quarters begin."""
        match event_name:
            case "issues":
                return self._one(self._issue(event), begin=True)
            case "issue_comment":
                return self._asked(event)
            case "schedule":
                attempts = Attempts(self.reporter)
                return self._all(begin=self.open_due(now, attempts), attempts=attempts)
            case "workflow_run":
                return self._all()
            case "workflow_dispatch":
                return self._all(retry=True)
            case _:
                raise RefusedError(f"nothing is done for {event_name}.")

    def open_due(self, now: dt.datetime, attempts: Attempts) -> tuple[IssueFacts, ...]:
        """Open an issue for every environment whose quarter has begun, once; those that are open.

        One that people opened themselves counts, and one that was closed is not opened again.
        """
        specs, found = [], []
        for name in self.main.environments():
            with attempts.at(name):
                specs.append(self.main.spec(name))
        for asked in rules.due({spec.name: spec.config for spec in specs}, now):
            with attempts.at(asked.label):
                known = issues.issues(self.hub, rules.ISSUES, state="all")
                there = [one for one in known if self._asks_for(one, asked.label)]
                found += there or [issues.open_issue(self.hub, self._draft(asked))]
        return tuple(one for one in found if one.is_open)

    def ask(self, asked: Wanted, *, retry: bool) -> tuple[int, str]:
        """Ask for a version from a terminal, as the form does: the issue's number, and where it stands.

        The issue is opened once; the workflow does all the rest, for this one as for one from the form. `retry` says
        what people say there.
        """
        Rehearsal(self.main, asked).show()
        hub = self.hub
        if not hub.may_write():
            raise RefusedError(
                f"the account of your token may not write to {hub.here.repository}: a new version is not opened.",
                hint="Ask a maintainer. `--dry-run` shows what would change.",
            )

        def look() -> IssueFacts | None:
            found = issues.issues(hub, rules.ISSUES)
            return next((one for one in found if self._asks_for(one, asked.label)), None)

        issue = issues.once(hub, look, lambda: issues.new_issue(hub, self._draft(asked)))
        if retry:
            with asking(f"comment on #{issue.number}"):
                hub.repository.get_issue(issue.number).create_comment("/retry")
        found = ours(hub.comments(issue.number), render.CHECKLIST, hub.here.bot)
        return issue.number, render.stands(found.body) if found else "asked for; the checklist comes in a minute"

    def _draft(self, asked: Wanted) -> issues.IssueDraft:
        """The issue that the form would make of it."""
        return issues.IssueDraft(rules.title(asked), written(self.form, rules.answers(asked)), (rules.ISSUES,))

    def _asks_for(self, issue: IssueFacts, label: str) -> bool:
        """Whether an issue asks for a version, and by somebody who may: anybody can fill in the form."""
        return self._asks(issue) == label and self._may(issue.author)

    def _may(self, login: str) -> bool:
        """Whether somebody may ask for a version: people who may write, and we ourselves."""
        return login == self.hub.here.bot or may_build(self.hub.permission(login))

    def _asks(self, issue: IssueFacts) -> str:
        """The label that an issue asks for; empty where it cannot be said."""
        with suppress(InputError):
            return rules.wanted(self._fill(issue)).label
        return ""

    def _fill(self, issue: IssueFacts) -> Filled:
        return fill(self.form, SourceText(f"issue #{issue.number}", issue.body))

    # --- which issues -------------------------------------------------------------------------------------------

    def _asked(self, event: Mapping[str, Any]) -> Attended:
        """A comment: `/retry` on its first line, by somebody who may write."""
        comment = event["comment"]
        line = str(comment.get("body") or "").replace("\r\n", "\n").split("\n", 1)[0].strip()
        if event.get("action") != "created" or "pull_request" in event["issue"] or line != "/retry":
            return Attended()
        issue = self._issue(event)
        allowed = may_build(self.hub.permission(str(comment["user"]["login"])))
        self.hub.react(int(comment["id"]), issue.number, "+1" if allowed else "confused")
        return self._one(issue, begin=True, retry=True) if allowed else Attended()

    def _all(
        self, *, begin: Sequence[IssueFacts] = (), retry: bool = False, attempts: Attempts | None = None
    ) -> Attended:
        """Every open issue that was begun, and those in `begin`; one that fails does not keep the others.

        Those in `begin` may have been opened just now, and be in no list yet.
        """
        attempts = attempts or Attempts(self.reporter)
        stands: list[tuple[int, str]] = []
        found = {one.number: one for one in (*begin, *issues.issues(self.hub, rules.ISSUES))}
        for number in sorted(found):
            with attempts.at(f"#{number}"):
                is_new = number in {one.number for one in begin}
                stands += self._one(found[number], begin=is_new, retry=retry).stands
        attempts.settle()
        return Attended(tuple(stands))

    def _issue(self, event: Mapping[str, Any]) -> IssueFacts:
        """The issue of an event, with the text that the event has, whatever it is edited to afterwards.

        Whether it is open is asked now: the event may have waited in the queue while somebody closed it.
        """
        raw = event["issue"]
        return replace(issues.issue(self.hub, int(raw["number"])), body=str(raw.get("body") or ""))

    def _one(self, issue: IssueFacts, *, begin: bool, retry: bool = False) -> Attended:
        if rules.ISSUES not in issue.labels or not issue.is_open:
            return Attended()
        before = ours(self.hub.comments(issue.number), render.CHECKLIST, self.hub.here.bot)
        if before is None and not begin:
            return Attended()
        known = render.digest_in(before.body) if before else ""
        answer = self._refusal(issue, known)
        if answer:
            self.hub.say(issue.number, render.ANSWER, answer)
            return Attended(((issue.number, "refused"),))
        asked = rules.wanted(self._fill(issue))
        work = Work(self.hub, issue, asked, retry)
        return Attended(((issue.number, work.go_on(begun=before is not None)),))

    def _refusal(self, issue: IssueFacts, known: str) -> str:
        """Why an issue is not worked on, in words for its opener; empty where it is."""
        hub = self.hub
        if not self._may(issue.author):
            return render.thanks(issue.author)
        if known and known != digest(issue.body):
            return render.edited()
        try:
            label = rules.wanted(self._fill(issue)).label
        except InputError as error:
            return render.not_taken(error.problems or (error.message,))
        if known:
            return ""
        others = [one for one in issues.issues(hub, rules.ISSUES) if one.number < issue.number]
        twins = [one.number for one in others if self._asks_for(one, label)]
        return render.twin(label, twins[0]) if twins else ""
