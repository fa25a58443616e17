"""What was merged and is not released: which environments are due, on which branch, and who has to be told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.conversation import marker
from conda_concept.errors import RefusedError, SpaceError
from conda_concept.github import Hub
from conda_concept.repository import Repository
from conda_concept.steps.merged import Line, settle_release
from tests.support.fakegithub import FakeGitHub, State

TOKENS = {"all": {"contents": "read", "pull-requests": "write", "metadata": "read"}}
CONFIG = 'version: "26.11"\n'
LAUNCHER, COMMENT = (f"ci/conda_concept/templates/{name}" for name in ("launcher.sh", "comment-build.md"))


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Two environments that are released, and a site."""
    state = State.make(tmp_path)
    state.tokens = TOKENS
    state.commit("main", {"ci/sites/here.yml": "name: here\n", "ci/sites/there.yml": "name: there\n"})
    for name in ("one", "two"):
        source = state.commit("main", {f"environments/{name}/{file}.yml": CONFIG for file in ("environment", "config")})
        release(state, name, source)
    return state


@pytest.fixture
def hub(state: State) -> Iterator[Hub]:
    with FakeGitHub.serve(state) as fake:
        yield fake.hub()
        assert fake.invalid == fake.denied == []


def release(state: State, name: str, source: str, branch: str = "main") -> str:
    """What the release job writes down of `source`, the commit that it released."""
    words = f"Release {name}-26.11, build 0123abcd [skip ci]\n\nWritten by the release job.\n\nSource: {source}\n"
    return state.commit(
        branch, {f"environments/{name}/conda-lock.yml": f"of {source}\n", "CHANGELOG.md": source}, words
    )


def line(state: State, branch: str = "main") -> Line:
    """The branch, checked out as a job does it."""
    folder = state.git_dir.parent / f"checkout-{len(list(state.git_dir.parent.glob('checkout-*')))}"
    state.git("clone", "--quiet", "--branch", branch, str(state.git_dir), str(folder))
    return Line(Repository(folder), branch, "here")


def test_what_is_released_is_not_due(state: State) -> None:
    assert line(state).due() == ()
    state.commit("main", {"README.md": "x\n", "ci/sites/there.yml": "name: elsewhere\n", COMMENT: "words\n"})
    assert line(state).due() == ()


def test_what_is_merged_between_a_release_and_its_commit_is_due(state: State) -> None:
    """The lock's commit comes after the merge, and is about a commit before it."""
    source = state.commit("main", {"environments/one/config.yml": CONFIG + "description: x\n"})
    merged = state.commit("main", {"environments/one/hooks/a.sh": "#!/bin/sh\n"})
    release(state, "one", source)
    assert line(state).due() == ("one",)
    assert line(state).waiting("one") == (merged,)
    release(state, "two", merged)
    assert line(state).due() == ("one",)
    release(state, "one", merged)
    assert line(state).due() == ()


def test_what_others_had_not_released_when_a_version_s_branch_began_is_not_that_branch_s(state: State) -> None:
    """One's new version is released, and its branch begins there, while a merge of two's waits to be released."""
    source = state.commit("main", {"environments/two/config.yml": CONFIG + "description: waits\n"})
    release(state, "one", source)
    state.commit("one-26.11", {"environments/one/config.yml": CONFIG + "description: fixed\n"}, start="main")
    assert line(state, "one-26.11").due() == ("one",)
    assert line(state).due() == ("two",)


@pytest.mark.parametrize("path", ["ci/sites/here.yml", LAUNCHER])
def test_what_ends_up_in_every_release_makes_every_environment_due(state: State, path: str) -> None:
    sha = state.commit("main", {path: "new\n"})
    assert line(state).due() == ("one", "two")
    release(state, "one", sha)
    assert line(state).due() == ("two",)


def test_the_branch_of_a_version_releases_what_is_changed_there_alone(state: State) -> None:
    state.commit("one-26.11", {"ci/sites/here.yml": "new\n"}, start="main")
    assert line(state, "one-26.11").due() == ()
    state.commit("one-26.11", {"environments/one/config.yml": CONFIG + "description: x\n"})
    assert line(state, "one-26.11").due() == ("one",)
    state.commit("one-26.11", {"environments/two/config.yml": CONFIG + "description: x\n"})
    with pytest.raises(RefusedError, match="changes two too"):
        line(state, "one-26.11").due()


def test_the_last_word_is_for_those_who_heard_nothing(state: State, hub: Hub) -> None:
    silent, told = (state.open_pull("x", {f"environments/one/{name}": "x\n"}) for name in ("a", "b"))
    elsewhere = state.open_pull("x", {"environments/two/a": "x\n"})
    for pull in (silent, told, elsewhere):
        state.merge(pull.number)
    release(state, "two", state.git("rev-parse", "main"))
    hub.say(told.number, marker("release", "one"), "why it could not be built")
    assert settle_release(hub, line(state)) == (silent.number,)
    (said,) = state.said(silent.number, "release:one")
    assert "merged, but not published" in said
    assert "or else the run of the coming night" in said
    assert "actions/runs/7" in said
    assert state.said(told.number, "release:one") == [f"{marker('release', 'one')}\nwhy it could not be built"]
    assert [one.issue for one in state.comments] == [told.number, silent.number]
    assert settle_release(hub, line(state)) == ()


def test_a_branch_that_is_refused_says_so_where_it_was_merged(state: State, hub: Hub) -> None:
    state.git("branch", "one-26.11", "main")
    pull = state.open_pull("x", {"environments/two/a": "x\n"}, base="one-26.11")
    state.merge(pull.number)
    assert settle_release(hub, line(state, "one-26.11")) == (pull.number,)
    (said,) = state.said(pull.number, "release:two")
    assert "A rule forbids it" in said
    assert "the branch one-26.11 is for fixes of that version, and changes two too." in said
    assert "our side" not in said


def test_nobody_is_promised_a_night_that_a_version_branch_does_not_have(state: State, hub: Hub) -> None:
    state.git("branch", "one-26.11", "main")
    pull = state.open_pull("x", {"environments/one/a": "x\n"}, base="one-26.11")
    state.merge(pull.number)
    line(state, "one-26.11").merged(hub, "one").excuse(SpaceError("no space"))
    (said,) = state.said(pull.number, "release:one")
    assert "Running the job again finishes it." in said
