"""quarter: bring a new version one step further, as far as it can go by itself, and say where it stands."""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from conda_concept import quarter as rules
from conda_concept.conversation import IssueFacts, marker, may_build, ours
from conda_concept.document import MAX_BYTES, Problems, SourceText, parse
from conda_concept.errors import ConcError, InputError, NetworkError, RefusedError
from conda_concept.forms import Filled, Form, digest, fill, read_form, written
from conda_concept.github import File, Hub, issues, releases
from conda_concept.github.connect import asking
from conda_concept.progress import Reporter
from conda_concept.quarter import Building, Progress, Wanted
from conda_concept.render import quarter as render
from conda_concept.repository import Repository, read_text
from conda_concept.settings import Config
from conda_concept.spec import read_spec

#: No more steps than these lead from an issue to a wait.
_MOST = 8


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

    def attend(self, event_name: str, event: Mapping[str, Any], now: dt.datetime) -> Attended:
        """Do what an event asks for; `now` with the zone in which quarters begin."""
        match event_name:
            case "issues":
                return self._one(_issue(event), begin=True)
            case "issue_comment":
                return self._asked(event)
            case "schedule":
                opened = self.open_due(now)
                return self._all(begin=frozenset(opened))
            case "workflow_run":
                return self._all()
            case "workflow_dispatch":
                return self._all(retry=True)
            case _:
                raise RefusedError(f"nothing is done for {event_name}.")

    def open_due(self, now: dt.datetime) -> tuple[int, ...]:
        """Open an issue for every environment whose quarter has begun, once; the numbers of those that are open.

        One that people opened themselves counts, and one that was closed is not opened again.
        """
        configs = {name: self.main.spec(name).config for name in self.main.environments()}
        numbers = []
        for asked in rules.due(configs, now):
            there = [
                one for one in issues.issues(self.hub, rules.ISSUES, state="all") if self._asks(one) == asked.label
            ]
            if not there:
                body = written(self.form(), rules.answers(asked))
                there = [issues.open_issue(self.hub, issues.IssueDraft(rules.title(asked), body, (rules.ISSUES,)))]
            numbers += [one.number for one in there if one.is_open]
        return tuple(numbers)

    def ask(self, asked: Wanted, *, retry: bool) -> tuple[int, str]:
        """Ask for a version from a terminal, as the form does: the issue's number, and where it stands.

        The issue is opened once; the workflow does all the rest, for this one as for one from the form. `retry` says
        what people say there.
        """
        Rehearsal(self.main, asked).show()
        hub = self.hub

        def look() -> IssueFacts | None:
            return next((one for one in issues.issues(hub, rules.ISSUES) if self._asks(one) == asked.label), None)

        def make() -> None:
            body = written(self.form(), rules.answers(asked))
            with asking(f"open the issue for {asked.label}"):
                hub.repository.create_issue(rules.title(asked), body, labels=[rules.ISSUES])

        issue = issues.once(hub, look, make)
        if retry:
            with asking(f"comment on #{issue.number}"):
                hub.repository.get_issue(issue.number).create_comment("/retry")
        found = ours(hub.comments(issue.number), render.CHECKLIST, hub.here.bot)
        return issue.number, render.stands(found.body) if found else "asked for; the checklist comes in a minute"

    def form(self) -> Form:
        """The form, of the main branch."""
        return read_form(SourceText(rules.FORM, read_text(self.main.root / rules.FORM, MAX_BYTES, rules.FORM)))

    def _asks(self, issue: IssueFacts) -> str:
        """The label that an issue asks for; empty where it cannot be said."""
        with suppress(InputError):
            return rules.wanted(self._fill(issue)).label
        return ""

    def _fill(self, issue: IssueFacts) -> Filled:
        return fill(self.form(), SourceText(f"issue #{issue.number}", issue.body))

    # --- which issues -------------------------------------------------------------------------------------------

    def _asked(self, event: Mapping[str, Any]) -> Attended:
        """A comment: `/retry` on its first line, by somebody who may write."""
        comment, issue = event["comment"], _issue(event)
        line = str(comment.get("body") or "").replace("\r\n", "\n").split("\n", 1)[0].strip()
        if event.get("action") != "created" or "pull_request" in event["issue"] or line != "/retry":
            return Attended()
        allowed = may_build(self.hub.permission(str(comment["user"]["login"])))
        self.hub.react(int(comment["id"]), issue.number, "+1" if allowed else "confused")
        return self._one(issue, begin=True, retry=True) if allowed else Attended()

    def _all(self, *, begin: frozenset[int] = frozenset(), retry: bool = False) -> Attended:
        """Every open issue that was begun, and those in `begin`; one that fails does not keep the others."""
        stands: list[tuple[int, str]] = []
        failed: ConcError | None = None
        for issue in sorted(issues.issues(self.hub, rules.ISSUES), key=lambda one: one.number):
            try:
                stands += self._one(issue, begin=issue.number in begin, retry=retry).stands
            except ConcError as error:
                self.reporter.warn(f"#{issue.number}: {error}")
                failed = error
        if failed is not None:
            raise failed
        return Attended(tuple(stands))

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
        if issue.author != hub.here.bot and not may_build(hub.permission(issue.author)):
            return render.thanks(issue.author)
        if known and known != digest(issue.body):
            return render.edited()
        try:
            label = rules.wanted(self._fill(issue)).label
        except InputError as error:
            return render.not_taken(error.problems or (error.message,))
        others = [one for one in issues.issues(hub, rules.ISSUES) if one.number < issue.number]
        twins = [one.number for one in others if self._asks(one) == label] if not known else []
        return render.twin(label, twins[0]) if twins else ""


def _issue(event: Mapping[str, Any]) -> IssueFacts:
    """The issue as the event has it: that text is acted on, whatever it is edited to afterwards."""
    raw = event["issue"]
    return IssueFacts(
        number=int(raw["number"]),
        author=str((raw.get("user") or {}).get("login") or ""),
        title=str(raw.get("title") or ""),
        body=str(raw.get("body") or ""),
        is_open=raw.get("state", "open") == "open",
        labels=tuple(str(one["name"]) for one in raw.get("labels") or ()),
    )


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
        found = {key: ours(comments, marker(key, asked.environment), hub.here.bot) for key in ("diff", "build")}
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
        known = {asked.version, config.version, config.stable, ""}
        if asked.stable not in known and not releases.commit_of(hub, f"tags/{asked.environment}-{asked.stable}"):
            return (f"{asked.environment}-{asked.stable}, which is to become stable, was never released",)
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
        body = render.pull_body(asked, self.issue.number, difference(before, after, path))
        issues.open_pull(hub, issues.PullDraft(asked.branch, base, rules.title(asked), body))

    def _solve(self, there: Progress) -> None:
        """Start what a push would start: a pull request of a workflow's own token starts nothing by itself."""
        pull = there.pull
        assert pull is not None, "there is a pull request to solve"  # noqa: S101 - a rule of `following`
        inputs = {"pull_request": str(pull.number), "sha": pull.head_sha, "run": ""}
        self.hub.dispatch("build.yml", self.hub.here.default_branch, inputs)
        self.hub.status(pull.head_sha, "pending", "Being solved, built and tested.")


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


def zone(name: str) -> dt.tzinfo:
    """The time zone of a site, by its name; `InputError` where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"`time_zone: {name}` is no name of a time zone that this machine knows.",
            hint="Names are as in /usr/share/zoneinfo: Australia/Sydney. Is the package `tzdata` installed?",
        ) from error
