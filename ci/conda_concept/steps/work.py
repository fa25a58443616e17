"""Building and testing where the site says: here, or in a job of its scheduler. One mechanism for every command.

A job gets the order as a file and runs the same `conda-concept build` or `test` with `--in-place`. What it makes is in
the store when it ends; nothing else comes back, and nothing secret goes in.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from conda_concept.download import fetch_all
from conda_concept.errors import ConcError, GateError, InputError
from conda_concept.executor.jobs import Jobs
from conda_concept.executor.task import Task
from conda_concept.lockfile import loads
from conda_concept.model import Release, Source, Spec
from conda_concept.steps import build as building
from conda_concept.steps import judge as judging
from conda_concept.steps.build import Built, Order
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import Judged
from conda_concept.store import Store
from conda_concept.store.lease import read_holder

#: Exit codes of `test` that are results: passed, and not passed.
VERDICTS = frozenset({0, GateError.exit_code})


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """An `Order` as a file: without the lock as values, which its text says. `release` is what has to come out."""

    release: Release
    spec: Spec
    lock_text: str
    source: Source
    overrides: tuple[tuple[str, str], ...]
    hooks: tuple[tuple[str, str], ...]

    def order(self, store: Store) -> Order:
        """The order, if it makes the same release here as where it was written."""
        order = Order(self.spec, loads(self.lock_text), self.lock_text, self.source, self.overrides, self.hooks)
        release = building.release_of(order, store)
        if release != self.release:
            raise InputError(
                f"this order makes {release} here, and {self.release} where it was written.",
                hint="The site files, or the versions of conda-concept, are not the same.",
            )
        return order


@dataclass(frozen=True, slots=True)
class TestOrder:
    """What `test` has to know that the store does not: the spec, and the environment's own tests."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    release: Release
    spec: Spec
    own_tests: dict[str, str]
    again: bool


_BUILD, _TEST = TypeAdapter(BuildOrder), TypeAdapter(TestOrder)


def read_build(text: str) -> BuildOrder:
    """A build's order from its file."""
    return _BUILD.validate_json(text)


def read_test(text: str) -> TestOrder:
    """A test's order from its file."""
    return _TEST.validate_json(text)


def build(order: Order, edges: Edges, *, replace: bool = False) -> Built:
    """`steps.build.build`, where the site says."""
    jobs, store = edges.jobs, edges.store
    if jobs is None:
        return building.build(order, store, edges.assembler, replace=replace)
    release = building.release_of(order, store)
    if store.reader.complete(release) and not replace:
        edges.reporter.say(f"{release} is there already: nothing to build")
        return Built(store.reader.record(release), already=True)
    handed = BuildOrder(release, order.spec, order.lock_text, order.source, order.overrides, order.hooks)
    text = _BUILD.dump_json(handed).decode()
    _download(order, text, jobs, edges)
    with edges.reporter.step(f"build {release} in a job"):
        words = ("build", order.spec.name, "--order", "{folder}/order.json", *(["--replace"] if replace else []))
        task = _task(jobs, "build", release, words, {"order.json": text})
        jobs.run(task, lambda host: _clear(release, store, host))
    return Built(store.reader.record(release), already=False)


def judge(release: Release, spec: Spec, edges: Edges, *, again: bool) -> Judged:
    """`steps.judge.judge`, where the site says."""
    jobs, store = edges.jobs, edges.store
    if jobs is None:
        return judging.judge(release, spec, edges, again=again)
    own_tests = edges.repository.tests(spec.name)
    if not again and judging.known(store.reader.record(release), spec, own_tests, edges) is not None:
        return judging.judge(release, spec, edges, again=False)
    handed = TestOrder(release, spec, own_tests, again)
    with edges.reporter.step(f"test {release} in a job"):
        words = ("test", str(release), "--order", "{folder}/order.json")
        files = {"order.json": _TEST.dump_json(handed).decode()}
        jobs.run(_task(jobs, "test", release, words, files))
    return Judged(store.reader.record(release), judging.recorded(release, spec, edges), already=False)


def _clear(release: Release, store: Store, host: str) -> None:
    """Remove what a job that has ended left unfinished: no machine but its own could tell that its process is gone."""
    holder = read_holder(store.layout.incomplete(release))
    if holder is None or holder.identity.host != host:
        return
    at_once = store.site.retention.model_copy(update={"lock_hours": 0.0})
    here = replace(store, site=store.site.model_copy(update={"retention": at_once}))
    with suppress(ConcError), here.stage(release):
        pass  # a build that is left before it is finished removes itself


def _download(order: Order, text: str, jobs: Jobs, edges: Edges) -> None:
    """Have the archives in the shared cache before a job starts that has no network."""
    release = building.release_of(order, edges.store)
    match jobs.pbs.download:
        case "here":
            with edges.reporter.step(f"download {len(order.packages)} packages"):
                fetched = fetch_all(order.packages, edges.assembler.cache, edges.reporter)
                edges.reporter.say(f"{fetched / 1e6:,.0f} MB fetched, the rest was there")
        case "queue" if not all(edges.assembler.cache.path(one).exists() for one in order.packages):
            with edges.reporter.step(f"download {len(order.packages)} packages in a job"):
                words = ("build", order.spec.name, "--download-only", "--order", "{folder}/order.json")
                jobs.run(_task(jobs, "download", release, words, {"order.json": text}))
        case "queue" | "job":
            pass  # all there, or the build's own job looks after it


def _task(jobs: Jobs, step: str, release: Release, words: tuple[str, ...], files: dict[str, str]) -> Task:
    pbs = jobs.pbs
    resources = {"build": pbs.build, "test": pbs.test or pbs.build, "download": pbs.download_job or pbs.build}[step]
    # A build is named by what it makes; of tests, the same release may be asked other ones.
    asked = hashlib.sha256(files["order.json"].encode()).hexdigest()[:8] if step == "test" else ""
    return Task(
        key="-".join(part for part in (step, release.label, release.build_id, asked) if part),
        what=f"{step} {release}",
        argv=(*jobs.command, *words, "--in-place", "--json", *jobs.flags),
        resources=resources,
        files={**jobs.files, **files},
        answers=VERDICTS if step == "test" else frozenset({0}),
    )


def read_order(path: Path) -> str:
    """The text of an order's file, which only its owner can have written."""
    found = path.stat()
    if found.st_mode & 0o022:
        raise InputError(f"{path} can be written by others: it is not taken as an order.")
    return path.read_text("utf-8")
