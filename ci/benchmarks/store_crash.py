"""Ending or failing a run at every one of its operations, and checking what is left.

A scenario is a store as it is before, and one command. For each operation of the command the store is put back, a
child process runs the command and is killed by SIGKILL at that operation (or the operation fails), and then: every
invariant holds, every alias says what it said before or what it is to say, and the same command, run again, ends
where it would have ended without the accident.
"""

import datetime as dt
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.store_readers import load_all
from benchmarks.storekit import (
    ASKED,
    NO_GRACE,
    START,
    FaultyDoor,
    broken,
    build,
    contents,
    judge,
    make_site,
    make_store,
    ready,
    release,
    silent,
)
from conda_concept.errors import ConcError
from conda_concept.settings import Config
from conda_concept.steps.doctor import doctor
from conda_concept.steps.prune import prune
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import Store
from conda_concept.store.staging import apply_tree

_DONE, _TOLD, _NO_ADVICE, _SURPRISE = range(4)

FAILURES = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT)

OLD, CURRENT, NEW, NEXT, TRIAL = (
    release("23.01", 1),
    release("23.04", 2),
    release("23.04", 3),
    release("23.07", 4),
    release("23.04", 5),
)


#: Seen from the day of a scenario's command.
YESTERDAY, TOMORROW = ((START + dt.timedelta(days=days)).date() for days in (0, 2))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, the store that it finds, and how many days after the store's making it runs.

    `whole`: when an operation fails, the aliases are all as before or all as wanted, never between. `again` is the
    command to run again where `command` is relative (one release back) and has already got to its end.
    """

    name: str
    before: Callable[[Store], object]
    command: Callable[[Store], object]
    days: float = 1
    whole: bool = True
    again: Callable[[Store], object] | None = None


@dataclass(slots=True)
class Tally:
    """What a scenario showed: operations, runs killed and failed, states checked, modules loaded, every violation."""

    name: str
    operations: int = 0
    killed: int = 0
    failed: int = 0
    states: int = 0
    loads: int = 0
    violations: list[str] = field(default_factory=list)


def _publish(store: Store, wanted: object, stable: str) -> None:
    if not hasattr(wanted, "version"):
        raise TypeError("a release is published")
    publish_release(store, wanted, stable, ASKED, silent())  # type: ignore[arg-type]  # checked in the line above


def _published(store: Store) -> None:
    """A store with a stable and a newer release, and more that are ready."""
    for one, stable in ((ready(store, OLD), "23.01"), (ready(store, CURRENT), "23.01")):
        publish_release(store, one, stable, ASKED, silent())


def _and(*steps: Callable[[Store], object]) -> Callable[[Store], None]:
    def all_of_them(store: Store) -> None:
        for step in steps:
            step(store)

    return all_of_them


def _litter(store: Store) -> None:
    """A former release, a candidate that is tried, a base that nothing uses, and a build that was killed half-way."""
    base = store.layout.runtime / "base-0123456789ab"
    (base / "etc").mkdir(parents=True)
    base.joinpath("etc/passwd").write_text("")
    apply_tree(store.door, store.layout.runtime, store.permissions)
    ready(store, NEW)
    publish_release(store, NEW, "23.01", ASKED, silent())
    roll_back(store, CURRENT.label, "", ASKED, silent())
    ready(store, TRIAL)
    store.expose(TRIAL, "analysis3-pr12")
    with suppress(ConcError):
        build(make_store(store.layout.root, door=FaultyDoor(at=30, failure=errno.EIO)), NEXT)
    half = store.layout.prefix(NEXT)
    half.mkdir(parents=True, exist_ok=True)
    half.joinpath("bin").mkdir(exist_ok=True)
    half.joinpath("bin", "left").write_text("over")


def _disorder(store: Store) -> None:
    """What the doctor mends by itself, and nothing that users notice."""
    layout = store.layout
    layout.modulerc.unlink()
    layout.module(OLD.label).unlink()
    layout.envs.chmod(0o777)
    layout.envs.joinpath(".analysis3.new").symlink_to("nowhere")
    layout.history.write_text(layout.history.read_text() + "half a line")
    layout.prefix(NEXT).joinpath("bin").mkdir(parents=True)


def _damaged(store: Store) -> None:
    """A candidate that is there as a whole, and is not what was built."""
    ready(store, NEW)
    store.layout.image(NEW).write_bytes(b"other bytes")


def _build_anew(store: Store) -> None:
    build(store, NEW, again=store.reader.complete(NEW) and bool(store.checker.verify(NEW)))


def _retire(store: Store, day: dt.date) -> None:
    """The nightly run, where the main branch says that a version goes after `day`."""
    prune(store, ASKED, (), {"analysis3": Config(version="23.04", retire={"23.01": day})})


def _old_age(store: Store) -> Store:
    """The store under a policy that keeps nothing which is not needed."""
    site = make_site(store.layout.root, retention=NO_GRACE)
    return replace(store, site=site)


SCENARIOS = (
    Scenario("build", _published, lambda store: build(store, NEW)),
    Scenario("test verdict", _and(_published, lambda store: build(store, NEW)), lambda store: judge(store, NEW)),
    Scenario("first publish", lambda store: ready(store, OLD), lambda store: _publish(store, OLD, "23.01")),
    Scenario(
        "publish a new build",
        _and(_published, lambda store: ready(store, NEW)),
        lambda store: _publish(store, NEW, "23.01"),
    ),
    Scenario(
        "publish a new version, stable too",
        _and(_published, lambda store: ready(store, NEXT)),
        lambda store: _publish(store, NEXT, "23.07"),
    ),
    Scenario(
        "roll a label back",
        _and(_published, lambda store: _publish(store, ready(store, NEW), "23.01")),
        lambda store: roll_back(store, CURRENT.label, "", ASKED, silent()),
        again=lambda store: roll_back(store, CURRENT.label, CURRENT.build_id, ASKED, silent()),
    ),
    Scenario(
        "roll the stable name back",
        _and(_published, lambda store: _publish(store, CURRENT, "23.04")),
        lambda store: roll_back(store, "analysis3", "", ASKED, silent()),
        again=lambda store: roll_back(store, "analysis3", OLD.label, ASKED, silent()),
    ),
    Scenario("prune", _and(_published, _litter), lambda store: prune(_old_age(store), ASKED), days=900, whole=False),
    Scenario("repair", _and(_published, _disorder), lambda store: doctor(store, ASKED, repair=True), whole=False),
    Scenario(
        "test a published release again",
        _published,
        lambda store: judge(store, CURRENT, report=b"<testsuites a='1'/>\n"),
    ),
    Scenario(
        "build a damaged release anew",
        _and(_published, _damaged),
        _build_anew,
        # Where nothing is left to do no lock is taken; the one that is left behind is for whoever needs it next.
        again=_and(_build_anew, lambda store: store.hide([])),
    ),
    Scenario("announce a version's end", _published, lambda store: _retire(store, TOMORROW)),
    Scenario(
        "retire a version",
        _and(_published, lambda store: _publish(store, CURRENT, "23.04"), lambda store: _retire(store, TOMORROW)),
        lambda store: _retire(store, YESTERDAY),
    ),
    Scenario(
        "try a candidate",
        _and(_published, lambda store: ready(store, TRIAL)),
        lambda store: store.expose(TRIAL, "analysis3-pr12"),
    ),
)


@dataclass(slots=True)
class Harness:
    """Runs scenarios below a folder of its own.

    Every operation is killed at, and fails: with `thorough` in each of the ways, without in one of them by turns.
    After every `load_every`-th kill users load all modules, in each module system; 0: never.
    """

    folder: Path
    thorough: bool = False
    load_every: int = 0

    @property
    def root(self) -> Path:
        """Where the store is: always the same place, since a release works only at its own."""
        return self.folder / "root"

    def run(self, scenario: Scenario) -> Tally:
        """All accidents of one scenario."""
        tally = Tally(scenario.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        scenario.before(make_store(self.root))
        _check(tally, make_store(self.root), "before")
        self.root.rename(self.folder / "before")
        old = self._restored()
        door = FaultyDoor()
        scenario.command(make_store(self.root, door=door, days=scenario.days))
        tally.operations = len(door.log)
        wanted = _summary(make_store(self.root))
        for at, half in _points(door.log):
            self._kill(scenario, tally, at, half, old, wanted)
        for at in range(1, tally.operations + 1):
            doors = [FaultyDoor(at=at, failure=failure) for failure in FAILURES]
            doors.append(FaultyDoor(at=at, failure=errno.ENOSPC, sticky=True))
            for door in doors if self.thorough else doors[at % len(doors) :][:1]:
                self._fail(scenario, tally, door, old, wanted)
        return tally

    def _restored(self) -> dict[str, object]:
        """Put the store back, and say how it stands."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.root, symlinks=True, copy_function=os.link)
        return _summary(make_store(self.root))

    def _kill(
        self, scenario: Scenario, tally: Tally, at: int, half: bool, old: dict[str, object], wanted: dict[str, object]
    ) -> None:
        where = f"{scenario.name}, killed at {at}{' within a write' if half else ''}"
        self._restored()
        door = FaultyDoor(at=at, half=half, on_kill=lambda: os.kill(os.getpid(), signal.SIGKILL))
        status = self._child(scenario, door)
        if not os.WIFSIGNALED(status):
            tally.violations.append(f"{where}: the run was not killed")
        tally.killed += 1
        store = make_store(self.root)
        _check(tally, store, where)
        _between(tally, where, _summary(store), old, wanted, whole=False)
        if self.load_every and at % self.load_every == 0:
            loads, wrong = load_all(store.layout, store.reader.state())
            tally.loads += loads
            tally.violations += [f"{where}: {text}" for text in wrong]
        self._again(scenario, tally, where, wanted)

    def _child(self, scenario: Scenario, door: FaultyDoor) -> int:
        """Run the command in a process of its own, so that its leases are of a process that ended; its wait status."""
        child = os.fork()
        if child == 0:
            ending = _SURPRISE
            try:
                scenario.command(make_store(self.root, door=door, days=scenario.days))
                ending = _DONE
            except ConcError as error:
                ending = _TOLD if error.hint else _NO_ADVICE
            finally:
                os._exit(ending)
        return os.waitpid(child, 0)[1]

    def _fail(
        self, scenario: Scenario, tally: Tally, door: FaultyDoor, old: dict[str, object], wanted: dict[str, object]
    ) -> None:
        where = f"{scenario.name}, {os.strerror(door.failure or 0)} at {door.at}{' and on' if door.sticky else ''}"
        self._restored()
        status = self._child(scenario, door)
        if os.WEXITSTATUS(status) not in {_DONE, _TOLD}:
            tally.violations.append(f"{where}: it ended with status {status}: not explained, or without advice")
        tally.failed += 1
        store = make_store(self.root)
        _check(tally, store, where)
        now = _summary(store)
        _between(tally, where, now, old, wanted, whole=scenario.whole)
        if scenario.whole and all(
            now["history"] != one["history"] for one in (old, wanted) if one["aliases"] == now["aliases"]
        ):
            tally.violations.append(f"{where}: the history says {now['history']}, and {now['aliases']} is live")
        self._again(scenario, tally, where, wanted)

    def _again(self, scenario: Scenario, tally: Tally, where: str, wanted: dict[str, object]) -> None:
        """The same command, by another process, ends where it would have ended."""
        store = make_store(self.root, days=scenario.days)
        ended = _summary(store)["history"] == wanted["history"]
        try:
            (scenario.again if ended and scenario.again is not None else scenario.command)(store)
        except ConcError as error:
            tally.violations.append(f"{where}: the next run failed: {error}")
            return
        _check(tally, store, f"{where}, then run again")
        now = _summary(store)
        tally.violations += [
            f"{where}, then run again: {key} is {now[key]} and should be {wanted[key]}"
            for key in wanted
            if now[key] != wanted[key]
        ]


def _points(log: list[tuple[str, str]]) -> Iterator[tuple[int, bool]]:
    """Every operation to be killed at; writes twice, before and within."""
    for at in range(1, len(log) + 1):
        yield at, False
        if log[at - 1][0] == "write":
            yield at, True


def _summary(store: Store) -> dict[str, object]:
    """How a store stands: all that users and maintainers can tell, without times."""
    state = store.reader.state()
    return {
        "aliases": {alias.name: alias.target for alias in state.aliases},
        "modules": dict(state.modules),
        "candidates": dict(state.candidates),
        "modulerc": state.modulerc,
        "complete": [str(standing.release) for standing in state.releases if standing.complete],
        "incomplete": [str(standing.release) for standing in state.releases if not standing.complete],
        "history": {move.alias: move.after for event in state.history for move in event.moves},
        "notices": dict(state.notices),
        "unreadable": len(store.reader.history()[1]),
        "removed": sorted({name for event in state.history for name in event.removed}),
        "files": sorted(name for name in contents(store.layout.root) if ".store.lock." not in name),
    }


def _check(tally: Tally, store: Store, where: str) -> None:
    tally.states += 1
    tally.violations += [f"{where}: {text}" for text in broken(store)]


def _between(
    tally: Tally, where: str, now: dict[str, object], old: dict[str, object], wanted: dict[str, object], *, whole: bool
) -> None:
    """Every alias as before or as wanted; with `whole`, all of them the same way, and no release lost on the way."""
    present, before, after = now["aliases"], old["aliases"], wanted["aliases"]
    if not (isinstance(present, dict) and isinstance(before, dict) and isinstance(after, dict)):
        raise TypeError("aliases are mappings")
    if whole and present not in (before, after):
        tally.violations.append(f"{where}: the aliases are {present}, between {before} and {after}")
    for name in {*before, *after, *present}:
        if present.get(name) not in {before.get(name), after.get(name)}:
            tally.violations.append(f"{where}: {name} is {present.get(name)}")
    kept = set(_names(old["complete"])) & set(_names(wanted["complete"]))
    lost = kept - set(_names(now["complete"]))
    if lost:
        tally.violations.append(f"{where}: lost {', '.join(sorted(lost))}")


def _names(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
