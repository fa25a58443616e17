"""release: publish what was merged: the candidate that was tested, or what is built now; then write it down.

Every part can be done twice: a run that ended early is finished by the next one, and nothing doubles.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from conda_concept.changelog import Cause, Section, with_section
from conda_concept.conversation import PullFacts, asked_by, marker
from conda_concept.document import MAX_BYTES, Problems, SourceText, parse
from conda_concept.errors import BuildError, ConcError, GateError, InputError, RefusedError, UnsolvableError
from conda_concept.github import File, Hub
from conda_concept.identity import spec_digest
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Wish, solve
from conda_concept.model import Lock, ReleaseRecord, Source, Spec
from conda_concept.operations import release_candidates
from conda_concept.record import LABEL
from conda_concept.render import comments, report
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading
from conda_concept.render.quote import fenced
from conda_concept.repository import Repository
from conda_concept.requesting import package_of
from conda_concept.run import CommandError
from conda_concept.steps.announce import announce, unannounced
from conda_concept.steps.build import Order, release_of
from conda_concept.steps.candidate import started_from
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import published
from conda_concept.steps.publish import Asked, publish_release
from conda_concept.steps.work import build, judge

CHANGELOG = "CHANGELOG.md"
_SPEC_FILES = ("environment.yml", "config.yml")
#: GitHub starts no workflow for a commit that says this.
QUIET = "[skip ci]"


def due(repository: Repository, branch: str = "", hub: Hub | None = None) -> tuple[str, ...]:
    """The environments that were changed after their lock was last committed: what a release has to look at.

    With a `hub` also those whose version is published and not announced yet, because a run ended in between. On the
    branch of an older version (`analysis3-23.07`) only that environment can be.
    """
    names = tuple(name for name in repository.environments() if repository.since_locked(name))
    others = [name for name in names if LABEL.fullmatch(branch) and name != branch.partition("-")[0]]
    if others:
        raise RefusedError(
            f"the branch {branch} is for fixes of that version, and changes {', '.join(others)} too.",
            hint="Take those changes back there, and make a pull request against the main branch.",
        )
    if hub is None or LABEL.fullmatch(branch):
        return names
    return tuple(name for name in repository.environments() if name in names or unannounced(hub, repository, name))


@dataclass(frozen=True, slots=True)
class Released:
    """What came of it. `rebuilt` says why the tested candidate was not taken, empty where it was."""

    record: ReleaseRecord | None
    rebuilt: str = ""
    commit: str = ""
    nothing: str = ""
    #: The page of the release notes, where this was a new version.
    page: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be published: an order that is a candidate already, or has to be built."""

    order: Order
    rebuilt: str


@dataclass(frozen=True, slots=True)
class Publication:
    """One environment of the branch that is checked out."""

    hub: Hub
    edges: Edges
    name: str
    branch: str
    asked: Asked

    def make(self) -> Released:
        """Publish, tell, write down, clean up."""
        spec = self.edges.repository.spec(self.name)
        text = self.edges.repository.lock_text(self.name)
        main = loads(text) if text is not None else None
        commits = self.edges.repository.since_locked(self.name)
        if not commits:
            page = announce(self.hub, self.edges, spec, "", self.branch)
            return Released(None, nothing=f"{spec.label} is what is locked and published: nothing to do", page=page)
        if not self._current():
            return Released(None, nothing=f"{self.branch} has moved on; its newest commit has a run of its own")
        pulls, causes = self._causes(commits)
        try:
            self._refuse_elsewhere(spec)
            plan = self._plan(spec, main, text, pulls)
            record, comment = self._publish(plan, spec)
        except (ConcError, KeyboardInterrupt) as error:
            self._excuse(pulls, error)
            raise
        words = comment if not plan.rebuilt else _with_reason(comment, plan.rebuilt)
        for pull in pulls:
            self.hub.say(pull.number, marker("release", self.name), words)
        commit = self._write_down(plan.order, main, record, causes)
        candidates = release_candidates(self.edges.store.reader.state(), record.release.label)
        self.edges.store.hide([*(f"{self.name}-pr{pull.number}" for pull in pulls), *candidates])
        page = announce(self.hub, self.edges, spec, commit, self.branch) if commit else ""
        return Released(record, plan.rebuilt, commit, page=page)

    def _current(self) -> bool:
        """Whether what people ask for at the end of the branch is what is checked out here."""
        tip = self.hub.tip(self.branch)
        if tip == self.edges.repository.head():
            return True
        for file in _SPEC_FILES:
            path = f"environments/{self.name}/{file}"
            if self.hub.file_at(path, tip, MAX_BYTES) != (self.edges.repository.root / path).read_text("utf-8"):
                return False
        return True

    @property
    def _is_fix(self) -> bool:
        """Whether this is the branch of an older version, whose fixes touch that version only."""
        return bool(LABEL.fullmatch(self.branch))

    def _refuse_elsewhere(self, spec: Spec) -> None:
        """`RefusedError` where a fix is not of its branch's version, or that version is the main branch's own still."""
        if not self._is_fix:
            return
        if spec.label != self.branch:
            raise RefusedError(
                f"the branch {self.branch} asks for {spec.label}; it is for fixes of {self.branch} alone.",
                hint="Set `version` in its config.yml back.",
            )
        main = self.hub.here.default_branch
        path = f"environments/{self.name}/config.yml"
        text = self._text(path, self.hub.tip(main), MAX_BYTES)
        found = parse(SourceText(path, text), Problems()).data
        if isinstance(found, dict) and found.get("version") == spec.config.version:
            raise RefusedError(
                f"{spec.label} is what {main} releases still: two branches would publish under one name.",
                hint=f"Make the pull request against {main}.",
            )

    def _causes(self, commits: Sequence[str]) -> tuple[list[PullFacts], tuple[Cause, ...]]:
        pulls: dict[int, PullFacts] = {}
        causes: dict[object, Cause] = {}
        for sha in commits:
            found = [one for one in self.hub.pulls_of(sha) if one.base_branch == self.branch]
            for pull in found:
                pulls[pull.number] = pull
                bot = self.hub.here.bot
                package = package_of(pull, bot, self.name)
                causes[pull.number] = Cause(pull.number, pull.title, asked_by(pull, bot), package=package)
            if not found:
                title, author = self.edges.repository.subject(sha)
                causes[sha] = Cause(0, title, author, sha)
        return list(pulls.values()), tuple(causes.values())

    # --- what is published --------------------------------------------------------------------------------------

    def _plan(self, spec: Spec, main: Lock | None, text: str | None, pulls: Sequence[PullFacts]) -> _Plan:
        tested = self._tested(spec, main)
        if tested is not None:
            return _Plan(tested, "")
        locked = self.edges.repository.locked_version(self.name)
        start = self._last_candidate(spec, pulls) if spec.starts_anew(locked) else main
        wish = Wish(refresh=start is None)
        solved = solve(spec, start, wish, self.edges.settings, self.edges.reporter)
        last = pulls[-1] if pulls else None
        source = Source(
            commit=self.edges.repository.head(),
            pull_request=str(last.number) if last else "",
            author=asked_by(last, self.hub.here.bot) if last else "",
            base_lock=started_from(spec, main, locked),
        )
        lock_text = text if text is not None and solved.unchanged else dumps(solved.lock)
        scripts = self.edges.repository.overrides(spec), self.edges.repository.hooks(spec)
        order = Order(spec, loads(lock_text), lock_text, source, *scripts)
        why = f"`{self.branch}` was not what the candidate was tested with" if pulls else ""
        return _Plan(order, why or "it came without a pull request")

    def _last_candidate(self, spec: Spec, pulls: Sequence[PullFacts]) -> Lock | None:
        """The lock of the newest candidate of a new version: what people have tried stays as much as it can."""
        store, numbers = self.edges.store, {str(pull.number) for pull in pulls}
        found = [one for one in store.reader.state().releases if one.complete and one.release.label == spec.label]
        for standing in sorted(found, key=lambda one: one.finished or store.now(), reverse=True):
            with suppress(ConcError, OSError):  # damaged: the next one, or nothing
                if store.reader.record(standing.release).source.pull_request in numbers:
                    return loads(store.layout.locked(standing.release).read_text("utf-8"))
        return None

    def _tested(self, spec: Spec, main: Lock | None) -> Order | None:
        """A complete release of this very spec and lock, that passes for what would be built now."""
        store, reader = self.edges.store, self.edges.store.reader
        base = started_from(spec, main, self.edges.repository.locked_version(self.name))
        for standing in reader.state().releases:
            if not standing.complete or standing.release.label != spec.label:
                continue
            try:
                record = reader.record(standing.release)
                if record.spec_digest != spec_digest(spec) or record.source.base_lock != base:
                    continue
                text = store.layout.locked(standing.release).read_text("utf-8")
                scripts = self.edges.repository.overrides(spec), self.edges.repository.hooks(spec)
                order = Order(spec, loads(text), text, record.source, *scripts)
                verdict = reader.verdict(standing.release)
            except (ConcError, OSError) as error:
                self.edges.reporter.warn(f"{standing.release} cannot be taken: {error}")
                continue
            tested = verdict is not None and verdict.passed and verdict.image_sha256 == record.image.sha256
            if tested and release_of(order, store) == standing.release:
                return order
        return None

    def _publish(self, plan: _Plan, spec: Spec) -> tuple[ReleaseRecord, str]:
        edges, store = self.edges, self.edges.store
        record = build(plan.order, edges).record
        judged = judge(record.release, spec, edges, again=False)
        if not judged.report.passed:
            raise GateError(report.verdict_line(judged.report), hint=report.comment(judged.report, budget=30_000))
        before = published(record.release, edges)
        stable = None if self._is_fix else spec.config.stable or spec.config.version
        done = publish_release(store, record.release, stable, self.asked, edges.reporter)
        for notice in done.notices:
            edges.reporter.warn(notice)
        text = comments.release_comment(
            record,
            store.reader.state().names_of(record.release),
            load=comments.Trial(str(store.layout.module_path), f"{store.layout.product}/{record.release.label}"),
            contact=spec.config.contact,
            previous=before.build_id if before and before.label == record.release.label else "",
        )
        return record, text

    def _excuse(self, pulls: Sequence[PullFacts], error: BaseException) -> None:
        url = self.hub.here.run_url
        heading = Heading(self.name, links=(("run", url),) if url else ())
        match error:
            case GateError():
                why = error.hint
            case UnsolvableError() | BuildError() | CommandError() | InputError():
                why = f"As it is on `{self.branch}` now, it cannot be built:\n\n{fenced(str(error)[:6000])}"
            case _:
                why = "Something failed on our side, not in what was merged. Running the job again finishes it."
        for pull in pulls:
            self.hub.say(pull.number, marker("release", self.name), render.not_published(self.name, why, heading))

    # --- what is written down -----------------------------------------------------------------------------------

    def _write_down(self, order: Order, main: Lock | None, record: ReleaseRecord, causes: tuple[Cause, ...]) -> str:
        """Commit the lock and the changelog on top of the branch; empty where a newer run has to."""
        release = record.release
        section = Section(
            label=release.label,
            build_id=release.build_id,
            day=self.edges.store.now().date().isoformat(),
            home=self.hub.here.home,
            causes=causes,
            diffs=compare(main, order.lock, order.spec, None),
        )
        path = f"environments/{self.name}/conda-lock.yml"
        for _ in range(5):
            if not self._current():
                self.edges.reporter.warn(f"{self.branch} has moved on: its own run writes the lock and the changelog")
                return ""
            tip = self.hub.tip(self.branch)
            before = self._text(CHANGELOG, tip, MAX_BYTES * 8)
            files = [File(CHANGELOG, with_section(before, section)), File(path, order.lock_text)]
            message = f"Release {release.label}, build {release.build_id} {QUIET}\n\nWritten by the release job.\n"
            try:
                return self.hub.commit(self.branch, tip, files, message)
            except RefusedError:
                continue  # somebody was quicker: look again
        raise RefusedError(f"{self.branch} moved five times while {path} was to be committed.", hint="Run it again.")

    def _text(self, path: str, sha: str, limit: int) -> str:
        try:
            return self.hub.file_at(path, sha, limit)
        except InputError:
            return ""


def _with_reason(comment: str, why: str) -> str:
    """The release comment, with why it was built once more, behind its heading."""
    head, _, rest = comment.partition("\n\n")
    return f"{head}\n\nIt was built and tested once more before, because {why}.\n\n{rest}"
