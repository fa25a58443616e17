"""try: the whole path of a pull request on this machine, with no GitHub; what would be comments become files."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from conda_concept.errors import ConcError, GateError
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Solved, Wish, solve
from conda_concept.matrix import Touched
from conda_concept.model import Diff, Lock, Release, ReleaseRecord, Source, Spec
from conda_concept.plan import SetAlias
from conda_concept.render import comments, report, unsolvable
from conda_concept.render import diff as render_diff
from conda_concept.results import TestReport
from conda_concept.steps.build import Order, build
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import judge, published
from conda_concept.steps.lock import replace_file
from conda_concept.steps.plan import plan
from conda_concept.steps.publish import Asked, Switched, publish_release


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is tried: an environment against a commit (empty: against nothing), under which name, and how far.

    `comments` is the folder that the Markdown files go to; `asked` publishes when the tests have passed.
    """

    name: str
    base: str
    source: Source
    comments: Path
    asked: Asked | None


@dataclass(slots=True)
class Tried:
    """How far it came: each part is there once its step is done."""

    touched: tuple[Touched, ...] = ()
    solved: Solved | None = None
    diffs: tuple[Diff, ...] = ()
    record: ReleaseRecord | None = None
    report: TestReport | None = None
    switched: Switched | None = None
    written: list[Path] = field(default_factory=list)
    lock: Path | None = None
    trial: comments.Trial | None = None


def try_(attempt: Attempt, edges: Edges) -> Tried:
    """Plan, lock, diff, build, test and, if asked, publish; every comment is written as soon as it can be.

    Raises what the step that failed raises, after its comment; `GateError` where the tests say no.
    """
    reporter, tried = edges.reporter, Tried()
    spec = edges.repository.spec(attempt.name)
    with reporter.step("plan"):
        tried.touched = plan(edges.repository, attempt.base, edges.store.site.name) if attempt.base else ()
        reasons = next((item.reasons for item in tried.touched if item.environment == attempt.name), ())
        said = f"changed since {attempt.base}: {', '.join(reasons) or 'nothing'}" if attempt.base else "a first release"
        reporter.say(f"{attempt.name}: {said}")
    text = _lock(attempt, spec, edges, tried)
    order = Order(spec, loads(text), text, attempt.source)
    record = build(order, edges.store, edges.assembler).record
    tried.record = record
    before = _before(record.release, edges)
    judged = judge(record.release, spec, edges, again=False)
    tried.report = judged.report
    if judged.report.passed:
        tried.trial = _expose(record.release, attempt, edges)
    words = report.comment(judged.report)
    text = comments.build_comment(record, before, words, passed=judged.report.passed, trial=tried.trial)
    _write(attempt, tried, "2-build.md", text)
    if not judged.report.passed:
        raise GateError(report.verdict_line(judged.report), hint=f"{tried.written[-1]} says which and why.")
    if attempt.asked is not None:
        _publish(attempt, attempt.asked, spec, record, edges, tried)
    return tried


def _lock(attempt: Attempt, spec: Spec, edges: Edges, tried: Tried) -> str:
    """The new lock's text, written beside the comments; comment 1."""
    base = edges.repository.lock_text_at(attempt.name, attempt.base) if attempt.base else None
    previous = loads(base) if base is not None else None
    heading = render_diff.Heading(spec.label, commit=attempt.source.commit, base=attempt.base)
    try:
        solved = solve(spec, previous, Wish(), edges.settings, edges.reporter)
    except ExplainedError as error:
        _write(attempt, tried, "1-diff.md", unsolvable.comment(heading, error.explanation))
        raise
    tried.solved = solved
    with edges.reporter.step("diff"):
        tried.diffs = _diffs(previous, solved, spec)
        heading = replace(heading, notes=solved.notes)
        _write(attempt, tried, "1-diff.md", render_diff.comment(heading, tried.diffs))
    text = dumps(solved.lock) if not solved.unchanged or base is None else base
    tried.lock = attempt.comments / "conda-lock.yml"
    replace_file(tried.lock, text)
    return text


def _diffs(previous: Lock | None, solved: Solved, spec: Spec) -> tuple[Diff, ...]:
    return compare(previous, solved.lock, spec, dt.datetime.now(tz=dt.UTC))


def _before(release: Release, edges: Edges) -> ReleaseRecord | None:
    found = published(release, edges)
    try:
        return edges.store.reader.record(found) if found else None
    except ConcError as error:
        edges.reporter.warn(f"nothing to compare with: {error}")
        return None


def _expose(release: Release, attempt: Attempt, edges: Edges) -> comments.Trial:
    name = f"{release.environment}-pr{attempt.source.pull_request or '0'}"
    with edges.reporter.step("offer it for a try"):
        folder = edges.store.expose(release, name)
    return comments.Trial(str(folder), f"{edges.store.layout.product}/{name}")


def _publish(attempt: Attempt, asked: Asked, spec: Spec, record: ReleaseRecord, edges: Edges, tried: Tried) -> None:
    release, store = record.release, edges.store
    before = published(release, edges)
    with edges.reporter.step("publish"):
        done = publish_release(store, release, spec.config.stable or spec.config.version, asked, edges.reporter)
    tried.switched = done
    for notice in done.notices:
        edges.reporter.warn(notice)
    text = comments.release_comment(
        record,
        _moved(done.operations),
        module_path=str(store.layout.module_path),
        module=f"{store.layout.product}/{release.label}",
        contact=spec.config.contact,
        previous=before.build_id if before is not None and before.label == release.label else "",
    )
    _write(attempt, tried, "3-release.md", text)


def _moved(operations: Sequence[object]) -> tuple[str, ...]:
    return tuple(operation.move.alias for operation in operations if isinstance(operation, SetAlias))


def _write(attempt: Attempt, tried: Tried, name: str, text: str) -> None:
    path = attempt.comments / name
    replace_file(path, text)
    tried.written.append(path)
