"""Requests for packages: the real workflow file, run by `act` against the fake GitHub, from the form to the release."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conda_concept.localchannel import index, write_package
from tests.support.fakegithub import FakeGitHub, Issue, Pull, State
from tests.support.fakegithub.state import BOT, Comment
from tests.support.forge import ENVIRONMENT, Forge, make_channel
from tests.support.scheduled import unmount_all
from tests.support.tiny import package
from tests.support.user import OrdinaryUser

SPEC = "environments/tiny/environment.yml"
#: What everybody saw, for reading, and for the gallery.
SAID = Path(__file__).resolve().parents[2] / ".cache" / "comments-requests"
BOTH = {"Look into it": "success", "Answer": "success"}
LABEL = "package request"


@pytest.fixture(scope="module")
def forge(ordinary_user: OrdinaryUser) -> Iterator[Forge]:
    """One repository whose first release is out; every test opens its own issues."""
    act = shutil.which("act")
    assert act, "act is not installed; run ./ci/setup"
    root = Path(tempfile.mkdtemp(prefix="conda-concept-forge-", dir="/tmp"))
    root.chmod(0o755)
    try:
        state = State.make(root)
        state.people = {"maintainer": "write", "reader": "read"}
        with FakeGitHub.serve(state) as fake:
            forge = Forge(root, fake, act)
            forge.prepare(make_channel(root / "channels"), "tiny")
            ran = forge.push()
            assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
            yield forge
            forge.show(SAID)
    finally:
        unmount_all(ordinary_user, root)
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def honest(forge: Forge) -> Iterator[None]:
    """No job asked for what its `permissions:` do not give, and every word was one of GitHub's API."""
    yield
    assert forge.fake.denied == []
    assert forge.fake.invalid == []
    for issue in forge.state.issues.values():
        issue.state = "closed"
    for pull in forge.state.pulls.values():
        pull.state = "closed"


def form(
    package: str, *, version: str = "_No response_", source: str = "any conda channel", why: str = "Science."
) -> str:
    """What GitHub makes of the form."""
    answers = {"Package": package, "Environment": "tiny", "Where it comes from": source, "Version": version, "Why": why}
    return "\n\n".join(f"### {label}\n\n{answer}" for label, answer in answers.items())


def opened(forge: Forge, author: str, text: str) -> Issue:
    return forge.state.open_issue(author, "Add a package: x", text, [LABEL])


def answered(forge: Forge, issue: Issue) -> str:
    (body,) = forge.state.said(issue.number, "request:answer")
    return body


def asked_for(forge: Forge, pull: Pull) -> list[str]:
    """The lines that a pull request changes, against the main branch."""
    changed = forge.state.git("diff", "--unified=0", "main", pull.head_sha)
    return re.findall(r"(?m)^[+-](?![+-]).*", changed)


def writes(forge: Forge) -> int:
    return sum(1 for method, path, _ in forge.fake.asked if method != "GET" and not path.startswith("/_"))


def test_from_the_form_to_the_release_and_twice_is_once(forge: Forge) -> None:
    state = forge.state
    issue = opened(forge, "researcher", form("hello", version=">=2"))
    ran = forge.request(issue)
    assert ran.jobs == BOTH, ran.log
    (pull,) = [one for one in state.pulls.values() if one.author == BOT]
    words = answered(forge, issue)
    assert "### ✅ `hello >=2` fits into tiny-26.11" in words
    assert f"pull request #{pull.number} asks for it in your name" in words
    assert "#### tiny-26.11: 1 package changes, 1 asked for" in words
    assert "the newest in conda-forge is `2.0`" in words
    assert (pull.title, pull.head_branch) == ("Add hello >=2 to tiny", f"request/{issue.number}")
    assert "Asked for by @researcher in #" in pull.body
    assert f"Closes #{issue.number}" in pull.body.split("\n")
    assert asked_for(forge, pull) == ["+  - hello >=2"]
    message = state.git("show", "--no-patch", "--format=%B", pull.head_sha)
    assert re.search(r"(?m)^Co-authored-by: researcher <\d+\+researcher@users\.noreply\.github\.com>$", message)

    count, before = writes(forge), dict(state.pulls)
    assert forge.request(issue).jobs == BOTH  # the same event, delivered twice
    assert writes(forge) == count
    assert state.pulls == before
    assert answered(forge, issue) == words

    (dispatched,) = state.dispatches
    assert dispatched["inputs"] == {"pull_request": str(pull.number), "sha": pull.head_sha, "run": "0"}
    (ran,) = forge.dispatched()
    assert ran.jobs == {"Guard": "success", "Propose anew": "success", "Report anew": "success"}, ran.log
    (diff,) = state.said(pull.number, "diff:tiny")
    # Our own account opened it, and may do everything; the researcher may not start a build.
    assert f"a maintainer can start the build with a comment `/build {pull.head_sha}`" in diff
    assert state.dispatches == []

    ran = forge.comment(pull, "maintainer", f"/build {pull.head_sha}")  # what the comment says that one should type
    assert ran.jobs == {"Guard": "success", "Build tiny": "success", "Last word": "success"}, ran.log
    (build,) = state.said(pull.number, "build:tiny")
    assert "### ✅" in build
    assert state.status(pull.head_sha) == ("success", "Built and tested; merging publishes it.")

    state.merge(pull.number, title=f"{pull.title} (#{pull.number})")
    ran = forge.push()
    assert ran.jobs == {"What is due": "success", "Release tiny": "success"}, ran.log
    assert "built once more" not in ran.log
    changelog = state.text("CHANGELOG.md")
    assert f"- hello 2.0, asked for by researcher ([#{pull.number}](" in changelog

    again = opened(forge, "somebody", form("hello"))
    assert forge.request(again).jobs == BOTH
    assert "### ✅ `hello` is in tiny-26.11 already" in answered(forge, again)
    assert "| tiny-26.11 | `2.0` | asked for: `hello >=2` |" in answered(forge, again)
    assert len(state.pulls) == len(before)


def test_a_maintainers_own_request_is_built_at_once(forge: Forge) -> None:
    state = forge.state
    issue = opened(forge, "maintainer", form("world"))
    assert forge.request(issue).jobs == BOTH
    (ran,) = forge.dispatched()
    assert ran.jobs["Report anew"] == "success", ran.log
    pull = max(state.pulls.values(), key=lambda one: one.number)
    (diff,) = state.said(pull.number, "diff:tiny")
    assert "it is being built and tested" in diff
    (build,) = state.dispatches
    assert build["inputs"]["sha"] == pull.head_sha
    assert build["inputs"]["run"] != "0"
    state.dispatches.clear()


def test_what_is_not_there_and_what_does_not_fit(forge: Forge) -> None:
    unknown = opened(forge, "researcher", form("wolrd"))
    assert forge.request(unknown).jobs == BOTH
    assert "### ❓ No package is called `wolrd` in the channels of tiny" in answered(forge, unknown)
    assert "- `world` (conda-forge)" in answered(forge, unknown)

    unknown.body = form("world", version=">=9")  # edited after opening: looked at again, in the same comment
    assert forge.request(unknown, "edited").jobs == BOTH
    words = answered(forge, unknown)
    assert "### ❌ `world >=9` does not fit into tiny-26.11 as it is" in words
    assert "ask for `world` instead of `world >=9`" in words
    assert forge.state.dispatches == []


#: tests/integration/test_answer.py has the others.
HOSTILE = {
    "a heading inside": form("hello\n\n### Environment\n\nother"),
    "everything at once": form(
        "hello; touch /tmp/conda-concept-was-here; $(id) `id` ${{ github.token }} <img src=x> @a/b"
    ),
}


def test_hostile_forms_are_answered_in_words_and_start_nothing(forge: Forge) -> None:
    state, tip, pulls = forge.state, forge.state.git("for-each-ref"), dict(forge.state.pulls)
    for what, text in HOSTILE.items():
        issue = opened(forge, "mallory", text)
        assert forge.request(issue).jobs == BOTH, what
        words = answered(forge, issue)
        assert "### ✏️ This form cannot be read as it is" in words, what
        rendered = re.sub(r"`+[^`]*`+", "", words)
        assert not re.search(r"<(?:script|img)|@a/|\]\(javascript", rendered), what
        issue.state = "closed"
    assert state.git("for-each-ref") == tip
    assert state.pulls == pulls
    assert state.dispatches == []
    assert not Path("/tmp/conda-concept-was-here").exists()


def test_free_text_is_only_text(forge: Forge) -> None:
    why = "### Reasons\n\n/retry ${{ secrets.X }} $(id)\n\n<img src=x> @climate/all Closes #1"
    issue = opened(forge, "mallory", form("world", why=why))
    assert forge.request(issue).jobs == BOTH
    pull = max(forge.state.pulls.values(), key=lambda one: one.number)
    message = forge.state.git("show", "--no-patch", "--format=%B", pull.head_sha)
    for text in (answered(forge, issue), pull.body, pull.title, message):
        assert "climate/all" not in text
        assert "<img" not in text
        assert "Closes #1\n" not in text
    forge.state.dispatches.clear()


def at_once(forge: Forge, *issues: Issue) -> None:
    """Two runs of the workflow, both of which have looked, and begin to answer, before either does anything."""
    together = forge.root / "together"
    together.mkdir()
    with ThreadPoolExecutor(2) as pool:
        for ran in pool.map(forge.request, issues):
            assert ran.jobs == BOTH, ran.log
    shutil.rmtree(together)


def test_two_who_ask_for_the_same_at_once_get_one_pull_request(forge: Forge) -> None:
    state, before = forge.state, set(forge.state.pulls)
    first = opened(forge, "a", form("world", source="conda-forge"))
    second = opened(forge, "b", form("world", source="PyPI"))
    at_once(forge, first, second)
    (number,) = set(state.pulls) - before
    pull = state.pulls[number]
    quick, slow = (first, second) if pull.head_branch == f"request/{first.number}" else (second, first)
    assert f"pull request #{number} asks for it in your name" in answered(forge, quick)
    assert f"pull request #{number} asks for this package already" in answered(forge, slow)
    assert f"The same package is asked for in #{slow.number}." in answered(forge, quick)
    assert f"The same package is asked for in #{quick.number}." in answered(forge, slow)
    assert "so it would come from there and not from PyPI" in answered(forge, second)
    assert [pull.body.split("\n").count(f"Closes #{one.number}") for one in (first, second)] == [1, 1]
    assert f"Asked for by @{quick.author} in #{quick.number}" in pull.body
    assert f"Also asked for by @{slow.author} in #{slow.number}." in pull.body
    assert asked_for(forge, pull) == ["+  - conda-forge::world" if quick is first else "+  - world"]
    assert [one["inputs"]["sha"] for one in state.dispatches] == [pull.head_sha]
    state.dispatches.clear()


def test_two_who_ask_for_two_packages_at_once_get_their_own_and_main_gets_both(forge: Forge) -> None:
    state, channel = forge.state, forge.root / "channels" / "conda-forge"
    names = ("aa", "bb", "cc")
    for name in names:
        write_package(channel, package(name, "1.0"))
    index(channel)
    # A list that is long enough to be kept in its order: what belongs at different places of it does not conflict.
    spec = ENVIRONMENT.format(name="tiny").removesuffix("  - python\n")
    spec += "".join(f"  - {name}\n" for name in (*names, "hello >=2", "python"))
    state.commit("main", {SPEC: spec}, "Ask for more")
    before = set(state.pulls)
    issues = {name: opened(forge, name, form(name)) for name in ("world", "more")}
    at_once(forge, *issues.values())
    pulls = {one.head_branch: one for number, one in state.pulls.items() if number not in before}
    assert len(pulls) == 2
    for name, issue in issues.items():
        pull = pulls[f"request/{issue.number}"]
        assert asked_for(forge, pull) == [f"+  - {name}"]
        assert f"pull request #{pull.number} asks for it in your name" in answered(forge, issue)
        assert "The same package" not in answered(forge, issue)
    assert {one["inputs"]["sha"] for one in state.dispatches} == {one.head_sha for one in pulls.values()}
    assert len(state.dispatches) == 2
    state.dispatches.clear()
    for pull in pulls.values():
        state.merge(pull.number)
    both = spec.replace("  - python\n", "  - more\n  - python\n  - world")
    assert state.text(SPEC) == both


def test_retry_is_for_whoever_asked_and_for_maintainers(forge: Forge) -> None:
    state = forge.state
    issue = opened(forge, "researcher", form("wrold"))
    forge.request(issue)
    for number, (who, reaction) in enumerate((("stranger", "confused"), ("researcher", "+1"))):
        said = Comment(8000 + number, issue.number, who, "/retry\r\nplease")
        state.comments.append(said)
        ran = forge.request(issue, comment=said)
        assert ran.jobs == BOTH, ran.log
        assert said.reactions == [(BOT, reaction)]
    talk = Comment(8100, issue.number, "researcher", "I could /retry")
    assert forge.request(issue, comment=talk).jobs == {}, "nothing runs for other comments"
    other = state.open_issue("researcher", "A bug", form("world"))
    assert forge.request(other).jobs == {}, "nothing runs for other issues"
