"""Reports on pull requests and commands in them: what is shown is what is built, and no failure of ours is silent."""

import datetime as dt
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest

from conda_concept.conversation import marker, on_behalf
from conda_concept.errors import NetworkError, RefusedError
from conda_concept.lockfile import digest, loads
from conda_concept.lockfile import dumps as lock_text
from conda_concept.locking import Wish, solve
from conda_concept.progress import Reporter
from conda_concept.proposal import Proposal, dumps
from conda_concept.repository import Repository
from conda_concept.solver import Settings
from conda_concept.steps import accept
from conda_concept.steps.admit import Admitted, admit
from conda_concept.steps.candidate import settle
from conda_concept.steps.propose import Proposer, Question
from conda_concept.steps.report import Report, Reported
from tests.support.fakegithub import FakeGitHub, Fault, Pull, State
from tests.support.fakegithub.state import BOT, Comment, Run

QUIET = Reporter(StringIO(), quiet=True)
SPEC, SITE = "environments/tiny/environment.yml", "ci/sites/here.yml"
ENVIRONMENT = "name: {name}\nchannels:\n  - conda-forge\ndependencies:\n  - python\n"
CONFIG = 'version: "26.11"\n'
PACKAGES = (("python", "3.11.9", ()), ("hello", "1.0", ("python",)), ("world", "1.0", ("hello >=1",)))
SCOPES = ("contents", "pull-requests", "statuses", "actions", "issues")


@dataclass
class Desk:
    """A repository on the fake GitHub with two environments that are locked; runs are numbered from 701."""

    fake: FakeGitHub
    folder: Path
    runs: int = 700
    proposals: dict[tuple[str, str], Proposal] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return self.fake.state

    @property
    def settings(self) -> Settings:
        return Settings(channel_alias=(self.folder / "channels").as_uri())

    def checkout(self, name: str = "main", ref: str = "refs/heads/main") -> Repository:
        folder = self.folder / name
        if not folder.exists():
            subprocess.run(["git", "clone", "--quiet", self.state.git_dir, folder], check=True)
        every = "+refs/heads/*:refs/remotes/origin/*"
        subprocess.run(["git", "-C", folder, "fetch", "-q", "origin", every, f"+{ref}:refs/now"], check=True)
        subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--detach", "refs/now"], check=True)
        return Repository(folder)

    def desk(self) -> accept.Desk:
        return accept.Desk(self.fake.hub(run=self.runs), self.checkout())

    def more(self, *names: str, file: str = SPEC) -> dict[str, str | None]:
        return {file: self.state.text(file) + "\n" + "".join(f"  - {name}\n" for name in names)}

    def propose(self, pull: Pull, package: str = "") -> Proposal:
        """What the untrusted job computes."""
        key = pull.head_sha, package
        if key not in self.proposals:
            repository = self.checkout("pull", f"refs/pull/{pull.number}/head")
            question = Question(f"origin/{pull.base_branch}", "here", package)
            self.proposals[key] = Proposer(repository, question, self.settings, QUIET).propose()
        return self.proposals[key]

    def pushed(self, pull: Pull, proposal: Proposal | None = None) -> Run:
        """The run of pull-request.yml for the present head."""
        self.runs += 1
        text = dumps(proposal or self.propose(pull))
        self.state.keep(self.runs, "proposal", {"proposal.json": text.encode()})
        return self.state.run_of(pull, self.runs)

    def answered(self, pull: Pull, event: str = "issue_comment", package: str = "") -> Run:
        """The run of build.yml that solves anew: for `/relock`, or for a pull request that was opened by us."""
        self.runs += 1
        tip, path = self.state.git("rev-parse", "main"), ".github/workflows/build.yml"
        run = self.state.runs[self.runs] = Run(self.runs, path, event, tip, "main", self.state.name)
        self.state.keep(self.runs, "proposal", {"proposal.json": dumps(self.propose(pull, package)).encode()})
        return run

    def report(self, pull: Pull, run: Run) -> Reported:
        desk = self.desk()
        facts = desk.hub.run(run.number)
        return Report(desk, facts, desk.hub.pull(pull.number), dt.datetime.now(tz=dt.UTC), "here").make()

    def say(self, pull: Pull, who: str, body: str) -> tuple[Admitted, str]:
        """Somebody's comment: what the guard lets happen, and what it answers."""
        self.runs += 1
        comment = Comment(9000 + len(self.state.comments), pull.number, who, body)
        self.state.comments.append(comment)
        said = {"id": comment.number, "user": {"login": who}, "body": body}
        issue = {"number": pull.number, "pull_request": {"url": "x"}}
        admitted = admit(self.desk(), "issue_comment", {"action": "created", "comment": said, "issue": issue})
        (reply,) = self.state.said(pull.number, f"answer:{comment.number}")
        return admitted, reply

    def diff(self, pull: Pull, name: str = "tiny") -> str:
        (body,) = self.state.said(pull.number, f"diff:{name}")
        return body


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    records: dict[str, dict[str, object]] = {}
    for name, version, depends in PACKAGES:
        facts = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": list(depends)}
        facts |= {"subdir": "linux-64", "md5": "a" * 32, "sha256": "b" * 64, "size": 1000}
        records[f"{name}-{version}-0.conda"] = facts
    for subdir, some in (("linux-64", records), ("noarch", {})):
        folder = tmp_path / "channels" / "conda-forge" / subdir
        folder.mkdir(parents=True)
        (folder / "repodata.json").write_text(json.dumps({"packages": {}, "packages.conda": some}))
    state = State.make(tmp_path)
    state.people = {"maintainer": "write"}
    state.tokens = {"all": dict.fromkeys(SCOPES, "write") | {"metadata": "read"}}
    files: dict[str, str | None] = {SITE: "name: here\n"}
    for name in ("tiny", "other"):
        files[f"environments/{name}/environment.yml"] = ENVIRONMENT.format(name=name)
        files[f"environments/{name}/config.yml"] = CONFIG
    state.commit("main", files)
    with FakeGitHub.serve(state) as fake:
        made = Desk(fake, tmp_path)
        repository = made.checkout()
        locks: dict[str, str | None] = {}
        for name in ("tiny", "other"):
            solved = solve(repository.spec(name), None, Wish(), made.settings, QUIET)
            locks[f"environments/{name}/conda-lock.yml"] = lock_text(solved.lock)
        state.commit("main", locks)
        yield made
        assert (fake.invalid, fake.denied) == ([], [])


def fork(desk: Desk, *names: str) -> Pull:
    return desk.state.open_pull("stranger", desk.more(*names), fork="stranger/environments", branch="x")


# --- what is shown is what is built -----------------------------------------------------------------------------------


def test_build_takes_what_refresh_has_shown(desk: Desk) -> None:
    pull = fork(desk, "world")
    desk.report(pull, desk.pushed(pull))
    first = desk.runs
    assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].run == first
    refreshed = desk.answered(pull, package="python")
    desk.report(pull, refreshed)
    assert "python was free to move, as asked." in desk.diff(pull)
    admitted, _ = desk.say(pull, "maintainer", f"/build {pull.head_sha}")
    assert (admitted.action, admitted.run) == ("build", refreshed.number)
    desk.report(pull, desk.state.runs[first])  # the first event once more: then that is what is shown, and built
    assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].run == first


def test_relock_mends_a_first_run_that_failed_on_our_side(desk: Desk) -> None:
    pull = fork(desk, "world")
    (part,) = desk.propose(pull).parts
    failed = part.model_copy(update={"outcome": "failed", "lock": "", "problems": ("no network",)})
    desk.report(pull, desk.pushed(pull, desk.propose(pull).model_copy(update={"parts": (failed,)})))
    assert "**Nothing is wrong with your change.**" in desk.diff(pull)
    admitted, reply = desk.say(pull, "maintainer", f"/build {pull.head_sha}")
    assert admitted.action == "nothing"
    assert "not every environment of this pull request is solved" in reply
    again = desk.answered(pull)
    desk.report(pull, again)
    assert f"`/build {pull.head_sha}`" in desk.diff(pull)
    admitted, _ = desk.say(pull, "maintainer", f"/build {pull.head_sha}")
    assert (admitted.run, admitted.environments) == (again.number, ("tiny",))


def test_a_pull_request_that_we_opened_for_somebody_is_built_and_explained(desk: Desk) -> None:
    """GitHub starts no pull-request.yml for it: its only proposal is one of build.yml."""
    pull = desk.state.open_pull(BOT, desk.more("world"), branch="request/1")
    pull.body = on_behalf("stranger")
    run = desk.answered(pull, "workflow_dispatch")
    desk.report(pull, run)
    assert f"`/build {pull.head_sha}`" in desk.diff(pull)
    assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].run == run.number
    assert "world needs `hello >=1`" in desk.say(pull, "stranger", "/explain hello")[1]


def test_nothing_is_built_that_no_comment_shows(desk: Desk) -> None:
    pull = fork(desk, "world")
    run = desk.pushed(pull)
    assert "no comment here says yet" in desk.say(pull, "maintainer", f"/build {pull.head_sha}")[1]
    words = (
        f"{marker('diff', 'tiny')}\n### x\n\n<sub>commit `{pull.head_sha[:12]}`</sub>\n{marker('run', str(run.number))}"
    )
    desk.state.comments.append(Comment(1, pull.number, "stranger", words))  # who forges what we say
    assert "no comment here says yet" in desk.say(pull, "maintainer", f"/build {pull.head_sha}")[1]
    desk.report(pull, run)
    desk.state.push(pull, desk.more("hello"))
    assert "no comment here says yet" in desk.say(pull, "maintainer", f"/build {pull.head_sha}")[1]


def test_a_report_that_ended_between_two_comments_is_not_built(desk: Desk) -> None:
    other = "environments/other/environment.yml"
    pull = desk.state.open_pull("stranger", desk.more("world") | desk.more("world", file=other), fork="stranger/e")
    desk.report(pull, desk.pushed(pull))
    again = desk.answered(pull)
    second = desk.state.comments[1].number
    desk.fake.faults.append(Fault("PATCH", f"/comments/{second}", "forbidden", times=9))
    with pytest.raises(NetworkError):
        desk.report(pull, again)
    desk.fake.faults.clear()
    assert "come from different runs" in desk.say(pull, "maintainer", f"/build {pull.head_sha}")[1]
    desk.report(pull, again)
    assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].run == again.number


def test_relock_starts_from_the_branch_that_it_is_to_be_merged_into(desk: Desk) -> None:
    desk.state.commit("tiny-26.09", {}, start="refs/heads/main")
    pull = desk.state.open_pull("maintainer", desk.more("world"), base="tiny-26.09")
    assert desk.say(pull, "maintainer", "/relock")[0].outputs["base"] == "tiny-26.09"


# --- who is built unasked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("author", "source", "unasked"),
    [
        ("maintainer", "", True),
        ("maintainer", "maintainer/environments", True),
        ("maintainer", "stranger/environments", False),  # who could push to it what he likes
        ("maintainer", "lab/environments", False),
        ("stranger", "", False),
        ("stranger", "stranger/environments", False),
    ],
)
def test_only_what_nobody_else_can_push_to_is_built_unasked(
    desk: Desk, author: str, source: str, unasked: bool
) -> None:
    pull = desk.state.open_pull(author, desk.more("world"), fork=source)
    assert desk.report(pull, desk.pushed(pull)).building == unasked
    assert len(desk.state.dispatches) == unasked
    assert ("being built and tested" in desk.diff(pull)) == unasked


@pytest.mark.parametrize("kind", ["too little", "too much"])
def test_data_about_other_environments_than_the_pull_requests_is_not_used(desk: Desk, kind: str) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    (part,) = desk.propose(pull).parts
    parts = () if kind == "too little" else (part, part.model_copy(update={"name": "other"}))
    with pytest.raises(RefusedError, match="leaves it out" if kind == "too little" else "other is not touched"):
        desk.report(pull, desk.pushed(pull, desk.propose(pull).model_copy(update={"parts": parts})))
    assert desk.state.comments == []
    assert desk.state.status(pull.head_sha)[0] == "error"


# --- delivered again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["a maintainer's", "a new version's", "a fork's"])
def test_a_report_delivered_again_writes_nothing_and_starts_nothing(desk: Desk, whose: str) -> None:
    both = desk.more("world") | desk.more("world", file="environments/other/environment.yml")
    if whose == "a new version's":
        pull = desk.state.open_pull(BOT, both, branch="release/tiny-26.12")
        run = desk.answered(pull, "workflow_dispatch")
    else:
        fork = "stranger/environments" if whose == "a fork's" else ""
        pull = desk.state.open_pull("stranger" if fork else "maintainer", both, fork=fork)
        run = desk.pushed(pull)
    desk.report(pull, run)
    if whose == "a fork's":
        assert desk.report(pull, run).building is False
        assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].run == run.number
    else:
        (dispatched,) = desk.state.dispatches
        desk.runs += 1
        assert admit(desk.desk(), "workflow_dispatch", dispatched).action == "build"
    started, hub = list(desk.state.dispatches), desk.desk().hub
    for state in ("pending", "failure", "success"):
        hub.status(pull.head_sha, state, "What the build has said.")
        writes = desk.fake.writes
        desk.runs += 1  # the job that makes it is another run, with another link
        assert desk.report(pull, run).building is False
        assert desk.fake.writes == writes
        assert desk.state.status(pull.head_sha) == (state, "What the build has said.")
    assert desk.state.dispatches == started


@pytest.mark.parametrize("file", [SITE, "README.md", SPEC])
def test_what_is_not_built_is_said_once_too(desk: Desk, file: str) -> None:
    more: dict[str, str | None] = (
        {file: ENVIRONMENT.format(name="tiny") + "  - world >=7\n"} if file == SPEC else {file: "# new\n"}
    )
    pull = desk.state.open_pull("maintainer", more)
    run = desk.pushed(pull)
    desk.report(pull, run)
    writes = desk.fake.writes
    desk.runs += 1
    desk.report(pull, run)
    assert desk.fake.writes == writes


#: A report's changes: two comments, the status, the dispatch, and in both comments that it was dispatched.
REPORT = 6


@pytest.mark.parametrize("died_after", range(REPORT))
def test_a_report_that_dies_anywhere_is_made_up_for_by_the_same_one(desk: Desk, died_after: int) -> None:
    both = desk.more("world") | desk.more("world", file="environments/other/environment.yml")
    pull = desk.state.open_pull("maintainer", both)
    run = desk.pushed(pull)
    desk.fake.life = died_after
    with pytest.raises(NetworkError):
        desk.report(pull, run)
    desk.fake.life = -1
    before = len(desk.state.dispatches)
    assert desk.report(pull, run).building == (died_after < REPORT - 1)  # else one of the comments says it by then
    # Never none; and twice only where it had died before it could write down that it was asked for.
    assert (before, len(desk.state.dispatches)) == {REPORT - 2: (1, 2), REPORT - 1: (1, 1)}.get(died_after, (0, 1))
    assert desk.state.status(pull.head_sha) == ("pending", "Solved; being built and tested.")
    writes = desk.fake.writes
    assert not desk.report(pull, run).building
    assert desk.fake.writes == writes


def test_a_report_has_so_many_changes(desk: Desk) -> None:
    both = desk.more("world") | desk.more("world", file="environments/other/environment.yml")
    pull = desk.state.open_pull("maintainer", both)
    run, writes = desk.pushed(pull), desk.fake.writes
    desk.report(pull, run)
    assert desk.fake.writes - writes == REPORT


@pytest.mark.parametrize("kind", ["before", "forbidden"])
def test_a_build_that_github_did_not_start_is_started_by_the_next_report(desk: Desk, kind: str) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    run = desk.pushed(pull)
    desk.fake.faults.append(Fault("POST", "/dispatches", kind))
    with pytest.raises(NetworkError):
        desk.report(pull, run)
    assert desk.state.status(pull.head_sha)[0] == "error"
    assert "the build could not begin" in desk.state.status(pull.head_sha)[1]
    assert desk.report(pull, run).building
    assert len(desk.state.dispatches) == 1


def test_what_is_asked_for_again_is_built_again(desk: Desk) -> None:
    """After a failure of ours by the same report; a new solution by its own; the same one at somebody's word."""
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    run, hub = desk.pushed(pull), desk.desk().hub
    desk.report(pull, run)
    hub.status(pull.head_sha, "error", "Not your change: the build failed on our side.")
    assert desk.report(pull, run).building
    assert desk.state.status(pull.head_sha) == ("pending", "Solved; being built and tested.")
    hub.status(pull.head_sha, "success", "Built and tested; merging publishes it.")
    assert not desk.report(pull, run).building
    assert desk.say(pull, "maintainer", f"/build {pull.head_sha}")[0].action == "build"
    assert desk.report(pull, desk.answered(pull)).building  # `/relock`
    # The pull request's own run, run again: its number stays, and what it brings is another.
    (part,) = desk.propose(pull).parts
    moved = desk.propose(pull).model_copy(update={"parts": (part.model_copy(update={"notes": ("moved",)}),)})
    desk.state.keep(run.number, "proposal", {"proposal.json": dumps(moved).encode()})
    assert desk.report(pull, run).building
    assert not desk.report(pull, run).building
    assert len(desk.state.dispatches) == 4


def test_the_guard_writes_down_what_a_report_could_not(desk: Desk) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    run = desk.pushed(pull)
    desk.fake.faults.append(Fault("PATCH", "/comments/", "forbidden", times=9))
    with pytest.raises(NetworkError):
        desk.report(pull, run)
    desk.fake.faults.clear()
    (dispatched,) = desk.state.dispatches
    assert admit(desk.desk(), "workflow_dispatch", dispatched).action == "build"
    assert not desk.report(pull, run).building
    # A build of what is not shown any more says nothing about what is.
    again = desk.answered(pull)
    desk.report(pull, again)
    writes = desk.fake.writes
    assert admit(desk.desk(), "workflow_dispatch", dispatched).run == run.number
    assert desk.fake.writes == writes + 1  # the status alone
    assert not desk.report(pull, again).building


# --- what fails on our side -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/comments", "before", times=99),
        Fault("POST", "/comments", "forbidden", times=99),
        Fault("GET", "/_/blob", "truncated"),
        Fault("GET", "/files", "forbidden"),
    ],
    ids=lambda fault: f"{fault.path} {fault.kind}",
)
def test_a_report_that_cannot_be_made_says_so_in_the_status(desk: Desk, fault: Fault) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    run = desk.pushed(pull)
    desk.fake.faults.append(fault)
    with pytest.raises(NetworkError):
        desk.report(pull, run)
    assert desk.state.status(pull.head_sha) == ("error", accept.UNFINISHED)
    desk.fake.faults.clear()
    desk.report(pull, run)
    assert desk.state.status(pull.head_sha)[0] == "pending"
    assert "1 asked for" in desk.diff(pull)


@pytest.mark.parametrize("before", ["", "pending", "error", "failure"])
def test_the_last_word_on_a_report_leaves_what_it_said_itself(desk: Desk, before: str) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world"))
    here = desk.desk()
    if before:
        desk.state.statuses.append({"sha": pull.head_sha, "context": "conda-concept", "state": before})
        desk.state.statuses[-1] |= {"description": "its own words", "target_url": ""}
    settle(here, here.hub.pull(pull.number), (), "failure")
    own = before in ("error", "failure")
    assert desk.state.status(pull.head_sha) == ((before, "its own words") if own else ("error", accept.UNFINISHED))


# --- what is old, and what else changes -------------------------------------------------------------------------------


def test_what_a_newer_commit_no_longer_touches_is_superseded(desk: Desk) -> None:
    other = "environments/other/environment.yml"
    both = desk.more("world") | desk.more("world", file=other)
    pull = desk.state.open_pull("maintainer", both)
    desk.report(pull, desk.pushed(pull))
    old, hub = pull.head_sha, desk.desk().hub
    for name in ("tiny", "other"):
        words = f"### ✅ built\n\n<sub>commit `{old[:12]}`</sub>\n"
        hub.say(pull.number, marker("build", name), words)

    desk.state.push(pull, {other: desk.state.text(other) + "\n"})
    desk.report(pull, desk.pushed(pull))
    assert "Superseded" not in desk.diff(pull)
    untouched = f"> Superseded: commit `{pull.head_sha[:12]}` does not change this environment."
    for key in ("diff:other", "build:other"):
        (body,) = desk.state.said(pull.number, key)
        assert body.split("\n")[2].startswith(untouched)
        assert old[:12] in body
    (body,) = desk.state.said(pull.number, "build:tiny")
    assert body.split("\n")[2].startswith(f"> Superseded: commit `{pull.head_sha[:12]}` came after this.")

    desk.state.push(pull, {SPEC: desk.state.text(SPEC) + "\n"})
    run = desk.pushed(pull)
    for _ in range(2):  # twice is once
        assert desk.report(pull, run).untouched
        for key in ("diff:tiny", "build:tiny", "diff:other", "build:other"):
            (body,) = desk.state.said(pull.number, key)
            assert body.count("Superseded") == 1
            assert body.split("\n")[2].startswith(f"> Superseded: commit `{pull.head_sha[:12]}` does not change")
    assert desk.state.status(pull.head_sha) == ("success", "No environment is touched.")
    assert "no comment here says yet" in desk.say(pull, "maintainer", f"/build {pull.head_sha}")[1]


def test_a_build_of_another_lock_of_the_same_commit_is_superseded(desk: Desk) -> None:
    pull = fork(desk, "world")
    first = desk.pushed(pull)
    desk.report(pull, first)
    (part,) = desk.propose(pull).parts
    built = digest(loads(part.lock), "linux-64")
    words = f"### ✅ built\n\n<sub>commit `{pull.head_sha[:12]}` · lock `{built[:12]}`</sub>\n"
    desk.desk().hub.say(pull.number, marker("build", "tiny"), words)
    desk.report(pull, first)
    (body,) = desk.state.said(pull.number, "build:tiny")
    assert "Superseded" not in body  # it is this lock's

    text = re.sub("sha256: b{64}", f"sha256: {'c' * 64}", part.lock)
    assert digest(loads(text), "linux-64") != built
    moved = desk.propose(pull).model_copy(update={"parts": (part.model_copy(update={"lock": text}),)})
    desk.report(pull, desk.pushed(pull, moved))
    (body,) = desk.state.said(pull.number, "build:tiny")
    assert body.split("\n")[2].startswith(f"> Superseded: commit `{pull.head_sha[:12]}` has another lock by now.")
    assert "Superseded" not in desk.diff(pull)


@pytest.mark.parametrize("file", [SITE, "ci/conda_concept/templates/launcher.sh", "environments/tiny/hooks/a.sh"])
def test_what_is_taken_only_after_the_merge_is_not_built_before(desk: Desk, file: str) -> None:
    pull = desk.state.open_pull("maintainer", {file: "# new\n"})
    done = desk.report(pull, desk.pushed(pull))
    assert {verdict for _, verdict in done.verdicts} == {"later"}
    assert not done.building
    assert desk.state.dispatches == []
    body = desk.diff(pull)
    assert body.split("\n")[1] == "### tiny-26.11: no package changes"
    assert "there is nothing to build before the merge" in body
    assert "Until it is merged, those of the main branch are used." in body
    state, words = desk.state.status(pull.head_sha)
    assert state == "success"
    assert "after the merge" in words


def test_with_a_change_of_the_spec_it_is_built_all_the_same(desk: Desk) -> None:
    pull = desk.state.open_pull("maintainer", desk.more("world") | {SITE: "name: here\n# new\n"})
    done = desk.report(pull, desk.pushed(pull))
    assert done.verdicts == (("other", "later"), ("tiny", "solved"))
    assert done.building
    assert "being built and tested" in desk.diff(pull)
    assert "nothing to build before the merge" in desk.diff(pull, "other")


@pytest.mark.parametrize("spec", [ENVIRONMENT.format(name="tiny") + "  - world >=7\n", "name: tiny\nnonsense: 1\n"])
def test_that_machinery_is_mains_is_said_whatever_the_verdict(desk: Desk, spec: str) -> None:
    pull = desk.state.open_pull(
        "stranger", {SPEC: spec, "environments/tiny/hooks/a.sh": "#!/bin/sh\n"}, fork="stranger/e"
    )
    done = desk.report(pull, desk.pushed(pull))
    assert done.verdicts in ((("tiny", "unsolvable"),), (("tiny", "invalid"),))
    assert "This pull request also changes hooks. Until it is merged" in desk.diff(pull)
