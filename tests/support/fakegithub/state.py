"""What the fake knows: a bare Git repository, pull requests, comments, runs, people, and what each token may do."""

import io
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BOT = "github-actions[bot]"
CLEAN = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "someone",
    "GIT_AUTHOR_EMAIL": "someone@example.org",
    "GIT_COMMITTER_NAME": "someone",
    "GIT_COMMITTER_EMAIL": "someone@example.org",
}


@dataclass
class Pull:
    number: int
    author: str
    head_sha: str
    head_branch: str
    head_repository: str | None
    base_branch: str = "main"
    state: str = "open"
    merged: str = ""
    title: str = "Add a package"
    body: str = ""


@dataclass
class Run:
    number: int
    path: str
    event: str
    head_sha: str
    head_branch: str
    head_repository: str | None
    conclusion: str = "success"


@dataclass
class Issue:
    number: int
    author: str
    title: str
    body: str
    state: str = "open"
    reason: str | None = None
    labels: list[str] = field(default_factory=list)


@dataclass
class Comment:
    number: int
    issue: int
    author: str
    body: str
    reactions: list[tuple[str, str]] = field(default_factory=list)
    #: What it said before it was edited.
    before: list[str] = field(default_factory=list)


@dataclass
class Artifact:
    number: int
    run: int
    name: str
    data: bytes
    expired: bool = False


@dataclass
class Asset:
    number: int
    name: str
    data: bytes
    kind: str
    state: str = "uploaded"


@dataclass
class Published:
    """A release of GitHub's, draft or not."""

    number: int
    tag: str
    name: str
    body: str
    draft: bool
    #: What was said of it when it was published: whether GitHub is to call it the latest.
    latest: str = ""
    assets: list[Asset] = field(default_factory=list)


@dataclass
class State:
    """One repository, `owner/name`, whose commits are in a real bare repository."""

    name: str
    git_dir: Path
    pulls: dict[int, Pull] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    releases: list[Published] = field(default_factory=list)
    #: So many of the next uploads break off, and leave what GitHub leaves then.
    broken_uploads: int = 0
    lost_assets: int = 0
    #: So many lists of issues do not show one that was opened just before: GitHub's lists may lag behind.
    late_lists: int = 0
    unlisted: int = 0
    statuses: list[dict[str, str]] = field(default_factory=list)
    dispatches: list[dict[str, Any]] = field(default_factory=list)
    people: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Branches with a rule, and the one token whose account it lets through.
    rules: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, name: str = "climate/environments") -> "State":
        """An empty repository."""
        folder.mkdir(parents=True, exist_ok=True)
        state = cls(name, folder / "origin.git")
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", state.git_dir], check=True, env=CLEAN
        )
        return state

    def git(self, *words: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> str:
        """Git in the bare repository; its answer without the last line end."""
        argv = ["git", "-C", str(self.git_dir), *words]
        done = subprocess.run(argv, input=stdin, env=CLEAN | (env or {}), capture_output=True, check=False)
        if done.returncode:
            raise LookupError(done.stderr.decode(errors="replace"))
        return done.stdout.decode("utf-8", errors="replace").rstrip("\n")

    def blob(self, sha: str) -> bytes:
        """The bytes of a file in Git."""
        argv = ["git", "-C", str(self.git_dir), "cat-file", "blob", sha]
        done = subprocess.run(argv, env=CLEAN, capture_output=True, check=False)
        if done.returncode:
            raise LookupError(done.stderr.decode(errors="replace"))
        return done.stdout

    def commit(self, branch: str, files: dict[str, str | None], message: str = "Change", *, start: str = "") -> str:
        """A commit at the end of `branch` (made at `start` if it is not there); a file of None is taken away."""
        try:
            parent = self.git("rev-parse", "--verify", "--quiet", start or f"refs/heads/{branch}")
        except LookupError:
            parent = ""
        index = {"GIT_INDEX_FILE": str(self.git_dir / "fake-index")}
        self.git("read-tree", parent or "--empty", env=index)
        for path, text in files.items():
            if text is None:
                self.git("update-index", "--force-remove", path, env=index)
            else:
                blob = self.git("hash-object", "-w", "--stdin", stdin=text.encode())
                mode = "100755" if text.startswith("#!") else "100644"
                self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", env=index)
        tree = self.git("write-tree", env=index)
        made = self.git("commit-tree", tree, "-m", message, *(["-p", parent] if parent else []))
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def merge(self, number: int, title: str = "") -> str:
        """Merge a pull request as GitHub does: a commit with two parents, if it merges cleanly."""
        pull = self.pulls[number]
        base = self.git("rev-parse", f"refs/heads/{pull.base_branch}")
        tree = self.git("merge-tree", "--write-tree", base, pull.head_sha).splitlines()[0]
        words = title or f"Merge pull request #{number}"
        made = self.git("commit-tree", tree, "-m", words, "-p", base, "-p", pull.head_sha)
        self.git("update-ref", f"refs/heads/{pull.base_branch}", made)
        pull.state, pull.merged = "closed", made
        return made

    def text(self, path: str, ref: str = "main") -> str:
        """A file at a ref."""
        return self.git("show", f"{ref}:{path}")

    def open_pull(
        self, author: str, files: dict[str, str | None], *, branch: str = "", fork: str = "", base: str = "main"
    ) -> Pull:
        """A pull request with one commit, from a branch of this repository or of a fork."""
        number = self.next_number()
        branch = branch or f"change-{number}"
        sha = self.commit(f"heads-{number}", files, start=f"refs/heads/{base}")
        self.git("update-ref", f"refs/pull/{number}/head", sha)
        pull = Pull(number, author, sha, branch, fork or self.name, base)
        self.pulls[number] = pull
        return pull

    def next_number(self) -> int:
        """Issues and pull requests are counted together."""
        return max([0, *self.pulls, *self.issues]) + 1

    def open_issue(self, author: str, title: str, body: str, labels: Sequence[str] = ()) -> Issue:
        """An issue."""
        issue = Issue(self.next_number(), author, title, body, labels=list(labels))
        self.issues[issue.number] = issue
        return issue

    def push(self, pull: Pull, files: dict[str, str | None]) -> str:
        """One more commit on a pull request."""
        pull.head_sha = self.commit(f"heads-{pull.number}", files)
        self.git("update-ref", f"refs/pull/{pull.number}/head", pull.head_sha)
        return pull.head_sha

    def run_of(self, pull: Pull, number: int = 0, **other: Any) -> Run:
        """The run of pull-request.yml for a pull request's head."""
        number = number or 100 + len(self.runs)
        path = ".github/workflows/pull-request.yml"
        facts = {"path": path, "event": "pull_request", "head_sha": pull.head_sha, "head_branch": pull.head_branch}
        run = Run(number, **{**facts, "head_repository": pull.head_repository, **other})
        self.runs[number] = run
        return run

    def keep(self, run: int, name: str, files: dict[str, bytes]) -> None:
        """An artifact of a run."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, content)
        self.artifacts.append(Artifact(1000 + len(self.artifacts), run, name, data.getvalue()))

    def said(self, issue: int, key: str) -> list[str]:
        """The bot's comments with a marker."""
        mine = [one.body for one in self.comments if one.issue == issue and one.author == BOT]
        return [body for body in mine if body.startswith(f"<!-- conda-concept:{key} -->")]

    def status(self, sha: str) -> tuple[str, str]:
        """The last status of a commit."""
        found = [one for one in self.statuses if one["sha"] == sha]
        return (found[-1]["state"], found[-1]["description"]) if found else ("", "")
