"""What is said on GitHub, as values: whose run it is, what a comment asks for, who may ask, which comment is ours.

Nothing here asks GitHub anything; the rules are from GitHub's documentation and are tested from values alone.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from conda_concept.errors import InputError, RefusedError

#: A full commit, as a command has to name it: a short one can be made to fit another commit.
SHA = re.compile(r"[0-9a-f]{40}")
_PACKAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
#: A login as GitHub gives them out; those of organisations that manage their accounts have a `_`.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")
#: Permissions of a collaborator, as `GET …/collaborators/USER/permission` says them, that may start a build.
MAY_BUILD = frozenset({"write", "maintain", "admin"})
#: The workflow whose runs bring proposals, and the one whose own runs may (an answer to `/relock`).
PROPOSING = ".github/workflows/pull-request.yml"
BUILDING = ".github/workflows/build.yml"


class MovedOnError(RefusedError):
    """What a job is about is so no longer: there is a newer commit, or the pull request is closed. Nothing is wrong."""


# --- which pull request a run belongs to --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A workflow run, as the API says it. `head_repository` is empty where the fork is gone."""

    number: int
    path: str
    event: str
    conclusion: str
    head_sha: str
    head_branch: str
    head_repository: str
    repository: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class PullFacts:
    """A pull request, as the API says it; `merged` is the commit that it became, empty while it is not merged."""

    number: int
    author: str
    head_sha: str
    head_branch: str
    head_repository: str
    base_branch: str
    base_sha: str = ""
    is_open: bool = True
    merged: str = ""
    title: str = ""
    base_repository: str = ""
    body: str = ""

    @property
    def from_fork(self) -> bool:
        """Whether it comes from another repository; that of a deleted fork is unknown, and another one."""
        return not self.head_repository or self.head_repository != self.base_repository

    @property
    def from_its_author(self) -> bool:
        """Whether it comes from here or from its author's own fork: whose fork it is can push what he likes."""
        return not self.from_fork or self.head_repository.partition("/")[0] == self.author


@dataclass(frozen=True, slots=True)
class IssueFacts:
    """An issue, as the API says it. `author_id` is the account's number, which its address for commits has in it."""

    number: int
    author: str
    title: str
    body: str
    is_open: bool = True
    labels: tuple[str, ...] = ()
    author_id: int = 0


def bind(run: RunFacts, pulls: Iterable[PullFacts]) -> PullFacts:
    """The one open pull request that a run was made for, or `RefusedError`.

    The run's own list of pull requests is empty for forks, and a branch's name can be anything; so it is the head's
    commit *and* repository that have to agree, of exactly one open pull request.
    """
    if run.path != PROPOSING or run.event != "pull_request":
        raise RefusedError(f"run {run.number} is one of {run.path} for {run.event}, not of {PROPOSING}.")
    if not SHA.fullmatch(run.head_sha) or not _REPOSITORY.fullmatch(run.head_repository):
        raise RefusedError(f"run {run.number} does not say which commit of which repository it is about.")
    found = [
        pull
        for pull in pulls
        if pull.is_open and pull.head_sha == run.head_sha and pull.head_repository == run.head_repository
    ]
    if len(found) != 1:
        what = "no open pull request" if not found else f"{len(found)} open pull requests"
        raise RefusedError(
            f"{what} with the head {run.head_sha[:12]} of {run.head_repository}: nothing is posted.",
            hint="A newer commit has its own run." if not found else "Close one of them.",
        )
    return found[0]


def on_behalf(login: str) -> str:
    """A line of a pull request that we open ourselves: for whom. Only people who may write can change it there."""
    return marker("for", login) if _LOGIN.fullmatch(login) else ""


def asked_by(pull: PullFacts, bot: str) -> str:
    """Whose wish a pull request is: its author's, or that of whom our account opened it for; empty where unknown.

    Our own account has every permission that a token has, so it is never asked whether *it* may do something.
    """
    if pull.author != bot:
        return pull.author
    found = re.search(r"(?m)^<!-- conda-concept:for:(\S+) -->\s*$", pull.body)
    return found[1] if found and _LOGIN.fullmatch(found[1]) else ""


def still(pull: PullFacts, sha: str) -> PullFacts:
    """The pull request, if it is open and its head is still `sha`; `MovedOnError` otherwise."""
    if not pull.is_open:
        raise MovedOnError(f"pull request #{pull.number} is closed.")
    if pull.head_sha != sha:
        raise MovedOnError(
            f"pull request #{pull.number} is at {pull.head_sha[:12]} now, this is about {sha[:12]}.",
            hint="A newer commit has its own run.",
        )
    return pull


def release_branch(label: str) -> str:
    """The branch that asks for a new version: `release/analysis3-23.07`. Only people who may write can push to it."""
    return f"release/{label}"


def asked_by_us(pull: PullFacts, bot: str) -> bool:
    """Whether a pull request is one for a new version, which our own job opened after it had asked who wants it.

    Its branch is in this repository, so everybody who can change it may start a build anyway.
    """
    return pull.author == bot and not pull.from_fork and pull.head_branch.startswith(release_branch(""))


# --- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BuildIt:
    """`/build SHA`: build and test this very commit."""

    sha: str


@dataclass(frozen=True, slots=True)
class Relock:
    """`/relock`: solve again; `/refresh PKG`: and let this package move."""

    package: str = ""


@dataclass(frozen=True, slots=True)
class Explain:
    """`/explain PKG`: who wants it, and what stands in the way of a newer one."""

    package: str


Command = BuildIt | Relock | Explain
USAGE = "`/build SHA` (all 40 digits), `/relock`, `/refresh PACKAGE`, `/explain PACKAGE`"


@dataclass(frozen=True, slots=True)
class Asked:
    """A comment with a command: on which pull request, its number, who wrote it, and the command's line."""

    pull: int
    comment: int
    speaker: str
    line: str


def first_line(body: str) -> str:
    """The one line of a comment that can be a command."""
    return body.replace("\r\n", "\n").split("\n", 1)[0].rstrip()


def parse_command(body: str) -> Command | None:
    """The command in a comment; None where its first line is none, `InputError` where it is one that is not right.

    Only the first line counts, from its very first character, and it is all of the command: a quotation or an example
    further down starts nothing. The workflow asks for that `/` too, before anything is started.
    """
    line = first_line(body)
    words = line.split()
    if not line.startswith("/") or words[0] not in ("/build", "/relock", "/refresh", "/explain"):
        return None
    match words:
        case ["/build", sha] if SHA.fullmatch(sha):
            return BuildIt(sha)
        case ["/relock"]:
            return Relock()
        case ["/refresh", name] if _PACKAGE.fullmatch(name):
            return Relock(name.lower())
        case ["/explain", name] if _PACKAGE.fullmatch(name):
            return Explain(name.lower())
        case _:
            raise InputError(f"`{line[:80]}` is not a command that I know.", hint=f"There are {USAGE}.")


def may_build(permission: str | None) -> bool:
    """Whether somebody with this permission (None: it could not be learnt) may start what writes to the site."""
    return permission in MAY_BUILD


# --- comments -----------------------------------------------------------------------------------------------------


_MARKER = re.compile(r"<!-- conda-concept:([a-z]+):(\S+) -->")
#: The last line of a comment on what would change; see `with_run`.
_RUN = re.compile(r"\n<!-- conda-concept:(?:run:(\d+)|started:(\d+)\.([0-9a-f]+)) -->\s*\Z")
_LOCK = re.compile(r"lock `([0-9a-f]{12})`")
_SUPERSEDED = "> [!NOTE]\n> Superseded: "


@dataclass(frozen=True, slots=True)
class Said:
    """A comment that is there: its number, its author's login, its text."""

    number: int
    author: str
    body: str


def marker(key: str, name: str) -> str:
    """The first line of a comment of ours: one comment for each key (`diff`, `build`, `release`) and environment."""
    return f"<!-- conda-concept:{key}:{name} -->"


def ours(comments: Iterable[Said], mark: str, author: str) -> Said | None:
    """The comment with this marker on its first line, by this author: the first, if a mishap left two."""
    for comment in comments:
        if comment.author == author and first_line(comment.body) == mark:
            return comment
    return None


def all_ours(comments: Iterable[Said], author: str) -> dict[tuple[str, str], Said]:
    """The comments of this author that have a marker, by its key and name."""
    found: dict[tuple[str, str], Said] = {}
    for comment in comments:
        mark = _MARKER.fullmatch(first_line(comment.body))
        if mark and comment.author == author:
            found.setdefault((mark[1], mark[2]), comment)
    return found


def is_about(body: str, sha: str, locks: Collection[str] = ()) -> bool:
    """Whether the footer of a comment of ours names this commit; and, where it names a lock, one of these digests."""
    footer = body.rpartition("<sub>")[2]
    lock = _LOCK.search(footer)
    return f"`{sha[:12]}`" in footer and (not locks or lock is None or any(one.startswith(lock[1]) for one in locks))


def with_run(body: str, run: int, plan: str = "") -> str:
    """A comment of ours with the run that brought what it shows, where nobody sees it: in its last line.

    With `plan`, the digest of what that run brought, the line says too that a build of it was asked for.
    """
    last = marker("started", f"{run}.{plan}") if plan else marker("run", str(run))
    return f"{_RUN.sub('', body).rstrip()}\n{last}\n"


def shown_runs(comments: Iterable[Said], sha: str, author: str) -> frozenset[int]:
    """The runs that brought what our comments show of a commit: one, unless a report ended between two comments.

    Only the last line of a comment counts: further up may be what a stranger wrote.
    """
    return frozenset(run for _, run, _ in _shown(comments, sha, author))


def was_started(comments: Iterable[Said], sha: str, author: str, run: int, plan: str) -> bool:
    """Whether one of our comments says that a build of this very plan of a commit was asked for."""
    return (run, plan) in {(number, started) for _, number, started in _shown(comments, sha, author)}


def with_start(comments: Iterable[Said], sha: str, author: str, run: int, plan: str) -> dict[str, str]:
    """Our comments that show what a run brought, by their markers, as they are when its build was asked for."""
    shown = _shown(comments, sha, author)
    return {first_line(one.body): with_run(one.body, run, plan) for one, number, _ in shown if number == run}


def _shown(comments: Iterable[Said], sha: str, author: str) -> list[tuple[Said, int, str]]:
    """Our comments on what a commit would change, each with its run, and with the plan if its build was asked for."""
    found = []
    for (key, _), comment in all_ours(comments, author).items():
        last = _RUN.search(comment.body)
        if key == "diff" and last and is_about(comment.body, sha) and not _is_superseded(comment.body):
            found.append((comment, int(last[1] or last[2]), last[3] or ""))
    return found


def superseded(body: str, sha: str, *, touched: bool = True) -> str:
    """A comment of ours that a newer one made old, told apart from one that is wrong.

    The newer one is about the commit `sha`: another one, or the same with another lock. `touched` is whether that one
    changes the environment at all. Saying it twice changes nothing.
    """
    first, _, rest = body.replace("\r\n", "\n").partition("\n")
    if _is_superseded(body):
        rest = rest.split("\n\n", 1)[-1]
    what = f"commit `{sha[:12]}` came after this. What it says is about the commit below."
    if not touched:
        what = f"commit `{sha[:12]}` does not change this environment. What follows was so before."
    elif is_about(rest, sha):
        what = f"commit `{sha[:12]}` has another lock by now. What it says is about the lock below."
    return f"{first}\n{_SUPERSEDED}{what}\n\n{rest}"


def _is_superseded(body: str) -> bool:
    return body.replace("\r\n", "\n").partition("\n")[2].startswith(_SUPERSEDED)
