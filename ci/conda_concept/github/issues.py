"""Issues, branches and pull requests that we make ourselves: each is looked for first, so that twice is once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from conda_concept.conversation import IssueFacts, PullFacts
from conda_concept.errors import NetworkError, NotFoundError, RefusedError
from conda_concept.github.connect import asking
from conda_concept.github.hub import CONTEXT, Hub, pull_facts

if TYPE_CHECKING:
    from github.Issue import Issue

Found = TypeVar("Found")
Reason = Literal["completed", "not_planned"]


@dataclass(frozen=True, slots=True)
class IssueDraft:
    """An issue that is to be there: it is known by its title, its labels and its author, which is us."""

    title: str
    body: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PullDraft:
    """A pull request that is to be there: it is known by its branches, of this repository."""

    branch: str
    base: str
    title: str
    body: str


def issue(hub: Hub, number: int) -> IssueFacts:
    """An issue as it is now; `NotFoundError` where it is none, or a pull request."""
    with asking(f"look at issue #{number}"):
        found = hub.repository.get_issue(number)
        if _is_pull(found):
            raise NotFoundError(f"#{number} is a pull request, not an issue.")
        return _facts(found)


def issues(hub: Hub, *labels: str, state: Literal["open", "closed", "all"] = "open") -> list[IssueFacts]:
    """The issues with all these labels, newest first, over all pages; pull requests are left out."""
    with asking("list issues"):
        found = hub.repository.get_issues(state=state, labels=list(labels))
        return [_facts(one) for one in found if not _is_pull(one)]


def open_issue(hub: Hub, draft: IssueDraft) -> IssueFacts:
    """The issue of ours with this title and these labels, open or closed; made where there is none."""

    def look() -> IssueFacts | None:
        mine = [one for one in issues(hub, *draft.labels, state="all") if one.author == hub.here.bot]
        return next((one for one in reversed(mine) if one.title == draft.title), None)

    return once(hub, look, lambda: new_issue(hub, draft))


def new_issue(hub: Hub, draft: IssueDraft) -> IssueFacts:
    """One issue more, whatever is there."""
    with asking(f"open the issue “{draft.title}”"):
        return _facts(hub.repository.create_issue(draft.title, draft.body, labels=list(draft.labels)))


def close(hub: Hub, number: int, reason: Reason = "completed") -> None:
    """Close an issue; one that is closed stays as it is."""
    with asking(f"close #{number}"):
        found = hub.repository.get_issue(number)
        if found.state != "closed":
            found.edit(state="closed", state_reason=reason)


def label(hub: Hub, number: int, *, add: str = "", remove: str = "") -> None:
    """Give a label to an issue, or take one away; what is as it should be stays so."""
    with asking(f"label #{number}"):
        found = hub.repository.get_issue(number)
        there = {one.name for one in found.labels}
        if add and add not in there:
            found.add_to_labels(add)
        if remove in there:
            found.remove_from_labels(remove)


def branch(hub: Hub, name: str, sha: str) -> str:
    """The end of a branch, which is made at `sha` where there is none."""

    def look() -> str | None:
        try:
            return hub.tip(name)
        except NotFoundError:
            return None

    def make() -> str:
        with asking(f"make the branch {name}"):
            return hub.committing.create_git_ref(f"refs/heads/{name}", sha).object.sha

    return once(hub, look, make)


def open_pull(hub: Hub, draft: PullDraft) -> PullFacts:
    """The open pull request from a branch of this repository, made where there is none."""

    def look() -> PullFacts | None:
        found = hub.pulls_with_head(hub.here.repository, draft.branch)
        own = [one for one in found if not one.from_fork and one.base_branch == draft.base]
        return own[0] if own else None

    def make() -> PullFacts:
        with asking(f"open a pull request from {draft.branch}"):
            made = hub.repository.create_pull(draft.base, draft.branch, title=draft.title, body=draft.body)
            return pull_facts(made)

    return once(hub, look, make)


def open_pulls(hub: Hub) -> list[PullFacts]:
    """All open pull requests, over all pages."""
    with asking("list pull requests"):
        return [pull_facts(one) for one in hub.repository.get_pulls(state="open")]


def pulls_from(hub: Hub, branch: str) -> list[PullFacts]:
    """The pull requests from a branch of this repository, open or closed."""
    owner = hub.here.repository.split("/", maxsplit=1)[0]
    with asking("list pull requests"):
        found = [pull_facts(one) for one in hub.repository.get_pulls(state="all", head=f"{owner}:{branch}")]
    return [one for one in found if not one.from_fork and one.head_branch == branch]


def rewrite_pull(hub: Hub, number: int, body: str) -> None:
    """Change the text of a pull request; one that has it already stays as it is."""
    with asking(f"change the text of #{number}"):
        found = hub.repository.get_pull(number)
        if (found.body or "").replace("\r\n", "\n") != body:
            found.edit(body=body)


def has_status(hub: Hub, sha: str) -> bool:
    """Whether something was said about a commit in our name."""
    with asking(f"look at the status of {sha[:12]}"):
        found = hub.repository.get_commit(sha).get_combined_status()
        return any(one.context == CONTEXT for one in found.statuses)


def once(hub: Hub, look: Callable[[], Found | None], make: Callable[[], Found]) -> Found:
    """What `look` finds, or else what `make` makes and returns.

    What GitHub said it had made is not looked for: a list may not show it for a while yet, and then it would be made
    twice. A POST is not sent again as it is: after a failure, or where somebody else was quicker, it is looked up
    first whether it is there.
    """
    found = look()
    for attempt in range(3):
        if found is not None:
            return found
        try:
            return make()
        except (NetworkError, RefusedError):
            time.sleep(2 * hub.here.pace)
            found = look()
            if found is None and attempt == 2:
                raise
    assert found is not None, "the last attempt returns or raises"  # noqa: S101 - for the reader, and for mypy
    return found


def _is_pull(raw: "Issue") -> bool:
    """A pull request is an issue too. `raw.pull_request` would be one request more for each that is none."""
    return "/pull/" in raw.html_url


def _facts(raw: "Issue") -> IssueFacts:
    return IssueFacts(
        number=raw.number,
        author=str(getattr(raw.user, "login", "")),  # null where the account is gone
        title=raw.title,
        body=raw.body or "",
        is_open=raw.state == "open",
        labels=tuple(one.name for one in raw.labels),
        author_id=int(getattr(raw.user, "id", 0) or 0),
    )
