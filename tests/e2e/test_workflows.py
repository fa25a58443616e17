"""The real workflow files, run by `act` against the fake GitHub, with real builds: what people see, who may do what."""

import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gallery
import pytest

from conda_concept.layout import Layout
from conda_concept.localchannel import index, write_package
from conda_concept.record import parse_release
from conda_concept.render import comments
from conda_concept.store.usage import in_use
from conda_concept.testing.junit import read_junit
from tests.support.fakegithub import FakeGitHub, Fault, Pull, Run, State
from tests.support.fakegithub.state import BOT, Comment
from tests.support.forge import Forge, make_channel
from tests.support.scheduled import unmount_all
from tests.support.tiny import package
from tests.support.user import OrdinaryUser

SPEC = "environments/tiny/environment.yml"
TOP = Path(__file__).resolve().parents[2]
#: What everybody saw, for reading, and for the gallery.
SAID = TOP / ".cache" / "comments"
LOCK = "environments/tiny/conda-lock.yml"


@pytest.fixture(scope="module")
def forge(ordinary_user: OrdinaryUser) -> Iterator[Forge]:
    """One repository whose first release is out; every test opens its own pull requests."""
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    named = os.environ.get("CONDA_CONCEPT_FORGE")  # ci/gallery wants a path that does not change from run to run
    root = Path(named or tempfile.mkdtemp(prefix="conda-concept-forge-", dir="/tmp"))
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    try:
        state = State.make(root)
        state.people = {"maintainer": "write", "reader": "read"}
        with FakeGitHub.serve(state) as fake:
            forge = Forge(root, fake, act)
            forge.prepare(make_channel(root / "channels"), "tiny")
            ran = forge.push()
            assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
            yield forge
            forge.show(SAID)
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def honest(forge: Forge) -> Iterator[None]:
    """No job asked for what its `permissions:` do not give, and every word was one of GitHub's API."""
    yield
    assert forge.fake.denied == []
    assert forge.fake.invalid == []
    assert {one["context"] for one in forge.state.statuses} <= {"conda-concept"}  # one required status
    assert forge.fake.exceeded == 0  # no run asked for more than an hour allows


def spec(forge: Forge, *more: str) -> dict[str, str | None]:
    """Main's spec with more packages asked for."""
    return {SPEC: forge.state.text(SPEC) + "\n" + "".join(f"  - {one}\n" for one in more)}


def published(forge: Forge) -> str:
    """The build id that users have."""
    return (forge.store / "apps/conda_concept/envs/tiny-26.11").readlink().name


def diff(forge: Forge, pull: Pull) -> str:
    (body,) = forge.state.said(pull.number, "diff:tiny")
    return body


def build(forge: Forge, pull: Pull) -> str:
    (body,) = forge.state.said(pull.number, "build:tiny")
    return body


def replies(forge: Forge, pull: Pull) -> list[str]:
    """All answers to commands in a pull request."""
    mine = [one.body for one in forge.state.comments if one.issue == pull.number and one.author == BOT]
    return [body for body in mine if body.startswith("<!-- conda-concept:answer:")]


def answered(forge: Forge, pull: Pull) -> tuple[Comment, str]:
    """The last comment with a command, and the one answer to it."""
    asking = [one for one in forge.state.comments if one.issue == pull.number and one.body.startswith("/")][-1]
    (reply,) = forge.state.said(pull.number, f"answer:{asking.number}")
    return asking, reply


def candidates(forge: Forge) -> list[str]:
    folder = forge.store / "apps/conda_concept/candidates/conda_concept"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def again_nothing(forge: Forge, run: Run) -> None:
    """A report that is delivered once more changes nothing at GitHub, and starts nothing."""
    before = forge.fake.writes, list(forge.state.dispatches)
    ran = forge.report(run)
    assert ran.jobs == {"Report": "success"}, ran.log
    assert (forge.fake.writes, forge.state.dispatches) == before


def test_a_branch_of_this_repository_is_built_at_once_and_released_as_it_was_tested(
    forge: Forge, ordinary_user: OrdinaryUser, envmodules_init: Path, lmod_init: Path
) -> None:
    state, before = forge.state, published(forge)
    pull = state.open_pull("maintainer", spec(forge, "hello"))
    begun = time.monotonic()
    run = forge.pull_request(pull)
    forge.report(run)
    seconds = time.monotonic() - begun
    print(f"from the event to the first comment: {seconds:.1f} s, without GitHub's machines and setting up")  # noqa: T201
    assert seconds < 60  # a minute is the promise; machines differ
    (started,) = state.dispatches
    again_nothing(forge, run)
    assert "### tiny-26.11: 1 package changes" in diff(forge, pull)
    assert "being built and tested" in diff(forge, pull)
    (ran,) = forge.dispatched()
    assert ran.jobs == {"Guard": "success", "Build tiny": "success", "Last word": "success"}, ran.log
    again_nothing(forge, run)
    state.dispatches.append(started)  # asked for twice all the same
    (ran,) = forge.dispatched()
    assert ran.jobs == {"Guard": "success"}, ran.log
    assert "another run was quicker: that is done already" in ran.log
    assert "### ✅" in build(forge, pull)
    assert f"module load conda_concept/tiny-pr{pull.number}" in build(forge, pull)
    assert state.status(pull.head_sha) == ("success", "Built and tested; merging publishes it.")
    assert published(forge) == before
    assert candidates(forge) == [f"tiny-pr{pull.number}"]
    # What the comment says that one should type, typed by an ordinary user.
    *load, last = build(forge, pull).partition("```sh\n")[2].partition("\n```")[0].splitlines()
    assert last == "python3"
    for init, runtime in ((envmodules_init, "singularity"), (lmod_init, "namespace")):
        script = "\n".join([f". {init}", *load, "hello", "python3 -c 'import sys; print(sys.prefix)'"])
        words = ordinary_user.bash(script, env={"CONDA_CONCEPT_RUNTIME": runtime}).stdout.split()
        assert words[:2] == ["hello", "2.0"]
        assert Path(words[-1]).name in build(forge, pull)
        assert Path(words[-1]).name != before

    state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert "built" not in ran.log.rpartition("published ")[2]
    assert published(forge) != before
    assert f"`{published(forge)}`" in build(forge, pull)  # the very build that was tested
    (said,) = state.said(pull.number, "release:tiny")
    assert "is published" in said
    assert "name: hello" in state.text(LOCK)
    changelog = state.text("CHANGELOG.md")
    assert changelog.count(f"build {published(forge)}") == 1
    assert f"pull/{pull.number}) by maintainer" in changelog
    assert candidates(forge) == []
    tip = state.git("rev-parse", "main")
    assert "[skip ci]" in state.git("show", "--no-patch", "--format=%B", tip)

    again = forge.push()  # the same event, delivered twice
    assert again.jobs.get("Release tiny") is None, again.log
    assert state.git("rev-parse", "main") == tip
    assert len(state.said(pull.number, "release:tiny")) == 1


def test_a_fork_waits_for_a_maintainer(forge: Forge) -> None:
    state = forge.state
    pull = state.open_pull("stranger", spec(forge, "world"), fork="stranger/environments", branch="$(id)`id`")
    forge.report(forge.pull_request(pull))
    assert f"a maintainer can start the build with a comment `/build {pull.head_sha}`" in diff(forge, pull)
    assert state.dispatches == []
    assert state.status(pull.head_sha)[0] == "pending"

    for who, what, why in (
        ("stranger", pull.head_sha, "only people who may write"),
        ("maintainer", "0" * 40, f"is at {pull.head_sha[:12]} now"),
        ("maintainer", pull.head_sha[:12], "is not a command that I know"),
    ):
        ran = forge.comment(pull, who, f"/build {what}")
        assert "Build tiny" not in ran.jobs, ran.log
        asking, reply = answered(forge, pull)
        assert asking.reactions[-1] == (BOT, "confused")
        assert f"> `/build {what}`, asked by [{who}](" in reply
        assert "**Not done:**" in reply
        assert why in reply

    ran = forge.comment(pull, "maintainer", f"/build {pull.head_sha}\nThanks!")
    assert ran.jobs == {"Guard": "success", "Build tiny": "success", "Last word": "success"}, ran.log
    assert "### ✅" in build(forge, pull)
    asking, reply = answered(forge, pull)
    assert asking.body.startswith("/build"), "nobody else's words are changed"
    assert asking.reactions == [(BOT, "eyes"), (BOT, "+1")]
    heading = next(line for line in build(forge, pull).splitlines() if line.startswith("### "))
    assert f"- {heading.removeprefix('### ')} · [all of it](" in reply
    assert "being built" not in reply

    forge.comment(pull, "stranger", "/explain hello")
    forge.comment(pull, "stranger", "/explain hello", again=answered(forge, pull)[0].number)
    assert "world needs `hello >=2`" in answered(forge, pull)[1]

    ran = forge.comment(pull, "stranger", "/relock")
    assert ran.jobs == {"Guard": "success", "Propose anew": "success", "Report anew": "success"}, ran.log
    assert len(state.said(pull.number, "diff:tiny")) == 1
    heading = next(line for line in diff(forge, pull).splitlines() if line.startswith("### "))
    assert f"- {heading.removeprefix('### ')} · [all of it](" in answered(forge, pull)[1]

    ran = forge.comment(pull, "maintainer", "/refresh python")
    assert ran.jobs["Report anew"] == "success", ran.log
    assert "python was free to move, as asked." in diff(forge, pull)
    asking, reply = answered(forge, pull)
    assert asking.reactions == [(BOT, "eyes"), (BOT, "+1")]
    assert "1 asked for · [all of it](" in reply
    # Every command has its own answer, and a thank-you has none.
    asked = [one for one in state.comments if one.issue == pull.number and one.body.startswith("/")]
    forge.comment(pull, "stranger", "Thanks!")
    assert len(replies(forge, pull)) == len(asked) == 7

    old = pull.head_sha
    state.push(pull, spec(forge, "world >=1"))
    forge.report(forge.pull_request(pull))
    assert f"Superseded: commit `{pull.head_sha[:12]}`" in build(forge, pull)
    assert old[:12] in build(forge, pull)
    pull.state = "closed"


def test_a_hostile_fork_gets_nothing_built_and_nothing_rendered(forge: Forge) -> None:
    state = forge.state
    evil = "'<img src=x onerror=alert(1)> @climate/all [x](javascript:y) | #1'"
    pull = state.open_pull("mallory", spec(forge, evil), fork="mallory/environments", branch="main")
    victim = state.open_pull("maintainer", spec(forge, "world"))
    forge.report(forge.pull_request(pull))
    assert "<img" not in diff(forge, pull)
    assert "@climate" not in diff(forge, pull)
    assert state.status(pull.head_sha)[0] == "failure"

    honest = forge.pull_request(victim)
    data = json.loads(_artifact(forge, honest.number))
    forged = state.run_of(pull, 7001)  # names the victim's commit
    state.keep(forged.number, "proposal", {"proposal.json": json.dumps(data).encode()})
    ran = forge.report(forged)
    assert "it is not used" in ran.log
    assert state.said(victim.number, "diff:tiny") == []

    state.push(pull, spec(forge, "world"))
    elsewhere = json.dumps(data | {"head": pull.head_sha}).replace("https://conda.anaconda.org", "https://evil.example")
    moved = state.run_of(pull, 7002)  # a lock that points elsewhere
    state.keep(moved.number, "proposal", {"proposal.json": elsewhere.encode()})
    forge.report(moved)
    assert "the lock of this run is refused" in diff(forge, pull)
    assert state.status(pull.head_sha)[0] == "error"

    silent = state.run_of(pull, 7004)  # nothing is touched, it says
    state.keep(
        silent.number, "proposal", {"proposal.json": json.dumps(data | {"head": pull.head_sha, "parts": []}).encode()}
    )
    assert "leaves it out" in forge.report(silent).log
    assert state.status(pull.head_sha)[0] == "error"

    other = state.run_of(pull, 7003, path=".github/workflows/evil.yml")
    state.keep(other.number, "proposal", {"proposal.json": elsewhere.encode()})
    assert "not of .github/workflows/pull-request.yml" in forge.report(other).log
    assert state.dispatches == []
    pull.state = victim.state = "closed"


def _artifact(forge: Forge, run: int) -> bytes:
    found = next(one for one in forge.state.artifacts if one.run == run)
    return zipfile.ZipFile(io.BytesIO(found.data)).read("proposal.json")


def test_two_merges_that_race_are_one_release_with_both(forge: Forge) -> None:
    state, users_have = forge.state, published(forge)
    (folder,) = {path.parent for path in (forge.store / "apps/conda_concept/releases").glob("*/*")}
    first = state.open_pull("maintainer", {"environments/tiny/config.yml": _config(forge, "one")})
    second = state.open_pull("maintainer", spec(forge, "world"))
    forge.report(forge.pull_request(second))
    (ran,) = forge.dispatched()
    assert "### ✅" in build(forge, second), ran.log
    before = len(list(folder.iterdir()))
    state.merge(first.number)

    def merge_second(_method: str, path: str) -> None:
        if path.endswith("/heads/main"):  # the first one's release looks whether main is what it has checked out
            forge.fake.before = lambda *_: None
            state.merge(second.number)

    forge.fake.before = merge_second
    ran = forge.push()
    assert "its newest commit has a run of its own" in ran.log
    assert published(forge) == users_have
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert "built once more" in ran.log  # main is not what was tested
    assert len(list(folder.iterdir())) == before + 1
    again = forge.push()
    assert again.jobs.get("Release tiny") is None, again.log
    changelog = state.text("CHANGELOG.md").split("\n## ")[1]
    assert f"/pull/{first.number})" in changelog
    assert f"/pull/{second.number})" in changelog
    for pull in (first, second):
        (said,) = state.said(pull.number, "release:tiny")
        assert "It was built and tested once more before, because `main` was not what" in said


def test_a_merge_after_main_has_moved_is_built_with_what_main_has_now(forge: Forge) -> None:
    """Two pull requests from the same commit, both built; the second one's lock knows nothing of the first."""
    state = forge.state
    files = {"environments/tiny/config.yml": state.text("environments/tiny/config.yml") + "\nsetenv: {TINY: '1'}\n"}
    first, second = state.open_pull("maintainer", spec(forge, "more")), state.open_pull("maintainer", {**files})
    for pull in (first, second):
        forge.report(forge.pull_request(pull))
        forge.dispatched()
        assert "### ✅" in build(forge, pull)
        if pull == first:
            state.merge(pull.number)
            ran = forge.push()
            assert "built once more" not in ran.log
            assert published(forge) in build(forge, first)
    assert "main has a newer lock of tiny than this branch starts from" in diff(forge, second)
    state.merge(second.number)
    ran = forge.push()
    assert "built once more before, because `main` was not what the candidate was tested with" in ran.log, ran.log
    assert published(forge) not in build(forge, second)
    assert "name: more" in state.text(LOCK)


def test_what_was_tested_last_is_published(forge: Forge) -> None:
    """A newer package comes while a pull request is open: `/relock` tests it, and the comment shows that build."""
    state, channel = forge.state, forge.root / "channels" / "conda-forge"
    write_package(channel, package("young", "1.0"))
    index(channel)
    pull = state.open_pull("maintainer", spec(forge, "young"))
    forge.report(forge.pull_request(pull))
    forge.dispatched()
    shown = [comments.build_in(build(forge, pull))]
    # Until what was tested last comes after what was tested first in the order of the builds' names, and before it.
    while not (shown[-1] > shown[0] and any(one < shown[-1] for one in shown)):
        write_package(channel, package("young", f"1.{len(shown)}"))
        index(channel)
        forge.comment(pull, "maintainer", "/relock")
        forge.dispatched()
        shown.append(comments.build_in(build(forge, pull)))
    assert len(set(shown)) == len(shown)
    state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert published(forge) == shown[-1]
    assert f"young-1.{len(shown) - 1}-" in state.text(LOCK)


@pytest.mark.parametrize("place", [2, 3])
def test_what_is_merged_during_a_release_is_released_by_the_next_run(forge: Forge, place: int) -> None:
    """Another pull request, of a hook's text alone, is merged while the release looks at main: before and after."""
    state, hook = forge.state, "environments/tiny/hooks/a.sh"
    asked = state.text("environments/tiny/config.yml") + "\n"
    begin: dict[str, str | None] = {hook: f"#!/bin/sh\necho {place} >$CONDA_PREFIX/share-a\n"}
    if "hooks:" not in asked:
        state.commit("main", begin | {"environments/tiny/config.yml": asked + "hooks: [a.sh]\n"})
        forge.push()
    first = state.open_pull("maintainer", {"environments/tiny/README.md": f"{place}\n"})
    second = state.open_pull("maintainer", {hook: f"#!/bin/sh\necho after {place} >$CONDA_PREFIX/share-a\n"})
    state.merge(first.number)
    reads = 0

    def merge_second(method: str, path: str) -> None:
        nonlocal reads
        reads += method == "GET" and path.endswith("/heads/main")
        if reads == place:
            forge.fake.before = lambda *_: None
            state.merge(second.number)

    forge.fake.before = merge_second
    ran = forge.push()
    assert "its own run writes the lock and the changelog" in ran.log, ran.log
    before = published(forge)
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert published(forge) != before
    assert f"`{published(forge)}`" in state.said(second.number, "release:tiny")[0]
    changelog = state.text("CHANGELOG.md").split("\n## ")[1]
    assert published(forge) in changelog
    assert f"/pull/{second.number})" in changelog
    assert forge.push().jobs.get("Release tiny") is None


def test_a_new_site_file_is_a_release_too(forge: Forge) -> None:
    state, before = forge.state, published(forge)
    text = state.text("ci/sites/here.yml") + "\n"
    pull = state.open_pull("maintainer", {"ci/sites/here.yml": text + "links: {/srv/here: /srv}\n"})
    state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert published(forge) != before
    (said,) = state.said(pull.number, "release:tiny")
    assert f"build `{published(forge)}`" in said
    assert f"/pull/{pull.number})" in state.text("CHANGELOG.md").split("\n## ")[1]
    assert forge.push().jobs.get("Release tiny") is None
    # One that changes nothing of a release is looked at once, and nothing is built.
    after, pull = (
        published(forge),
        state.open_pull("maintainer", {"ci/sites/here.yml": text + "links: {/srv/here: /srv}\ntime_zone: UTC\n"}),
    )
    state.merge(pull.number)
    ran = forge.push()
    assert "is there already: nothing to build" in ran.log, ran.log
    assert published(forge) == after
    assert "It was built" not in state.said(pull.number, "release:tiny")[0]
    assert forge.push().jobs.get("Release tiny") is None


def test_a_runner_that_dies_while_it_releases_leaves_nobody_without_a_word(forge: Forge) -> None:
    state, before = forge.state, published(forge)
    config = _config(forge, "one").replace("description: one", "description: one that dies")
    pull = state.open_pull("maintainer", {"environments/tiny/config.yml": config})
    state.merge(pull.number)
    (forge.root / "die").touch()
    ran = forge.push()
    assert (ran.jobs["Release tiny"], ran.jobs["Last word"]) == ("failure", "success"), ran.log
    (said,) = state.said(pull.number, "release:tiny")
    assert "merged, but not published" in said
    assert "Something failed on our side" in said
    assert published(forge) == before
    ran = forge.run("release.yml", "schedule", {"schedule": "x"}, GITHUB_REF="refs/heads/main", GITHUB_REF_NAME="main")
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert "is published" in state.said(pull.number, "release:tiny")[0]
    assert published(forge) != before


def _config(forge: Forge, description: str) -> str:
    text = forge.state.text("environments/tiny/config.yml") + "\n"
    return text.replace("description: tiny", f"description: {description}")


def test_a_runner_that_dies_is_our_failure_and_the_next_build_finishes(forge: Forge) -> None:
    state, before = forge.state, published(forge)
    pull = state.open_pull("maintainer", {"environments/tiny/config.yml": _config(forge, "x").replace("one", "two")})
    forge.report(forge.pull_request(pull))
    (forge.root / "die").touch()
    (ran,) = forge.dispatched()
    assert ran.jobs["Build tiny"] == "failure"
    assert "**Nothing is wrong with your change.**" in build(forge, pull)
    assert state.status(pull.head_sha)[0] == "error"
    assert published(forge) == before
    ran = forge.comment(pull, "maintainer", f"/build {pull.head_sha}")
    assert ran.jobs["Last word"] == "success", ran.log
    assert "### ✅" in build(forge, pull)
    assert state.status(pull.head_sha)[0] == "success"
    pull.state = "closed"


def test_what_fails_on_our_side_is_said_as_ours_wherever_it_happens(forge: Forge) -> None:
    """Before there is a proposal, at the start of the build, in the guard, and while a command is answered."""
    state = forge.state
    pull = state.open_pull("maintainer", {SPEC: forge.state.text(SPEC) + "\n# nothing new\n"})
    (forge.root / "die-early").touch()
    run = forge.pull_request(pull)
    assert run.conclusion == "failure"
    forge.report(run)
    assert state.status(pull.head_sha)[0] == "error"
    assert "Not your change" in state.status(pull.head_sha)[1]

    (forge.root / "die-early").touch()
    ran = forge.comment(pull, "maintainer", "/relock")
    assert ran.jobs == {"Guard": "success", "Propose anew": "failure", "Report anew": "success"}, ran.log
    assert "**Nothing is wrong with your change.**" in answered(forge, pull)[1]

    run = forge.pull_request(pull)
    forge.fake.faults.append(Fault("POST", "/dispatches", "before", times=1))
    assert forge.report(run).jobs == {"Report": "failure", "Last word": "success"}
    assert state.status(pull.head_sha)[0] == "error"
    assert "the build could not begin" in state.status(pull.head_sha)[1]

    forge.report(run)
    assert state.status(pull.head_sha)[0] == "pending"
    (forge.root / "no-setup").write_text("0")
    assert forge.report(run).jobs == {"Report": "failure", "Last word": "success"}
    assert state.status(pull.head_sha) == ("error", "Not your change: our job did not finish. It can be run again.")

    forge.report(run)
    state.dispatches.clear()
    (forge.root / "no-setup").write_text("2")
    ran = forge.comment(pull, "maintainer", "/relock")
    assert (ran.jobs["Report anew"], ran.jobs["Last word"]) == ("failure", "success"), ran.log
    assert "**Nothing is wrong with your change.**" in answered(forge, pull)[1]
    assert state.status(pull.head_sha) == ("error", "Not your change: our job did not finish. It can be run again.")

    forge.report(run)
    state.dispatches[1:] = []
    forge.fake.faults.append(Fault("GET", "/_/blob", "truncated", times=1))
    (ran,) = forge.dispatched()
    assert ran.jobs == {"Guard": "failure", "Last word": "success"}, ran.log
    assert state.status(pull.head_sha)[0] == "error"

    forge.fake.faults.append(Fault("GET", "/_/blob", "truncated", times=1))
    forge.comment(pull, "maintainer", f"/build {pull.head_sha}")
    assert "**Nothing is wrong with your change.**" in answered(forge, pull)[1]
    assert state.status(pull.head_sha)[0] == "error"
    pull.state = "closed"


def test_failed_tests_stay_where_they_are(forge: Forge) -> None:
    state, before = forge.state, published(forge)
    pull = state.open_pull("maintainer", spec(forge, "sadly"))
    forge.report(forge.pull_request(pull))
    (ran,) = forge.dispatched()
    assert ran.jobs["Build tiny"] == "failure", ran.log
    assert "sadly not" in build(forge, pull)
    assert "module load" not in build(forge, pull)
    assert state.status(pull.head_sha)[0] == "failure"
    assert published(forge) == before
    pull.state = "closed"


def test_a_new_channel_is_never_built_unasked(forge: Forge) -> None:
    state = forge.state
    config = state.text("environments/tiny/config.yml") + "\nallowed_channels: [conda-forge, elsewhere]\n"
    files: dict[str, str | None] = {"environments/tiny/config.yml": config, "environments/tiny/tests/test_x.py": "x\n"}
    pull = state.open_pull("maintainer", files)
    forge.report(forge.pull_request(pull))
    assert "a maintainer has to look" in diff(forge, pull)
    assert "`channel elsewhere`" in diff(forge, pull)
    assert "This pull request also changes smoke tests" in diff(forge, pull)
    assert state.dispatches == []
    assert state.status(pull.head_sha) == ("pending", "Solved; waits for a maintainer to start the build.")
    pull.state = "closed"


def test_what_cannot_be_solved_and_what_touches_nothing(forge: Forge) -> None:
    state = forge.state
    pull = state.open_pull("maintainer", spec(forge, "worlt"))
    forge.report(forge.pull_request(pull))
    assert "cannot be solved" in diff(forge, pull)
    assert "world" in diff(forge, pull)
    quiet = state.open_pull("maintainer", {"README.md": "hello\n"})
    forge.report(forge.pull_request(quiet))
    assert [one for one in state.comments if one.issue == quiet.number] == []
    assert state.status(quiet.head_sha) == ("success", "No environment is touched.")
    broken = state.run_of(pull, 7100, conclusion="failure")  # the runner died before it had anything to say
    forge.report(broken)
    assert state.status(pull.head_sha)[0] == "error"
    pull.state = quiet.state = "closed"


def test_a_release_that_could_not_be_written_down_is_finished_by_the_next_run(forge: Forge) -> None:
    state, before = forge.state, published(forge)
    config = state.text("environments/tiny/config.yml").replace("the help desk", "somebody else") + "\n"
    pull = state.open_pull("maintainer", {"environments/tiny/config.yml": config})
    state.merge(pull.number)
    forge.fake.faults.append(Fault("POST", "/git/commits", "before", times=1))
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "failure", ran.log
    after = published(forge)
    assert after != before  # users have it already; only the writing down is missing
    assert after not in state.text("CHANGELOG.md")

    def somebody_else_pushes(_method: str, path: str) -> None:
        if path.endswith("/git/commits"):  # between making the commit and moving main to it
            forge.fake.before = lambda *_: None
            state.commit("main", {"README.md": "hello\n"})

    forge.fake.before = somebody_else_pushes
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert published(forge) == after
    assert state.text("CHANGELOG.md").count(f"build {after}") == 1
    assert state.text("README.md") == "hello"
    (said,) = state.said(pull.number, "release:tiny")
    assert "is published" in said


def test_a_head_that_moves_while_it_is_looked_at_is_left_to_its_own_run(forge: Forge) -> None:
    state = forge.state
    pull = state.open_pull("maintainer", spec(forge, "sadly"))
    run = forge.pull_request(pull)

    def move(_method: str, path: str) -> None:
        if path.endswith("/permission"):
            forge.fake.before = lambda *_: None
            state.push(pull, spec(forge, "sadly <2"))

    forge.fake.before = move
    ran = forge.report(run)
    assert "is at" in ran.log
    assert state.said(pull.number, "diff:tiny") == []
    assert state.dispatches == []
    pull.state = "closed"


@pytest.mark.parametrize(("status", "result"), [(0, "success"), (3, "failure")])
def test_a_projects_own_tests_decide_its_ci(forge: Forge, status: int, result: str) -> None:
    """The real ci.yml and ci/in-debian; a script stands in for ci/test, which this is a part of."""
    files: dict[str, str | None] = {
        "ci/in-debian": (TOP / "ci" / "in-debian").read_text("utf-8"),
        "ci/test": "#!/bin/sh\n. /etc/os-release\n"
        f"echo tested $(git rev-parse HEAD) on $VERSION_CODENAME\nexit {status}\n",
    }
    pull = forge.state.open_pull("stranger", files, fork="stranger/environments")
    ran = forge.ci(pull)
    assert ran.jobs == {"Test": result}, ran.log
    assert f"tested {pull.head_sha} on bookworm" in ran.log
    pull.state = "closed"


def test_the_gallery_shows_what_is_said(forge: Forge) -> None:
    """Names, numbers and paths aside. Where this fails, the words of a comment have changed: run ci/gallery."""
    if "CONDA_CONCEPT_FORGE" in os.environ:
        return  # it is being made anew
    said = forge.said()
    for name, text in gallery.chosen(said, gallery.FROM_TESTS).items():
        assert gallery.bones(text) == gallery.bones((gallery.GALLERY / f"{name}.md").read_text("utf-8")), name
    for name, text in gallery.chosen(said, gallery.FROM_DEMO).items():
        # That of another environment says more, and all of this but what has a number or is its config's.
        shown = gallery.bones((gallery.GALLERY / f"{name}.md").read_text("utf-8"))
        words = [line for line in gallery.bones(text) if "0" not in line and not line.startswith("Questions:")]
        assert [line for line in words if line not in shown] == [], name


def test_maintenance_rolls_back_prunes_and_verifies(forge: Forge, ordinary_user: OrdinaryUser) -> None:
    after = published(forge)
    unmount_all(ordinary_user, forge.root)
    layout = Layout(forge.store)
    found = [parse_release(f"{path.parent.name}/{path.name}") for path in layout.releases.glob("*/*")]
    deadline = time.monotonic() + 60
    while used := in_use(layout, found):  # a mount that is taken away ends its server a moment later
        assert time.monotonic() < deadline, used
        time.sleep(0.1)
    ran = forge.run("maintenance.yml", "workflow_dispatch", {"inputs": {"roll_back": "tiny-26.11"}})
    assert ran.jobs.get("Roll back") == "success", ran.log
    assert ran.jobs.get("Prune and verify") is None
    assert published(forge) != after
    ran = forge.run("maintenance.yml", "schedule", {"schedule": "17 15 * * *"})
    assert ran.jobs.get("Prune and verify") == "success", ran.log
    assert ran.jobs.get("Roll back") is None
    assert "candidate of a closed pull request" in ran.log, ran.log
    assert candidates(forge) == []


def test_own_tests_of_a_pull_request_run_when_it_is_merged_and_not_before(forge: Forge) -> None:
    state, results = forge.state, forge.store / "apps/conda_concept/envs/tiny-26.11/tests.xml"
    pull = state.open_pull("maintainer", {"environments/tiny/tests/test_new.py": "def test_new(): pass\n"})
    forge.report(forge.pull_request(pull))
    forge.dispatched()
    assert "they run when this is merged, before anything is published" in build(forge, pull)
    assert "own tests" not in {one.title for one in read_junit(results).results}
    state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    # There is no pytest in it; but they were asked for.
    assert {one.title: one.message for one in read_junit(results).results}["own tests"].startswith("there is no pytest")
