"""Everything that is asked of GitHub, one method each; answers are values of `conversation`."""

import base64
import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from conda_concept.conversation import PullFacts, RunFacts, Said, ours
from conda_concept.errors import ConcError, InputError, NetworkError, NotFoundError
from conda_concept.github.connect import TIMEOUT, Surroundings, asking, connect

if TYPE_CHECKING:
    from github.PullRequest import PullRequest
    from github.Repository import Repository

#: GitHub refuses a longer comment with 422.
MAX_COMMENT = 65_536
State = Literal["pending", "success", "failure", "error"]
#: The one status that a branch protection has to require.
CONTEXT = "conda-concept"
_MAX_DESCRIPTION = 140


@dataclass(frozen=True, slots=True)
class File:
    """A file of a commit that is to be made: its path in the repository and its text."""

    path: str
    text: str


@dataclass(slots=True)
class Hub:
    """One repository on GitHub, as one job sees it."""

    here: Surroundings
    repository: "Repository" = field(init=False)
    #: The same, for what the rules of a branch or a tag may keep the job's own account from.
    committing: "Repository" = field(init=False)

    def __post_init__(self) -> None:
        self.repository = connect(self.here, self.here.token)
        self.committing = connect(self.here, self.here.commit_token) if self.here.commit_token else self.repository

    # --- pull requests and people -------------------------------------------------------------------------------

    def pull(self, number: int) -> PullFacts:
        """A pull request as it is now."""
        with asking(f"look at pull request #{number}"):
            return pull_facts(self.repository.get_pull(number))

    def pulls_with_head(self, repository: str, branch: str, state: str = "open") -> list[PullFacts]:
        """The pull requests from a branch of a repository (`owner/name`), newest first: the open ones, or `all`."""
        with asking("list pull requests"):
            found = self.repository.get_pulls(state=state, head=f"{repository.split('/', maxsplit=1)[0]}:{branch}")
            return [pull_facts(one) for one in found]

    def pulls_of(self, sha: str) -> list[PullFacts]:
        """The merged pull requests that a commit of the main branch came with."""
        with asking(f"find the pull request of {sha[:12]}"):
            found = [pull_facts(one) for one in self.repository.get_commit(sha).get_pulls()]
        return [one for one in found if one.merged]

    def closed_pulls(self, most: int = 300) -> list[int]:
        """The numbers of the pull requests that were closed last."""
        with asking("list closed pull requests"):
            pulls = self.repository.get_pulls(state="closed", sort="updated", direction="desc")
            return [one.number for one, _ in zip(pulls, range(most), strict=False)]

    def changed_files(self, number: int) -> list[str]:
        """The paths that a pull request changes, old names of renamed ones included (GitHub says at most 3,000)."""
        with asking(f"list the files of pull request #{number}"):
            files = list(self.repository.get_pull(number).get_files())
        return sorted({path for one in files for path in (one.filename, one.previous_filename) if path})

    def permission(self, login: str) -> str | None:
        """What somebody may do here; None where GitHub does not say, whatever the reason: it is no permission."""
        if not login:
            return None
        try:
            with asking(f"learn what {login} may do"):
                return self.repository.get_collaborator_permission(login)
        except ConcError:
            return None

    def may_write(self) -> bool:
        """Whether the account of our token may write here."""
        with asking("learn what the token's account may do"):
            return bool(self.repository.permissions.push)

    # --- data ---------------------------------------------------------------------------------------------------

    def file_at(self, path: str, sha: str, limit: int) -> str:
        """A file's text at a commit, as data; `InputError` where it is missing, too large, no file or no text."""
        found = self.find_file(path, sha, limit)
        if found is None:
            raise InputError(f"{path} is missing.")
        return found

    def find_file(self, path: str, sha: str, limit: int) -> str | None:
        """A file's text at a commit, as data; None where it is missing, `InputError` where it is no such text."""
        try:
            with asking(f"read {path} at {sha[:12]}"):
                found = self.repository.get_contents(path, ref=sha)
        except NotFoundError:
            return None
        if isinstance(found, list) or found.type != "file":
            raise InputError(f"{path} is not a file; put the file itself there.")
        if found.size > limit:
            raise InputError(f"{path} has {found.size:,} bytes; {limit:,} is the limit.")
        data = found.content if found.encoding == "base64" else self._blob(path, found.sha)
        try:
            return base64.b64decode(data).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text (byte {error.start}).") from error

    def _blob(self, path: str, sha: str) -> str:
        """A file's bytes in base64: what the address of its path does not give where it has more than 1 MB."""
        with asking(f"read {path}"):
            return self.repository.get_git_blob(sha).content

    def files_at(self, folder: str, sha: str) -> dict[str, str]:
        """The files of a folder at a commit, none where it is missing: path in it to mode and Git's digest."""
        with asking(f"list {folder} at {sha[:12]}"):
            tree = self.repository.get_git_commit(sha).tree.sha
            for part in folder.split("/"):
                entries = self.repository.get_git_tree(tree).tree
                tree = next((one.sha for one in entries if (one.path, one.type) == (part, "tree")), "")
                if not tree:
                    return {}
            entries = self.repository.get_git_tree(tree, recursive=True).tree
        return {one.path: f"{one.mode} {one.sha}" for one in entries if one.type != "tree"}

    def run(self, number: int) -> RunFacts:
        """A workflow run."""
        with asking(f"look at run {number}"):
            return run_facts(self.repository.get_workflow_run(number).raw_data)

    def member(self, run: int, artifact: str, name: str, limit: int) -> bytes:
        """One file of one artifact of a run, never unpacked to a disk; `InputError` where it is not what it should be.

        A run that was run again has one for each time: the newest counts. The artifact's size, the member's declared
        size and the bytes that really come are each held to the limit.
        """
        with asking(f"list the artifacts of run {run}"):
            named = [one for one in self.repository.get_workflow_run(run).get_artifacts() if one.name == artifact]
        last = max(named, key=lambda one: one.id, default=None)
        if last is None or last.expired:
            raise NotFoundError(f"run {run} has no artifact `{artifact}`.", hint="Run the workflow again.")
        if last.size_in_bytes > limit:
            raise InputError(f"artifact `{artifact}` has {last.size_in_bytes:,} bytes; {limit:,} is the limit.")
        with asking(f"download artifact `{artifact}` of run {run}"):
            archive = self._download(last.archive_download_url, limit)
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(name) as inside:
                data = inside.read(limit + 1)
        except KeyError:
            raise InputError(f"artifact `{artifact}` has no {name}.") from None
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise NetworkError(f"artifact `{artifact}` cannot be read: {error}", hint="Run the job again.") from error
        if len(data) > limit:
            raise InputError(f"{name} has more than {limit:,} bytes.")
        return data

    def _download(self, url: str, limit: int) -> bytes:
        """Bytes from where the API points to; the token goes to the API only."""
        import requests

        headers = {"Authorization": f"Bearer {self.here.token}"}
        first = requests.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        if first.status_code != 302:
            raise NetworkError(f"GitHub answered {first.status_code} when asked for an artifact.", hint="Run it again.")
        with requests.get(first.headers["Location"], timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            data = b""
            for chunk in answer.iter_content(1 << 16):
                data += chunk
                if len(data) > limit:
                    raise InputError(f"the artifact has more than {limit:,} bytes.")
        return data

    # --- words --------------------------------------------------------------------------------------------------

    def comments(self, number: int) -> list[Said]:
        """All comments of a pull request, over all pages."""
        with asking(f"read the comments of #{number}"):
            found = list(self.repository.get_issue(number).get_comments())
        return [Said(one.id, _login(one.user), one.body or "") for one in found]

    def say(self, number: int, mark: str, body: str, *, only_update: bool = False) -> None:
        """Make our comment with this marker, or change it; never two of them.

        A POST is not sent again as it is: after a failure it is looked up first whether it has arrived.
        """
        text = fitting(body if body.startswith(mark) else f"{mark}\n{body}")
        for attempt in range(3):
            present = ours(self.comments(number), mark, self.here.bot)
            if present is None and only_update:
                return
            try:
                with asking(f"comment on #{number}"):
                    issue = self.repository.get_issue(number)
                    if present is None:
                        issue.create_comment(text)
                    elif present.body != text:
                        issue.get_comment(present.number).edit(text)
            except NetworkError:
                if attempt == 2:
                    raise
                time.sleep(2 * self.here.pace)
            else:
                return

    def react(self, comment: int, number: int, how: str) -> None:
        """A reaction to somebody's comment; GitHub keeps one of each kind, so twice is once."""
        with asking("react to a comment"):
            said = self.repository.get_issue(number).get_comment(comment)
            if not any(_login(one.user) == self.here.bot and one.content == how for one in said.get_reactions()):
                said.create_reaction(how)

    def status_of(self, sha: str) -> tuple[str, str, str]:
        """The one status of a commit: its state, its words and its link; empty where it has none yet."""
        with asking(f"look at the status of {sha[:12]}"):
            found = self.repository.get_commit(sha).get_combined_status().statuses
        own = next((one for one in found if one.context == CONTEXT), None)
        return (own.state, own.description or "", own.target_url or "") if own else ("", "", "")

    def status(self, sha: str, state: State, text: str, url: str = "") -> None:
        """The one status of a commit; nothing is sent where it says that already."""
        short = text if len(text) <= _MAX_DESCRIPTION else f"{text[: _MAX_DESCRIPTION - 1]}…"
        if self.status_of(sha) == (state, short, url or self.here.run_url):
            return
        with asking(f"set the status of {sha[:12]}"):
            self.repository.get_commit(sha).create_status(
                state=state, target_url=url or self.here.run_url, description=short, context=CONTEXT
            )

    def dispatch(self, workflow: str, branch: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow of the main branch."""
        with asking(f"start {workflow}"):
            self.repository.get_workflow(workflow).create_dispatch(branch, dict(inputs), throw=True)

    # --- commits ------------------------------------------------------------------------------------------------

    def tip(self, branch: str) -> str:
        """The commit at the end of a branch."""
        with asking(f"look at {branch}"):
            return self.repository.get_git_ref(f"heads/{branch}").object.sha

    def new_commit(self, parent: str, files: Sequence[File], message: str) -> str:
        """A commit on top of `parent` that no branch has yet: all files in it, or no commit."""
        from github import InputGitTreeElement

        with asking(f"make a commit on {parent[:12]}"):
            repository = self.repository
            base = repository.get_git_commit(parent)
            blobs = [(one.path, repository.create_git_blob(one.text, "utf-8").sha) for one in files]
            elements = [InputGitTreeElement(path, "100644", "blob", sha=sha) for path, sha in blobs]
            tree = repository.create_git_tree(elements, base_tree=base.tree)
            return repository.create_git_commit(message, tree, [base]).sha

    def commit(self, branch: str, parent: str, files: Sequence[File], message: str) -> str:
        """Put a commit on top of `parent` at the end of `branch`; `RefusedError` where the branch has moved.

        Nothing is ever forced. Made again after an interruption it is another commit with the same content, so
        whoever calls asks first whether it is there.
        """
        made = self.new_commit(parent, files, message)
        with asking(f"commit to {branch}"):
            end = self.committing.get_git_ref(f"heads/{branch}")
            end.complete()  # reading and changing a ref have different addresses; only GitHub's answer has the second
            end.edit(made, force=False)
        return made


def fitting(text: str) -> str:
    """A comment that GitHub takes. Renderers keep to their budgets; posting too much must still not fail a build.

    The note that something is missing stands behind the marker, at the top.
    """
    if len(text) <= MAX_COMMENT:
        return text
    first, _, rest = text.partition("\n")
    note = "> Shortened to fit: the end is missing here, and is in the job's summary.\n"
    return f"{first}\n{note}\n{rest[: MAX_COMMENT - len(first) - len(note) - 10]}…\n"


def run_facts(raw: Mapping[str, Any]) -> RunFacts:
    """A run from GitHub's own words, in an answer or an event."""
    return RunFacts(
        number=int(raw["id"]),
        # `path` can carry the branch that the workflow was called from: `.github/workflows/x.yml@main`.
        path=str(raw.get("path") or "").partition("@")[0],
        event=str(raw.get("event") or ""),
        conclusion=str(raw.get("conclusion") or ""),
        head_sha=str(raw.get("head_sha") or ""),
        head_branch=str(raw.get("head_branch") or ""),
        head_repository=str((raw.get("head_repository") or {}).get("full_name") or ""),
        repository=str((raw.get("repository") or {}).get("full_name") or ""),
        url=str(raw.get("html_url") or ""),
    )


def pull_facts(raw: "PullRequest") -> PullFacts:
    """A pull request from PyGithub's answer."""
    return PullFacts(
        number=raw.number,
        author=_login(raw.user),
        head_sha=raw.head.sha,
        head_branch=raw.head.ref,
        head_repository=str(getattr(raw.head.repo, "full_name", "")),  # null where the fork is deleted
        base_branch=raw.base.ref,
        base_sha=raw.base.sha,
        is_open=raw.state == "open",
        merged=raw.merge_commit_sha or "" if raw.merged_at else "",
        title=raw.title,
        base_repository=raw.base.repo.full_name,
        body=raw.body or "",
    )


def _login(user: object) -> str:
    """Who wrote it; empty where the account is gone. An entry's `raw_data` would be one request more for each."""
    return str(getattr(user, "login", ""))
