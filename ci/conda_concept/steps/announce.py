"""announce: the tag, the branch for fixes, and the GitHub Release of a version that is published; each once."""

import hashlib
from dataclasses import dataclass

from conda_concept import __version__
from conda_concept.changelog import CHANGELOG, MAX_CHANGELOG
from conda_concept.errors import ConcError, RefusedError
from conda_concept.github import Hub, issues, releases
from conda_concept.github.releases import Attachment, ReleaseDraft
from conda_concept.lockfile import loads
from conda_concept.model import Lock, Release, Spec
from conda_concept.record import LABEL
from conda_concept.render.explicit import explicit
from conda_concept.render.notes import Noted, release_notes
from conda_concept.render.sbom import sbom
from conda_concept.repository import MAX_LOCK_BYTES, Repository
from conda_concept.steps.diff import compare
from conda_concept.steps.edges import Edges
from conda_concept.testing.junit import read_junit


def unannounced(hub: Hub, repository: Repository, name: str) -> bool:
    """Whether a version's lock is committed and its release is not published on GitHub yet."""
    version = repository.locked_version(name)
    if not version or version != repository.version_at(name, "HEAD"):
        return False  # something is to be released first, or nothing ever was
    return not releases.published(hub, f"{name}-{version}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One environment's version, as the main branch and the store have it."""

    hub: Hub
    edges: Edges
    spec: Spec

    def make(self, commit: str = "") -> str:
        """The page of the release; empty where there is nothing to announce.

        `commit` is where spec, lock and changelog agree; without it, the one that committed the lock last. The tag
        comes first, then the branch, then the draft with its files; what people see, the published release, is last.
        """
        label = self.spec.label
        page = releases.published(self.hub, label)
        release = self.edges.store.reader.state().release(label)
        if page or release is None:
            return page
        repository = self.edges.repository
        commit = commit or repository.released(self.spec.name)
        text = self.edges.store.layout.locked(release).read_text("utf-8")
        committed = self.hub.file_at(f"environments/{self.spec.name}/conda-lock.yml", commit, MAX_LOCK_BYTES)
        if committed != text:
            raise RefusedError(
                f"{release} is published, and {commit[:12]} has another lock: nothing is tagged.",
                hint="After a rollback, publish what the branch has, or change the branch.",
            )
        self._refuse_undocumented(commit)
        releases.tag(self.hub, label, commit)
        issues.branch(self.hub, label, commit)
        attachments = self._attachments(release, loads(text), text)
        draft = ReleaseDraft(label, label.replace("-", " ", 1), self._notes(release, loads(text)), attachments)
        return releases.publish(self.hub, draft)

    def _refuse_undocumented(self, commit: str) -> None:
        """`RefusedError` where the changelog of that commit has nothing about this version."""
        text = self.hub.find_file(CHANGELOG, commit, MAX_CHANGELOG) or ""
        if f"\n## {self.spec.label}, build " not in f"\n{text}":
            raise RefusedError(f"the changelog of {commit[:12]} does not have {self.spec.label}: nothing is tagged.")

    def _notes(self, release: Release, lock: Lock) -> str:
        layout = self.edges.store.layout
        found = self.edges.repository.lock_before(release.environment, release.version)
        before = loads(found[1]) if found else None
        tests = layout.tests(release)
        noted = Noted(
            record=self.edges.store.reader.record(release),
            config=self.spec.config,
            diffs=compare(before, lock, self.spec, None),
            before=f"{release.environment}-{found[0]}" if found else "",
            tests=read_junit(tests) if tests.exists() else None,
            module_path=str(layout.module_path),
            product=layout.product,
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


def announce(hub: Hub, edges: Edges, spec: Spec, commit: str, branch: str) -> str:
    """Announce a version of the main branch; a fix of an older one (`branch` is its label) has its release already.

    A failure here leaves users with what is published, so it is raised: the next run goes on with it.
    """
    if LABEL.fullmatch(branch):
        return ""
    try:
        with edges.reporter.step(f"announce {spec.label}"):
            return Announcement(hub, edges, spec).make(commit)
    except RefusedError as error:
        edges.reporter.warn(f"{spec.label} is published, and not announced: {error}")
        raise
    except ConcError as error:
        error.hint = error.hint or "It is published; running the job again announces it."
        raise
