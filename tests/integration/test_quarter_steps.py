"""New versions against the fake GitHub: every form, every moment to die, every event twice; what people are told."""

import datetime as dt
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from conda_concept.cli import run
from conda_concept.conversation import marker
from conda_concept.errors import ConcError, InputError, RefusedError
from conda_concept.github import Hub, issues, releases
from conda_concept.github.releases import Attachment, ReleaseDraft
from conda_concept.progress import Reporter
from conda_concept.quarter import Wanted
from conda_concept.render.diff import Heading
from conda_concept.render.pullrequest import not_published
from conda_concept.repository import Repository
from conda_concept.site import zone
from conda_concept.steps.quarter import Attended, Office
from conda_concept.steps.quarterwork import Rehearsal
from tests.support.fakegithub import FakeGitHub, Fault, Issue, State
from tests.support.fakegithub.state import BOT, Comment

TOP = Path(__file__).resolve().parents[2]
FORM = ".github/ISSUE_TEMPLATE/release.yml"
CONFIGURATION = "environments/tiny/config.yml"
CONFIG = '# About tiny.\nversion: "26.07"  # the quarter\nquarterly: true\ndescription: tiny\n'
SPEC = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n"
ALL = dict.fromkeys(("contents", "pull-requests", "statuses", "actions", "issues"), "write") | {"metadata": "read"}
BODY = """\
### Environment

{environment}

### Version

{version}

### Packages

{packages}

### Stable version

{stable}

### Notes

{notes}
"""
NOW = dt.datetime(2026, 10, 1, 0, 41, tzinfo=zone("Australia/Sydney"))
BUILT = """\
### ✅ good

```sh
module use /g/data/candidates
module load conda_concept/tiny-26.10-rc1
python3
```
"""


def body(**other: str) -> str:
    given = {"environment": "tiny", "version": "26.10", "packages": "Refresh everything", "stable": "", "notes": ""}
    return BODY.format(**{key: value or "_No response_" for key, value in (given | other).items()})


@dataclass
class World:
    """One repository on the fake GitHub, and the runs that look after its versions."""

    fake: FakeGitHub
    folder: Path
    outcomes: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.fake.state

    @property
    def hub(self) -> Hub:
        return self.fake.hub()

    def office(self) -> Office:
        """A run, with its own fresh checkout."""
        self.state.git("worktree", "prune")
        checkout = self.folder / f"checkout-{len(list(self.folder.glob('checkout-*')))}"
        self.state.git("clone", "--quiet", str(self.state.git_dir), str(checkout))
        return Office.of(self.hub, Repository(checkout), Reporter(StringIO(), quiet=True))

    def attend(self, event: str, payload: dict[str, Any] | None = None, now: dt.datetime = NOW) -> Attended:
        """One run for an event; a runner that dies is no failure of the test."""
        try:
            return self.office().attend(event, payload or {}, now)
        except ConcError as error:
            self.outcomes.append(str(error))
            return Attended()

    def open(self, author: str = "maintainer", **answers: str) -> Issue:
        """An issue from the form."""
        return self.state.open_issue(author, "Release ", body(**answers), ["release"])

    def opened(self, issue: Issue) -> Attended:
        return self.attend("issues", {"issue": _event(issue)})

    def retry(self, issue: Issue, author: str = "maintainer", text: str = "/retry") -> Attended:
        said = 9000 + len(self.state.comments)
        self.state.comments.append(Comment(said, issue.number, author, text))
        comment = {"id": said, "user": {"login": author}, "body": text}
        return self.attend("issue_comment", {"action": "created", "comment": comment, "issue": _event(issue)})

    def checklist(self, issue: Issue) -> str:
        (found,) = self.state.said(issue.number, "quarter:checklist")
        return found

    def answer(self, issue: Issue) -> str:
        (found,) = self.state.said(issue.number, "answer:command")
        return found

    def built(self) -> None:
        """What the build does, as far as GitHub hears of it; nothing without a dispatch."""
        for one in self.state.dispatches:
            if one["workflow"] == "build.yml":
                number, sha = int(one["inputs"]["pull_request"]), one["inputs"]["sha"]
                for key, text in (("diff", "much"), ("build", BUILT)):
                    self.hub.say(number, marker(key, "tiny"), text)
                self.hub.status(sha, "success", "Built and tested; merging publishes it.")
        self.state.dispatches.clear()

    def merged(self) -> None:
        for pull in self.state.pulls.values():
            if pull.state == "open" and self.state.status(pull.head_sha)[0] == "success":
                self.state.merge(pull.number)

    def announced(self) -> None:
        """What the release job does on GitHub, where something is merged."""
        if any(pull.merged for pull in self.state.pulls.values()):
            tip = self.state.git("rev-parse", "main")
            releases.tag(self.hub, "tiny-26.10", tip)
            issues.branch(self.hub, "tiny-26.10", tip)
            files = (Attachment("lock", b"lock"), Attachment("sums", b"sums"))
            releases.publish(self.hub, ReleaseDraft("tiny-26.10", "tiny 26.10", "notes", files))

    def quarter(self, issue: Issue) -> None:
        """Everything, from the issue to its end, each part once; what dies is left to the next."""
        self.opened(issue)
        parts = (self.built, lambda: self.attend("workflow_run"), self.merged, self.announced)
        for part in (*parts, lambda: self.attend("workflow_run")):
            try:
                part()
            except ConcError as error:
                self.outcomes.append(str(error))

    def facts(self, issue: Issue) -> dict[str, Any]:
        """What is there in the end, without times and numbers that count attempts."""
        return {
            "issue": (issue.state, issue.reason),
            "checklist": self.checklist(issue),
            "pulls": [(one.head_branch, one.title, one.body, bool(one.merged)) for one in self.state.pulls.values()],
            "refs": self.state.git("for-each-ref", "--format=%(refname)").splitlines(),
            "releases": [
                (one.tag, one.draft, one.body, [(asset.name, asset.data) for asset in one.assets])
                for one in self.state.releases
            ],
            "config": self.state.text(CONFIGURATION),
            "comments": [(one.issue, one.body) for one in self.state.comments if one.author == BOT],
        }


def _event(issue: Issue) -> dict[str, Any]:
    labels = [{"name": name} for name in issue.labels]
    facts = {"number": issue.number, "title": issue.title, "body": issue.body, "state": issue.state}
    return facts | {"user": {"login": issue.author}, "labels": labels}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State.make(tmp_path)
    form = (TOP / FORM).read_text("utf-8").replace("- analysis3", "- tiny")
    files: dict[str, str | None] = {FORM: form, CONFIGURATION: CONFIG, "environments/tiny/environment.yml": SPEC}
    state.git("update-ref", "refs/tags/tiny-26.07", state.commit("main", files, "Begin"))
    state.tokens = {"all": ALL}
    state.people = {"maintainer": "write", "reader": "read"}
    with FakeGitHub.serve(state) as served:
        yield World(served, tmp_path)
    assert served.invalid == []
    assert served.denied == []


def test_a_whole_quarter_leaves_one_of_everything(world: World) -> None:
    issue = world.open()
    world.quarter(issue)
    assert world.outcomes == []
    assert (issue.state, issue.reason) == ("closed", "completed")
    assert "### 🚀 `tiny-26.10` is released" in world.checklist(issue)
    assert world.checklist(issue).count("- [x]") == 7
    assert world.state.text(CONFIGURATION) == (
        '# About tiny.\nversion: "26.10"  # the quarter\nstable: "26.07"\nrefresh: "26.10"\n'
        "quarterly: true\ndescription: tiny"
    )


def test_every_event_again_writes_nothing(world: World) -> None:
    issue = world.open()
    writes = []
    for part in (
        lambda: world.opened(issue),
        lambda: world.attend("schedule"),
        world.built,
        lambda: world.attend("workflow_run"),
        world.merged,
        lambda: world.attend("workflow_run"),
        world.announced,
        lambda: world.attend("workflow_run"),
    ):
        part()
        before = world.fake.writes
        part()
        writes.append(world.fake.writes - before)
    assert writes == [0] * len(writes)


#: How many changes a whole quarter asks of GitHub here; `test_every_event…` shows that a second one asks none.
CHANGES = 21


@pytest.mark.parametrize("died_after", range(CHANGES))
def test_a_runner_that_dies_between_any_two_changes_is_made_up_for(world: World, died_after: int) -> None:
    issue = world.open()
    world.fake.life = died_after
    world.quarter(issue)
    assert world.outcomes, "nothing died: CHANGES is too large"
    world.fake.life = -1
    world.retry(issue)  # what a person says who sees that it stands still
    world.quarter(issue)
    world.retry(issue)
    found = world.facts(issue)
    assert found["issue"] == ("closed", "completed")
    assert [one[0] for one in found["pulls"]] == ["release/tiny-26.10"]
    assert [(one[0], one[1], one[3]) for one in found["releases"]] == [
        ("tiny-26.10", False, [("lock", b"lock"), ("sums", b"sums")])
    ]
    assert len({(number, text.split("\n")[0]) for number, text in found["comments"]}) == len(found["comments"]) == 3
    assert found["checklist"].count("- [x]") == 7
    assert '"26.10"' in found["config"]


def test_the_number_of_changes_is_the_one_that_is_said(world: World) -> None:
    world.quarter(world.open())
    assert world.fake.writes == CHANGES


HOSTILE = {
    "another heading": (body() + "\n### Environment\n\nother\n", "has no heading|not in its place|twice"),
    "a heading in a line": (body(version="### Version"), "is a heading|not in its place|missing|no heading"),
    "not offered": (body(environment="rm -rf"), "does not offer"),
    "markup": (body(environment="<img src=x onerror=alert(1)>"), "does not offer"),
    "a number": (body(version="26.1"), "is the number; write 26.10 for October"),
    "no month": (body(version="26.13"), "a year and a month"),
    "a command": (body(version="26.10; reboot"), "a year and a month"),
    "a reference": (body(version="../../26.10"), "a year and a month"),
    "an expression": (body(version="${{ github.token }}"), "a year and a month"),
    "text before": ("hello\n\n" + body(), "before the first heading"),
    "older": (body(version="26.04"), "not newer than"),
    "the same": (body(version="26.07"), "not newer than"),
    "never released": (body(stable="25.01"), "never released"),
    "later than itself": (body(stable="27.01"), "comes after"),
    "nothing": ("", "missing"),
    "long": ("x" * 70_000, "is the limit"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_form_that_cannot_be_so_is_answered_and_starts_nothing(world: World, case: str) -> None:
    text, words = HOSTILE[case]
    issue = world.open()
    issue.body = text
    for _ in range(2):
        world.opened(issue)
    assert world.outcomes == []
    assert "### ❌ Not started" in world.answer(issue)
    plain = world.answer(issue).replace("\\", "").replace("\N{ZERO WIDTH JOINER}", "")
    assert re.search(words, plain), plain
    assert "<img" not in world.answer(issue)
    assert world.state.pulls == {}
    assert world.state.dispatches == []
    assert world.fake.writes == 1


def test_others_are_thanked_and_asked_to_find_a_maintainer(world: World) -> None:
    for who in ("reader", "stranger"):
        issue = world.open(who)
        world.opened(issue)
        world.retry(issue, who)
        world.retry(issue, "maintainer")  # the opener's permission counts
        assert "### Thank you" in world.answer(issue)
        assert "ask a maintainer" in world.answer(issue)
    assert world.state.pulls == {}
    assert [one.reactions for one in world.state.comments if one.author == "reader"] == [[(BOT, "confused")]]


def test_an_issue_that_was_edited_after_it_was_begun_is_not_gone_on_with(world: World) -> None:
    issue = world.open()
    world.opened(issue)
    before = world.checklist(issue)
    issue.body = issue.body.replace("26.10", "26.12")
    world.retry(issue)
    world.attend("workflow_run")
    assert "edited after" in world.answer(issue)
    assert world.checklist(issue) == before
    assert [one.head_branch for one in world.state.pulls.values()] == ["release/tiny-26.10"]
    issue.body = issue.body.replace("26.12", "26.10")
    assert world.retry(issue).stands[0][1] == "pending"


def test_a_version_that_was_merged_and_never_released_does_not_become_stable(world: World) -> None:
    world.state.git("update-ref", "-d", "refs/tags/tiny-26.07")
    issue = world.open()
    world.opened(issue)
    assert "tiny-26.07, which is to become stable, was never released" in world.answer(issue).replace("\\", "")
    assert world.state.pulls == {}
    issue.body = body(stable="26.10")
    world.retry(issue)
    assert len(world.state.pulls) == 1


def test_an_issue_that_was_closed_while_its_run_waited_starts_nothing(world: World) -> None:
    issue = world.open()
    payload = {"issue": _event(issue)}
    issue.state = "closed"
    world.attend("issues", payload)
    assert world.outcomes == []
    assert (world.state.pulls, world.state.dispatches, world.fake.writes) == ({}, [], 0)


def test_a_release_that_failed_is_said_in_the_checklist(world: World) -> None:
    issue = world.open()
    world.opened(issue)
    world.built()
    world.merged()
    (pull,) = world.state.pulls.values()
    world.hub.say(pull.number, marker("release", "tiny"), not_published("tiny", "No room.", Heading("tiny-26.10")))
    world.attend("workflow_run")
    assert "### ⚠️ `tiny-26.10`: merged, but not published" in world.checklist(issue)
    assert f"/pull/{pull.number}#issuecomment-" in world.checklist(issue).partition("[the release](")[2]
    world.retry(issue)
    assert [one["workflow"] for one in world.state.dispatches] == ["release.yml"]


def test_a_form_that_was_wrong_can_be_corrected(world: World) -> None:
    issue = world.open(version="26.1")
    world.opened(issue)
    issue.body = body()
    world.retry(issue)
    assert "release/tiny-26.10" in world.checklist(issue)


def test_a_second_issue_for_the_same_version_is_led_to_the_first(world: World) -> None:
    first, second = world.open(), world.open()
    world.opened(first)
    world.opened(second)
    assert f"#{first.number} asks for `tiny-26.10` already" in world.answer(second)
    assert len(world.state.pulls) == 1


@pytest.mark.parametrize("other", ["26.10", "26.12"])
def test_two_forms_at_once(world: World, other: str) -> None:
    forms = [world.open(), world.open(version=other)]
    offices, barrier = [world.office() for _ in forms], threading.Barrier(2)

    def one(number: int) -> None:
        barrier.wait()
        offices[number].attend("issues", {"issue": _event(forms[number])}, NOW)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.head_branch for one in world.state.pulls.values()} == {"release/tiny-26.10", f"release/tiny-{other}"}
    if other == "26.10":
        assert f"#{forms[0].number} asks for `tiny-26.10` already" in world.answer(forms[1])
    else:
        assert "release/tiny-26.12" in world.checklist(forms[1])


def test_a_strangers_issue_does_not_stand_in_the_way(world: World) -> None:
    world.open("stranger")
    mine = world.open()
    world.opened(mine)
    assert "release/tiny-26.10" in world.checklist(mine)
    world.state.issues.clear()
    world.open("stranger")
    world.attend("schedule")
    assert [one.author for one in world.state.issues.values()] == ["stranger", BOT]


def test_a_branch_of_that_name_about_something_else_stops_it(world: World) -> None:
    world.state.commit("release/tiny-26.10", {"README.md": "mine\n"}, start="refs/heads/main")
    issue = world.open()
    world.opened(issue)
    assert "is not about 26.10" in world.outcomes[0]
    assert "Delete it if nobody needs it" in world.checklist(issue)
    world.state.git("update-ref", "-d", "refs/heads/release/tiny-26.10")
    world.retry(issue)
    assert len(world.state.pulls) == 1
    assert "Delete it" not in world.checklist(issue)


def test_retry_starts_again_what_failed_and_nothing_that_is_good(world: World) -> None:
    issue = world.open()
    world.opened(issue)
    (pull,) = world.state.pulls.values()
    world.state.dispatches.clear()
    world.hub.status(pull.head_sha, "error", "Not your change: the build failed on our side.")
    world.attend("workflow_run")
    assert world.state.dispatches == []  # nobody has asked
    assert "comment `/retry`" in world.checklist(issue)
    world.retry(issue, text="/retry please")
    assert world.state.dispatches == []
    world.retry(issue)
    assert [one["inputs"]["sha"] for one in world.state.dispatches] == [pull.head_sha]
    world.built()
    world.retry(issue)
    assert world.state.dispatches == []
    world.merged()
    world.attend("workflow_run")
    assert world.state.dispatches == []
    world.retry(issue)
    assert [one["workflow"] for one in world.state.dispatches] == ["release.yml"]


def test_a_pull_request_that_is_closed_stops_it_until_it_is_reopened(world: World) -> None:
    issue = world.open()
    world.opened(issue)
    (pull,) = world.state.pulls.values()
    pull.state = "closed"
    world.attend("workflow_run")
    assert f"reopen #{pull.number} to go on" in world.checklist(issue)
    pull.state = "open"
    world.attend("workflow_run")
    assert "was closed" not in world.checklist(issue)


def test_keeping_packages_and_choosing_what_is_stable(world: World) -> None:
    issue = world.open(packages="Keep the packages that are there", stable="26.10")
    world.opened(issue)
    text = world.state.text(CONFIGURATION, "release/tiny-26.10")
    assert 'stable: "26.10"' in text
    assert "refresh" not in text


# --- the calendar ---------------------------------------------------------------------------------------------------


def test_the_issue_of_a_quarter_is_opened_once(world: World) -> None:
    talk = [world.state.open_issue("somebody", f"{number}", "text", ["release"]) for number in range(120)]
    for one in talk:
        one.state = "closed"
    for _ in range(3):
        world.attend("schedule")
    (issue,) = [one for one in world.state.issues.values() if one not in talk]
    assert (issue.author, issue.title) == (BOT, "Release tiny-26.10")
    assert issue.body == body(stable="26.07")
    assert len(world.state.pulls) == 1
    issue.state = "closed"  # somebody does not want it
    world.attend("schedule", now=NOW + dt.timedelta(days=30))
    assert len(world.state.issues) == 121
    world.state.issues.clear()
    mine = world.open()  # somebody was quicker
    world.attend("schedule")
    assert list(world.state.issues.values()) == [mine]


def test_a_lost_answer_opens_no_second_issue(world: World) -> None:
    world.fake.faults.append(Fault("POST", "/issues$", "lost"))
    world.attend("schedule")
    assert len(world.state.issues) == 1


def test_one_environment_that_fails_does_not_keep_the_others(world: World) -> None:
    files: dict[str, str | None] = {FORM: (TOP / FORM).read_text("utf-8").replace("- analysis3", "- tiny\n        - b")}
    for name, config in (("a", "what: 1\n"), ("b", CONFIG), ("tiny", CONFIG)):
        files[f"environments/{name}/config.yml"] = config
        files[f"environments/{name}/environment.yml"] = SPEC.replace("tiny", name)
    world.state.git("update-ref", "refs/tags/b-26.07", world.state.commit("main", files))
    world.opened(world.open())
    world.fake.faults.append(Fault("POST", "/issues$", "before", times=3))  # b's
    world.attend("schedule")
    assert len(world.outcomes) == 1
    assert "502" in world.outcomes[0]
    world.attend("schedule")
    assert "what" in world.outcomes[1]
    assert [one.title for one in world.state.issues.values()] == ["Release ", "Release b-26.10"]
    assert {one.head_branch for one in world.state.pulls.values()} == {"release/tiny-26.10", "release/b-26.10"}


def test_a_list_that_lags_behind_opens_no_second_issue(world: World) -> None:
    world.state.late_lists = 3
    world.attend("schedule")
    number, _ = world.office().ask(Wanted("tiny", "26.12", refresh=True), retry=False)
    assert world.outcomes == []
    assert [one.title for one in world.state.issues.values()] == ["Release tiny-26.10", "Release tiny-26.12"]
    assert [one.head_branch for one in world.state.pulls.values()] == ["release/tiny-26.10"]
    assert number == 3


@pytest.mark.parametrize(
    ("moment", "opened"),
    [
        ("2026-09-30T13:59:00+00:00", False),  # 23:59 in Canberra
        ("2026-09-30T14:00:00+00:00", True),  # midnight there, and September in London
        ("2026-10-04T00:00:00+00:00", True),  # after their clocks went forward
    ],
)
def test_a_quarter_begins_where_the_site_is(world: World, moment: str, opened: bool) -> None:
    world.attend("schedule", now=dt.datetime.fromisoformat(moment).astimezone(zone("Australia/Sydney")))
    assert bool(world.state.issues) == opened


def test_a_time_zone_that_nobody_knows_is_said() -> None:
    with pytest.raises(InputError, match="no name of a time zone"):
        zone("Mars/Olympus")


# --- from a terminal ------------------------------------------------------------------------------------------------


def test_a_terminal_asks_for_the_same_issue_once(world: World) -> None:
    asked = Wanted("tiny", "26.10", refresh=True)
    number, _ = world.office().ask(asked, retry=False)
    assert world.office().ask(asked, retry=False)[0] == number
    issue = world.state.issues[number]
    assert issue.body == body()
    issue.author = "maintainer"
    world.opened(issue)
    assert "being prepared" in world.office().ask(asked, retry=False)[1]
    shown = Rehearsal(world.office().main, asked).show()
    assert '+version: "26.10"  # the quarter' in shown
    assert "-version" in shown
    with pytest.raises(InputError, match="not newer"):
        Rehearsal(world.office().main, Wanted("tiny", "26.07", refresh=True)).show()


def test_a_terminal_of_somebody_who_may_not_write_opens_nothing(world: World) -> None:
    world.state.tokens["all"] = ALL | {"contents": "read"}
    with pytest.raises(RefusedError, match="Ask a maintainer"):
        world.office().ask(Wanted("tiny", "26.10", refresh=True), retry=False)
    assert world.state.issues == {}


def test_nothing_is_done_for_other_events(world: World) -> None:
    with pytest.raises(RefusedError):
        world.office().attend("push", {}, NOW)
    issue = world.state.open_issue("maintainer", "Release ", body(), [])  # without the form's label
    world.opened(issue)
    assert world.fake.writes == 0


def test_a_rehearsal_asks_nobody(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = str(world.office().main.root)
    words = ["release", "tiny", "26.10", "--repository", checkout]
    assert run([*words, "--dry-run"], {}) == 0
    assert '+stable: "26.07"' in capsys.readouterr().out
    assert run(words, {}) == InputError.exit_code
    assert "`--dry-run` needs neither" in capsys.readouterr().err
    assert run(["release", "tiny", "26.1", "--repository", checkout, "--dry-run"], {}) == InputError.exit_code
    assert "write 26.10 for October" in capsys.readouterr().err
    assert world.fake.writes == 0
