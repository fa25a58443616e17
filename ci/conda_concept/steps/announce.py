"""announce: the tag, the branch for fixes, and the GitHub Release of a version that is published; each once."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from conda_concept import __version__
from conda_concept.changelog import CHANGELOG, MAX_CHANGELOG
from conda_concept.document import MAX_BYTES, SourceText
from conda_concept.errors import ConcError, RefusedError
from conda_concept.github import Hub, issues, releases
from conda_concept.github.releases import Attachment, ReleaseDraft
from conda_concept.lockfile import loads
from conda_concept.model import Lock, Release, Spec
from conda_concept.progress import Attempts
from conda_concept.quarter import order
from conda_concept.record import LABEL
from conda_concept.render.explicit import explicit
from conda_concept.render.notes import Noted, release_notes
from conda_concept.render.sbom import sbom
from conda_concept.repository import MAX_LOCK_BYTES, Repository
from conda_concept.spec import read_spec
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.testing.junit import read_junit


def unannounced(told: Collection[str], repository: Repository, name: str) -> bool:
    """Whether a version's lock is committed and its release is not published on GitHub: `told` are those that are."""
    version = repository.locked_version(name)
    present = version == repository.version_at(name, "HEAD")  # else something is to be released first
    return bool(version) and ((present and f"{name}-{version}" not in told) or bool(overtaken(told, repository, name)))


def overtaken(told: Collection[str], repository: Repository, name: str) -> dict[str, str]:
    """The versions before the present one that are written down and not announced, oldest first, with their commits.

    A run ended early, and the next version was merged before another one could make up for it. What is later than the
    present one was taken back, and what is retired goes away: nobody is told of those.
    """
    present, retired = repository.version_at(name, "HEAD"), repository.retired(name)
    return {
        version: commit
        for version, commit in reversed(repository.written_down(name).items())
        if version not in retired
        and f"{name}-{version}" not in told
        and LABEL.fullmatch(f"{name}-{version}")
        and LABEL.fullmatch(f"{name}-{present}")
        and order(version) < order(present)
    }


@dataclass(frozen=True, slots=True)
class Announcement:
    """One version of an environment, as the main branch and the store have it: the present one, or one before it."""

    hub: Hub
    edges: Edges
    name: str
    version: str

    @property
    def label(self) -> str:
        """The public name: of the release, of its tag, and of the branch for fixes."""
        return f"{self.name}-{self.version}"

    def make(self, commit: str = "") -> str:
        """The page of the release; empty where there is nothing to announce.

        `commit` is where spec, lock and changelog agree; without it, the one that committed the lock last. The tag
        comes first, then the branch, then the draft with its files; what people see, the published release, is last.
        A tag does not move: where a run ended behind it, that very commit is announced, whatever was merged since.
        """
        label = self.label
        page = releases.published(self.hub, label)
        current = self.edges.store.reader.state().release(label)
        if page or current is None:
            return page
        begun = releases.commit_of(self.hub, f"tags/{label}")
        commit = commit or self.edges.repository.released(self.name)
        if begun and begun != commit:
            self._refuse_foreign(begun)
            commit = begun
        release, text = self._at(commit, current, begun=bool(begun))
        releases.tag(self.hub, label, commit)
        issues.branch(self.hub, label, commit)
        spec, lock = self._spec(commit), loads(text)
        notes = self._notes(release, spec, lock, commit)
        attachments = self._attachments(release, lock, text)
        draft = ReleaseDraft(label, label.replace("-", " ", 1), notes, attachments, newest=self._is_newest)
        return releases.publish(self.hub, draft)

    @property
    def _is_newest(self) -> bool:
        """Whether users have no later version yet."""
        newest = self.edges.store.reader.state().release(f"{self.name}-unstable")
        return newest is None or newest.version == self.version

    def _refuse_foreign(self, commit: str) -> None:
        """`RefusedError` where a tag is at a commit that the branch does not have."""
        if not self.edges.repository.is_ancestor(commit):
            raise RefusedError(
                f"the tag {self.label} is at {commit[:12]}, which is no commit of this branch: nothing is moved.",
                hint="Find out who made it; a tag that was never announced can be deleted by hand.",
            )

    def _at(self, commit: str, current: Release, *, begun: bool) -> tuple[Release, str]:
        """The release that a commit's changelog names, and its lock, which has to be that commit's.

        It has to be what is published (`current`), unless it was tagged already and another build came after it.
        """
        store = self.edges.store
        changelog = self.hub.find_file(CHANGELOG, commit, MAX_CHANGELOG) or ""
        built = re.search(rf"(?m)^## {re.escape(self.label)}, build ([0-9a-f]{{8}})\b", changelog)
        if built is None:
            raise RefusedError(f"the changelog of {commit[:12]} does not have {self.label}: nothing is tagged.")
        release = Release(self.name, self.version, built[1])
        if release != current and not begun:
            raise RefusedError(
                f"{current} is published, and {commit[:12]} is about {release}: nothing is tagged.",
                hint="After a rollback, publish what the branch has, or change the branch.",
            )
        if not store.reader.complete(release):
            raise RefusedError(
                f"the tag {self.label} is at {commit[:12]}, whose {release} is not in the store any more.",
                hint=f"Nobody was told of it: delete tag and branch {self.label} by hand, then run the job again.",
            )
        text = store.layout.locked(release).read_text("utf-8")
        if self.hub.file_at(f"environments/{self.name}/conda-lock.yml", commit, MAX_LOCK_BYTES) != text:
            raise RefusedError(
                f"{release} is published, and {commit[:12]} has another lock: nothing is tagged.",
                hint="CI writes the lock: take the commit back that changed it.",
            )
        return release, text

    def _spec(self, commit: str) -> Spec:
        paths = [f"environments/{self.name}/{file}" for file in ("environment.yml", "config.yml")]
        first, second = (SourceText(path, self.hub.file_at(path, commit, MAX_BYTES)) for path in paths)
        return read_spec(self.name, first, second)

    def _notes(self, release: Release, spec: Spec, lock: Lock, commit: str) -> str:
        layout, meant = self.edges.store.layout, self.edges.store.reader.state().release(release.environment)
        repository = self.edges.repository
        here = commit if repository.is_ancestor(commit) else "HEAD"  # the checkout lacks what was committed just now
        found = repository.lock_before(release.environment, release.version, here)
        before = loads(found[1]) if found else None
        tests = layout.tests(release)
        noted = Noted(
            record=self.edges.store.reader.record(release),
            config=spec.config,
            diffs=compare(before, lock, spec, None),
            before=f"{release.environment}-{found[0]}" if found else "",
            stable=meant.label if meant else "",
            tests=read_junit(tests) if tests.exists() else None,
            module_path=str(layout.module_path),
            product=layout.product,
            newest=self._is_newest,
        )
        return release_notes(noted)

    def _attachments(self, release: Release, lock: Lock, text: str) -> tuple[Attachment, ...]:
        layout, label = self.edges.store.layout, release.label
        found = [
            Attachment(f"{label}.conda-lock.yml", text.encode(), "application/yaml"),
            *(
                Attachment(f"{label}.{platform}.explicit.txt", explicit(lock, platform, label).encode())
                for platform in sorted(lock.platforms)
            ),
            Attachment(
                f"{label}.cdx.json", sbom(lock, label, tool=__version__).encode(), "application/vnd.cyclonedx+json"
            ),
            Attachment(f"{label}.release.json", layout.record(release).read_bytes(), "application/json"),
        ]
        tests = layout.tests(release)
        if tests.exists():
            found.append(Attachment(f"{label}.tests.xml", tests.read_bytes(), "application/xml"))
        sums = "".join(f"{hashlib.sha256(one.data).hexdigest()}  {one.name}\n" for one in found)
        return (*found, Attachment(f"{label}.SHA256SUMS", sums.encode()))


def announce_overtaken(hub: Hub, edges: Edges, name: str, branch: str, attempts: Attempts) -> None:
    """Announce what a later version has overtaken, each by itself: one that fails does not keep the others."""
    if LABEL.fullmatch(branch):
        return
    for version, commit in overtaken(releases.all_published(hub), edges.repository, name).items():
        with attempts.at(f"{name}-{version} is not announced"), edges.reporter.step(f"announce {name}-{version}"):
            Announcement(hub, edges, name, version).make(commit)


def announce(hub: Hub, edges: Edges, spec: Spec, commit: str, branch: str) -> str:
    """Announce the present version; a fix of an older one, whose label `branch` is, has its release already.

    A failure here leaves users with what is published, so it is raised: the next run goes on with it.
    """
    if LABEL.fullmatch(branch):
        return ""
    try:
        with edges.reporter.step(f"announce {spec.label}"):
            return Announcement(hub, edges, spec.name, spec.config.version).make(commit)
    except RefusedError as error:
        edges.reporter.warn(f"{spec.label} is published, and not announced: {error}")
        raise
    except ConcError as error:
        error.hint = error.hint or "It is published; running the job again announces it."
        raise
