"""When a release is tested again, what it is compared with, and what an interrupt leaves: a store without an image.

Its releases are this machine's Python and a lock of one package that is not there, so there is one result.
"""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.storekit import build, make_store, release
from conda_concept.lockfile import dumps
from conda_concept.model import Release, Spec
from conda_concept.progress import Reporter
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import Judged, judge
from conda_concept.store import Store
from conda_concept.testing.junit import read_junit
from tests.support import locks

ONE, TWO = release("23.04", 2), release("23.04", 3)
EXPECTED: dict[str, Any] = {"expect_fail": [{"test": "lock packages", "reason": "it is not there"}]}


@dataclass(frozen=True, slots=True)
class World:
    """A store, the environment's own tests as the checkout has them, and what was said."""

    store: Store
    own: dict[str, str] = field(default_factory=dict)
    said: io.StringIO = field(default_factory=io.StringIO)

    def tests(self, name: str) -> dict[str, str]:
        assert name == "analysis3"
        return dict(self.own)

    def judge(self, wanted: Release, tests: dict[str, Any], *, again: bool = False, reporter: Any = None) -> Judged:
        unused, checkout = cast("Any", None), cast("Any", self)
        edges = Edges(checkout, self.store, unused, unused, reporter or Reporter(self.said), workers=1)
        spec: Spec = replace(locks.spec("absent", tests=tests), name="analysis3")
        return judge(wanted, spec, edges, again=again)

    def point(self, wanted: Release) -> None:
        """Have it as what users get; a publication would refuse files that no record lists."""
        alias = self.store.layout.alias(wanted.label)
        alias.parent.mkdir(exist_ok=True)
        alias.unlink(missing_ok=True)
        alias.symlink_to(f"../releases/{wanted}")


@pytest.fixture
def world(open_dir: Path) -> World:
    store = make_store(open_dir / "root")
    for one in (ONE, TWO):
        build(store, one)
        prefix = store.layout.prefix(one)
        (prefix / "bin" / "activate").touch()
        (prefix / "bin" / "python3").symlink_to("/usr/bin/python3")
        store.layout.locked(one).write_text(dumps(locks.lock(locks.package("absent"))))
        store.layout.declared(one).write_text("{}")
    return World(store)


def test_the_same_bytes_that_are_asked_the_same_are_not_tested_twice(world: World) -> None:
    assert world.judge(ONE, EXPECTED).report.passed
    assert world.judge(ONE, EXPECTED).already
    world.own["test_new.py"] = "def test_new(): raise ValueError\n"
    asked = world.judge(ONE, EXPECTED)
    assert not asked.already, "a test that came after the verdict"
    assert "own tests" in {one.title for one in asked.report.results}
    assert world.judge(ONE, EXPECTED).already
    assert not world.judge(ONE, {}).report.passed, "nothing is expected to fail any more"
    assert not world.judge(ONE, EXPECTED).already, "what has failed is tested again"


def test_what_is_known_says_the_same_of_expectations_as_the_run_did(world: World) -> None:
    stale = {"expect_fail": [*EXPECTED["expect_fail"], {"test": "import gone", "reason": "old"}]}
    first, second = world.judge(ONE, stale), world.judge(ONE, stale)
    assert second.already
    assert [one.expectation.test for one in second.report.stale] == ["import gone"]
    assert first.report.stale == second.report.stale


@pytest.mark.parametrize("name", ["tests.xml", "tests.json"])
def test_damaged_results_are_made_anew(world: World, name: str) -> None:
    world.judge(ONE, EXPECTED)
    (world.store.layout.prefix(ONE) / name).write_text("<testsuites")
    done = world.judge(ONE, EXPECTED)
    assert done.report.passed
    assert not done.already
    assert "warning:" in world.said.getvalue()
    assert world.judge(ONE, EXPECTED).already
    assert world.store.checker.gate(ONE, done.record) == ""


def test_what_users_have_is_compared_with_what_it_was_let_through_beside(world: World) -> None:
    store = world.store
    world.judge(ONE, EXPECTED)
    world.point(ONE)
    assert dict(world.judge(TWO, {}).report.counts) == {"known failure": 1}
    world.point(TWO)
    again = world.judge(TWO, {}, again=True)
    assert (again.report.baseline, dict(again.report.counts)) == (str(ONE), {"known failure": 1})
    store.layout.tests(ONE).unlink()  # as a prune does
    again = world.judge(TWO, {}, again=True)
    assert (again.report.baseline, dict(again.report.counts)) == (str(TWO), {"known failure": 1})


def test_what_was_published_by_force_does_not_excuse_itself(world: World) -> None:
    assert not world.judge(ONE, {}).report.passed
    world.point(ONE)
    assert not world.judge(ONE, {}, again=True).report.passed


class Interrupting(Reporter):
    """Somebody presses Ctrl-C when the tests begin."""

    def bar(self, text: str, total: int | None = None) -> Any:
        del text, total
        raise KeyboardInterrupt


def test_an_interrupt_keeps_what_there_is_and_changes_no_verdict(world: World) -> None:
    world.judge(ONE, EXPECTED)
    before = world.store.reader.verdict(ONE)
    with pytest.raises(KeyboardInterrupt):
        world.judge(ONE, {}, again=True, reporter=Interrupting(world.said))
    (left,) = Path(world.store.site.scratch).glob("conda-concept-tests-*/tests.xml")
    assert str(left) in world.said.getvalue()
    assert "✗ run 0 tests" in world.said.getvalue()
    assert not read_junit(left).complete
    assert world.store.reader.verdict(ONE) == before


def test_nothing_is_left_in_scratch(world: World) -> None:
    world.judge(ONE, EXPECTED)
    assert list(Path(world.store.site.scratch).iterdir()) == []
