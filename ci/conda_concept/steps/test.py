"""Test a release: inside its image, through its launcher, as an ordinary user; the answer gates its publication."""

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conda_concept.errors import GateError
from conda_concept.model import Integration, Lock
from conda_concept.progress import Reporter
from conda_concept.results import TestReport, TestResult, judged, stale_expectations, with_second_run
from conda_concept.settings import TestsConfig
from conda_concept.testing import consistency
from conda_concept.testing.declared import Declared
from conda_concept.testing.hostside import fitted, host_commands
from conda_concept.testing.junit import read_junit, write_junit
from conda_concept.testing.plan import Bounds, Planned, Planner, Survey, without_skipped
from conda_concept.testing.probe import Answers, Interpreter, take_survey
from conda_concept.testing.ranks import run_ranks
from conda_concept.testing.session import Session

#: More new failures than this are no flakiness; running them all again would only cost time.
MOST_AGAIN = 200
#: In a log, where no bar moves, a line so many seconds after the last.
QUIET = 30.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested, and what is known about it.

    `own_tests` are the environment's own test files (path below its `tests/` -> text), `declared` what packages say
    about themselves (from the build), `foreign` strings that must not be left in files (the staging folder),
    `host_folders` where libraries of the host may come from beside glibc's, `host_software` the host's software that
    stands in for packages (an MPI), `host_commands` and `overrides` the commands that config leaves to the host or
    replaces by scripts. `protected` are folders that no test may change though its user could: the store and what
    releases are made from, for whoever owns them (the prefix always is one). `mpi_run` starts ranks. `integration` is
    how the image was fitted to its host.
    """

    release: str
    image_sha256: str
    interpreter: Interpreter
    lock: Lock | None = None
    platform: str = "linux-64"
    declared: Mapping[str, Declared] = field(default_factory=dict)
    own_tests: Mapping[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    host_folders: tuple[str, ...] = ()
    host_software: tuple[str, ...] = ()
    host_commands: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    mpi_run: tuple[str, ...] = ()
    integration: Integration = field(default_factory=Integration)


@dataclass(frozen=True, slots=True)
class Resources:
    """How much of the machine the tests may use."""

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    bounds: Bounds = field(default_factory=Bounds)


def test(
    subject: Subject, config: TestsConfig, resources: Resources, baseline: Path | None, out: Path, reporter: Reporter
) -> TestReport:
    """Test `subject`, write JUnit XML to `out`, and say what it means beside `baseline` (the published tests.xml).

    Bad results are a report that did not pass, never an exception. An interrupt leaves what there is, marked
    incomplete, and goes on to the caller.
    """
    out.unlink(missing_ok=True)  # an older result must not be taken for this one's
    started = time.monotonic()
    published = _published(baseline, reporter)
    made = subject.integration
    session = Session(
        subject.interpreter,
        resources.workers,
        {
            "foreign": subject.foreign,
            "host_folders": subject.host_folders,
            "host_software": subject.host_software,
            "read_only": [subject.interpreter.prefix, *subject.protected],
            "removed": [path for _, paths in made.removed for path in paths if path not in made.scripts],
            "host_links": {link.path: link.target for link in made.replaced if link.path not in made.scripts},
        },
    )
    campaign = _Campaign(subject, config, session, published.results if published else ())
    facts: tuple[tuple[str, str], ...] = ()
    try:
        raw, start = take_survey(subject.interpreter, session.request)
        facts = _facts(raw, start, resources)
        campaign.run(Survey(raw), resources, reporter)
    except GateError as error:
        session.problems.append(str(error))
    except KeyboardInterrupt:
        session.interrupted = True
    results = judged(campaign.results, config, published.results if published else None)
    report = TestReport(
        release=subject.release,
        image_sha256=subject.image_sha256,
        results=results,
        stale=stale_expectations(results, config),
        baseline=published.release if published else "",
        problems=tuple(session.problems),
        facts=facts,
        seconds=time.monotonic() - started,
        cores=session.cpu / session.seconds if session.seconds else 0.0,
        complete=not session.interrupted and not session.problems,
    )
    write_junit(report, out)
    if session.interrupted:
        raise KeyboardInterrupt
    return report


def _published(baseline: Path | None, reporter: Reporter) -> TestReport | None:
    """The published release's results. Without readable ones every failure counts as new: the strict side."""
    if baseline is None:
        return None
    try:
        return read_junit(baseline)
    except GateError as error:
        reporter.warn(f"{error} All failures count as new.")
        return None


def _facts(raw: Mapping[str, object], start: Mapping[str, object], resources: Resources) -> tuple[tuple[str, str], ...]:
    python = raw["python"]
    markers = python["markers"] if isinstance(python, dict) else {}
    return (
        ("python", str(markers.get("python_full_version", ""))),
        ("network", str(start.get("network", ""))),
        ("store", str(start.get("store", ""))),
        ("orphans", "adopted" if start.get("reaper") else "not tracked"),
        ("uid", str(start.get("uid", ""))),
        ("workers", str(resources.workers)),
    )


@dataclass(frozen=True, slots=True)
class _Campaign:
    """Everything that is tested about one subject; `results` grow, so that an interrupt leaves what there is."""

    subject: Subject
    config: TestsConfig
    session: Session
    published: tuple[TestResult, ...]
    results: list[TestResult] = field(default_factory=list)

    def run(self, survey: Survey, resources: Resources, reporter: Reporter) -> None:
        """Run everything, and what failed anew twice."""
        main, own, decided = self._plan(survey, resources)
        self._keep([*decided, *self._consistency(survey)])
        with reporter.step(f"run {len(main) + len(own)} tests"):
            self._keep(self._in_probe(main, reporter, network=False))
            self._keep(self._in_probe(own, reporter, network=True))
            self._keep(self._ranks())
        judgement = judged(self.results, self.config, self.published)
        new = {result.title for result in judgement if result.standing == "new failure"}
        again = [one for one in main if one.test.title in new and one.judge != "static"]
        own = own if any(title.startswith("own ") for title in new) else []
        ranks = {title for title in new if title.startswith("mpi ")}
        number = len(again) + len(own) + len(ranks)
        if not number or number > MOST_AGAIN or self.session.problems:
            return
        with reporter.step(f"run {number} new failure{'s' * (number > 1)} a second time"):
            second = self._in_probe(again, reporter, network=False)
            second += self._in_probe(own, reporter, network=True)
            second += self._ranks(ranks) if ranks else []
            self.results[:] = with_second_run(self.results, second)
            self._keep([])

    def _keep(self, results: list[TestResult]) -> None:
        """Have these results; an interrupt, which the session remembers, goes on from here."""
        self.results.extend(results)
        if self.session.interrupted:
            raise KeyboardInterrupt

    def _plan(self, survey: Survey, resources: Resources) -> tuple[list[Planned], list[Planned], list[TestResult]]:
        """What runs without network, what runs with it, and what needs no run to be decided."""
        subject = self.subject
        passed = frozenset(one.title for one in self.published if one.outcome == "passed")
        planner = Planner(survey, subject.interpreter.prefix, self.config, resources.bounds, passed)
        scripts, absent = planner.scripts(subject.declared)
        main = [*planner.imports(subject.declared), *planner.commands(), *scripts]
        main, unwanted = without_skipped(main, self.config)
        own = planner.own({name: text for name, text in subject.own_tests.items() if not name.startswith("mpi/")})
        own, unwanted_own = without_skipped(own, self.config)
        if own and not {"pytest", "pip:pytest"} & survey.names:
            own = []
            absent.append(TestResult("own", "tests", "skipped", message="there is no pytest in the environment"))
        return [*main, *planner.static(resources.workers * 2)], own, [*absent, *unwanted, *unwanted_own]

    def _ranks(self, only: Collection[str] | None = None) -> list[TestResult]:
        subject = self.subject
        start, interpreter = subject.mpi_run, subject.interpreter
        return run_ranks(subject.own_tests, start, interpreter, self.config, subject.protected, only)

    def _consistency(self, survey: Survey) -> list[TestResult]:
        results = [
            *consistency.dependencies(survey),
            *consistency.distributions(survey),
            *consistency.clashes(survey),
        ]
        subject = self.subject
        results += host_commands(Path(subject.interpreter.prefix), subject.host_commands, subject.overrides)
        results += fitted(survey.raw.get("host") or {"present": (), "wrong": {}}, subject.integration)
        lock = subject.lock
        return results if lock is None else [*results, *consistency.against_lock(survey, lock, subject.platform)]

    def _in_probe(self, planned: list[Planned], reporter: Reporter, *, network: bool) -> list[TestResult]:
        with reporter.bar("tests", total=len(planned)) as bar:
            said = time.monotonic()

            def heard(answers: Answers) -> None:
                nonlocal said
                bar.update(done=len(answers.facts), text=", ".join(answers.running[:1]) or "tests")
                if not reporter.stream.isatty() and time.monotonic() - said > QUIET:
                    said = time.monotonic()
                    reporter.say(f"{len(answers.facts)} of {len(planned)}; now {', '.join(answers.running[:3])}")

            return self.session.run(planned, heard, network=network)
