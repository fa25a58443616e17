"""Issues, branches and pull requests of our own: made once, whatever fails on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.errors import NetworkError, NotFoundError, RefusedError
from conda_concept.github import File, issues
from conda_concept.github.issues import IssueDraft, PullDraft
from tests.support.fakegithub import FakeGitHub, Fault, State
from tests.support.fakegithub.state import BOT

ALL = {"contents": "write", "pull-requests": "write", "issues": "write", "metadata": "read"}
DRAFT = IssueDraft("Release tiny 26.12", "### Environment\n\ntiny\n", ("release",))


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeGitHub]:
    state = State.make(tmp_path)
    state.commit("main", {"a": "a\n"})
    state.tokens = {"all": ALL, "pulls": {"pull-requests": "write"}}
    with FakeGitHub.serve(state) as served:
        yield served
    assert served.invalid == []


@pytest.mark.parametrize("kind", ["", "before", "after", "lost", "secondary"])
def test_an_issue_of_ours_is_opened_once_whatever_fails(fake: FakeGitHub, kind: str) -> None:
    fake.state.open_issue("mallory", DRAFT.title, "mine", ["release"])
    fake.faults += [Fault("POST", "/issues$", kind)] if kind else []
    first = issues.open_issue(fake.hub(), DRAFT)
    issues.close(fake.hub(), first.number)
    assert issues.open_issue(fake.hub(), DRAFT).number == first.number == 2
    assert [one.author for one in fake.state.issues.values()] == ["mallory", BOT]
    assert fake.state.issues[2].labels == ["release"]


def test_issues_are_found_by_their_labels_and_are_no_pull_requests(fake: FakeGitHub) -> None:
    state = fake.state
    for number in range(130):
        state.open_issue("somebody", f"{number}", "", ["release"] if number % 2 else [])
    pull = state.open_pull("somebody", {"b": "b\n"})
    found = issues.issues(fake.hub(), "release")
    assert [one.number for one in found] == list(range(130, 0, -2))
    assert len(fake.asked) == 1  # nothing is asked about each
    with pytest.raises(NotFoundError, match="is a pull request"):
        issues.issue(fake.hub(), pull.number)
    with pytest.raises(NotFoundError):
        issues.issue(fake.hub(), 999)


def test_closing_and_labels_twice_is_once(fake: FakeGitHub) -> None:
    number = fake.state.open_issue("somebody", "x", "text").number
    for _ in range(2):
        issues.close(fake.hub(), number, "not_planned")
        issues.label(fake.hub(), number, add="done", remove="open")
    found = issues.issue(fake.hub(), number)
    assert (found.is_open, found.labels, found.author, found.body) == (False, ("done",), "somebody", "text")
    assert fake.state.issues[number].reason == "not_planned"
    assert fake.count("PATCH", "/issues/") == fake.count("POST", "/labels") == 1
    issues.label(fake.hub(), number, remove="done")
    assert fake.state.issues[number].labels == []


@pytest.mark.parametrize("kind", ["", "before", "after", "lost"])
@pytest.mark.parametrize("where", ["/git/refs$", "/pulls$"])
def test_a_branch_and_its_pull_request_are_made_once_whatever_fails(fake: FakeGitHub, where: str, kind: str) -> None:
    fake.faults += [Fault("POST", where, kind)] if kind else []
    draft = PullDraft("request/hello", "main", "Add hello", "Asked for in #1.")
    tip = fake.state.git("rev-parse", "main")
    for _ in range(2):
        github = fake.hub()
        end = issues.branch(github, draft.branch, tip)
        if end == tip:
            end = github.commit(draft.branch, end, [File("b", "b\n")], "Add hello")
        assert issues.open_pull(github, draft).head_sha == end
    assert [one.title for one in fake.state.pulls.values()] == ["Add hello"]
    assert fake.state.text("b", draft.branch) == "b"


def test_a_pull_request_without_a_change_is_refused_in_words(fake: FakeGitHub) -> None:
    github = fake.hub()
    issues.branch(github, "empty", github.tip("main"))
    with pytest.raises(RefusedError, match="No commits between main and empty"):
        issues.open_pull(github, PullDraft("empty", "main", "t", "b"))


def test_an_issue_is_not_reached_with_a_permission_for_pull_requests(fake: FakeGitHub) -> None:
    number = fake.state.open_issue("somebody", "x", "text").number
    with pytest.raises(NetworkError, match="403"):
        fake.hub("pulls").say(number, "<!-- conda-concept:request:1 -->", "text")
    fake.hub().say(number, "<!-- conda-concept:request:1 -->", "text")
    assert fake.state.said(number, "request:1") == ["<!-- conda-concept:request:1 -->\ntext"]
