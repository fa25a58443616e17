"""One whole quarter through the real workflow files: an issue, a candidate, a release, a fix of the version before."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.localchannel import index, write_package
from tests.support.fakegithub import FakeGitHub, Fault, Issue, Pull, State
from tests.support.forge import CONFIG, TOP, Forge, make_channel
from tests.support.scheduled import unmount_all
from tests.support.tiny import package
from tests.support.user import OrdinaryUser

FORM = ".github/ISSUE_TEMPLATE/release.yml"
SPEC, CONFIGURATION, LOCK = (f"environments/tiny/{name}.yml" for name in ("environment", "config", "conda-lock"))
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
BODY = """\
### Environment

tiny

### Version

{version}

### Packages

Refresh everything

### Stable version

{stable}

### Notes

For the spring workshop.
"""


@pytest.fixture(scope="module")
def forge(ordinary_user: OrdinaryUser) -> Iterator[Forge]:
    """A repository whose version 26.07 is out; newer packages are there since."""
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    root = Path(tempfile.mkdtemp(prefix="conda-concept-quarter-", dir="/tmp"))
    root.chmod(0o755)
    try:
        state = State.make(root)
        state.people = {"maintainer": "write", "reader": "read"}
        with FakeGitHub.serve(state) as fake:
            forge = Forge(root, fake, act)
            forge.prepare(make_channel(root / "channels"), "tiny")
            form = (TOP / FORM).read_text("utf-8").replace("- analysis3", "- tiny").replace("- demo", "- other")
            files: dict[str, str | None] = {
                FORM: form,
                SPEC: state.text(SPEC) + "\n  - hello\n",
                CONFIGURATION: CONFIG.replace("26.11", "26.07  # the quarter").replace(
                    '26.07  # the quarter"', '26.07"  # the quarter'
                ),
            }
            state.commit("main", files, "Ask for hello")
            fake.faults.append(Fault("POST", "/assets$", "before", times=3))
            ran = forge.push()
            assert ran.jobs["Release tiny"] == "failure", ran.log
            assert "running the job again announces it" in ran.log or "Run the job again" in ran.log, ran.log
            assert [one.draft for one in state.releases] == [True]  # users have it, and nobody is told yet
            # Before anybody is, another build of the same version follows.
            more = state.text(CONFIGURATION) + "\nsetenv:\n  TINY_HOME: '{prefix}'\n"
            state.merge(state.open_pull("maintainer", {CONFIGURATION: more}).number)
            ran = forge.push()
            assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
            channel = root / "channels" / "conda-forge"
            for one in (package("hello", "3.0", "greeting"), package("greeting", "1.0")):
                write_package(channel, one)
            index(channel)
            yield forge
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def honest(forge: Forge) -> Iterator[None]:
    """No job asked for what its `permissions:` do not give, and every word was one of GitHub's API."""
    yield
    assert forge.fake.denied == []
    assert forge.fake.invalid == []


def writes(forge: Forge) -> int:
    """Changes that were asked of GitHub's API."""
    return sum(method in WRITES and not path.startswith("/_") for method, path, _ in forge.fake.asked)


def modules(forge: Forge) -> dict[str, str]:
    """What every name means to users."""
    envs = forge.store / "apps/conda_concept/envs"
    return {path.name: path.readlink().name for path in sorted(envs.iterdir())}


def checklist(forge: Forge, issue: Issue) -> str:
    (body,) = forge.state.said(issue.number, "quarter:checklist")
    return body


def build_everything(forge: Forge) -> None:
    """What was dispatched, and what that dispatched, and the word that each has ended; all of it twice."""
    state = forge.state
    while state.dispatches:
        waiting = list(state.dispatches)
        for ran in forge.dispatched():
            assert "failure" not in ran.jobs.values(), ran.log
        made, count = list(state.dispatches), writes(forge)
        report_again(forge, waiting[0]["inputs"])
        assert (state.dispatches, writes(forge)) == (made, count)
        state.dispatches[:] = waiting
        for ran in forge.dispatched():
            assert ran.jobs == {"Guard": "success"}, ran.log
        assert (state.dispatches, writes(forge)) == ([], count)
        state.dispatches[:] = made
        forge.ended()
        count = writes(forge)
        forge.ended()
        assert writes(forge) == count


def report_again(forge: Forge, asked: dict[str, str]) -> None:
    """The report of a build's run once more, by itself, as somebody may click: `act` would run what it needs too."""
    state = forge.state
    number = next(str(one.run) for one in reversed(state.artifacts) if one.name == "proposal")
    with tempfile.TemporaryDirectory(dir=forge.root) as folder:
        state.git("clone", "--quiet", str(state.git_dir), folder)
        words = ["report", "--repository", folder, "--site", "here", "--pull-request", asked["pull_request"]]
        words += ["--sha", asked["sha"], "--run", number]
        environ = {"GITHUB_REPOSITORY": state.name, "GITHUB_API_URL": forge.fake.url, "GITHUB_TOKEN": "build.report"}
        environ |= {"PATH": os.environ["PATH"], "GITHUB_RUN_ID": number, "CONDA_CONCEPT_GITHUB_PACE": "0"}
        command = forge.root / "tool" / ".venv" / "bin" / "conda-concept"
        done = subprocess.run([command, *words], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "tiny: solved\n"), done.stderr


def test_the_first_release_of_a_version_is_tagged_and_announced(forge: Forge) -> None:
    state = forge.state
    (release,) = state.releases
    assert (release.tag, release.draft) == ("tiny-26.07", False)
    tag = state.git("rev-parse", "refs/tags/tiny-26.07")
    assert state.git("rev-parse", "refs/heads/tiny-26.07") == tag
    # A tag does not move: what is announced is what it was made for, though users have a newer build by now.
    (first,) = re.findall(r"tiny-26\.07, build ([0-9a-f]{8})", state.text("CHANGELOG.md", tag))
    assert json.loads(release.assets[3].data)["release"]["build_id"] == first
    assert f"build `{first}`" in release.body
    assert "TINY_HOME" not in state.text(CONFIGURATION, tag)
    assert len(re.findall(r"tiny-26\.07, build", state.text("CHANGELOG.md"))) == 2
    again = forge.push()
    assert again.jobs.get("Release tiny") is None, again.log


def test_a_whole_quarter_and_the_whole_of_it_again(
    forge: Forge, ordinary_user: OrdinaryUser, envmodules_init: Path, lmod_init: Path
) -> None:
    state, before, told, start = forge.state, modules(forge), Transcript(forge), writes(forge)
    text = BODY.format(version="26.10", stable="_No response_")
    issue = state.open_issue("maintainer", "Release tiny", text, ["release"])
    told.part("Before", listed(before))
    pull = prepared(forge, issue, told)
    assert modules(forge) == before
    # What the checklist says that one should type, typed by an ordinary user.
    load = checklist(forge, issue).partition("```sh\n")[2].partition("\n```")[0].splitlines()[:2]
    for init in (envmodules_init, lmod_init):
        said = ordinary_user.bash("\n".join([f". {init}", *load, "hello"])).stdout
        assert said.split()[:2] == ["hello", "3.0"]

    released(forge, issue, pull, told)
    after = modules(forge)
    assert after["tiny-unstable"] == "tiny-26.10"
    assert after["tiny"] == after["tiny-unstable"].replace("26.10", "26.07")
    assert after["tiny-26.07"] == before["tiny-26.07"]
    for init in (envmodules_init, lmod_init):
        for name, version in (("tiny", "2.0"), ("tiny-unstable", "3.0"), ("tiny-26.07", "2.0"), ("tiny-26.10", "3.0")):
            script = f". {init}; module use {forge.store}/modules; module load conda_concept/{name}; hello"
            assert ordinary_user.bash(script).stdout.split()[:2] == ["hello", version]

    once = writes(forge) - start
    forge.issue(issue)
    forge.ended()
    forge.push()
    for workflow in ("Report", "Release"):
        forge.ended(workflow)
    assert state.dispatches == []
    assert writes(forge) - start == once
    told.part("After", listed(after))
    told.part("And again", f"The whole quarter asked for {once} changes at GitHub's API. Every event once more: 0.")
    told.compare()
    assert f"\n{once} changes at GitHub's API" in (TOP / "README.md").read_text("utf-8")


def prepared(forge: Forge, issue: Issue, told: "Transcript") -> Pull:
    """From the form to a candidate that can be tried."""
    state = forge.state
    told.part("1. Somebody fills in the form", quoted("maintainer", issue.body))
    for _ in range(2):
        ran = forge.issue(issue)
        assert ran.jobs == {"Go on": "success"}, ran.log
    (pull,) = [one for one in state.pulls.values() if one.head_branch == "release/tiny-26.10"]
    config = state.text(CONFIGURATION, pull.head_sha)
    assert 'version: "26.10"  # the quarter\nstable: "26.07"\nrefresh: "26.10"\n' in config
    told.part("2. A minute later", quoted("conda-concept, in the issue", checklist(forge, issue)))
    told.part(f"3. The pull request: {pull.title}", quoted("conda-concept", pull.body))
    assert len(state.dispatches) == 1
    build_everything(forge)
    (diff,), (build,) = state.said(pull.number, "diff:tiny"), state.said(pull.number, "build:tiny")
    assert "tiny-26.10 starts anew: everything was free to move" in diff
    told.part("4. What would change", quoted("conda-concept, in the pull request", diff))
    told.part("5. Built and tested", quoted("conda-concept, in the pull request", build))
    assert "tiny-26.10-rc1" in checklist(forge, issue)
    told.part("6. The candidate can be tried", quoted("conda-concept, in the issue", checklist(forge, issue)))
    assert state.status(pull.head_sha)[0] == "success"
    return pull


def released(forge: Forge, issue: Issue, pull: Pull, told: "Transcript") -> None:
    """From the merge to the closed issue."""
    state = forge.state
    tip = state.merge(pull.number)
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert "built once more" not in ran.log
    assert forge.push().jobs.get("Release tiny") is None
    for _ in range(2):
        forge.ended("Release")
    assert issue.state == "closed"
    assert state.git("rev-parse", "refs/tags/tiny-26.10^") == tip
    assert state.git("rev-parse", "refs/tags/tiny-26.10") == state.git("rev-parse", "refs/heads/tiny-26.10")
    release = state.releases[-1]
    assert [one.name for one in release.assets] == [
        f"tiny-26.10.{end}"
        for end in ("conda-lock.yml", "linux-64.explicit.txt", "cdx.json", "release.json", "tests.xml", "SHA256SUMS")
    ]
    for asset in release.assets:  # what was attached is what its checksum says
        digest = hashlib.sha256(asset.data).hexdigest()
        assert asset.name.endswith("SUMS") or f"{digest}  {asset.name}" in release.assets[-1].data.decode()
    assert release.assets[0].data.decode().rstrip("\n") == state.text(LOCK, "refs/tags/tiny-26.10")
    assert "- 1 that nobody asks for by name" in release.body  # greeting, which hello brings
    assert "- hello `2.0` → `3.0`" in release.body
    (merged,) = state.said(pull.number, "release:tiny")
    told.part("7. Somebody merges it", quoted("conda-concept, in the pull request", merged))
    commit = state.git("show", "-s", "--format=%s", "refs/tags/tiny-26.10")
    tag = f"Tag and branch `tiny-26.10` at the commit “{commit}”"
    assets = "\n".join(f"| {one.name} | {len(one.data):,} |" for one in release.assets)
    told.part("8. Tag, branch and release notes", f"{tag}.\n\n{quoted('the GitHub Release', release.body)}")
    told.part("9. Attached", f"| file | bytes |\n|---|--:|\n{assets}")
    told.part("10. The issue is closed", quoted("conda-concept, in the issue", checklist(forge, issue)))


def test_a_fix_of_the_version_before_touches_that_version_only(forge: Forge) -> None:
    state, before = forge.state, modules(forge)
    lock, published = state.text(LOCK), len(state.releases)
    branch = "tiny-26.07"
    spec = state.text(SPEC, f"refs/heads/{branch}") + "\n  - world\n"
    pull = state.open_pull("maintainer", {SPEC: spec}, base=branch)
    run = forge.pull_request(pull)
    forge.report(run)
    count, started = writes(forge), list(state.dispatches)
    forge.report(run)
    assert (writes(forge), state.dispatches) == (count, started)
    (diff,) = state.said(pull.number, "diff:tiny")
    assert "### tiny-26.07: 1 package changes" in diff  # hello stays at 2.0 there
    for ran in forge.dispatched():
        assert ran.jobs == {"Guard": "success", "Build tiny": "success", "Last word": "success"}, ran.log
    count = writes(forge)
    forge.report(run)
    assert (writes(forge), state.dispatches) == (count, [])
    (build,) = state.said(pull.number, "build:tiny")
    assert f"module load conda_concept/tiny-pr{pull.number}" in build
    state.merge(pull.number)
    ran = forge.push(branch)
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert "built once more" not in ran.log
    after = modules(forge)
    assert {name for name in after if after[name] != before.get(name)} == {branch}
    assert state.text(LOCK) == lock
    assert "name: world" in state.text(LOCK, f"refs/heads/{branch}")
    assert len(state.releases) == published
    assert forge.push(branch).jobs.get("Release tiny") is None

    wrong = state.text(CONFIGURATION, f"refs/heads/{branch}").replace("26.07", "26.08")
    state.merge(state.open_pull("maintainer", {CONFIGURATION: wrong + "\n"}, base=branch).number)
    ran = forge.push(branch)
    assert ran.jobs["Release tiny"] == "failure"
    assert "it is for fixes of tiny-26.07 alone" in ran.log
    assert modules(forge) == after


def test_a_version_that_goes_away_says_so_when_it_is_loaded(
    forge: Forge, ordinary_user: OrdinaryUser, envmodules_init: Path, lmod_init: Path
) -> None:
    state, before = forge.state, modules(forge)
    config = state.text(CONFIGURATION) + '\nretire: {"26.07": 2099-12-31}\n'
    state.merge(state.open_pull("maintainer", {CONFIGURATION: config}).number)
    ran = forge.push()
    assert ran.jobs["Release tiny"] == "success", ran.log
    assert "nothing to build" in ran.log
    assert forge.push().jobs.get("Release tiny") is None
    assert modules(forge) == before
    ran = forge.run("maintenance.yml", "schedule", {"schedule": "17 15 * * *"})
    assert ran.jobs.get("Prune and verify") == "success", ran.log
    use = f"module use {forge.store}/modules"
    for init in (envmodules_init, lmod_init):
        for version, warned in (("26.07", True), ("26.10", False)):
            script = f". {init}; {use}; module load conda_concept/tiny-{version}; hello; module unload conda_concept"
            done = ordinary_user.bash(script)
            assert done.stdout.startswith("hello ")
            assert ("goes away after 31 December 2099" in done.stderr) == warned, done.stderr
            assert done.stderr.count("goes away") <= 1


def test_a_form_from_outside_starts_nothing(forge: Forge) -> None:
    state = forge.state
    issue = state.open_issue("stranger", "Release $(id)`id`", BODY.format(version="26.12", stable=""), ["release"])
    before = writes(forge)
    forge.issue(issue)
    ran = forge.issue(issue)
    assert ran.jobs == {"Go on": "success"}, ran.log
    assert writes(forge) == before + 1
    (answer,) = state.said(issue.number, "answer:command")
    assert "ask a maintainer" in answer
    other = state.open_issue("maintainer", "About something else", "text", ["bug"])
    assert forge.issue(other).jobs == {}


#: So many changes are still done before a release's machine dies, each time. What they leave: users have it, lock and
#: changelog are committed, there is a tag, a branch, a draft with one file, a draft with more.
LIVES = (0, 1, 6, 1, 1, 2, 2)


def test_a_release_killed_after_any_write_is_finished_by_the_next(forge: Forge) -> None:
    state, before = forge.state, len(forge.state.releases)
    config = re.sub(r'(?m)^version: "26\.10"', 'version: "26.12"', state.text(CONFIGURATION))
    pull = state.open_pull("maintainer", {CONFIGURATION: config})
    state.merge(pull.number)
    for life in LIVES:
        forge.fake.life = life
        ran = forge.push()
        forge.fake.life = -1
        assert ran.jobs["Release tiny"] == "failure", ran.log
    (begun,) = state.releases[before:]
    assert (begun.tag, begun.draft, len(begun.assets)) == ("tiny-26.12", True, 3)
    # Nobody has made up for it when the next version is merged.
    state.merge(state.open_pull("maintainer", {CONFIGURATION: config.replace("26.12", "27.02")}).number)
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert forge.push().jobs.get("Release tiny") is None
    overtaken, newest = state.releases[before:]
    for release, version in ((overtaken, "26.12"), (newest, "27.02")):
        assert (release.tag, release.draft) == (f"tiny-{version}", False)
        assert len({one.name for one in release.assets}) == len(release.assets) == 6
        tag = state.git("rev-parse", f"refs/tags/{release.tag}")
        assert state.git("rev-parse", f"refs/heads/{release.tag}") == tag
        assert f'version: "{version}"' in state.text(CONFIGURATION, tag)
        assert state.text("CHANGELOG.md", tag).partition("\n## ")[2].startswith(f"{release.tag}, build ")
        assert release.assets[0].data.decode().rstrip("\n") == state.text(LOCK, tag)
        assert state.text("CHANGELOG.md").count(f"## {release.tag}, build") == 1
    assert state.git("rev-parse", "main") == state.git("rev-parse", "refs/tags/tiny-27.02")
    assert len(state.said(pull.number, "release:tiny")) == 1
    assert modules(forge)["tiny-unstable"] == "tiny-27.02"


def test_the_clock_opens_an_issue_and_retry_goes_on(forge: Forge) -> None:
    state = forge.state
    files: dict[str, str | None] = {
        "environments/clock/environment.yml": state.text(SPEC).replace("tiny", "clock"),
        "environments/clock/config.yml": CONFIG.replace("26.11", "20.01") + "quarterly: true\n",
        FORM: state.text(FORM).replace("- other", "- clock"),
    }
    state.git("update-ref", "refs/tags/clock-20.01", state.commit("main", files, "Add clock"))
    for _ in range(2):
        ran = forge.run("quarterly.yml", "schedule", {"schedule": "41 14 * * *"})
        assert ran.jobs == {"Go on": "success"}, ran.log
    (issue,) = [one for one in state.issues.values() if one.title.startswith("Release clock-")]
    (pull,) = [one for one in state.pulls.values() if one.head_branch.startswith("release/clock-")]
    assert [one["inputs"]["pull_request"] for one in state.dispatches] == [str(pull.number)]

    state.dispatches.clear()  # nothing comes of it, and nobody says why
    for who in ("reader", "maintainer"):
        assert forge.say(issue, who, "/retry").jobs == {"Go on": "success"}
    assert [one.reactions[0][1] for one in state.comments if one.body == "/retry"] == ["confused", "+1"]
    assert [one["inputs"]["sha"] for one in state.dispatches] == [pull.head_sha]
    assert forge.say(issue, "maintainer", "I would /retry").jobs == {}

    state.dispatches.clear()
    issue.body = issue.body.replace("Refresh everything", "Keep the packages that are there")
    assert forge.say(issue, "maintainer", "/retry").jobs == {"Go on": "success"}
    (answer,) = state.said(issue.number, "answer:command")
    assert "was edited after the work on it had begun" in answer
    assert state.dispatches == []


# --- the example that is kept ---------------------------------------------------------------------------------------


def quoted(who: str, text: str) -> str:
    """What somebody wrote, told apart from the transcript itself."""
    shown = "\n".join(f"> {line}".rstrip() for line in text.rstrip("\n").split("\n"))
    return f"**{who}:**\n\n{shown}"


def listed(names: dict[str, str]) -> str:
    """What `module avail` and `envs/` lead to."""
    rows = "\n".join(f"| `conda_concept/{name}` | `{to}` |" for name, to in names.items())
    return f"| name | means |\n|---|---|\n{rows}"


class Transcript:
    """One quarter as people see it. `.github/gallery/quarter.md` is one that is kept."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.parts = ["# One whole quarter", "What the real workflow files wrote when the tests ran them."]

    def part(self, title: str, text: str) -> None:
        text = text.replace(str(self.forge.root / "store"), "/g/data/hh5/public")
        text = text.replace(self.forge.fake.url, "https://github.com")
        self.parts.append(f"## {title}\n\n{text}")

    def compare(self) -> None:
        """Write it, for the gallery; the example that is kept has to have the same parts and the same sentences."""
        text = "\n\n".join(self.parts) + "\n"
        folder = TOP / ".cache"
        folder.mkdir(exist_ok=True)
        (folder / "quarter.md").write_text(text, "utf-8")
        kept = (TOP / ".github" / "gallery" / "quarter.md").read_text("utf-8")
        assert plain(kept) == plain(text), "it reads differently now: cp .cache/quarter.md .github/gallery/"


def plain(text: str) -> list[str]:
    """Without what is another number every time: digests, bytes, seconds, dates, and which imports were slow."""
    text = re.sub(r"(?s)> <details><summary>Slowest.*?</details>", "", text)
    text = re.sub(r"(?m)<sub>.*</sub>$", "", text)
    return re.findall(r"[A-Za-z]{3,}", re.sub(r"`[^`\n]*`|[0-9a-f]{8,}|\([^)\n]*\)", "", text))
