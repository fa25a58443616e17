"""release: publish what was merged: the candidate that was tested, or what is built now; then write it down.

Every part can be done twice: a run that ended early is finished by the next one, and nothing doubles.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from conda_concept.changelog import CHANGELOG, MAX_CHANGELOG, Section, with_section
from conda_concept.conversation import PullFacts, asked_by, marker, ours
from conda_concept.document import MAX_BYTES, Problems, SourceText, parse
from conda_concept.errors import ConcError, GateError, RefusedError
from conda_concept.github import File, Hub
from conda_concept.identity import spec_digest
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Wish, solve
from conda_concept.model import Lock, ReleaseRecord, Source, Spec
from conda_concept.operations import Standing, release_candidates
from conda_concept.progress import Attempts
from conda_concept.render import comments, report
from conda_concept.repository import SOURCE
from conda_concept.steps.announce import announce, announce_overtaken
from conda_concept.steps.build import Order, release_of
from conda_concept.steps.candidate import started_from
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.steps.judge import published
from conda_concept.steps.merged import Line, Merged
from conda_concept.steps.publish import Asked, publish_release
from conda_concept.steps.work import build, judge

#: GitHub starts no workflow for a commit that says this.
QUIET = "[skip ci]"
_LOCK = "conda-lock.yml"


@dataclass(frozen=True, slots=True)
class Released:
    """What came of it. `rebuilt` says how it was built here, and why; empty where a candidate was taken as it was."""

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
    line: Line
    name: str
    asked: Asked

    def make(self) -> Released:
        """Publish, tell, write down, clean up; before that, announce what this version has overtaken.

        Neither keeps the other: where one fails, the other is done all the same.
        """
        attempts = Attempts(self.edges.reporter)
        announce_overtaken(self.hub, self.edges, self.name, self.line.branch, attempts)
        done = self._make()
        attempts.settle()
        return done

    def _make(self) -> Released:
        spec = self.edges.repository.spec(self.name)
        text = self.edges.repository.lock_text(self.name)
        main = loads(text) if text is not None else None
        merged = self.line.merged(self.hub, self.name)
        branch = self.line.branch
        if not merged.commits:
            page = announce(self.hub, self.edges, spec, "", branch)
            return Released(None, nothing=f"{spec.label} is what is locked and published: nothing to do", page=page)
        if not self._current(self.hub.tip(branch)):
            return Released(None, nothing=f"{branch} has moved on; its newest commit has a run of its own")
        try:
            self._refuse_elsewhere(spec)
            plan = self._plan(spec, main, text, merged)
            record, words, rebuilt = self._publish(plan, spec)
        except (ConcError, KeyboardInterrupt) as error:
            merged.excuse(error)
            raise
        merged.say(words)
        commit = self._write_down(plan.order, main, record, merged)
        candidates = release_candidates(self.edges.store.reader.state(), record.release.label)
        self.edges.store.hide([*(f"{self.name}-pr{pull.number}" for pull in merged.pulls), *candidates])
        page = announce(self.hub, self.edges, spec, commit, branch) if commit else ""
        return Released(record, rebuilt, commit, page=page)

    def _current(self, tip: str) -> bool:
        """Whether the environment at `tip`, the end of the branch, is what is checked out here, but for its lock."""
        if tip == self.edges.repository.head():
            return True
        there, here = self.hub.files_at(f"environments/{self.name}", tip), self.edges.repository.files(self.name)
        return {**there, _LOCK: ""} == {**here, _LOCK: ""}

    def _refuse_elsewhere(self, spec: Spec) -> None:
        """`RefusedError` where a fix is not of its branch's version, or that version is the main branch's own still."""
        branch = self.line.branch
        if not self.line.is_fix:
            return
        if spec.label != branch:
            raise RefusedError(
                f"the branch {branch} asks for {spec.label}; it is for fixes of {branch} alone.",
                hint="Set `version` in its config.yml back.",
            )
        main = self.hub.here.default_branch
        path = f"environments/{self.name}/config.yml"
        text = self.hub.find_file(path, self.hub.tip(main), MAX_BYTES) or ""
        found = parse(SourceText(path, text), Problems()).data
        if isinstance(found, dict) and found.get("version") == spec.config.version:
            raise RefusedError(
                f"{spec.label} is what {main} releases still: two branches would publish under one name.",
                hint=f"Make the pull request against {main}.",
            )

    # --- what is published --------------------------------------------------------------------------------------

    def _plan(self, spec: Spec, main: Lock | None, text: str | None, merged: Merged) -> _Plan:
        shown = self._shown(merged.pulls)
        tested = self._tested(spec, main, shown, merged.commits[-1])
        if tested is not None:
            return _Plan(tested, "")
        locked = self.edges.repository.locked_version(self.name)
        start = self._last_candidate(spec, merged.pulls) if spec.starts_anew(locked) else main
        wish = Wish(refresh=start is None)
        solved = solve(spec, start, wish, self.edges.settings, self.edges.reporter)
        last = merged.pulls[-1] if merged.pulls else None
        source = Source(
            commit=self.edges.repository.head(),
            pull_request=str(last.number) if last else "",
            author=asked_by(last, self.hub.here.bot) if last else "",
            base_lock=started_from(spec, main, locked),
        )
        lock_text = text if text is not None and solved.unchanged else dumps(solved.lock)
        scripts = self.edges.repository.overrides(spec), self.edges.repository.hooks(spec)
        order = Order(spec, loads(lock_text), lock_text, source, *scripts)
        moved = f"once more before, because `{self.line.branch}` was not what the candidate was tested with"
        return _Plan(order, moved if shown else "before, because no pull request had shown a build of it")

    def _shown(self, pulls: Sequence[PullFacts]) -> set[str]:
        """The builds that people were shown last: those that the comments of these pull requests are about."""
        mark, bot = marker("build", self.name), self.hub.here.bot
        found = [ours(self.hub.comments(pull.number), mark, bot) for pull in pulls]
        return {build for one in found if one is not None and (build := comments.build_in(one.body))}

    def _last_candidate(self, spec: Spec, pulls: Sequence[PullFacts]) -> Lock | None:
        """The lock of the newest candidate of a new version: what people have tried stays as much as it can."""
        store, numbers = self.edges.store, {str(pull.number) for pull in pulls}
        for standing in self._standing(spec):
            with suppress(ConcError, OSError):  # damaged: the next one, or nothing
                if store.reader.record(standing.release).source.pull_request in numbers:
                    return loads(store.layout.locked(standing.release).read_text("utf-8"))
        return None

    def _tested(self, spec: Spec, main: Lock | None, shown: set[str], last: str) -> Order | None:
        """A complete release of this very spec and lock, that passes for what would be built now.

        It is one that was `shown` in a pull request: another one may be there, of a lock that was computed before or
        after. Or an earlier run built it for the branch itself, after `last`, the newest commit that is released.
        """
        store, reader, repository = self.edges.store, self.edges.store.reader, self.edges.repository
        base = started_from(spec, main, repository.locked_version(self.name))
        for standing in self._standing(spec):
            try:
                record = reader.record(standing.release)
                if record.spec_digest != spec_digest(spec) or record.source.base_lock != base:
                    continue
                commit = record.source.commit
                own = repository.is_ancestor(last, commit) and repository.is_ancestor(commit)
                if not own and standing.release.build_id not in shown:
                    continue
                text = store.layout.locked(standing.release).read_text("utf-8")
                scripts = repository.overrides(spec), repository.hooks(spec)
                order = Order(spec, loads(text), text, record.source, *scripts)
                verdict = reader.verdict(standing.release)
            except (ConcError, OSError) as error:
                self.edges.reporter.warn(f"{standing.release} cannot be taken: {error}")
                continue
            tested = verdict is not None and verdict.passed and verdict.image_sha256 == record.image.sha256
            if tested and release_of(order, store) == standing.release:
                return order
        return None

    def _standing(self, spec: Spec) -> list[Standing]:
        """The complete releases of a version, the newest first."""
        store = self.edges.store
        found = [one for one in store.reader.state().releases if one.complete and one.release.label == spec.label]
        return sorted(found, key=lambda one: one.finished or store.now(), reverse=True)

    def _publish(self, plan: _Plan, spec: Spec) -> tuple[ReleaseRecord, str, str]:
        """Build and test what is not there, and publish it: its record, the words for it, how it was built here."""
        edges, store = self.edges, self.edges.store
        built = build(plan.order, edges)
        record, rebuilt = built.record, "" if built.already else plan.rebuilt
        judged = judge(record.release, spec, edges, again=False)
        if not judged.report.passed:
            raise GateError(report.verdict_line(judged.report), hint=report.comment(judged.report, budget=30_000))
        before = published(record.release, edges)
        stable = None if self.line.is_fix else spec.config.stable or spec.config.version
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
        return record, _with_reason(text, rebuilt) if rebuilt else text, rebuilt

    # --- what is written down -----------------------------------------------------------------------------------

    def _write_down(self, order: Order, main: Lock | None, record: ReleaseRecord, merged: Merged) -> str:
        """Commit the lock and the changelog on top of the branch; empty where a newer run has to."""
        release, branch = record.release, self.line.branch
        section = Section(
            label=release.label,
            build_id=release.build_id,
            day=self.edges.store.now().date().isoformat(),
            home=self.hub.here.home,
            causes=merged.causes,
            diffs=compare(main, order.lock, order.spec, None),
        )
        path = f"environments/{self.name}/{_LOCK}"
        subject = f"Release {release.label}, build {release.build_id} {QUIET}"
        message = f"{subject}\n\nWritten by the release job.\n\n{SOURCE}{self.edges.repository.head()}\n"
        for _ in range(5):
            tip = self.hub.tip(branch)  # what is looked at is what the commit goes on top of, or it is refused
            if not self._current(tip):
                self.edges.reporter.warn(f"{branch} has moved on: its own run writes the lock and the changelog")
                return ""
            before = self.hub.find_file(CHANGELOG, tip, MAX_CHANGELOG) or ""
            files = [File(CHANGELOG, with_section(before, section)), File(path, order.lock_text)]
            try:
                return self.hub.commit(branch, tip, files, message)
            except RefusedError as error:
                if self.hub.tip(branch) == tip:  # nobody was quicker
                    error.hint = (
                        f"Do the rules of {branch} let the release job's account commit? ci/README.md says how."
                    )
                    raise
        raise RefusedError(f"{branch} moved five times while {path} was to be committed.", hint="Run it again.")


def _with_reason(comment: str, how: str) -> str:
    """The release comment, with how it was built and why, behind its heading."""
    head, _, rest = comment.partition("\n\n")
    return f"{head}\n\nIt was built and tested {how}.\n\n{rest}"
