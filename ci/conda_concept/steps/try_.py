"""try: the whole path of a pull request on this machine, with no GitHub; what would be comments become files."""

from dataclasses import dataclass, replace
from pathlib import Path

from conda_concept.errors import ConcError, GateError
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Wish, solve
from conda_concept.model import Release, ReleaseRecord, Source, Spec
from conda_concept.record import parse_release
from conda_concept.render import comments, report, unsolvable
from conda_concept.render import diff as render_diff
from conda_concept.steps.build import Order
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import Judged, published
from conda_concept.steps.lock import replace_file
from conda_concept.steps.plan import plan
from conda_concept.steps.publish import Asked, publish_release
from conda_concept.steps.work import build, judge


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

    def write(self, name: str, text: str) -> Path:
        """A file among the comments, in one step."""
        path = self.comments / name
        replace_file(path, text)
        return path


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it: the release, the comments' files in order, and how to load it."""

    record: ReleaseRecord
    written: tuple[Path, ...]
    trial: comments.Trial


def try_(attempt: Attempt, edges: Edges) -> Tried:
    """Plan, lock, diff, build, test and, if asked, publish; every comment is written as soon as it can be.

    Raises what the step that failed raises, after its comment; `GateError` where the tests say no.
    """
    reporter = edges.reporter
    spec = edges.repository.spec(attempt.name)
    with reporter.step("plan"):
        reporter.say(_planned(attempt, edges))
    overrides, hooks = edges.repository.overrides(spec), edges.repository.hooks(spec)
    text = _lock(attempt, spec, edges)
    order = Order(spec, loads(text), text, attempt.source, overrides, hooks)
    record = build(order, edges).record
    judged = judge(record.release, spec, edges, again=False)
    before, passed = _before(judged, edges), judged.report.passed
    trial = _expose(record.release, attempt, edges) if passed else None
    words = comments.build_comment(record, before, judged.report, trial)
    written = [attempt.comments / "1-diff.md", attempt.write("2-build.md", words)]
    if trial is None:
        raise GateError(report.verdict_line(judged.report), hint=f"{written[-1]} says which and why.")
    if attempt.asked is not None:
        comment, trial = _publish(attempt.asked, spec, record, before, edges)
        written.append(attempt.write("3-release.md", comment))
    return Tried(record, tuple(written), trial)


def _planned(attempt: Attempt, edges: Edges) -> str:
    if not attempt.base:
        return f"{attempt.name}: compared with nothing, as a first release"
    touched = plan(edges.repository, attempt.base, edges.store.site.name)
    reasons = next((item.reasons for item in touched if item.environment == attempt.name), ())
    return f"{attempt.name}: changed since {attempt.base}: {', '.join(reasons) or 'nothing'}"


def _lock(attempt: Attempt, spec: Spec, edges: Edges) -> str:
    """The new lock's text, written beside the comments; comment 1."""
    base = edges.repository.lock_text_at(attempt.name, attempt.base) if attempt.base else None
    previous = loads(base) if base is not None else None
    heading = render_diff.Heading(spec.label, commit=attempt.source.commit, base=attempt.base)
    try:
        anew = bool(attempt.base) and spec.starts_anew(edges.repository.locked_version(attempt.name, attempt.base))
        solved = solve(spec, previous, Wish(refresh=anew), edges.settings, edges.reporter)
    except ExplainedError as error:
        attempt.write("1-diff.md", unsolvable.comment(heading, error.explanation))
        raise
    with edges.reporter.step("diff"):
        diffs = compare(previous, solved.lock, spec, edges.settings.now)
        attempt.write("1-diff.md", render_diff.comment(replace(heading, notes=solved.notes), diffs))
    text = base if base is not None and solved.unchanged else dumps(solved.lock)
    attempt.write("conda-lock.yml", text)
    return text


def _before(judged: Judged, edges: Edges) -> ReleaseRecord | None:
    """What users have, or had when this was tested first: the same whenever it is asked."""
    found = published(judged.record.release, edges)
    if found is None and judged.report.baseline:
        found = parse_release(judged.report.baseline)
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


def _publish(
    asked: Asked, spec: Spec, record: ReleaseRecord, before: ReleaseRecord | None, edges: Edges
) -> tuple[str, comments.Trial]:
    """Publish a release; the comment on it, and how users load it from now on."""
    release, store = record.release, edges.store
    with edges.reporter.step("publish"):
        done = publish_release(store, release, spec.config.stable or spec.config.version, asked, edges.reporter)
    for notice in done.notices:
        edges.reporter.warn(notice)
    load = comments.Trial(str(store.layout.module_path), f"{store.layout.product}/{spec.name}")
    earlier = before.release if before is not None and before.release.label == release.label else None
    text = comments.release_comment(
        record,
        store.reader.state().names_of(release),
        load=load,
        contact=spec.config.contact,
        previous=earlier.build_id if earlier else "",
    )
    return text, load
