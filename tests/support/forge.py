"""GitHub without GitHub: the real workflow files run by `act` against the fake, with real builds of tiny packages."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from conda_concept.localchannel import PackageSpec, index, write_interpreter, write_package
from tests.support.fakegithub import HOURLY, FakeGitHub, Issue, Pull, Run, State
from tests.support.fakegithub.state import Comment
from tests.support.tiny import package

TOP = Path(__file__).resolve().parents[2]
WORKFLOWS = TOP / ".github" / "workflows"
CALLERS = TOP / "ci" / "another-repository"
TOOL = "conda-concept/tool"
SITE = """\
name: here
root: {root}/store
scratch: {root}/scratch
cache: {root}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp, /srv]
host_libraries: [/usr/lib, /lib]
node_dir: {root}/node
"""
CONFIG = """\
version: "26.11"
description: tiny
contact: the help desk
virtual_packages:
  __glibc: "2.36"
"""
ENVIRONMENT = "name: {name}\nchannels:\n  - conda-forge\ndependencies:\n  - python\n"
#: Clones what is asked for from the fake's Git repository; the tool is a folder with a command that is this checkout's.
CHECKOUT = """\
name: checkout
description: What actions/checkout does, from a folder
inputs:
  repository: {{default: '', description: x}}
  ref: {{default: '', description: x}}
  path: {{default: '.', description: x}}
  fetch-depth: {{default: '1', description: x}}
  persist-credentials: {{default: 'true', description: x}}
runs:
  using: composite
  steps:
    - shell: bash
      env:
        REPOSITORY: ${{{{ inputs.repository }}}}
        REF: ${{{{ inputs.ref }}}}
        TO: ${{{{ inputs.path }}}}
      run: |
        set -eu
        if [ "$REPOSITORY" = {tool} ]; then rm -rf "$TO"; cp -r {root}/tool "$TO"; exit 0; fi
        rm -rf "$TO"
        git clone --quiet --no-hardlinks {root}/origin.git "$TO"
        git -C "$TO" fetch --quiet origin '+refs/pull/*:refs/remotes/pull/*'
        ref=${{REF#refs/heads/}}
        cd "$TO"
        git checkout --quiet --detach "origin/$ref" 2>/dev/null || git checkout --quiet --detach "$ref"
"""
UPLOAD = """\
name: upload
description: What actions/upload-artifact does, for one file
inputs:
  name: {{required: true, description: x}}
  path: {{required: true, description: x}}
  if-no-files-found: {{default: warn, description: x}}
  retention-days: {{default: '90', description: x}}
runs:
  using: composite
  steps:
    - shell: bash
      env:
        NAME: ${{{{ inputs.name }}}}
        FILE: ${{{{ inputs.path }}}}
      run: {python} {root}/actions/upload/put.py "{url}/_/upload/$GITHUB_RUN_ID/$NAME" "$FILE"
"""
#: What is there is put there; a clean machine has no curl.
PUT = """\
import pathlib, sys, urllib.request
url, file = sys.argv[1], pathlib.Path(sys.argv[2])
urllib.request.urlopen(urllib.request.Request(f"{url}/{file.name}", file.read_bytes(), method="PUT"), timeout=30)
"""


@dataclass(frozen=True)
class Ran:
    """A workflow that ran: each job's result by its name, what it printed, and the status of `act`."""

    jobs: dict[str, str]
    log: str
    status: int


@dataclass
class Forge:
    """A repository on the fake GitHub, a site below `root`, and `act` with the workflows of this checkout."""

    root: Path
    fake: FakeGitHub
    act: str
    numbers: Iterator[int] = field(default_factory=lambda: count(101))
    #: Another repository: its own workflow files only call those of the tool's.
    elsewhere: bool = False
    #: More of the site file: its executor.
    more_site: str = ""

    @property
    def state(self) -> State:
        return self.fake.state

    @property
    def store(self) -> Path:
        return self.root / "store"

    def prepare(self, channels: Path, *names: str) -> None:
        """The repository's first commit, the tool's folder, the two actions, the workflows with a token a job."""
        (self.root / "node").mkdir()
        (self.root / "node").chmod(0o1777)
        files: dict[str, str | None] = {"ci/sites/here.yml": SITE.format(root=self.root) + self.more_site}
        form = (TOP / ".github/ISSUE_TEMPLATE/package.yml").read_text("utf-8")
        choices = "".join(f"        - {name}\n" for name in names)
        files[".github/ISSUE_TEMPLATE/package.yml"] = re.sub(r"(?m)^ +- analysis3\n +- demo\n", choices, form)
        for name in names:
            files[f"environments/{name}/environment.yml"] = ENVIRONMENT.format(name=name)
            files[f"environments/{name}/config.yml"] = CONFIG
        self.state.commit("main", files, "Begin")
        command = self.root / "tool" / ".venv" / "bin" / "conda-concept"
        command.parent.mkdir(parents=True)
        command.write_text(
            f"#!/bin/bash\nexport PYTHONPATH={TOP / 'ci'} CONDA_CHANNEL_ALIAS={channels.as_uri()}\n"
            f'if [[ "$1" = @(candidate|deliver) ]] && [ -e {self.root}/die ]; then\n'
            f'  {sys.executable} -m conda_concept "$@" &\n'
            f"  until compgen -G '{self.store}/apps/*/releases/*/*/incomplete' >/dev/null; do\n"
            f"    sleep 0.05; kill -0 $! || {{ echo 'it ended before it could die'; break; }}\n  done\n"
            f"  kill -9 $!; rm {self.root}/die; exit 137\nfi\n"
            # `together`: both of two runs have come here before either goes on; then they wait as GitHub has them wait.
            f"together={self.root}/together\n"
            'if [ "$1" = answer ] && [ -e $together ]; then\n'
            "  touch $together/run-$GITHUB_RUN_ID\n"
            "  until [ $(ls -d $together/run-* | wc -l) = 2 ]; do sleep 0.05; done\n"
            f'  exec flock --close $together/${{QUEUE:-$GITHUB_RUN_ID}} {sys.executable} -m conda_concept "$@"\nfi\n'
            f'if [ "$1" = propose ] && [ -e {self.root}/die-early ]; then rm {self.root}/die-early; exit 137; fi\n'
            f'exec {sys.executable} -m conda_concept "$@"\n'
        )
        setup = self.root / "tool" / "ci" / "setup"
        setup.parent.mkdir()
        # `no-setup` with a number in it: after so many more that work, one does not.
        setup.write_text(
            f"#!/bin/sh\nleft={self.root}/no-setup\n[ -e $left ] || exit 0\n"
            "n=$(cat $left); rm $left; [ $n != 0 ] || exit 1; echo $((n - 1)) >$left\n"
        )
        for path in (command, setup):
            path.chmod(0o755)
        for name, text in (("checkout", CHECKOUT), ("upload", UPLOAD)):
            folder = self.root / "actions" / name
            folder.mkdir(parents=True)
            values = {"root": self.root, "tool": TOOL, "url": self.fake.url, "python": sys.executable}
            (folder / "action.yml").write_text(text.format(**values))
        (self.root / "actions" / "upload" / "put.py").write_text(PUT)
        revision = self.root / "revision"
        self.state.git("clone", "--quiet", str(self.state.git_dir), str(revision))
        folder = self.root / "tool" / ".github" / "workflows" if self.elsewhere else self.root / "workflows"
        folder.mkdir(parents=True)
        for path in sorted(WORKFLOWS.glob("*.yml")):
            self._workflow(path, folder)
        if self.elsewhere:
            (self.root / "workflows").mkdir()
            for path in sorted(CALLERS.glob("*.yml")):
                text = path.read_text("utf-8").replace("OWNER/conda-concept", TOOL).replace("site: NAME", "site: here")
                (self.root / "workflows" / path.name).write_text(_taken(text))

    def _workflow(self, path: Path, folder: Path) -> None:
        """A workflow as `act` takes it: nothing is changed but what it rejects, and each job's token has a name.

        The fake knows by that name what the real file's `permissions:` give to the job. In which queue a job waits,
        which `act` does not know, is in its environment: what may run at once waits there for its turn.
        """
        text = _taken(path.read_text("utf-8"))
        parsed = yaml.safe_load(text)
        parts = re.split(r"(?m)^  (?=[a-z]+:\n    name:)", text)
        for number, part in enumerate(parts):
            job = part.partition(":")[0]
            if number and job in parsed["jobs"]:
                token = f"{path.stem}.{job}"
                self.state.tokens[token] = {"metadata": "read", **parsed["jobs"][job].get("permissions", {})}
                queue = parsed["jobs"][job].get("concurrency", {}).get("group")
                waits = f"    env: {{QUEUE: '{queue}'}}\n" if queue else ""
                head, _, rest = part.replace("${{ github.token }}", token).partition("\n")
                parts[number] = f"  {head}\n{waits}{rest}"
        (folder / path.name).write_text("".join(parts))

    def run(
        self, workflow: str, event: str, payload: dict[str, Any], run: int = 0, *, checkout: str = "", **extra: str
    ) -> Ran:
        """One workflow for one event, as GitHub would start it; `checkout` is the commit that a plain checkout gets."""
        self.fake.left = HOURLY  # each run is in another hour: what one needs has to fit into it
        number = run or next(self.numbers)
        state = self.state
        owner, name = state.name.split("/")
        repository = {"full_name": state.name, "name": name, "owner": {"login": owner}, "default_branch": "main"}
        folder = self.root / "runs" / str(number)  # its own: another one may be under way
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        file, work = folder / "event.json", folder / "work"
        file.write_text(json.dumps({"repository": repository, **payload}))
        shutil.copytree(self.root / "revision", work)  # act wants to know one
        if checkout:  # act takes its folder for what a checkout without a path brings
            state.git("push", "--quiet", "--force", str(work), f"{checkout}:refs/heads/checkout")
            state.git("-C", str(work), "checkout", "--quiet", "checkout")
        pins = re.findall(r"uses: (actions/[a-z-]+@[0-9a-f]{40})", (WORKFLOWS / workflow).read_text())
        folders = {"actions/checkout": "checkout", "actions/upload-artifact": "upload"}
        mapped = [f"{pin}={self.root / 'actions' / folders[pin.partition('@')[0]]}" for pin in sorted(set(pins))]
        mapped.append(f"{TOOL}@{'0' * 40}={self.root / 'tool'}")
        values = {
            "GITHUB_API_URL": self.fake.url,
            "GITHUB_REPOSITORY": state.name,
            "GITHUB_RUN_ID": str(number),
            "CONDA_CONCEPT_GITHUB_PACE": "0",
            **extra,
        }
        argv = [self.act, event, "-e", str(file), "-W", str(self.root / "workflows" / workflow), "-C", str(work)]
        argv += [word for label in ("ubuntu-24.04", "self-hosted", "here") for word in ("-P", f"{label}=-self-hosted")]
        argv += [word for one in mapped for word in ("--local-repository", one)]
        argv += [word for key, value in values.items() for word in ("--env", f"{key}={value}")]
        variables = {} if self.elsewhere else {"CONDA_CONCEPT_TOOL": TOOL, "CONDA_CONCEPT_SITE": "here"}
        argv += ["--json", *(word for key, value in variables.items() for word in ("--var", f"{key}={value}"))]
        argv += ["--action-cache-path", str(self.root / "action-cache"), "--no-cache-server", "--action-offline-mode"]
        argv += ["--pull=false", "--actor", "someone"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.root), "DOCKER_HOST": "unix:///nonexistent"}
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=300)
        shutil.rmtree(folder)
        return _ran(done.stdout, done.stderr, done.returncode)

    def said(self) -> list[str]:
        """Every comment of ours in every version, in the order in which they were begun; then pull requests' texts."""
        mine = [one for one in self.state.comments if one.body.startswith("<!-- conda-concept:")]
        said = [body for one in mine for body in (*one.before, one.body)]
        return [*said, *(pull.body for pull in self.state.pulls.values() if pull.body)]

    def show(self, folder: Path) -> None:
        """All of them as files."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, body in enumerate(self.said()):
            key = re.match(r"<!-- conda-concept:(\w+)", body)
            (folder / f"{number}-{key[1] if key else ''}.md").write_text(body, "utf-8")

    # --- what happens on GitHub ---------------------------------------------------------------------------------

    def pull_request(self, pull: Pull) -> Run:
        """A push to a pull request: its workflow, whatever that made of it. Returns the run."""
        run = self.state.run_of(pull, next(self.numbers))
        head = {"sha": pull.head_sha, "ref": pull.head_branch}
        payload = {"number": pull.number, "base": {"ref": pull.base_branch}, "head": head}
        ran = self.run(
            "pull-request.yml", "pull_request", {"action": "synchronize", "pull_request": payload}, run.number
        )
        run.conclusion = ran.jobs.get("Propose", "failure")
        return run

    def ci(self, pull: Pull) -> Ran:
        """The project's own tests for a pull request."""
        payload = {"action": "synchronize", "pull_request": {"number": pull.number, "head": {"sha": pull.head_sha}}}
        return self.run("ci.yml", "pull_request", payload, checkout=pull.head_sha)

    def report(self, run: Run) -> Ran:
        """The report on a run."""
        facts = {"id": run.number, "event": run.event, "conclusion": run.conclusion, "path": run.path}
        return self.run("report.yml", "workflow_run", {"action": "completed", "workflow_run": facts})

    def dispatched(self) -> list[Ran]:
        """The builds that were started by now."""
        waiting, self.state.dispatches[:] = list(self.state.dispatches), []
        return [self._dispatch(one) for one in waiting]

    def _dispatch(self, one: dict[str, Any]) -> Ran:
        number, sha = next(self.numbers), self.state.git("rev-parse", one["ref"])
        path = f".github/workflows/{one['workflow']}"
        self.state.runs[number] = Run(number, path, "workflow_dispatch", sha, one["ref"], self.state.name)
        return self.run(one["workflow"], "workflow_dispatch", {"inputs": one.get("inputs", {})}, number)

    def issue(self, issue: Issue) -> Ran:
        """An issue that was opened just now; the event has its text as it is."""
        return self.run("quarterly.yml", "issues", {"action": "opened", "issue": _issue(issue)})

    def say(self, issue: Issue, author: str, body: str) -> Ran:
        """Somebody's comment on an issue."""
        said_as = 9000 + len(self.state.comments)
        self.state.comments.append(Comment(said_as, issue.number, author, body))
        said = {"id": said_as, "user": {"login": author}, "body": body}
        return self.run(
            "quarterly.yml", "issue_comment", {"action": "created", "comment": said, "issue": _issue(issue)}
        )

    def ended(self, workflow: str = "Build") -> Ran:
        """The end of a build or a release, as the quarterly workflow hears of it."""
        return self.run("quarterly.yml", "workflow_run", {"action": "completed", "workflow_run": {"name": workflow}})

    def comment(self, pull: Pull, author: str, body: str, *, again: int = 0) -> Ran:
        """Somebody's comment; `again` is its number where the event is delivered a second time."""
        said_as = again or 9000 + len(self.state.comments)
        if not again:
            self.state.comments.append(Comment(said_as, pull.number, author, body))
        said = {"id": said_as, "user": {"login": author}, "body": body}
        issue = {"number": pull.number, "pull_request": {"url": "x"}}
        number = next(self.numbers)
        sha = self.state.git("rev-parse", "main")
        path = ".github/workflows/build.yml"
        self.state.runs[number] = Run(number, path, "issue_comment", sha, "main", self.state.name)
        payload = {"action": "created", "comment": said, "issue": issue}
        return self.run("build.yml", "issue_comment", payload, number)

    def request(self, issue: Issue, action: str = "opened", comment: Comment | None = None) -> Ran:
        """What becomes of a request for a package that was opened, edited, or commented on."""
        event = "issue_comment" if comment else "issues"
        number, path = next(self.numbers), ".github/workflows/package-request.yml"
        self.state.runs[number] = Run(number, path, event, self.state.git("rev-parse", "main"), "main", self.state.name)
        payload: dict[str, Any] = {"action": action, "issue": _issue(issue)}
        if comment:
            said = {"id": comment.number, "user": {"login": comment.author}, "body": comment.body}
            payload |= {"action": "created", "comment": said}
        return self.run("package-request.yml", event, payload, number)

    def push(self, branch: str = "main") -> Ran:
        """A push to a branch: the release."""
        sha = self.state.git("rev-parse", f"refs/heads/{branch}")  # a tag may have the same name
        payload = {"ref": f"refs/heads/{branch}", "after": sha}
        return self.run("release.yml", "push", payload, GITHUB_REF=f"refs/heads/{branch}", GITHUB_REF_NAME=branch)


def _taken(text: str) -> str:
    """A workflow without what GitHub knows and `act` does not."""
    return re.sub(r"(?m)^( +queue: max|cache-mode: none).*\n", "", text)


def _issue(issue: Issue) -> dict[str, Any]:
    return {
        "number": issue.number,
        "user": {"login": issue.author},
        "title": issue.title,
        "body": issue.body,
        "state": issue.state,
        "labels": [{"name": name} for name in issue.labels],
    }


def _ran(out: str, err: str, status: int) -> Ran:
    jobs: dict[str, str] = {}
    log = []
    for line in out.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            log.append(line)
            continue
        log.append(str(entry.get("msg", "")).rstrip("\n"))
        if "jobResult" in entry:
            jobs[str(entry.get("job", "")).rpartition("/")[2].strip()] = entry["jobResult"]
    return Ran(jobs, "\n".join([*log, err]), status)


def make_channel(folder: Path) -> Path:
    """Python, and tiny packages: hello 1.0 and 2.0, world, more, and one that cannot be imported."""
    channel = folder / "conda-forge"
    write_interpreter(channel)
    for spec in (package("hello", "1.0"), package("hello", "2.0"), package("world", "1.0", "hello >=2")):
        write_package(channel, spec)
    write_package(channel, package("more", "1.0"))
    bad = {"lib/python3.11/site-packages/sadly/__init__.py": "raise RuntimeError('sadly not')\n"}
    write_package(
        channel, PackageSpec("sadly", "1.0", subdir="linux-64", depends=("python",), files=bad, license="MIT")
    )
    index(channel)
    return folder
