"""Answers to package requests: with faults between any two steps, twice, at once, forged, hostile, and again later."""

import datetime as dt
import hashlib
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from conda_concept.cli import run
from conda_concept.errors import ConcError, RefusedError
from conda_concept.forms import digest
from conda_concept.github import Hub
from conda_concept.lockfile import dumps as lock_text
from conda_concept.locking import Wish, solve
from conda_concept.progress import Reporter
from conda_concept.repository import Repository
from conda_concept.requesting import FORM, LABEL, Asked, Finding, dumps, loads
from conda_concept.solver import Settings
from conda_concept.steps import answer
from conda_concept.steps.answer import Answered, Answering, Call, call_of, wanted_in
from conda_concept.steps.look import Looker
from tests.support.fakegithub import FakeGitHub, Fault, Issue, State
from tests.support.fakegithub.state import BOT, Run
from tests.support.wheels import make_wheel

TOP = Path(__file__).resolve().parents[2]
QUIET = Reporter(StringIO(), quiet=True)
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
CONFIG = 'version: "26.11"\n'
ENVIRONMENT = "name: {name}\nchannels:\n  - conda-forge\ndependencies:\n  - python\n  - hello\n"
#: What `permissions:` of the workflow's second job say; the first one has nothing that could write.
RIGHTS = {"actions": "write", "contents": "write", "issues": "write", "pull-requests": "write", "statuses": "write"}
#: Names, versions, what they need, and when they came (milliseconds).
PACKAGES = (
    ("python", "3.11.9", (), 1_760_000_000_000),
    ("hello", "1.0", ("python",), 1_500_000_000_000),
    ("hello", "2.0", ("python",), 1_763_900_000_000),
    ("world", "1.0", ("hello >=1",), 1_500_000_000_000),
    ("new-world", "1.0", ("hello >=2",), 1_763_000_000_000),
    ("old-world", "1.0", ("hello <2",), 1_700_000_000_000),
    ("conda_name", "1.0", ("python",), 1_700_000_000_000),
)


def form(package: str, version: str = "_No response_", *, source: str = "any conda channel", why: str = "x") -> str:
    answers = {"Package": package, "Environment": "tiny", "Where it comes from": source, "Version": version, "Why": why}
    return "\n\n".join(f"### {label}\n\n{answer}" for label, answer in answers.items())


@dataclass
class Desk:
    """A repository on the fake GitHub with two environments, a checkout of its main branch, and a channel by name."""

    fake: FakeGitHub
    folder: Path
    runs: int = 500

    @property
    def state(self) -> State:
        return self.fake.state

    @property
    def settings(self) -> Settings:
        index = (self.folder / "index").as_uri()
        return Settings(channel_alias=(self.folder / "channels").as_uri(), now=NOW, pip_index=index)

    def checkout(self) -> Repository:
        folder = self.folder / "checkout"
        if folder.exists():
            subprocess.run(["git", "-C", folder, "pull", "--quiet"], check=True)
        else:
            subprocess.run(["git", "clone", "--quiet", self.state.git_dir, folder], check=True)
        return Repository(folder)

    def ask(self, text: str, author: str = "researcher") -> Issue:
        return self.state.open_issue(author, "Add a package", text, [LABEL])

    def look(self, issue: Issue) -> Finding:
        repository = self.checkout()
        wanted = wanted_in(repository, issue.number, issue.body)
        return Looker(repository, self.settings, QUIET, digest(issue.body)).look(wanted)

    def hub(self) -> Hub:
        return self.fake.hub("answer", self.runs)

    def answer(self, issue: Issue, finding: Finding | str | None, call: Call | None = None) -> Answered:
        """The second job, after the first one found that (a text: it handed over that; None: nothing)."""
        self.runs += 1
        sha = self.state.git("rev-parse", "main")
        path = ".github/workflows/package-request.yml"
        self.state.runs[self.runs] = Run(self.runs, path, "issues", sha, "main", self.state.name)
        if finding is not None:
            text = finding if isinstance(finding, str) else dumps(finding)
            self.state.keep(self.runs, "request", {"request.json": text.encode()})
        answering = Answering(self.hub(), self.checkout(), "main", self.runs, NOW)
        return answering.make(call or Call(issue.number, issue.body))

    def said(self, issue: Issue) -> str:
        (body,) = self.state.said(issue.number, "request:answer")
        return body

    def writes(self) -> int:
        return sum(1 for method, _, _ in self.fake.asked if method != "GET")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    records: dict[str, dict[str, object]] = {}
    for name, version, depends, timestamp in PACKAGES:
        facts = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": list(depends)}
        facts |= {"subdir": "linux-64", "md5": "a" * 32, "sha256": "b" * 64, "size": 1000, "timestamp": timestamp}
        records[f"{name}-{version}-0.conda"] = facts | {"license": "MIT"}
    for subdir, some in (("linux-64", records), ("noarch", {})):
        folder = tmp_path / "channels" / "conda-forge" / subdir
        folder.mkdir(parents=True)
        (folder / "repodata.json").write_text(json.dumps({"packages": {}, "packages.conda": some}))
    for name in ("conda-name", "only-pip"):
        page = tmp_path / "index" / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<a href="../{name.replace("-", "_")}-1.5-py3-none-any.whl">x</a>')
    state = State.make(tmp_path)
    state.people = {"maintainer": "write", "reader": "read"}
    state.tokens = {"answer": {"metadata": "read", **RIGHTS}}
    text = (TOP / FORM).read_text("utf-8").replace("- analysis3\n", "- tiny\n").replace("- demo\n", "- other\n")
    files: dict[str, str | None] = {FORM: text}
    for name in ("tiny", "other"):
        files[f"environments/{name}/environment.yml"] = ENVIRONMENT.format(name=name)
        files[f"environments/{name}/config.yml"] = CONFIG
    state.commit("main", files)
    with FakeGitHub.serve(state) as fake:
        made = Desk(fake, tmp_path)
        repository = made.checkout()
        locks = {
            f"environments/{name}/conda-lock.yml": lock_text(
                solve(repository.spec(name), None, Wish(), made.settings, QUIET).lock
            )
            for name in ("tiny", "other")
        }
        state.commit("main", dict(locks))
        state.commit("tiny-26.09", {}, start="refs/heads/main")
        fake.asked.clear()
        yield made
        assert fake.invalid == []
        assert fake.denied == []


# --- once -------------------------------------------------------------------------------------------------------------


def the_end(desk: Desk) -> tuple[object, ...]:
    """What is there in the end, numbers of objects aside."""
    state = desk.state
    (pull,) = state.pulls.values()
    (issue,) = state.issues.values()
    commits = state.git("rev-list", f"main..{pull.head_branch}").split()
    spec = state.text("environments/tiny/environment.yml", pull.head_branch)
    words = desk.said(issue).rpartition("\n<sub>")[0]
    return pull.title, pull.body, pull.head_sha == commits[0], len(commits), spec, words, state.status(pull.head_sha)


def test_twice_is_once(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    assert desk.answer(issue, finding) == Answered(1, "solved", 2)
    once, count = the_end(desk), desk.writes()
    assert count == 9  # branch, blob, tree, commit, branch's end, pull request, dispatch, status, answer
    for _ in range(2):
        assert desk.answer(issue, finding) == Answered(1, "solved", 2)
    assert (the_end(desk), desk.writes()) == (once, count)
    assert len(desk.state.dispatches) == 1


@pytest.mark.parametrize("kind", ["before", "lost"])
@pytest.mark.parametrize("number", range(1, 10))
def test_a_fault_at_any_write_leaves_what_the_next_run_finishes(desk: Desk, kind: str, number: int) -> None:
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    seen: list[str] = []

    def fail(method: str, path: str) -> None:
        if method != "GET":
            seen.append(path)
            if len(seen) == number:
                # The very same request fails as often as it is sent again; a lost answer is lost once.
                desk.fake.faults.append(Fault(method, f"^{re.escape(path)}$", kind, 9 if kind == "before" else 1))

    desk.fake.before = fail
    try:
        desk.answer(issue, finding)
    except ConcError:
        pass
    else:
        assert kind == "lost" or number == 0, "a step that failed was not noticed"
    desk.fake.before = lambda *_: None
    desk.fake.faults.clear()
    desk.answer(issue, finding)
    pull = desk.state.pulls[2]
    assert the_end(desk)[:4] == ("Add world to tiny", pull.body, True, 1)
    assert "pull request #2 asks for it in your name" in desk.said(issue)
    assert desk.state.status(pull.head_sha)[0] == "pending"
    # Once, or once more where it ended between the dispatch and the note that it was made; never not at all.
    assert len(desk.state.dispatches) in ((1, 2) if number in (7, 8) else (1,))


def test_main_that_moves_on_the_way_changes_nothing(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    desk.fake.faults.append(Fault("POST", "/git/trees", "before", 1))
    with pytest.raises(ConcError):
        desk.answer(issue, finding)
    desk.state.commit("main", {"README.md": "moved\n"})
    desk.answer(issue, finding)
    assert the_end(desk)[2:4] == (True, 1)


# --- who else asks ---------------------------------------------------------------------------------------------------


def test_two_who_ask_for_the_same_get_one_pull_request(desk: Desk) -> None:
    first, second = desk.ask(form("conda_name"), "a"), desk.ask(form("conda.NAME", source="PyPI"), "b")
    findings = desk.look(first), desk.look(second)
    assert [one.asked.text for one in findings] == ["conda_name", "conda_name"]
    desk.answer(second, findings[1])
    desk.answer(first, findings[0])
    (pull,) = desk.state.pulls.values()
    assert "The same package is asked for in #1." in desk.said(second)
    assert "conda-forge has it as `conda_name`, so it would come from there and not from PyPI." in desk.said(second)
    assert "The same package is asked for in #2." in desk.said(first)
    assert "pull request #3 asks for this package already" in desk.said(first)
    assert pull.body.split("\n")[-4:] == ["Also asked for by @a in #1.", "", "Closes #1", ""]
    count = desk.writes()
    desk.answer(first, findings[0])
    assert desk.writes() == count


def test_two_runs_at_once_leave_what_one_leaves(desk: Desk) -> None:
    """GitHub queues them (tests/unit/test_workflows.py); even if it did not, there would be one pull request."""
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    desk.checkout()
    barrier, failures = threading.Barrier(2), []

    def one() -> None:
        barrier.wait()
        try:
            desk.answer(issue, finding)
        except (ConcError, subprocess.CalledProcessError) as error:  # two checkouts are made in one folder, too
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) < 2
    desk.answer(issue, finding)
    (pull,) = desk.state.pulls.values()
    assert len(desk.state.git("rev-list", f"main..{pull.head_branch}").split()) == 1
    assert pull.head_sha == desk.state.git("rev-parse", pull.head_branch)


def test_two_requests_at_once_each_get_their_own(desk: Desk) -> None:
    asked = [desk.ask(form(name), name) for name in ("world", "conda_name")]
    findings = [desk.look(issue) for issue in asked]
    main, barrier = desk.checkout(), threading.Barrier(2)
    answering = []
    for number, finding in enumerate(findings, start=900):
        path, sha = ".github/workflows/package-request.yml", desk.state.git("rev-parse", "main")
        desk.state.runs[number] = Run(number, path, "issues", sha, "main", desk.state.name)
        desk.state.keep(number, "request", {"request.json": dumps(finding).encode()})
        answering.append(Answering(desk.hub(), main, "main", number, NOW))

    def one(number: int) -> None:
        barrier.wait()
        answering[number].make(Call(asked[number].number, asked[number].body))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for issue, name in zip(asked, ("world", "conda_name"), strict=True):
        (pull,) = [one for one in desk.state.pulls.values() if one.head_branch == f"request/{issue.number}"]
        changed = desk.state.git("diff", "--unified=0", "main", pull.head_sha)
        assert re.findall(r"(?m)^[+-](?![+-]).*", changed) == [f"+  - {name}"]
        assert f"pull request #{pull.number} asks for it in your name" in desk.said(issue)
    assert len(desk.state.dispatches) == 2


def test_a_version_that_is_over_is_nowhere_any_more(desk: Desk) -> None:
    path = "environments/tiny/config.yml"
    for day, listed in (("2026-11-24", True), ("2026-11-23", False)):  # NOW is the first of them
        desk.state.commit("main", {path: f'{CONFIG}retire: {{"26.09": {day}}}\n'})
        issue = desk.ask(form("hello"))
        desk.answer(issue, desk.look(issue))
        assert ("| tiny-26.09 |" in desk.said(issue)) == listed
        assert "| tiny-26.11 |" in desk.said(issue)


def test_an_entry_that_is_there_keeps_what_is_not_asked_about(desk: Desk) -> None:
    path = "environments/tiny/environment.yml"
    text = desk.state.text(path) + "\n"
    desk.state.commit("main", {path: text.replace("- hello", "- conda-forge::hello * 0*")})
    issue = desk.ask(form("hello", "<2"))
    desk.answer(issue, desk.look(issue))
    words = "It is asked for already, as `conda-forge::hello * 0*`; that line becomes `conda-forge::hello <2 0*`."
    (pull,) = desk.state.pulls.values()
    assert words in desk.said(issue)
    assert words in pull.body
    assert "- conda-forge::hello <2 0*" in desk.state.text(path, "request/1").split("\n")[-1]
    desk.state.commit("main", {path: text.replace("- hello", "- hello[version='>=1']")})
    other = desk.ask(form("hello", "<2"), "somebody")
    desk.state.pulls.clear()
    desk.answer(other, desk.look(other))
    assert "a person has to change line 6" in desk.said(other)
    assert desk.state.pulls == {}


def test_one_person_does_not_fill_the_list(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MOST_OPEN", 1)
    for author, expected in (("kim", 1), ("maintainer", 3)):
        before = len(desk.state.pulls)
        for name in ("world", "conda_name") if author == "kim" else ("old-world", "new-world"):
            issue = desk.ask(form(name), author)
            desk.answer(issue, desk.look(issue))
        assert len(desk.state.pulls) == expected, before
    assert "1 requests of yours are open" in desk.said(desk.state.issues[3])


def test_two_different_ones_do_not_touch(desk: Desk) -> None:
    issues = [desk.ask(form(name)) for name in ("world", "conda_name")]
    findings = [desk.look(issue) for issue in issues]
    for issue, finding in zip(issues, findings, strict=True):
        desk.answer(issue, finding)
    assert [one.head_branch for one in desk.state.pulls.values()] == ["request/1", "request/2"]
    assert not any("The same package" in desk.said(issue) for issue in issues)


def test_a_pull_request_that_is_over_is_not_opened_again(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    desk.answer(issue, finding)
    desk.state.pulls[2].state = "closed"
    desk.answer(issue, finding)
    assert "pull request #2 asked for it and was closed" in desk.said(issue)
    desk.state.pulls[2].state = "open"
    desk.state.merge(2)
    desk.answer(issue, desk.look(issue))
    assert "pull request #2 asked for it and is merged" in desk.said(issue)
    assert len(desk.state.pulls) == 1


# --- what is found out -----------------------------------------------------------------------------------------------


def told(desk: Desk, text: str) -> str:
    issue = desk.ask(text)
    desk.answer(issue, desk.look(issue))
    issue.state = "closed"
    return desk.said(issue)


def test_what_it_would_bring(desk: Desk) -> None:
    words = told(desk, form("old-world"))
    assert "### ✅ `old-world` fits into tiny-26.11" in words
    assert "⬇️" in words
    assert "| `2.0` | `1.0` |" in words
    words = told(desk, form("world"))
    assert "last upload 2017-07-14, 9 years ago (⚠️ perhaps nobody looks after it any more)" in words
    assert "licence MIT; 1\N{NO-BREAK SPACE}kB; 1 version." in words


def test_what_is_there_already_and_where(desk: Desk) -> None:
    words = told(desk, form("hello", ">=1"))
    assert "### ✅ `hello >=1` is in tiny-26.11 already" in words
    for label, why in (("other-26.11", "asked for: `hello`"), ("tiny-26.11", "asked for: `hello`")):
        assert f"| {label} | `2.0` | {why} |" in words
    assert "| tiny-26.09 | `2.0` | in its lock |" in words
    assert desk.state.pulls == {}


def test_another_version_of_what_is_there_changes_its_line(desk: Desk) -> None:
    words = told(desk, form("hello", "1.0"))
    assert "### ✅ `hello 1.0.*` fits into tiny-26.11" in words
    spec = desk.state.text("environments/tiny/environment.yml", "request/1")
    assert spec.split("\n")[-2:] == ["  - python", "  - hello 1.0.*"]


def test_what_is_only_elsewhere(desk: Desk) -> None:
    words = told(desk, form("only_pip"))
    assert "No package is called `only_pip` in the channels of tiny" in words
    assert "PyPI has a `only-pip` 1.5; it can be asked for from there." in words
    words = told(desk, form("conda-name", "==9", source="PyPI"))
    assert "conda-forge has `conda_name` too, but not in that version, so it would come from PyPI." in words
    assert "Nothing with a similar name" in told(desk, form("qqqqqqqqqq"))
    words = told(desk, form("hello", source="accessnri"))
    assert "### ⛔ `accessnri::hello` cannot be taken into tiny" in words
    assert "`tiny` takes packages from conda-forge, and not from accessnri." in words


class _Index(SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        """Nothing."""


@pytest.fixture
def secure_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, str]]]:
    """An index as PyPI is one, with a wheel, behind HTTPS; and what a process has to know to trust it."""
    key, certificate, served = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "served"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    wheel = make_wheel(served / "files", "only-pip", "1.5", metadata=["Requires-Dist: conda-name"])
    page = served / "simple" / "only-pip" / "index.html"
    page.parent.mkdir(parents=True)
    proof = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page.write_text(f'<a href="/files/{wheel.name}#sha256={proof}">{wheel.name}</a>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Index, directory=str(served)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    yield f"https://127.0.0.1:{server.server_port}/simple", {"REQUESTS_CA_BUNDLE": str(certificate)}
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_package_of_pypi_goes_below_pip_where_its_host_is_allowed(
    desk: Desk, secure_index: tuple[str, dict[str, str]]
) -> None:
    index, environ = secure_index
    issue = desk.ask(form("Only_Pip", "1.5", source="PyPI"))
    settings = replace(desk.settings, pip_index=index, environ=environ)

    def look() -> Finding:
        repository = desk.checkout()
        wanted = wanted_in(repository, issue.number, issue.body)
        return Looker(repository, settings, QUIET, digest(issue.body)).look(wanted)

    desk.answer(issue, look())
    assert "### ❌ `only-pip==1.5.*` does not fit into tiny-26.11" in desk.said(issue)  # it needs what is nowhere
    path = "environments/tiny/environment.yml"
    rest = desk.state.text(path) + "\n  - conda_name\n"
    desk.state.commit("main", {path: rest})
    desk.answer(issue, look())
    assert "### ⛔ `only-pip==1.5.*` cannot be taken into tiny" in desk.said(issue)
    assert "is not among `pip_hosts`" in desk.said(issue)
    desk.state.commit("main", {"environments/tiny/config.yml": f"{CONFIG}pip_hosts: [127.0.0.1]\n"})
    desk.answer(issue, look())
    assert "### ✅ `only-pip==1.5.*` fits into tiny-26.11" in desk.said(issue)
    assert "the newest in PyPI is `1.5`" in desk.said(issue)
    spec = desk.state.text(path, "request/1")
    assert spec == f"{rest}  - pip:\n    - only-pip==1.5.*"


def test_why_it_does_not_fit(desk: Desk) -> None:
    state = desk.state
    spec = state.text("environments/tiny/environment.yml")
    state.commit("main", {"environments/tiny/environment.yml": spec.replace("- hello", "- hello <2") + "\n"})
    words = told(desk, form("new-world"))
    assert "### ❌ `new-world` does not fit into tiny-26.11 as it is" in words
    assert "ask for `hello` instead of `hello <2`" in words
    assert state.pulls == {}


def test_a_channel_that_cannot_be_read_is_our_failure(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    (desk.folder / "channels" / "conda-forge" / "linux-64" / "repodata.json").write_text("{")
    desk.answer(issue, desk.look(issue))
    assert "was not looked into, because something failed on our side" in desk.said(issue)
    assert "Nothing is wrong with your request" in desk.said(issue)


# --- what is not ours ------------------------------------------------------------------------------------------------

HOSTILE = {
    "a heading inside": form("world\n\n### Environment\n\nother"),
    "the fields twice": form("world") + "\n\n" + form("hello"),
    "an option that is not offered": form("world").replace("\ntiny\n", "\nprod\n"),
    "no answer": form("_No response_"),
    "text before": "<script>alert(1)</script>\n\n" + form("world"),
    "shell": form("world; touch /tmp/conda-concept-was-here; $(id) `id`"),
    "a version": form("world", "1 || rm -rf /"),
    "a number too long": form("world", ">=" + "9" * 150),
    "html and mentions": form("<img src=x onerror=alert(1)> @climate/all [x](javascript:y) #1"),
    "an address": form("https://evil.example/channel::world"),
    "an expression": form("${{ github.token }}"),
    "a path": form("../../etc/passwd"),
    "an option of pip": form("--index-url=https://evil.example/", source="PyPI"),
    "a direct address": form("x @ https://evil.example/x.whl", source="PyPI"),
    "letters that look like others": form("wоrld"),
    "right to left": form("wor\u202eld"),
    "a line end": form("world\u2028x"),
    "nothing": "",
    "65,000 headings": "### \n" * 13_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_forms_are_answered_in_words_and_start_nothing(desk: Desk, what: str) -> None:
    issue = desk.ask(HOSTILE[what], "mallory")
    before = desk.state.git("for-each-ref")
    assert desk.answer(issue, None) == Answered(1, "invalid")
    words = desk.said(issue)
    assert "### ✏️ This form cannot be read as it is" in words
    rendered = re.sub(r"`+[^`]*`+", "", words.partition("\n")[2])
    assert not re.search(r"<(?!sub>|/sub>)|@climate|\]\(javascript|#1\b|[\u202a-\u202e\u2028]", rendered), rendered
    assert len(words) < 10_000
    assert "issue " not in words.partition("\n- ")[2]  # it is said by line
    assert desk.writes() == 1
    assert desk.state.git("for-each-ref") == before


def forged(finding: Finding, **changed: object) -> str:
    return json.dumps(json.loads(dumps(finding)) | changed)


def test_what_the_first_job_hands_over_is_checked_to_the_last_string(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    good = desk.look(issue)
    lock = good.part.lock if good.part else ""
    evil = {
        "name": "tiny",
        "outcome": "solved",
        "lock": lock.replace("https://conda.anaconda.org", "https://evil.example"),
    }
    other = desk.look(desk.ask(form("conda_name")))
    for text in (
        "{",
        "[" * 100_000,
        forged(good, name="conda_name"),
        forged(good, environment="other"),
        forged(good, outcome="unsolvable"),
        forged(good, extra=1),
        forged(good, digest="0" * 64),
        forged(good, base="0" * 40),
        forged(good, version=">=2\n- evil"),
        forged(good, channel="evil"),
        forged(good, part=evil),
        forged(good, part={"name": "tiny", "outcome": "solved", "lock": "x"}),
        dumps(other),
    ):
        assert desk.answer(issue, text).outcome == "failed", text[:200]
        assert "evil.example" not in desk.said(issue).replace("`", "")[:200]
    assert desk.answer(issue, None).outcome == "failed"
    assert "our job ended before it had an answer" in desk.said(issue)
    assert desk.state.pulls == {}
    assert loads(dumps(good)) == good
    assert desk.answer(issue, good).outcome == "solved"


def test_words_of_the_first_job_are_shown_as_they_are(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    facts = {
        "newest": "<b>@climate/all</b> | `x`",
        "origin": "[a](javascript:b)",
        "license": "<script>",
        "uploaded": "",
    }
    desk.answer(issue, forged(desk.look(issue), facts=facts, notes=["#1 <img src=x> `@a` @b"]))
    shown = re.sub(r"`+[^`]*`+", "", desk.said(issue).partition("\n")[2])
    assert not re.search(r"<(?!sub>|/sub>)|@\w|(?<!\\)\]\(javascript|(?<!request )#1\b", shown), shown


def test_an_answer_is_for_the_text_that_was_looked_at(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    finding = desk.look(issue)
    call = Call(issue.number, issue.body)
    issue.body = form("conda_name")
    with pytest.raises(RefusedError, match="was edited meanwhile"):
        desk.answer(issue, finding, call)
    issue.labels.clear()
    with pytest.raises(RefusedError, match="no open issue with the label"):
        desk.answer(issue, finding)
    assert desk.writes() == 0


def test_a_changed_mind_does_not_change_an_open_pull_request(desk: Desk) -> None:
    issue = desk.ask(form("world"))
    desk.answer(issue, desk.look(issue))
    before = desk.state.git("for-each-ref")
    for text in (form("world", why="Other words."), form("conda_name"), form("world", ">=1")):
        issue.body = text
        desk.answer(issue, desk.look(issue))
        changed = "other words" not in text.lower()
        assert ("was opened for what stood here before" in desk.said(issue)) == changed
    assert desk.state.git("for-each-ref") == before
    assert len(desk.state.pulls) == 1


def test_the_same_from_a_terminal(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    repository = desk.checkout()
    site = desk.folder / "site.yml"
    site.write_text(f"name: here\nroot: {desk.folder}\nscratch: {desk.folder}\ncache: {desk.folder}/cache\n")
    common = ["--repository", str(repository.root), "--site", str(site), "--quiet"]
    common += ["--channel-alias", desk.settings.channel_alias]

    def request(*words: str) -> tuple[int, str]:
        status = run(["request", *words, *common], {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"})
        out = capsys.readouterr()
        return status, out.out + out.err

    path = repository.root / "environments" / "tiny" / "environment.yml"
    before = path.read_text()
    status, words = request("world", "--env", "tiny", "--dry-run")
    assert status == 0
    assert "✅ world fits into tiny-26.11" in words
    assert path.read_text() == before
    status, words = request("conda-forge::world", "--env", "tiny", "--version", ">=1", "--write")
    assert (status, path.read_text()) == (0, before.rstrip("\n") + "\n  - conda-forge::world >=1\n")
    assert "written: environments/tiny/environment.yml" in words
    status, words = request("world", "--env", "tiny", "--version", ">=9", "--json")
    data = json.loads(words)
    assert (status, data["outcome"], data["line"]) == (3, "unsolvable", "world >=9")
    asked = ("hello --env tiny", "wolrd --env tiny", "x::y --env tiny")
    assert [request(*words.split())[0] for words in asked] == [0, 11, 12]
    status, words = request("world")
    assert (status, "which environment? --env NAME; there are: other, tiny." in words) == (2, True)
    assert request("a b", "--env", "tiny")[0] == 2
    assert request("c::a", "--pip", "--env", "tiny")[0] == 2


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("issues", {"action": "labeled", "issue": {"number": 1}}),
        ("issues", {"action": "opened", "issue": {"number": 1, "pull_request": {}}}),
        ("issues", {"action": "opened"}),
        ("issue_comment", {"action": "edited", "issue": {"number": 1}, "comment": {"id": 1, "body": "/retry"}}),
        ("issue_comment", {"action": "created", "issue": {"number": 1}, "comment": {"id": 1, "body": "/retry now"}}),
        ("issue_comment", {"action": "created", "issue": {"number": 1}, "comment": {"id": 1, "body": "> /retry"}}),
        ("pull_request", {"action": "opened", "issue": {"number": 1}}),
    ],
)
def test_other_events_are_no_calls(name: str, event: dict[str, object]) -> None:
    with pytest.raises(RefusedError):
        call_of(name, event)


def test_one_request_has_one_key() -> None:
    one = Asked("tiny", "conda_name")
    assert one.key == Asked("tiny", "conda-name", "pip", "==1.*").key
    assert one.key != Asked("other", "conda_name").key
    assert BOT not in one.key
