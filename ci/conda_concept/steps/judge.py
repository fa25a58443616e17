"""test, as a subcommand means it: a release of a store is tested, and the verdict is kept beside it."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from conda_concept.errors import GateError, IntegrityError
from conda_concept.identity import tests_digest
from conda_concept.lockfile import loads
from conda_concept.model import Release, ReleaseRecord, Spec, Verdict
from conda_concept.progress import Reporter
from conda_concept.record import parse_release, verdict_to_text
from conda_concept.render.carry import host_programs
from conda_concept.results import TestReport, stale_expectations
from conda_concept.settings import PbsExecutor, Site
from conda_concept.steps.edges import Edges
from conda_concept.steps.test import Resources, Subject, test
from conda_concept.store.door import explained
from conda_concept.testing.declared import from_json
from conda_concept.testing.junit import read_junit
from conda_concept.testing.probe import Interpreter, activated, ordinary_user


@dataclass(frozen=True, slots=True)
class Judged:
    """A release's record and what its tests say; `already`: they had said it before, of these very bytes."""

    record: ReleaseRecord
    report: TestReport
    already: bool


def judge(
    release: Release, spec: Spec, edges: Edges, *, again: bool, own_tests: Mapping[str, str] | None = None
) -> Judged:
    """Test a release and keep `tests.xml` and the verdict beside it, also where they say no.

    What has passed is not tested again (`again`: it is), because the verdict is bound to the image's digest, and to
    what it was asked: the environment's own tests and its expectations. What has failed is tested again: the reason
    may have been the machine. The baseline is what the release's label, or else its environment's stable name, points
    at. `own_tests` are the environment's own test files where the checkout is not at hand.

    An interrupt leaves what there was below the site's scratch, says where, and goes on to the caller: an incomplete
    result lets nothing through, so what was known before of these bytes stays.
    """
    store = edges.store
    record = store.reader.record(release)
    own = edges.repository.tests(spec.name) if own_tests is None else own_tests
    passed = None if again else known(record, spec, own, edges)
    if passed is not None:
        edges.reporter.say(f"{release} has passed its tests before: nothing to test")
        return Judged(record, passed, already=True)
    subject, baseline = _subject(record, spec, edges, own), _baseline(release, edges)
    with _kept_if_interrupted(Path(store.site.scratch), edges.reporter) as out:
        report = test(subject, spec.config.tests, Resources(edges.workers), baseline, out, edges.reporter)
        data = out.read_bytes()
    asked = tests_digest(spec.config.tests, own)
    verdict = replace(report.verdict, report_sha256=sha256(data).hexdigest(), tests_sha256=asked)
    store.write_verdict(release, verdict_to_text(verdict).encode(), data)
    return Judged(record, report, already=False)


@contextmanager
def _kept_if_interrupted(scratch: Path, reporter: Reporter) -> Iterator[Path]:
    """Where the results of one run go; after an interrupt the file stays, if there is one, and we say where."""
    with explained(f"write test results below {scratch}"):
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix="conda-concept-tests-", dir=scratch))
    out = folder / "tests.xml"
    kept = False
    try:
        yield out
    except KeyboardInterrupt:
        kept = out.exists()
        if kept:
            reporter.warn(f"the tests were interrupted: there is no verdict, and what there was by then is in {out}")
        raise
    finally:
        if not kept:
            rmtree(folder)


def published(release: Release, edges: Edges) -> Release | None:
    """Another release that users have now: what the label points at, or else the environment's stable name."""
    now = _live(release, edges)
    return None if now == release else now


def _live(release: Release, edges: Edges) -> Release | None:
    state = edges.store.reader.state()
    return state.release(release.label) or state.release(release.environment)


def known(record: ReleaseRecord, spec: Spec, own_tests: Mapping[str, str], edges: Edges) -> TestReport | None:
    """What these very tests of these very bytes have said before, if they let them through."""
    verdict = _verdict(record.release, edges)
    asked = record.image.sha256, tests_digest(spec.config.tests, own_tests)
    if verdict is None or not verdict.passed or (verdict.image_sha256, verdict.tests_sha256) != asked:
        return None
    try:
        report = recorded(record.release, spec, edges)
    except GateError as error:
        edges.reporter.warn(f"{record.release} is tested again: {error.message}")
        return None
    return report if report.passed else None


def recorded(release: Release, spec: Spec, edges: Edges) -> TestReport:
    """What the file beside a release says of its tests; `GateError` where it is missing or damaged."""
    report = read_junit(edges.store.layout.tests(release))
    return replace(report, stale=stale_expectations(report.results, spec.config.tests))


def _verdict(release: Release, edges: Edges) -> Verdict | None:
    try:
        return edges.store.reader.verdict(release)
    except IntegrityError as error:
        edges.reporter.warn(f"{release}: {error.message} It counts as not tested.")
        return None


def _baseline(release: Release, edges: Edges) -> Path | None:
    """The results to compare with: those of what users have now.

    If that is this very release, those that it was let through beside; where they are gone, its own are as good, for
    they hold no new failure, if it passed.
    """
    live = _live(release, edges)
    candidates = [live] if live is not None else []
    if live == release:
        verdict = _verdict(release, edges)
        earlier = verdict.baseline if verdict is not None else ""
        own = [release] if verdict is not None and verdict.passed else []
        candidates = [parse_release(earlier), *own] if earlier else []
    return next((path for path in map(edges.store.layout.tests, candidates) if path.exists()), None)


def _subject(record: ReleaseRecord, spec: Spec, edges: Edges, own_tests: Mapping[str, str]) -> Subject:
    layout, release = edges.store.layout, record.release
    try:
        lock = loads(layout.locked(release).read_text("utf-8"))
        declared = from_json(layout.declared(release).read_text("utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"{release} lacks {error.filename}.", hint="`conda-concept verify` says more.") from error
    return Subject(
        release=str(release),
        image_sha256=record.image.sha256,
        interpreter=Interpreter(
            argv=activated(record.prefix),
            prefix=record.prefix,
            user=ordinary_user(edges.store.site.test_user),
        ),
        lock=lock,
        platform=record.platform,
        declared=declared,
        own_tests=own_tests,
        foreign=("conda-concept-build-",),
        host_folders=edges.store.site.host_libraries,
        host_software=tuple(edges.store.site.host_software.values()),
        host_commands=spec.config.host_commands,
        overrides=_scripts(record, spec),
        integration=record.integration,
        protected=protected(edges.store.site),
        mpi_run=edges.store.site.mpi_run,
    )


def protected(site: Site) -> tuple[str, ...]:
    """What no test may change, though the account that runs it may: all that releases are, or are made from.

    Besides the store: archives and unpacked packages, trees of builds, orders and results of jobs, and the account's
    own home, which says what its next login does.
    """
    jobs = site.executor.folder if isinstance(site.executor, PbsExecutor) else None
    home = "" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_dir
    return tuple(folder for folder in (site.root, site.cache, site.scratch, jobs, home) if folder and folder != "/")


def _scripts(record: ReleaseRecord, spec: Spec) -> tuple[str, ...]:
    """The commands of a release that are scripts and no launchers."""
    made = record.integration
    ours = {*made.carried, *host_programs(made)} - set(spec.config.host_commands)
    return tuple(sorted({*spec.config.overrides, *ours}))
