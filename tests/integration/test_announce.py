"""Versions that are published and not announced: each is, at its own commit, whatever was merged or failed since."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from benchmarks.storekit import ASKED, build, judge, make_store, release, silent
from conda_concept.errors import ConcError, NetworkError, RefusedError
from conda_concept.github import Hub
from conda_concept.lockfile import dumps
from conda_concept.model import Release
from conda_concept.repository import Repository
from conda_concept.solver import Settings
from conda_concept.steps.edges import Edges
from conda_concept.steps.merged import Line
from conda_concept.steps.publish import publish_release
from conda_concept.steps.release import Publication, Released
from conda_concept.store import Store
from tests.support.fakegithub import FakeGitHub, State
from tests.support.locks import lock, package

if TYPE_CHECKING:
    from conda_concept.assembly import Assembler

CONFIG = 'version: "{}"\ndescription: tiny\n'
SPEC = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n"
CONFIGURATION = "environments/tiny/config.yml"
FIRST, NEXT, LAST = "26.07", "26.10", "26.12"


@dataclass
class World:
    """A repository on the fake GitHub and its store; `commits` are those that wrote each version down."""

    fake: FakeGitHub
    folder: Path
    store: Store
    commits: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return self.fake.state

    @property
    def hub(self) -> Hub:
        return self.fake.hub()

    def line(self, branch: str = "main") -> Line:
        """The branch, checked out as a job does it."""
        checkout = self.folder / f"checkout-{len(list(self.folder.glob('checkout-*')))}"
        self.state.git("clone", "--quiet", "--branch", branch, str(self.state.git_dir), str(checkout))
        return Line(Repository(checkout), branch, "here")

    def merge(self, version: str) -> None:
        """The pull request for a version is merged, and nothing else has happened."""
        self.state.commit("main", {CONFIGURATION: CONFIG.format(version)}, f"Release tiny-{version} (#1)")

    def publish(self, version: str, number: int) -> Release:
        """What a release job has done when it begins to announce: users have the version, and it is written down."""
        text = dumps(lock(package("python", f"3.{number}")))
        made = release(version, number, environment="tiny")
        build(self.store, made, lock=text)
        judge(self.store, made)
        publish_release(self.store, made, version, ASKED, silent())
        self.store.layout.tests(made).unlink()  # they are not what this is about
        changelog = f"## {made.label}, build {made.build_id} - 2026-10-01\n\n"
        try:
            changelog += self.state.text("CHANGELOG.md") + "\n"
        except LookupError:
            changelog += "\n"
        files: dict[str, str | None] = {"CHANGELOG.md": changelog, "environments/tiny/conda-lock.yml": text}
        source = self.state.git("rev-parse", "main")
        words = f"Release {made.label}, build {made.build_id} [skip ci]\n\nWritten by …\n\nSource: {source}\n"
        self.commits[version] = self.state.commit("main", files, words)
        return made

    def run(self, branch: str = "main") -> Released:
        """The release job."""
        line = self.line(branch)
        settings = Settings(channel_alias=(self.folder / "no-channels").as_uri())
        edges = Edges(line.repository, self.store, cast("Assembler", None), settings, silent(), 1)
        return Publication(self.hub, edges, line, "tiny", ASKED).make()

    def due(self) -> tuple[str, ...]:
        return self.line().due(self.hub)

    def announced(self, version: str) -> None:
        """Everything of a version is there once, at the commit where spec, lock and changelog agree."""
        label = f"tiny-{version}"
        (made,) = [one for one in self.state.releases if one.tag == label]
        assert not made.draft
        for ref in ("tags", "heads"):
            assert self.state.git("rev-parse", f"refs/{ref}/{label}") == self.commits[version]
        names = [f"{label}.{end}" for end in ("conda-lock.yml", "linux-64.explicit.txt", "cdx.json", "release.json")]
        assert [one.name for one in made.assets] == [*names, f"{label}.SHA256SUMS"]
        assert made.assets[0].data.decode().rstrip("\n") == self.state.text(
            "environments/tiny/conda-lock.yml", f"refs/tags/{label}"
        )
        assert CONFIG.format(version).rstrip("\n") == self.state.text(CONFIGURATION, f"refs/tags/{label}")
        (build_id,) = re.findall(
            rf"(?m)^## {label}, build (\w+)", self.state.text("CHANGELOG.md", f"refs/tags/{label}")
        )
        assert json.loads(made.assets[3].data)["release"]["build_id"] == build_id
        assert f"build `{build_id}`" in made.body


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = State.make(tmp_path)
    state.tokens = {"all": {"contents": "write", "pull-requests": "write", "metadata": "read"}}
    files: dict[str, str | None] = {"ci/sites/here.yml": "name: here\n", "environments/tiny/environment.yml": SPEC}
    state.commit("main", files, "Begin")
    with FakeGitHub.serve(state) as fake:
        made = World(fake, tmp_path, make_store(tmp_path / "root"))
        made.merge(FIRST)
        made.publish(FIRST, 1)
        made.run()
        made.announced(FIRST)
        yield made
        assert (fake.invalid, fake.denied) == ([], [])


#: The changes that announce a version: tag, branch, draft, five files, the release.
CHANGES = 9


@pytest.mark.parametrize(
    ("since", "died_after"), [*(("published", number) for number in range(CHANGES)), ("merged", 0), ("merged", 4)]
)
def test_a_version_that_the_next_one_overtakes_is_announced_all_the_same(
    world: World, since: str, died_after: int
) -> None:
    world.merge(NEXT)
    world.publish(NEXT, 2)
    world.fake.life = died_after
    with pytest.raises(NetworkError):
        world.run()
    world.fake.life = -1
    assert world.due() == ("tiny",)

    world.merge(LAST)
    if since == "published":
        world.publish(LAST, 3)
        assert world.run().page.endswith(f"tiny-{LAST}")
        world.announced(LAST)
    else:  # what is merged cannot be built
        with pytest.raises(ConcError, match="conda-forge"):
            world.run()
    world.announced(NEXT)
    writes = world.fake.writes
    if since == "published":
        assert world.due() == ()
        world.run()
    else:
        with pytest.raises(ConcError, match="conda-forge"):
            world.run()
    assert world.fake.writes == writes


def test_so_many_changes_announce_a_version(world: World) -> None:
    world.merge(NEXT)
    world.publish(NEXT, 2)
    writes = world.fake.writes
    world.run()
    assert world.fake.writes - writes == CHANGES


def test_several_are_announced_oldest_first_each_against_the_one_before_it(world: World) -> None:
    for number, version in enumerate((NEXT, LAST, "27.02"), 2):
        world.merge(version)
        world.publish(version, number)
    world.run()
    assert [one.tag for one in world.state.releases] == [f"tiny-{one}" for one in (FIRST, NEXT, LAST, "27.02")]
    for made, before in zip(world.state.releases[1:], (FIRST, NEXT, LAST), strict=True):
        assert f"How to stay on the old one\n\n```sh\nmodule load conda_concept/tiny-{before}\n" in made.body
    # What is read last is what users have; GitHub is not told that an older one is the latest.
    loads = [re.findall(r"module load (\S+)", one.body)[0] for one in world.state.releases[1:]]
    assert loads == [f"conda_concept/tiny-{one}" for one in (NEXT, LAST, "unstable")]
    assert [one.latest for one in world.state.releases] == ["true", "false", "false", "true"]


def test_one_that_cannot_be_announced_keeps_no_other(world: World) -> None:
    for number, version in enumerate((NEXT, LAST), 2):
        world.merge(version)
        world.publish(version, number)
    stray = world.state.commit("elsewhere", {"a": "a\n"}, start="refs/heads/main")
    world.state.git("update-ref", f"refs/tags/tiny-{NEXT}", stray)
    for _ in range(2):
        with pytest.raises(RefusedError, match="is no commit of this branch"):
            world.run()
        world.announced(LAST)
    assert world.due() == ("tiny",)
    world.state.git("update-ref", "-d", f"refs/tags/tiny-{NEXT}")
    world.run()
    world.announced(NEXT)
    assert world.due() == ()


def test_what_was_taken_back_or_retired_is_not_announced(world: World) -> None:
    for number, version in enumerate((NEXT, LAST), 2):
        world.merge(version)
        world.publish(version, number)
    text = CONFIG.format(LAST) + f'retire: {{"{NEXT}": 2027-01-31}}\n'
    world.state.commit("main", {CONFIGURATION: text}, "Retire it")
    assert world.due() == ("tiny",)  # the config has changed
    with pytest.raises(ConcError, match="conda-forge"):
        world.run()
    assert [one.tag for one in world.state.releases] == [f"tiny-{FIRST}"]
    world.state.commit("main", {CONFIGURATION: CONFIG.format(FIRST)}, "Take both back")
    with pytest.raises(ConcError, match="conda-forge"):
        world.run()
    assert [one.tag for one in world.state.releases] == [f"tiny-{FIRST}"]


def test_the_branch_of_a_version_announces_nothing(world: World) -> None:
    world.merge(NEXT)
    world.publish(NEXT, 2)
    world.run(f"tiny-{FIRST}")
    assert [one.tag for one in world.state.releases] == [f"tiny-{FIRST}"]
