"""test, as a subcommand means it: a release of a store is tested, and the verdict is kept beside it."""

import os
import pwd
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import IntegrityError
from conda_concept.lockfile import loads
from conda_concept.model import Release, ReleaseRecord, Spec
from conda_concept.record import verdict_to_text
from conda_concept.render.carry import host_programs
from conda_concept.results import TestReport
from conda_concept.settings import PbsExecutor, Site
from conda_concept.steps.edges import Edges
from conda_concept.steps.test import Resources, Subject, test
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

    What has passed is not tested again (`again`: it is), because the verdict is bound to the image's digest. What has
    failed is: the reason may have been the machine, or the tests.
    The baseline is what the release's label, or else its environment's stable name, points at. `own_tests` are the
    environment's own test files where the checkout is not at hand.
    """
    store = edges.store
    record = store.reader.record(release)
    passed = None if again else known(release, record, edges)
    if passed is not None:
        edges.reporter.say(f"{release} has passed its tests before: nothing to test")
        return Judged(record, passed, already=True)
    with tempfile.TemporaryDirectory(prefix="conda-concept-tests-") as folder:
        out = Path(folder) / "tests.xml"
        own = edges.repository.tests(spec.name) if own_tests is None else own_tests
        subject, baseline = _subject(record, spec, edges, own), _baseline(release, edges)
        # An interrupted run goes on to the caller from here; its incomplete result lets nothing through, so it is
        # not kept, and what was known before of these bytes stays.
        report = test(subject, spec.config.tests, Resources(edges.workers), baseline, out, edges.reporter)
        store.write_verdict(release, verdict_to_text(report.verdict).encode(), out.read_bytes())
    return Judged(record, report, already=False)


def published(release: Release, edges: Edges) -> Release | None:
    """The release that users have now: what the label points at, or else the environment's stable name."""
    state = edges.store.reader.state()
    now = state.release(release.label) or state.release(release.environment)
    return None if now == release else now


def known(release: Release, record: ReleaseRecord, edges: Edges) -> TestReport | None:
    """What tests of these very bytes have said before, if they let them through."""
    verdict = edges.store.reader.verdict(release)
    path = edges.store.layout.tests(release)
    if verdict is None or verdict.image_sha256 != record.image.sha256 or not path.exists():
        return None
    report = read_junit(path)
    return report if report.passed else None


def _baseline(release: Release, edges: Edges) -> Path | None:
    before = published(release, edges)
    path = edges.store.layout.tests(before) if before else None
    return path if path is not None and path.exists() else None


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
