"""What the fake answers, one function a route: the parts that say something; `schema.filled` adds the rest."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.fakegithub.state import BOT, Artifact, Comment, Pull, Run, State

#: Bytes of a file that the address of its path still gives; a larger one is to be asked for by its digest.
MAX_CONTENTS = 1_000_000
_LEVELS = {"": 0, "none": 0, "read": 1, "write": 2}


class Refusal(Exception):  # noqa: N818 - GitHub refuses; nothing is wrong with the fake
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Ask:
    """A request."""

    state: State
    url: str
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    token: str
    #: The body as it came, and what it says that it is: an asset.
    raw: bytes = b""
    kind: str = ""

    def allow(self, scope: str, level: str) -> None:
        """403 where the token's job has no such permission; 401 without one that is known."""
        granted = self.state.tokens.get(self.token)
        if granted is None:
            raise Refusal(401, "Bad credentials")
        scopes = self._about() if scope == "talk" else (scope,)
        if max(_LEVELS[granted.get(one, "none")] for one in scopes) < _LEVELS[level]:
            raise Refusal(403, "Resource not accessible by integration")

    def _about(self) -> tuple[str, ...]:
        """A pull request is an issue too, and either permission reaches what is said there; an issue is only one."""
        found = re.search(r"/issues/(comments/)?(\d+)", self.path)
        assert found, self.path
        number = int(found[2])
        if found[1]:
            number = next((one.issue for one in self.state.comments if one.number == number), 0)
        return ("issues", "pull-requests") if number in self.state.pulls else ("issues",)

    def one(self, name: str) -> str:
        """A parameter of the query."""
        return self.query.get(name, [""])[0]

    @property
    def base(self) -> str:
        return f"{self.url}/repos/{self.state.name}"


Answer = tuple[int, Any]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: str
    scope: str
    level: str
    answer: Callable[..., Answer]


def _user(login: str) -> dict[str, Any]:
    return {"login": login, "id": sum(login.encode()), "type": "Bot" if login.endswith("[bot]") else "User"}


def _repo(ask: Ask, name: str) -> dict[str, Any]:
    owner, _, short = name.partition("/")
    return {"full_name": name, "name": short, "owner": _user(owner), "url": f"{ask.url}/repos/{name}"}


def _pull(ask: Ask, pull: Pull) -> dict[str, Any]:
    url = f"{ask.base}/pulls/{pull.number}"
    owner = (pull.head_repository or "gone/gone").split("/")[0]
    head = {"ref": pull.head_branch, "sha": pull.head_sha, "label": f"{owner}:{pull.head_branch}", "user": _user(owner)}
    base_sha = ask.state.git("rev-parse", f"refs/heads/{pull.base_branch}")
    base = {"ref": pull.base_branch, "sha": base_sha, "label": f"up:{pull.base_branch}", "user": _user("up")}
    return {
        "url": url,
        "number": pull.number,
        "state": pull.state,
        "title": pull.title,
        "user": _user(pull.author),
        "head": head | {"repo": _repo(ask, pull.head_repository) if pull.head_repository else None},
        "base": base | {"repo": _repo(ask, ask.state.name)},
        "merged_at": "2026-11-22T00:00:00Z" if pull.merged else None,
        "merge_commit_sha": pull.merged or None,
        "body": pull.body or None,
        "html_url": f"{ask.url}/{ask.state.name}/pull/{pull.number}",
    }


def repository(ask: Ask) -> Answer:
    """As somebody with the token's rights sees it."""
    levels = {"pull": "read", "push": "write"}
    granted = ask.state.tokens[ask.token].get("contents", "read")
    may = {name: _LEVELS[granted] >= _LEVELS[level] for name, level in levels.items()}
    return 200, _repo(ask, ask.state.name) | {"permissions": may | {"admin": False}}


def pull(ask: Ask, number: str) -> Answer:
    found = ask.state.pulls.get(int(number))
    if found is None:
        raise Refusal(404, "Not Found")
    return 200, _pull(ask, found)


def pulls(ask: Ask) -> Answer:
    state, head, base = ask.one("state") or "open", ask.one("head"), ask.one("base")
    found = [one for one in ask.state.pulls.values() if state in (one.state, "all")]
    found = [one for one in found if base in ("", one.base_branch)]
    if head:
        owner, _, branch = head.partition(":")
        found = [
            one
            for one in found
            if one.head_branch == branch and (one.head_repository or "gone/").split("/")[0] == owner
        ]
    return 200, [_pull(ask, one) for one in found]


def new_pull(ask: Ask) -> Answer:
    head, base = ask.body["head"], ask.body["base"]
    try:
        sha = ask.state.git("rev-parse", "--verify", "--quiet", f"refs/heads/{head}")
        base_sha = ask.state.git("rev-parse", "--verify", "--quiet", f"refs/heads/{base}")
    except LookupError:
        raise Refusal(422, "Validation Failed: head or base is invalid") from None
    own = [one for one in ask.state.pulls.values() if one.head_repository == ask.state.name]
    if any((one.state, one.head_branch, one.base_branch) == ("open", head, base) for one in own):
        raise Refusal(422, f"Validation Failed: A pull request already exists for up:{head}.")
    if ask.state.git("merge-base", sha, base_sha) == sha:
        raise Refusal(422, f"Validation Failed: No commits between {base} and {head}")
    number = ask.state.next_number()
    made = Pull(number, BOT, sha, head, ask.state.name, base, title=ask.body["title"], body=ask.body.get("body", ""))
    ask.state.pulls[number] = made
    ask.state.git("update-ref", f"refs/pull/{number}/head", sha)
    return 201, _pull(ask, made)


def edit_pull(ask: Ask, number: str) -> Answer:
    found = ask.state.pulls.get(int(number))
    if found is None:
        raise Refusal(404, "Not Found")
    found.title, found.body = ask.body.get("title", found.title), ask.body.get("body", found.body)
    found.state = ask.body.get("state", found.state)
    return 200, _pull(ask, found)


def files(ask: Ask, number: str) -> Answer:
    found = ask.state.pulls[int(number)]
    base = ask.state.git("merge-base", f"refs/heads/{found.base_branch}", found.head_sha)
    names = ask.state.git("diff", "--name-only", base, found.head_sha).splitlines()
    return 200, [{"filename": name, "status": "modified"} for name in names]


def pulls_of(ask: Ask, sha: str) -> Answer:
    return 200, [_pull(ask, one) for one in ask.state.pulls.values() if sha in (one.merged, one.head_sha)]


def status(ask: Ask, sha: str) -> Answer:
    if len(ask.body.get("description", "")) > 140:
        raise Refusal(422, "Validation Failed: description is too long (maximum is 140 characters)")
    ask.state.statuses.append({"sha": sha, **ask.body})
    return 201, {"id": len(ask.state.statuses), **ask.body}


def combined(ask: Ask, sha: str) -> Answer:
    """The last status of each context."""
    last = {one["context"]: {"id": number, **one} for number, one in enumerate(ask.state.statuses) if one["sha"] == sha}
    for one in last.values():
        one.pop("sha")
    url = f"{ask.base}/commits/{sha}/status"
    repository = _repo(ask, ask.state.name)
    known = {"sha": sha, "url": url, "state": "pending", "total_count": len(last), "repository": repository}
    return 200, known | {"statuses": list(last.values())}


def permission(ask: Ask, login: str) -> Answer:
    found = ask.state.people.get(login)
    if found is None:
        raise Refusal(404, f"{login} is not a user")
    return 200, {"permission": found, "role_name": found, "user": None}


_TOO_LARGE = {"encoding": "none", "content": ""}


def contents(ask: Ask, path: str) -> Answer:
    try:
        facts = ask.state.git("ls-tree", ask.one("ref") or "main", "--", path).split()
    except LookupError:
        raise Refusal(404, "No commit found for the ref") from None
    if not facts:
        raise Refusal(404, "Not Found")
    data = ask.state.blob(facts[2]) if facts[1] == "blob" else b""
    kind = "symlink" if facts[0] == "120000" else "file"
    text = base64.encodebytes(data).decode()
    common = {"path": path, "name": path.rpartition("/")[2], "sha": facts[2], "url": f"{ask.base}/contents/{path}"}
    if kind == "symlink":
        return 200, common | {"type": "symlink", "target": data.decode(), "size": len(data)}
    whole = {"encoding": "base64", "content": text} if len(data) <= MAX_CONTENTS else _TOO_LARGE
    return 200, common | {"type": "file", "size": len(data)} | whole


def _run(ask: Ask, run: Run) -> dict[str, Any]:
    return {
        "id": run.number,
        "path": run.path,
        "event": run.event,
        "status": "completed",
        "conclusion": run.conclusion,
        "head_sha": run.head_sha,
        "head_branch": run.head_branch,
        "head_repository": _repo(ask, run.head_repository) if run.head_repository else None,
        "repository": _repo(ask, ask.state.name),
        "pull_requests": [],
        "url": f"{ask.base}/actions/runs/{run.number}",
        "artifacts_url": f"{ask.base}/actions/runs/{run.number}/artifacts",
        "html_url": f"{ask.url}/{ask.state.name}/actions/runs/{run.number}",
    }


def run(ask: Ask, number: str) -> Answer:
    found = ask.state.runs.get(int(number))
    if found is None:
        raise Refusal(404, "Not Found")
    return 200, _run(ask, found)


def runs(ask: Ask) -> Answer:
    found = [one for one in ask.state.runs.values() if one.head_sha == ask.one("head_sha")]
    return 200, {"total_count": len(found), "workflow_runs": [_run(ask, one) for one in reversed(found)]}


def _artifact(ask: Ask, one: Artifact) -> dict[str, Any]:
    url = f"{ask.base}/actions/artifacts/{one.number}"
    return {
        "id": one.number,
        "name": one.name,
        "size_in_bytes": len(one.data),
        "expired": one.expired,
        "url": url,
        "archive_download_url": f"{url}/zip",
    }


def artifacts(ask: Ask, number: str) -> Answer:
    found = [_artifact(ask, one) for one in ask.state.artifacts if one.run == int(number)]
    return 200, {"total_count": len(found), "artifacts": found}


def archive(ask: Ask, number: str) -> Answer:
    return 302, {"location": f"{ask.url}/_/blob/{number}"}


def workflow(ask: Ask, name: str) -> Answer:
    url = f"{ask.base}/actions/workflows/{name}"
    return 200, {"id": 1, "name": name, "path": f".github/workflows/{name}", "state": "active", "url": url}


def dispatch(ask: Ask, name: str) -> Answer:
    ask.state.dispatches.append({"workflow": name, **ask.body})
    return 204, {}


def _comment(ask: Ask, one: Comment) -> dict[str, Any]:
    url = f"{ask.base}/issues/comments/{one.number}"
    return {"id": one.number, "body": one.body, "user": _user(one.author), "url": url, "author_association": "NONE"}


def comments(ask: Ask, number: str) -> Answer:
    return 200, [_comment(ask, one) for one in ask.state.comments if one.issue == int(number)]


def _checked(body: Any) -> str:
    text = str(body.get("body", ""))
    if len(text) > 65_536:
        raise Refusal(422, "Validation Failed: body is too long (maximum is 65536 characters)")
    return text


def say(ask: Ask, number: str) -> Answer:
    made = Comment(5000 + len(ask.state.comments), int(number), BOT, _checked(ask.body))
    ask.state.comments.append(made)
    return 201, _comment(ask, made)


def _find(ask: Ask, number: str) -> Comment:
    found = next((one for one in ask.state.comments if one.number == int(number)), None)
    if found is None:
        raise Refusal(404, "Not Found")
    return found


def comment(ask: Ask, number: str) -> Answer:
    return 200, _comment(ask, _find(ask, number))


def edit(ask: Ask, number: str) -> Answer:
    found = _find(ask, number)
    found.before.append(found.body)
    found.body = _checked(ask.body)
    return 200, _comment(ask, found)


def react(ask: Ask, number: str) -> Answer:
    found = _find(ask, number)
    entry = (BOT, ask.body["content"])
    known = entry in found.reactions
    found.reactions += [] if known else [entry]
    return (200 if known else 201), {"id": 1, "content": ask.body["content"], "user": _user(BOT)}


def ref(ask: Ask, name: str) -> Answer:
    try:
        sha = ask.state.git("rev-parse", "--verify", "--quiet", f"refs/{name}")
    except LookupError:
        raise Refusal(404, "Not Found") from None
    return 200, _ref(ask, name, sha)


def _ref(ask: Ask, name: str, sha: str) -> dict[str, Any]:
    obj = {"sha": sha, "type": "commit", "url": f"{ask.base}/git/commits/{sha}"}
    return {"ref": f"refs/{name}", "url": f"{ask.base}/git/refs/{name}", "object": obj}


def move(ask: Ask, name: str) -> Answer:
    old, new = ask.state.git("rev-parse", f"refs/{name}"), ask.body["sha"]
    if ask.state.rules.get(name.removeprefix("heads/"), ask.token) != ask.token:
        raise Refusal(422, "Repository rule violations found\n\nChanges must be made through a pull request.\n\n")
    if ask.state.git("merge-base", old, new) != old and not ask.body.get("force"):
        raise Refusal(422, "Update is not a fast forward")
    ask.state.git("update-ref", f"refs/{name}", new, old)
    for one in ask.state.pulls.values():
        own = one.head_repository == ask.state.name and f"heads/{one.head_branch}" == name
        if own and one.state == "open":
            one.head_sha = new
            ask.state.git("update-ref", f"refs/pull/{one.number}/head", new)
    return 200, _ref(ask, name, new)


def new_ref(ask: Ask) -> Answer:
    name, sha = ask.body["ref"].removeprefix("refs/"), ask.body["sha"]
    try:
        ask.state.git("check-ref-format", f"refs/{name}")
        ask.state.git("cat-file", "-e", f"{sha}^{{commit}}")
    except LookupError:
        raise Refusal(422, "Object does not exist") from None
    try:
        ask.state.git("update-ref", f"refs/{name}", sha, "0" * 40)
    except LookupError:
        raise Refusal(422, "Reference already exists") from None
    return 201, _ref(ask, name, sha)


def drop_ref(ask: Ask, name: str) -> Answer:
    try:
        ask.state.git("rev-parse", "--verify", "--quiet", f"refs/{name}")
    except LookupError:
        raise Refusal(422, "Reference does not exist") from None
    ask.state.git("update-ref", "-d", f"refs/{name}")
    return 204, {}


def git_commit(ask: Ask, sha: str) -> Answer:
    tree, message = ask.state.git("show", "--no-patch", "--format=%T%x00%B", sha).split("\0", 1)
    facts = {"sha": tree, "url": f"{ask.base}/git/trees/{tree}"}
    return 200, {"sha": sha, "message": message, "tree": facts, "url": f"{ask.base}/git/commits/{sha}"}


def blob(ask: Ask, sha: str) -> Answer:
    try:
        data = ask.state.blob(sha)
    except LookupError:
        raise Refusal(404, "Not Found") from None
    text = base64.encodebytes(data).decode()
    known = {"sha": sha, "url": f"{ask.base}/git/blobs/{sha}", "size": len(data)}
    return 200, known | {"encoding": "base64", "content": text}


def tree(ask: Ask, sha: str) -> Answer:
    try:
        deep = ["-r", "-t"] if ask.one("recursive") else []
        lines = ask.state.git("ls-tree", "-z", *deep, f"{sha}^{{tree}}").split("\0")[:-1]
    except LookupError:
        raise Refusal(404, "Not Found") from None
    entries = []
    for line in lines:
        facts, path = line.split("\t", 1)
        mode, kind, one = facts.split()
        entries.append({"mode": mode, "type": kind, "sha": one, "path": path, "url": f"{ask.base}/git/{kind}s/{one}"})
    return 200, {"sha": sha, "url": f"{ask.base}/git/trees/{sha}", "truncated": False, "tree": entries}


def new_blob(ask: Ask) -> Answer:
    sha = ask.state.git("hash-object", "-w", "--stdin", stdin=ask.body["content"].encode())
    return 201, {"sha": sha, "url": f"{ask.base}/git/blobs/{sha}"}


def new_tree(ask: Ask) -> Answer:
    index = {"GIT_INDEX_FILE": str(ask.state.git_dir / "fake-index")}
    ask.state.git("read-tree", ask.body["base_tree"], env=index)
    for one in ask.body["tree"]:
        ask.state.git("update-index", "--add", "--cacheinfo", f"{one['mode']},{one['sha']},{one['path']}", env=index)
    sha = ask.state.git("write-tree", env=index)
    return 201, {"sha": sha, "url": f"{ask.base}/git/trees/{sha}", "tree": []}


def new_commit(ask: Ask) -> Answer:
    parents = [word for parent in ask.body["parents"] for word in ("-p", parent)]
    sha = ask.state.git("commit-tree", ask.body["tree"], "-m", ask.body["message"], *parents)
    return 201, git_commit(ask, sha)[1]


ROUTES = (
    Route("GET", r"", "metadata", "read", repository),
    Route("GET", r"/pulls", "pull-requests", "read", pulls),
    Route("POST", r"/pulls", "pull-requests", "write", new_pull),
    Route("GET", r"/pulls/(\d+)", "pull-requests", "read", pull),
    Route("PATCH", r"/pulls/(\d+)", "pull-requests", "write", edit_pull),
    Route("GET", r"/pulls/(\d+)/files", "pull-requests", "read", files),
    Route("GET", r"/commits/([0-9a-f]{40})/pulls", "pull-requests", "read", pulls_of),
    Route("POST", r"/statuses/([0-9a-f]{40})", "statuses", "write", status),
    Route("GET", r"/commits/([0-9a-f]{40})/status", "statuses", "read", combined),
    Route("GET", r"/collaborators/([^/]+)/permission", "metadata", "read", permission),
    Route("GET", r"/contents/(.+)", "contents", "read", contents),
    Route("GET", r"/actions/runs/(\d+)", "actions", "read", run),
    Route("GET", r"/actions/runs", "actions", "read", runs),
    Route("GET", r"/actions/runs/(\d+)/artifacts", "actions", "read", artifacts),
    Route("GET", r"/actions/artifacts/(\d+)/zip", "actions", "read", archive),
    Route("GET", r"/actions/workflows/([^/]+)", "actions", "read", workflow),
    Route("POST", r"/actions/workflows/([^/]+)/dispatches", "actions", "write", dispatch),
    Route("GET", r"/issues/(\d+)/comments", "talk", "read", comments),
    Route("POST", r"/issues/(\d+)/comments", "talk", "write", say),
    Route("GET", r"/issues/comments/(\d+)", "talk", "read", comment),
    Route("PATCH", r"/issues/comments/(\d+)", "talk", "write", edit),
    Route("POST", r"/issues/comments/(\d+)/reactions", "talk", "write", react),
    Route("GET", r"/git/refs?/(.+)", "contents", "read", ref),
    Route("POST", r"/git/refs", "contents", "write", new_ref),
    Route("PATCH", r"/git/refs/(.+)", "contents", "write", move),
    Route("DELETE", r"/git/refs/(.+)", "contents", "write", drop_ref),
    Route("GET", r"/git/commits/([0-9a-f]{40})", "contents", "read", git_commit),
    Route("GET", r"/git/blobs/([0-9a-f]{40})", "contents", "read", blob),
    Route("GET", r"/git/trees/([0-9a-f]{40})", "contents", "read", tree),
    Route("POST", r"/git/blobs", "contents", "write", new_blob),
    Route("POST", r"/git/trees", "contents", "write", new_tree),
    Route("POST", r"/git/commits", "contents", "write", new_commit),
)
