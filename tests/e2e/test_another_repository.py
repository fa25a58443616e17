"""A repository with nothing but environments/, a site file, forms, and small workflow files that call this one's."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakegithub import FakeGitHub, State
from tests.support.forge import Forge, make_channel
from tests.support.scheduled import unmount_all
from tests.support.user import OrdinaryUser

SPEC = "environments/ocean/environment.yml"


@pytest.fixture
def forge(ordinary_user: OrdinaryUser) -> Iterator[Forge]:
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    root = Path(tempfile.mkdtemp(prefix="conda-concept-elsewhere-", dir="/tmp"))
    root.chmod(0o755)
    try:
        state = State.make(root, "ocean/software")
        state.people = {"maintainer": "write"}
        with FakeGitHub.serve(state) as fake:
            forge = Forge(root, fake, act, elsewhere=True)
            forge.prepare(make_channel(root / "channels"), "ocean")
            yield forge
            assert (fake.denied, fake.invalid) == ([], [])
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)


def test_it_goes_the_whole_way_with_the_workflows_of_another(forge: Forge) -> None:
    state = forge.state
    assert sorted(state.git("ls-tree", "-r", "--name-only", "main").splitlines()) == [
        ".github/ISSUE_TEMPLATE/package.yml",
        "ci/sites/here.yml",
        "environments/ocean/config.yml",
        SPEC,
    ]
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release ocean": "success"}, ran.log
    first = published(forge)

    pull = state.open_pull("stranger", {SPEC: state.text(SPEC) + "\n  - hello\n"}, fork="stranger/software")
    run = forge.pull_request(pull)
    assert run.conclusion == "success"
    ran = forge.report(run)
    assert ran.jobs == {"Report": "success"}, ran.log
    (diff,) = state.said(pull.number, "diff:ocean")
    assert "### ocean-26.11: 1 package changes" in diff
    ran = forge.comment(pull, "maintainer", f"/build {pull.head_sha}")
    assert ran.jobs == {"Guard": "success", "Build ocean": "success", "Last word": "success"}, ran.log
    (build,) = state.said(pull.number, "build:ocean")
    assert "### ✅" in build
    assert state.status(pull.head_sha) == ("success", "Built and tested; merging publishes it.")

    state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release ocean": "success"}, ran.log
    assert "built once more" not in ran.log
    assert f"`{published(forge)}`" in build
    assert "name: hello" in state.text("environments/ocean/conda-lock.yml")

    ran = forge.run("maintenance.yml", "workflow_dispatch", {"inputs": {"roll_back": "ocean-26.11"}})
    assert ran.jobs == {"Roll back": "success"}, ran.log
    assert published(forge) == first


def published(forge: Forge) -> str:
    """The build id that users have."""
    return (forge.store / "apps/conda_concept/envs/ocean-26.11").readlink().name
