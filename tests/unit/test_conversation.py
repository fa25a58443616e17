"""Whose run it is, what a comment asks for, which comment is ours: from values alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conda_concept.conversation import (
    PROPOSING,
    BuildIt,
    Explain,
    PullFacts,
    Relock,
    RunFacts,
    Said,
    all_ours,
    asked_by,
    bind,
    is_about,
    marker,
    may_build,
    on_behalf,
    ours,
    parse_command,
    shown_runs,
    still,
    superseded,
    was_started,
    with_run,
    with_start,
)
from conda_concept.errors import InputError, RefusedError

SHA, OTHER = "a" * 40, "b" * 40
PULL = PullFacts(7, "researcher", SHA, "add-x", "researcher/fork", "main", base_repository="climate/environments")
RUN = RunFacts(1, PROPOSING, "pull_request", "success", SHA, "add-x", "researcher/fork", "climate/environments")


def test_a_run_belongs_to_the_one_open_pull_request_with_its_head() -> None:
    others = [replace(PULL, number=8, head_sha=OTHER), replace(PULL, number=9, is_open=False)]
    assert bind(RUN, [*others, PULL]) == PULL
    assert PULL.from_fork
    assert not replace(PULL, head_repository="climate/environments").from_fork


def test_what_only_its_author_can_push_to_is_from_its_author() -> None:
    assert PULL.from_its_author
    assert replace(PULL, head_repository="climate/environments").from_its_author
    for elsewhere in ("mallory/fork", "researchers/fork", ""):
        assert not replace(PULL, head_repository=elsewhere).from_its_author


@pytest.mark.parametrize(
    ("run", "pulls", "why"),
    [
        (RUN, [], "no open pull request"),
        (RUN, [PULL, replace(PULL, number=8)], "2 open pull requests"),
        (RUN, [replace(PULL, head_repository="mallory/fork")], "no open pull request"),
        (RUN, [replace(PULL, head_sha=OTHER)], "no open pull request"),
        (replace(RUN, event="push"), [PULL], "for push"),
        (replace(RUN, path=".github/workflows/evil.yml"), [PULL], "evil.yml"),
        (replace(RUN, head_repository=""), [replace(PULL, head_repository="")], "does not say which"),
        (replace(RUN, head_sha="HEAD"), [replace(PULL, head_sha="HEAD")], "does not say which"),
    ],
)
def test_everything_else_is_refused(run: RunFacts, pulls: list[PullFacts], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        bind(run, pulls)


def test_a_head_that_moved_is_refused() -> None:
    assert still(PULL, SHA) == PULL
    with pytest.raises(RefusedError, match="is at aaaaaaaaaaaa now, this is about bbbbbbbbbbbb"):
        still(PULL, OTHER)
    with pytest.raises(RefusedError, match="closed"):
        still(replace(PULL, is_open=False), SHA)


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (f"/build {SHA}", BuildIt(SHA)),
        (f"/build   {SHA}  \r\nplease", BuildIt(SHA)),
        (f" /build {SHA}", None),  # the workflow does not start for it: nobody would hear of a refusal
        (f"\n/build {SHA}", None),
        ("/relock", Relock()),
        ("/refresh NumPy", Relock("numpy")),
        ("/explain ruamel.yaml", Explain("ruamel.yaml")),
        ("thanks", None),
        ("", None),
        (f"> /build {SHA}", None),
        (f"I said\n/build {SHA}", None),
        ("/builder", None),
    ],
)
def test_a_command_is_the_first_line_as_a_whole(body: str, command: object) -> None:
    assert parse_command(body) == command


@pytest.mark.parametrize("rest", ["build", f"build {SHA[:12]}", f"build {SHA} now", f"build {SHA.upper()}", "relock x"])
def test_what_nearly_is_one_is_said_to_be_none(rest: str) -> None:
    with pytest.raises(InputError, match="There are"):
        parse_command(f"/{rest}")


@pytest.mark.parametrize("rest", ["refresh", "refresh $(id)", "explain -x", "explain a b", "refresh a/b"])
def test_a_package_is_one_plain_name(rest: str) -> None:
    with pytest.raises(InputError, match="There are"):
        parse_command(f"/{rest}")


@given(st.text(max_size=200))
def test_any_text_is_a_command_or_none_or_refused(body: str) -> None:
    try:
        command = parse_command(body)
    except InputError:
        return
    assert command is None or body.startswith("/")


def test_who_may_build() -> None:
    assert [may_build(one) for one in ("write", "maintain", "admin")] == [True] * 3
    assert [may_build(one) for one in ("read", "triage", "none", "", None, "WRITE")] == [False] * 6


def test_a_comment_of_ours_has_the_marker_first_and_is_by_us() -> None:
    mark = marker("diff", "analysis3")
    comments = [Said(1, "mallory", f"{mark}\nx"), Said(2, "bot", f"quote\n{mark}"), Said(3, "bot", f"{mark}\r\nx")]
    assert ours(comments, mark, "bot") == comments[2]
    assert ours(comments, marker("diff", "other"), "bot") is None


def test_what_shows_a_run_says_so_in_its_last_line_and_only_there() -> None:
    """Further up a comment may have a stranger's words, in a block of code."""
    footer = f"<sub>commit `{SHA[:12]}` · x</sub>"
    body = f"{marker('diff', 'x')}\n### x\n\n```\n{marker('run', '6')}\n```\n\n{footer}\n"
    assert shown_runs([Said(1, "bot", body)], SHA, "bot") == frozenset()
    shown = with_run(body, 7)
    assert shown == f"{body}<!-- conda-concept:run:7 -->\n"
    assert is_about(shown, SHA)
    for text in (shown, shown.replace("\n", "\r\n"), shown.rstrip()):
        assert shown_runs([Said(1, "bot", text)], SHA, "bot") == {7}
    assert shown_runs([Said(1, "mallory", shown)], SHA, "bot") == frozenset()
    assert shown_runs([Said(1, "bot", shown)], OTHER, "bot") == frozenset()
    assert shown_runs([Said(1, "bot", superseded(shown, SHA, touched=False))], SHA, "bot") == frozenset()
    assert shown_runs([Said(1, "bot", shown.replace(":diff:", ":build:"))], SHA, "bot") == frozenset()
    two = Said(2, "bot", with_run(body.replace(":x ", ":y "), 8))
    assert shown_runs([Said(1, "bot", shown), two], SHA, "bot") == {7, 8}


def test_what_was_started_is_one_plan_of_one_run_of_one_commit() -> None:
    body = f"{marker('diff', 'x')}\n### x\n\n<sub>commit `{SHA[:12]}`</sub>\n"
    shown, other = (Said(n, "bot", with_run(body.replace(":x ", f":{n} "), n)) for n in (7, 8))
    assert not was_started([shown, other], SHA, "bot", 7, "a1")
    begun = with_start([shown, other], SHA, "bot", 7, "a1")
    assert begun == {marker("diff", "7"): shown.body.replace("run:7", "started:7.a1")}
    (text,) = begun.values()
    for form in (text, text.replace("\n", "\r\n"), text.rstrip()):
        said = [Said(7, "bot", form), other]
        assert was_started(said, SHA, "bot", 7, "a1")
        assert shown_runs(said, SHA, "bot") == {7, 8}
        assert not was_started(said, SHA, "bot", 7, "a2")
        assert not was_started(said, SHA, "bot", 8, "a1")
        assert not was_started(said, OTHER, "bot", 7, "a1")
        assert not was_started(said, SHA, "mallory", 7, "a1")
    assert with_start([Said(7, "bot", text)], SHA, "bot", 7, "a1") == begun  # twice is once
    assert with_run(text, 9) == with_run(shown.body, 9)
    assert with_start([Said(7, "bot", superseded(text, OTHER))], SHA, "bot", 7, "a1") == {}


def test_all_of_ours_are_by_us_and_the_first_of_two_counts() -> None:
    comments = [Said(1, "mallory", marker("diff", "x")), *(Said(n, "bot", marker("diff", "x")) for n in (2, 3))]
    comments.append(Said(4, "bot", f"quote\n{marker('build', 'x')}"))
    assert all_ours(comments, "bot") == {("diff", "x"): comments[1]}


def test_superseded_is_said_once_and_keeps_the_rest() -> None:
    body = f"{marker('build', 'x')}\n### ✅ built\n\nmore\n"
    once = superseded(body, SHA)
    assert once.startswith(f"{marker('build', 'x')}\n> [!NOTE]\n> Superseded: commit `{SHA[:12]}`")
    assert once.endswith("\n### ✅ built\n\nmore\n")
    twice = superseded(once, OTHER)
    assert twice.count("Superseded") == 1
    assert OTHER[:12] in twice
    assert twice.endswith("\n### ✅ built\n\nmore\n")
    gone = superseded(twice, SHA, touched=False)
    assert gone.count("Superseded") == 1
    assert f"commit `{SHA[:12]}` does not change this environment" in gone
    assert superseded(gone, SHA, touched=False) == gone


def test_a_comment_is_about_a_commit_and_a_lock() -> None:
    body = f"{marker('build', 'x')}\n### ✅ built\n\n<sub>commit `{SHA[:12]}` · lock `{'ab' * 6}`</sub>\n"
    assert is_about(body, SHA)
    assert is_about(body, SHA, {"cd" * 32, "ab" * 32})
    assert not is_about(body, SHA, {"cd" * 32})
    assert not is_about(body, OTHER, {"ab" * 32})
    assert is_about(f"<sub>commit `{SHA[:12]}`</sub>", SHA, {"cd" * 32})  # names none
    assert f"commit `{SHA[:12]}` has another lock by now" in superseded(body, SHA)
    assert f"commit `{OTHER[:12]}` came after this" in superseded(body, OTHER)


# --- for whom -----------------------------------------------------------------------------------------------------

BOT = "github-actions[bot]"


def opened_by_us(body: str) -> PullFacts:
    return PullFacts(7, BOT, "a" * 40, "request/1", "up/env", "main", base_repository="up/env", body=body)


def test_what_we_open_is_the_wish_of_whom_it_was_opened_for() -> None:
    body = f"{on_behalf('kim-1')}\r\nAsked for by @kim-1.\n"
    assert asked_by(opened_by_us(body), BOT) == "kim-1"
    assert asked_by(replace(opened_by_us(body), author="mallory"), BOT) == "mallory"


@pytest.mark.parametrize("login", ["", "a b", "x --><b>", "-x", "a" * 101, "kim\n"])
def test_our_own_account_is_never_asked_for_its_permission(login: str) -> None:
    assert on_behalf(login) == ""
    assert asked_by(opened_by_us(f"Thanks. <!-- conda-concept:for:{login} -->"), BOT) == ""
    assert asked_by(opened_by_us(""), BOT) == ""
