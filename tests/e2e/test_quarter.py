"""One whole quarter through the real workflow files: an issue, a candidate, a release, a fix of the version before."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.localchannel import index, write_package
from tests.e2e.conftest import unmount_all
from tests.support.fakegithub import FakeGitHub, Issue, State
from tests.support.forge import CONFIG, TOP, Forge, make_channel
from tests.support.tiny import package
from tests.support.user import OrdinaryUser

FORM = ".github/ISSUE_TEMPLATE/release.yml"
SPEC, CONFIGURATION = (f"environments/tiny/{name}.yml" for name in ("environment", "config"))
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
BODY = """\
### Environment

tiny

### Version

{version}

### Packages

Refresh everything

### Stable version

{stable}

### Notes

For the spring workshop.
"""


@pytest.fixture(scope="module")
def forge(ordinary_user: OrdinaryUser) -> Iterator[Forge]:
    """A repository whose version 26.07 is out; newer packages are there since."""
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    root = Path(tempfile.mkdtemp(prefix="conda-concept-quarter-", dir="/tmp"))
    root.chmod(0o755)
    try:
        state = State.make(root)
        state.people = {"maintainer": "write", "reader": "read"}
        with FakeGitHub.serve(state) as fake:
            forge = Forge(root, fake, act)
            forge.prepare(make_channel(root / "channels"), "tiny")
            form = (TOP / FORM).read_text("utf-8").replace("- analysis3", "- tiny").replace("- demo", "- other")
            files: dict[str, str | None] = {
                FORM: form,
                SPEC: state.text(SPEC) + "\n  - hello\n",
                CONFIGURATION: CONFIG.replace("26.11", "26.07  # the quarter").replace(
                    '26.07  # the quarter"', '26.07"  # the quarter'
                ),
            }
            state.commit("main", files, "Ask for hello")
            ran = forge.push()
            assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
            channel = root / "channels" / "conda-forge"
            for one in (package("hello", "3.0", "greeting"), package("greeting", "1.0")):
                write_package(channel, one)
            index(channel)
            yield forge
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def honest(forge: Forge) -> Iterator[None]:
    """No job asked for what its `permissions:` do not give, and every word was one of GitHub's API."""
    yield
    assert forge.fake.denied == []
    assert forge.fake.invalid == []


def writes(forge: Forge) -> int:
    """Changes that were asked of GitHub's API."""
    return sum(method in WRITES and not path.startswith("/_") for method, path, _ in forge.fake.asked)


def modules(forge: Forge) -> dict[str, str]:
    """What every name means to users."""
    envs = forge.store / "apps/conda_concept/envs"
    return {path.name: path.readlink().name for path in sorted(envs.iterdir())}


def checklist(forge: Forge, issue: Issue) -> str:
    (body,) = forge.state.said(issue.number, "quarter:checklist")
    return body


def build_everything(forge: Forge) -> None:
    """What was dispatched, and what that dispatched, and the word that each has ended."""
    while forge.state.dispatches:
        for ran in forge.dispatched():
            assert "failure" not in ran.jobs.values(), ran.log
        forge.ended()


def test_the_first_release_of_a_version_is_tagged_and_announced(forge: Forge) -> None:
    state = forge.state
    (release,) = state.releases
    assert (release.tag, release.draft) == ("tiny-26.07", False)
    tag = state.git("rev-parse", "refs/tags/tiny-26.07")
    assert state.git("rev-parse", "refs/heads/tiny-26.07") == tag
    assert "build" in state.text("CHANGELOG.md", tag)
    again = forge.push()
    assert again.jobs.get("Release tiny") is None, again.log


def test_a_whole_quarter_and_the_whole_of_it_again(
    forge: Forge, ordinary_user: OrdinaryUser, envmodules_init: Path
) -> None:
    state, before = forge.state, modules(forge)
    start = writes(forge)
    issue = state.open_issue(
        "maintainer", "Release tiny", BODY.format(version="26.10", stable="_No response_"), ["release"]
    )
    for _ in range(2):
        ran = forge.issue(issue)
        assert ran.jobs == {"Go on": "success"}, ran.log
    (pull,) = [one for one in state.pulls.values() if one.head_branch == "release/tiny-26.10"]
    config = state.text(CONFIGURATION, pull.head_sha)
    assert 'version: "26.10"  # the quarter\nstable: "26.07"\nrefresh: "26.10"\n' in config
    assert len(state.dispatches) == 1
    build_everything(forge)
    assert "tiny-26.10-rc1" in checklist(forge, issue)
    assert state.status(pull.head_sha)[0] == "success"
    assert modules(forge) == before

    # What the checklist says that one should type, typed by an ordinary user.
    load = checklist(forge, issue).partition("```sh\n")[2].partition("\n```")[0].splitlines()[:2]
    said = ordinary_user.bash("\n".join([f". {envmodules_init}", *load, "hello"])).stdout
    assert said.split()[:2] == ["hello", "3.0"]

    tip = state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert "built once more" not in ran.log
    assert forge.push().jobs.get("Release tiny") is None
    for _ in range(2):
        forge.ended("Release")
    assert issue.state == "closed"
    after = modules(forge)
    assert after["tiny-unstable"] == "tiny-26.10"
    assert after["tiny"] == "tiny-26.07"
    assert after["tiny-26.07"] == before["tiny-26.07"]
    assert state.git("rev-parse", "refs/tags/tiny-26.10^") == tip
    release = state.releases[-1]
    assert [one.name for one in release.assets] == [
        f"tiny-26.10.{end}"
        for end in ("conda-lock.yml", "linux-64.explicit.txt", "cdx.json", "release.json", "tests.xml", "SHA256SUMS")
    ]

    once = writes(forge) - start
    forge.issue(issue)
    forge.say(issue, "maintainer", "thanks!")
    forge.ended()
    forge.push()
    forge.ended("Release")
    assert state.dispatches == []
    assert writes(forge) - start == once
