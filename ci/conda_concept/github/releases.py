"""Tags and GitHub's releases: each is made once, and what is published is never touched again."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conda_concept.errors import NetworkError, NotFoundError, RefusedError
from conda_concept.github.connect import asking
from conda_concept.github.hub import Hub
from conda_concept.github.issues import once

if TYPE_CHECKING:
    from github.GitRelease import GitRelease
    from github.GitReleaseAsset import GitReleaseAsset

#: Any other state of an asset is an upload that broke off ("starter", "open"): it is deleted and sent again.
_WHOLE = "uploaded"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a release: its name, its bytes, and what kind of file it is (a media type)."""

    name: str
    data: bytes
    kind: str = "text/plain"


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """A release that is to be there, known by its tag; `newest`: no later version is out already."""

    tag: str
    title: str
    body: str
    attachments: tuple[Attachment, ...] = ()
    newest: bool = True


def commit_of(hub: Hub, ref: str) -> str:
    """The commit that `tags/NAME` or `heads/NAME` is at; empty where there is no such ref."""
    try:
        with asking(f"look at {ref}"):
            return hub.repository.get_git_ref(ref).object.sha
    except NotFoundError:
        return ""


def tag(hub: Hub, name: str, sha: str) -> None:
    """The tag at this commit; `RefusedError` where it is at another one, because a tag does not move."""

    def look() -> str | None:
        return commit_of(hub, f"tags/{name}") or None

    def make() -> str:
        with asking(f"make the tag {name}"):
            return hub.committing.create_git_ref(f"refs/tags/{name}", sha).object.sha

    found = once(hub, look, make)
    if found != sha:
        raise RefusedError(
            f"the tag {name} is at {found[:12]}, and not at {sha[:12]}: nothing is moved.",
            hint="Find out who made it; a tag that was never announced can be deleted by hand.",
        )


def published(hub: Hub, name: str) -> str:
    """The page of the published release of a tag; empty where there is none, or only a draft."""
    try:
        with asking(f"look for the release {name}"):
            return hub.repository.get_release(name).html_url
    except NotFoundError:
        return ""


def all_published(hub: Hub) -> frozenset[str]:
    """The tags of all published releases. A list may not show for a while what was published just now."""
    with asking("list releases"):
        return frozenset(one.tag_name for one in hub.repository.get_releases() if not one.draft)


def publish(hub: Hub, draft: ReleaseDraft) -> str:
    """The page of the release: made as a draft, given its files, and published when all of them are there.

    A run that ended early is gone on with. What is published stays as it is, whatever the draft says.
    """

    def look() -> "GitRelease | None":
        return _with_tag(hub, draft.tag)

    def make() -> "GitRelease":
        with asking(f"draft the release {draft.tag}"):
            return hub.repository.create_git_release(draft.tag, draft.title, draft.body, draft=True)

    found = once(hub, look, make)
    if found.draft:
        _attach(hub, found, draft.attachments)
        with asking(f"publish the release {draft.tag}"):
            latest = "true" if draft.newest else "false"  # GitHub calls latest what was published last
            found = found.update_release(draft.title, draft.body, draft=False, make_latest=latest)
    return found.html_url


def _with_tag(hub: Hub, name: str) -> "GitRelease | None":
    """The release of a tag, a published one before a draft; drafts are found by listing only."""
    with asking("list releases"):
        found = [one for one in hub.repository.get_releases() if one.tag_name == name]
    return min(found, key=lambda one: one.draft, default=None)


def _attach(hub: Hub, release: "GitRelease", attachments: Sequence[Attachment]) -> None:
    for attachment in attachments:
        proof = f"sha256:{hashlib.sha256(attachment.data).hexdigest()}"
        for present in _named(release, attachment.name):
            if present.state != _WHOLE or present.digest != proof:
                with asking(f"take the unfinished {attachment.name} away"):
                    present.delete_asset()
        _upload(hub, release, attachment)


def _upload(hub: Hub, release: "GitRelease", attachment: Attachment) -> None:
    """Send a file that is not there; what an upload that broke off left is taken away before the next try."""

    def look() -> "GitReleaseAsset | None":
        for present in _named(release, attachment.name):
            if present.state == _WHOLE:
                return present
            with asking(f"take the unfinished {attachment.name} away"):
                present.delete_asset()
        return None

    def make() -> "GitReleaseAsset":
        data = io.BytesIO(attachment.data)
        with asking(f"attach {attachment.name}"):
            return release.upload_asset_from_memory(data, len(attachment.data), attachment.name, attachment.kind)

    found = once(hub, look, make)
    if found.state != _WHOLE or found.size != len(attachment.data):
        raise NetworkError(f"{attachment.name} did not arrive whole.", hint="Run the job again.")


def _named(release: "GitRelease", name: str) -> "list[GitReleaseAsset]":
    with asking("list the release's files"):
        return [one for one in release.get_assets() if one.name == name]
