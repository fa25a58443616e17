"""Any order of builds, publishes, rollbacks, prunes, accidents and rival runs, against a model of a few lines.

The model knows, for each name, the list that an editor's undo keeps, and which releases are there. Whatever the
store did on the way (also when it was stopped in the middle and started again), it has to end where the model is.
"""

# ruff: noqa: S101, D102 - a model asserts, and its rules and invariants name themselves
import errno
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from benchmarks.storekit import (
    ASKED,
    NO_GRACE,
    Dead,
    FaultyDoor,
    Killed,
    broken,
    build,
    judge,
    make_site,
    make_store,
    release,
    silent,
)
from conda_concept.errors import ConcError, GateError, NotFoundError
from conda_concept.model import Release
from conda_concept.steps.doctor import doctor
from conda_concept.steps.prune import prune
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import Store

VERSIONS = st.sampled_from(["23.01", "23.04"])
#: What is rolled back: labels, and the moving names that mean one.
LABELS = ("analysis3-23.01", "analysis3-23.04")
NAMES = st.sampled_from([*LABELS, "analysis3", "analysis3-unstable"])
NUMBERS = st.integers(min_value=1, max_value=3)
#: How often what was done, in all examples of a run.
COUNTS: Counter[str] = Counter()

#: At which call of the door a run is stopped, and how; most rolls of 0 to 60 come before its end.
STOPS = st.integers(min_value=1, max_value=60)
KINDS = st.sampled_from([None, errno.ENOSPC, errno.EIO])


@contextmanager
def stopped() -> Iterator[None]:
    """A run that is going to be stopped, or to end before it."""
    try:
        yield
    except (Killed, ConcError):
        COUNTS["stopped"] += 1


class StoreMachine(RuleBasedStateMachine):
    """Rules are what maintainers do; `stacks` and `there` are the model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.root = self.folder / "root"
        self.site = make_site(self.root, retention=NO_GRACE)
        self.stacks: dict[str, list[str]] = {}
        self.there: set[Release] = set()
        self.tested: set[Release] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def store(self, door: FaultyDoor | None = None) -> Store:
        """The store as a process sees it; one that is going to be stopped has an identity that is dead by then."""
        dead = Dead.identity() if door else None
        # The clock stands far behind the times of the files: everything is old enough to be pruned.
        return make_store(self.root, door=door, site=self.site, identity=dead, days=30000)

    @initialize()
    def begin(self) -> None:
        self.root.mkdir()

    @rule(version=VERSIONS, number=NUMBERS, passed=st.sampled_from([True, True, True, False]))
    def builds(self, version: str, number: int, passed: bool) -> None:
        wanted = release(version, number)
        build(self.store(), wanted)
        COUNTS["built"] += 1
        self.there.add(wanted)
        self._judge(wanted, passed=passed)

    def _judge(self, wanted: Release, *, passed: bool) -> None:
        """Test a release that is not live."""
        if self.stacks.get(wanted.label, [""])[-1] != wanted.build_id:
            judge(self.store(), wanted, passed=passed)
            (self.tested.add if passed else self.tested.discard)(wanted)

    @rule(version=VERSIONS, number=NUMBERS)
    def publishes(self, version: str, number: int) -> None:
        self._publish(self.store(), release(version, number))

    @precondition(lambda self: self.tested)
    @rule(data=st.data())
    def publishes_what_is_ready(self, data: st.DataObject) -> None:
        self._publish(self.store(), data.draw(st.sampled_from(sorted(self.tested))))

    @rule(version=VERSIONS)
    def releases_twice(self, version: str) -> None:
        """What there has to be for a rollback to have somewhere to go."""
        for number in (1, 2):
            self.builds(version, number, passed=True)
            self.publishes(version, number)

    def _publish(self, store: Store, wanted: Release) -> None:
        try:
            publish_release(store, wanted, wanted.version, ASKED, silent())
        except NotFoundError:
            assert wanted not in self.there
        except GateError:
            assert wanted not in self.tested
        else:
            COUNTS["published"] += 1
            assert wanted in self.there & self.tested
            moves = {wanted.label: wanted.build_id, "analysis3": wanted.label, "analysis3-unstable": wanted.label}
            for name, target in moves.items():
                stack = self.stacks.setdefault(name, [])
                if stack[-1:] != [target]:
                    stack.append(target)

    @precondition(lambda self: self.stacks)
    @rule(name=NAMES)
    def rolls_back(self, name: str) -> None:
        self._roll_back(self.store(), name)

    def _roll_back(self, store: Store, name: str) -> None:
        try:
            done = roll_back(store, name, "", ASKED, silent())
        except NotFoundError:
            assert self._before(name) is None
        except GateError:
            before = self._before(name)
            assert before is not None
            assert self._meant(name, self.stacks[name][before]) not in self.tested
        else:
            COUNTS["rolled back"] += 1
            before = self._before(name)
            assert before is not None
            assert done.release == self._meant(name, self.stacks[name][before])
            del self.stacks[name][before + 1 :]

    def _meant(self, name: str, target: str) -> Release:
        """The release that a name means with this target."""
        label, build_id = (name, target) if name in LABELS else (target, self.stacks[target][-1])
        return Release("analysis3", label.partition("-")[2], build_id)

    def _before(self, name: str) -> int | None:
        """The place in the undo list that a rollback goes to: the next one down that is another, and still there."""
        stack = self.stacks.get(name, [])
        for place in range(len(stack) - 2, -1, -1):
            if stack[place] != stack[-1] and self._meant(name, stack[place]) in self.there:
                return place
        return None

    @rule()
    def prunes(self) -> None:
        done = prune(self.store(), ASKED)
        COUNTS["pruned"] += sum(not one.keep for one in done.judgements)
        self.there = {one for one in self.there if self.stacks.get(one.label, [""])[-1] == one.build_id}
        self.tested &= self.there

    @rule(version=VERSIONS, number=NUMBERS, at=STOPS, failure=KINDS, half=st.booleans())
    def is_stopped_while_building(self, version: str, number: int, at: int, failure: int | None, half: bool) -> None:
        wanted = release(version, number)
        with stopped():
            build(self.store(FaultyDoor(at=at, failure=failure, half=half)), wanted)
        self.builds(version, number, passed=True)

    @precondition(lambda self: self.tested)
    @rule(version=VERSIONS, number=NUMBERS, at=STOPS, failure=KINDS, half=st.booleans())
    def is_stopped_while_publishing(self, version: str, number: int, at: int, failure: int | None, half: bool) -> None:
        wanted = release(version, number)
        with stopped():
            publish_release(self.store(FaultyDoor(at=at, failure=failure, half=half)), wanted, version, ASKED, silent())
        self._publish(self.store(), wanted)

    @precondition(lambda self: self.stacks)
    @rule(name=NAMES, at=STOPS, failure=KINDS)
    def is_stopped_while_rolling_back(self, name: str, at: int, failure: int | None) -> None:
        before = self.store().reader.state().target(name)
        with stopped():
            roll_back(self.store(FaultyDoor(at=at, failure=failure)), name, "", ASKED, silent())
        state = self.store().reader.state()
        recorded = [move.after for event in state.history for move in event.moves if move.alias == name]
        if recorded[-1:] != [before] and before:  # it had got to its end
            place = self._before(name)
            assert place is not None
            del self.stacks[name][place + 1 :]
        else:
            self._roll_back(self.store(), name)

    @rule(at=STOPS, failure=KINDS)
    def is_stopped_while_pruning(self, at: int, failure: int | None) -> None:
        with stopped():
            prune(self.store(FaultyDoor(at=at, failure=failure)), ASKED)
        self.prunes()

    @precondition(lambda self: self.there)
    @rule(version=VERSIONS, number=NUMBERS)
    def meets_a_rival(self, version: str, number: int) -> None:
        """Another process holds the lock: nothing happens, and the message says who."""
        before = self.store().reader.state().aliases
        wanted = release(version, number)
        told = ""
        with self.store().locked("rival"):
            try:
                publish_release(self.store(), wanted, version, ASKED, silent())
            except ConcError as error:
                told = error.message
        assert "rival" in told if wanted in self.there & self.tested else told
        assert self.store().reader.state().aliases == before

    @invariant()
    def nothing_is_broken(self) -> None:
        if not self.root.is_dir():
            return
        store = self.store()
        COUNTS["states checked"] += 1
        assert broken(store) == []
        state = store.reader.state()
        live = {label: stack[-1] for label, stack in self.stacks.items() if stack}
        assert {alias.name: alias.target for alias in state.aliases if alias.name in live} == live
        assert {one.release for one in state.releases if one.complete} == self.there

    @invariant()
    def the_doctor_finds_nothing_broken(self) -> None:
        if self.root.is_dir():
            around = set(map(str, self.root.parents))  # not the store's own, and closed to others here
            found = [one for one in doctor(self.store(), ASKED).findings if one.severity != "untidy"]
            assert [one for one in found if one.where not in around] == []


def run_model(*, examples: int, steps: int, derandomize: bool) -> Counter[str]:
    """Run the model; how often each rule was followed. Any violation raises, with the shortest way to it."""
    COUNTS.clear()
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    return Counter(COUNTS)
