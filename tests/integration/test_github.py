"""The edge to GitHub against a fake that remembers, has GitHub's limits, and fails on demand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from conda_concept.conversation import Asked, marker
from conda_concept.errors import InputError, NetworkError, NotFoundError, RefusedError
from conda_concept.github import File, Hub
from conda_concept.github.hub import MAX_COMMENT
from conda_concept.github.issues import branch
from conda_concept.github.releases import tag
from conda_concept.render import answers
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.repository import Repository
from conda_concept.steps.accept import Desk
from conda_concept.steps.candidate import settle
from conda_concept.steps.reply import finish
from tests.support.fakegithub import HOURLY, FakeGitHub, Fault, Pull, State
from tests.support.fakegithub.state import BOT, Comment

ALL = {
    "issues": "read",
    "contents": "write",
    "pull-requests": "write",
    "statuses": "write",
    "actions": "write",
    "metadata": "read",
}
MARK = marker("diff", "tiny")
ASKED = Asked(1, 9001, "researcher", "/relock")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeGitHub]:
    state = State.make(tmp_path)
    state.commit("main", {"a": "a\n"})
    state.tokens = {"all": ALL, "nothing": {"metadata": "read"}}
    state.people = {"maintainer": "write", "reader": "read"}
    with FakeGitHub.serve(state) as served:
        yield served
    assert served.invalid == []


@pytest.fixture
def pull(fake: FakeGitHub) -> Pull:
    return fake.state.open_pull("researcher", {"environments/tiny/environment.yml": "b\n"}, fork="researcher/fork")


def test_a_comment_is_made_once_and_then_changed(fake: FakeGitHub, pull: Pull) -> None:
    for text in ("one", "two", "two"):
        fake.hub().say(pull.number, MARK, text)
    assert fake.state.said(pull.number, "diff:tiny") == [f"{MARK}\ntwo"]
    assert fake.count("POST", "/comments") == 1
    assert fake.count("PATCH", "/comments") == 1


def test_it_is_found_on_the_third_page_and_never_mistaken_for_somebody_elses(fake: FakeGitHub, pull: Pull) -> None:
    fake.state.comments.append(Comment(1, pull.number, "mallory", f"{MARK}\nmine"))
    fake.state.comments += [Comment(10 + n, pull.number, "talker", f"{n}") for n in range(220)]
    fake.state.comments.append(Comment(900, pull.number, BOT, f"quoting\n{MARK}\nin a later line"))
    fake.state.comments.append(Comment(901, pull.number, BOT, f"{MARK}\r\nours"))
    fake.hub().say(pull.number, MARK, "new")
    assert fake.state.comments[0].body == f"{MARK}\nmine"
    assert fake.state.comments[-1].body == f"{MARK}\nnew"
    assert len(fake.state.comments) == 223
    assert len(fake.asked) <= 5  # three pages, and the change


@pytest.mark.parametrize("kind", ["before", "after", "lost", "secondary", "rate"])
def test_a_failure_at_the_post_leaves_one_comment(fake: FakeGitHub, pull: Pull, kind: str) -> None:
    fake.faults.append(Fault("POST", "/comments", kind))
    fake.hub().say(pull.number, MARK, "text")
    assert fake.state.said(pull.number, "diff:tiny") == [f"{MARK}\ntext"]


def test_an_answer_that_does_not_come_in_time_leaves_one_comment(fake: FakeGitHub, pull: Pull) -> None:
    fake.faults.append(Fault("POST", "/comments", "silent"))
    patient = fake.hub()
    Hub(replace(patient.here, timeout=2)).say(pull.number, MARK, "text")
    assert fake.state.said(pull.number, "diff:tiny") == [f"{MARK}\ntext"]
    assert fake.count("POST", "/comments") == 1


def test_a_github_that_stays_away_is_the_networks_fault(fake: FakeGitHub, pull: Pull) -> None:
    fake.faults.append(Fault("POST", "/comments", "before", times=99))
    with pytest.raises(NetworkError, match="502 when asked to comment on #1"):
        fake.hub().say(pull.number, MARK, "text")
    assert fake.count("POST", "/comments") == 3


def test_a_token_without_the_permission_says_so(fake: FakeGitHub, pull: Pull) -> None:
    with pytest.raises(NetworkError, match="403"):
        fake.hub("nothing").status(pull.head_sha, "success", "no")
    assert fake.state.statuses == []
    assert len(fake.denied) == 1


def test_too_long_a_comment_is_cut_and_says_so_at_the_top(fake: FakeGitHub, pull: Pull) -> None:
    fake.hub().say(pull.number, MARK, "é" * 70_000)
    (body,) = fake.state.said(pull.number, "diff:tiny")
    assert len(body) <= MAX_COMMENT
    assert body.split("\n")[1].startswith("> Shortened")


def test_a_long_status_is_cut(fake: FakeGitHub, pull: Pull) -> None:
    fake.hub().status(pull.head_sha, "failure", "x" * 300)
    assert len(fake.state.status(pull.head_sha)[1]) == 140


def test_permissions_are_what_the_api_says_and_none_if_it_does_not(fake: FakeGitHub) -> None:
    assert fake.hub().permission("maintainer") == "write"
    assert fake.hub().permission("reader") == "read"
    assert fake.hub().permission("stranger") is None
    fake.faults.append(Fault("GET", "/permission", "forbidden", times=9))
    assert fake.hub().permission("maintainer") is None


def test_a_pull_request_of_a_deleted_fork_has_no_repository(fake: FakeGitHub, pull: Pull) -> None:
    pull.head_repository = None
    assert fake.hub().pull(pull.number).head_repository == ""
    assert fake.hub().pull(pull.number).from_fork
    # GitHub's description does not know of it; GitHub does it.
    assert {one.partition("-> ")[2] for one in fake.invalid} == {"head/repo: None is not of type 'object'"}
    fake.invalid.clear()


def test_an_artifact_is_one_member_below_its_limit(fake: FakeGitHub, pull: Pull) -> None:
    run = fake.state.run_of(pull)
    fake.state.keep(run.number, "proposal", {"proposal.json": b"{}" * 10, "../../evil": b"x"})
    assert fake.hub().member(run.number, "proposal", "proposal.json", 1000) == b"{}" * 10
    with pytest.raises(InputError, match="has no other"):
        fake.hub().member(run.number, "proposal", "other", 1000)
    assert [token for how, where, token in fake.asked if where.startswith("/_/blob")] == ["", ""]


def test_a_bomb_is_not_unpacked(fake: FakeGitHub, pull: Pull) -> None:
    run = fake.state.run_of(pull)
    fake.state.keep(run.number, "proposal", {"proposal.json": b"0" * 50_000_000})
    with pytest.raises(InputError, match="more than 1,000,000 bytes"):
        fake.hub().member(run.number, "proposal", "proposal.json", 1_000_000)


def test_a_truncated_artifact_is_a_failure_of_ours(fake: FakeGitHub, pull: Pull) -> None:
    run = fake.state.run_of(pull)
    fake.state.keep(run.number, "proposal", {"proposal.json": b"{}" * 1000})
    fake.faults.append(Fault("GET", "/_/blob", "truncated"))
    with pytest.raises(NetworkError, match="cannot be read"):
        fake.hub().member(run.number, "proposal", "proposal.json", 10_000)


def test_a_run_that_was_run_again_has_its_newest_artifact(fake: FakeGitHub, pull: Pull) -> None:
    run = fake.state.run_of(pull)
    for text in (b"old", b"new"):
        fake.state.keep(run.number, "proposal", {"proposal.json": text})
    fake.state.keep(run.number, "other", {"proposal.json": b"another"})
    assert fake.hub().member(run.number, "proposal", "proposal.json", 1000) == b"new"
    fake.state.artifacts[1].expired = True
    with pytest.raises(NotFoundError, match="has no artifact"):
        fake.hub().member(run.number, "proposal", "proposal.json", 1000)


def test_a_file_of_more_than_a_megabyte_is_read_whole(fake: FakeGitHub) -> None:
    text = "# a lock of a thousand packages\n" * 40_000
    sha = fake.state.commit("main", {"environments/tiny/conda-lock.yml": text})
    path = "/contents/environments/tiny/conda-lock.yml"
    assert fake.hub().file_at("environments/tiny/conda-lock.yml", sha, 2_000_000) == text
    assert (fake.count("GET", path), fake.count("GET", "/git/blobs/")) == (1, 1)
    with pytest.raises(InputError, match="1,000,000 is the limit"):
        fake.hub().find_file("environments/tiny/conda-lock.yml", sha, 1_000_000)  # it is there: that is no None


def test_a_folder_is_listed_as_a_checkout_has_it(fake: FakeGitHub, tmp_path: Path) -> None:
    folder = "environments/tiny"
    files = {f"{folder}/environment.yml": "a\n", f"{folder}/hooks/a b.sh": "#!/bin/sh\n", f"{folder}/é.txt": "é"}
    sha = fake.state.commit("main", dict(files))
    fake.state.git("clone", "--quiet", str(fake.state.git_dir), str(tmp_path / "checkout"))
    found = fake.hub().files_at(folder, sha)
    assert set(found) == {"environment.yml", "hooks/a b.sh", "é.txt"}
    assert found == Repository(tmp_path / "checkout").files("tiny")
    assert found["hooks/a b.sh"].startswith("100755 ")
    assert fake.hub().files_at("environments/other", sha) == {}


def test_who_has_asked_too_much_waits_for_the_next_hour(fake: FakeGitHub) -> None:
    fake.left = 1
    github = fake.hub()
    assert [github.permission("maintainer") for _ in range(3)] == ["write"] * 3
    assert (fake.exceeded, fake.left) == (1, HOURLY - 2)


def test_the_fake_notices_what_github_does_not_describe(fake: FakeGitHub) -> None:
    for where in ("/nothing/1", "/issues?state=shut&labels=x", "/issues?who=me"):
        url = f"{fake.url}/repos/{fake.state.name}{where}"
        requests.get(url, headers={"Authorization": "Bearer all"}, timeout=9)
    first, second, third = fake.invalid
    assert "is nothing that this fake has" in first
    assert "?- state: 'shut' is not one of" in second
    assert "?- who is no parameter" in third
    fake.invalid.clear()


def test_a_file_is_read_at_a_commit(fake: FakeGitHub, pull: Pull) -> None:
    assert fake.hub().file_at("environments/tiny/environment.yml", pull.head_sha, 100) == "b\n"
    with pytest.raises(InputError, match="is missing"):
        fake.hub().file_at("environments/tiny/config.yml", pull.head_sha, 100)
    with pytest.raises(InputError, match="1 is the limit"):
        fake.hub().file_at("a", pull.head_sha, 1)


def test_a_commit_has_all_its_files_and_forces_nothing(fake: FakeGitHub) -> None:
    github, state = fake.hub(), fake.state
    tip = github.tip("main")
    made = github.commit("main", tip, [File("b/c.txt", "é\n"), File("d", "d\n")], "Say\n\nmore [skip ci]")
    assert state.git("rev-parse", "main") == made
    assert state.text("b/c.txt") == "é"
    assert state.text("a") == "a"
    with pytest.raises(RefusedError, match="fast forward"):
        github.commit("main", tip, [File("e", "e\n")], "late")
    assert state.git("rev-parse", "main") == made


def test_a_branch_with_a_rule_is_moved_by_the_account_that_the_rule_lets_through(fake: FakeGitHub) -> None:
    state = fake.state
    state.tokens["committer"] = {"contents": "write", "metadata": "read"}
    state.rules["main"] = "committer"
    tip = fake.hub().tip("main")
    with pytest.raises(RefusedError, match="Changes must be made through a pull request"):
        fake.hub().commit("main", tip, [File("b", "b\n")], "Refused")
    github = fake.hub(CONDA_CONCEPT_COMMIT_TOKEN="committer")  # noqa: S106 - a name of the fake's
    made = github.commit("main", tip, [File("b", "b\n")], "Let through")
    assert state.git("rev-parse", "main") == made
    tag(github, "tiny-26.10", made)
    branch(github, "tiny-26.10", made)
    changes = [(where.rpartition("/git/")[2], token) for how, where, token in fake.asked if how in ("POST", "PATCH")]
    assert {token for where, token in changes if where.startswith("refs")} == {"all", "committer"}
    assert [token for where, token in changes if where == "refs"] == ["committer"] * 2
    assert {token for where, token in changes if not where.startswith("refs")} == {"all"}
    assert "committer" not in repr(github.here)


@pytest.mark.parametrize("before", ["nothing", "begun", "older", "ended"])
def test_a_build_that_never_came_or_never_ended_is_said_as_ours(
    fake: FakeGitHub, pull: Pull, tmp_path: Path, before: str
) -> None:
    """A job that waited for a day is cancelled by GitHub: nobody has said anything about this commit."""
    desk, facts = Desk(fake.hub(), Repository(tmp_path)), fake.hub().pull(pull.number)
    heading = Heading("tiny", commit=pull.head_sha if before != "older" else "0" * 40)
    said = {"begun": render.started, "older": render.started, "ended": lambda *_: render.broken("tiny", "x", heading)}
    if before in said:
        desk.hub.say(pull.number, marker("build", "tiny"), said[before]("tiny", heading))
    settle(desk, facts, ("tiny",), "failure" if before == "ended" else "cancelled")
    (body,) = fake.state.said(pull.number, "build:tiny")
    assert ("Nothing is wrong with your change" in body) == (before != "ended")
    if before == "ended":  # it has said itself how it ended, in its status too
        assert fake.state.status(pull.head_sha) == ("", "")
    else:
        assert fake.state.status(pull.head_sha)[0] == "error"


def test_an_answer_that_somebody_took_away_stays_away(fake: FakeGitHub, pull: Pull) -> None:
    finish(fake.hub(), pull.number, 9001, "words")
    assert fake.state.comments == []
    fake.state.comments.append(Comment(1, pull.number, BOT, answers.answer(ASKED, "https://x", "working")))
    finish(fake.hub(), pull.number, 9001, "words")
    assert fake.state.comments[0].body == answers.answer(ASKED, "https://x", "words")


def test_a_reaction_twice_is_one(fake: FakeGitHub, pull: Pull) -> None:
    fake.state.comments.append(Comment(77, pull.number, "researcher", "/relock"))
    for _ in range(2):
        fake.hub().react(77, pull.number, "+1")
    assert fake.state.comments[0].reactions == [(BOT, "+1")]


def test_a_dispatch_carries_its_inputs(fake: FakeGitHub) -> None:
    fake.hub().dispatch("build.yml", "main", {"sha": "1"})
    assert fake.state.dispatches == [{"workflow": "build.yml", "ref": "main", "inputs": {"sha": "1"}}]


def test_the_files_and_merges_of_a_pull_request(fake: FakeGitHub, pull: Pull) -> None:
    assert fake.hub().changed_files(pull.number) == ["environments/tiny/environment.yml"]
    assert fake.hub().pulls_of(pull.head_sha) == []
    sha = fake.state.merge(pull.number)
    assert [one.number for one in fake.hub().pulls_of(sha)] == [pull.number]
    assert fake.hub().closed_pulls() == [pull.number]
