"""The comments beside the diff: marker first, verdict first, and nothing of a stranger's text takes effect."""

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from conda_concept.explain import Explanation
from conda_concept.github.hub import MAX_COMMENT, fitting
from conda_concept.model import Diff
from conda_concept.render import pullrequest as render
from conda_concept.render.diff import Heading

EVIL = "</details> <img src=x onerror=alert(1)> @climate/all [x](https://evil.example) | ``` #1 ~~~ www.evil.example"
HEADING = Heading("analysis3-23.07", commit="a" * 40, links=(("run", "https://github.com/c/e/actions/runs/1"),))
COMMENTS = {
    "invalid": render.invalid("analysis3", [EVIL, "environment.yml:3: two"], HEADING),
    "failed": render.failed("analysis3", [EVIL], HEADING),
    "refused": render.refused("analysis3", EVIL, HEADING),
    "unfinished": render.unfinished("analysis3", EVIL, HEADING, again="Again: `/build x`"),
    "broken": render.broken("analysis3", EVIL, HEADING),
    "started": render.started("analysis3", HEADING),
    "not published": render.not_published("analysis3", "why", HEADING),
    "nothing": render.changes("analysis3", HEADING, (Diff("linux-64", (), 3, 3, 0, 0),)),
}


@pytest.mark.parametrize("text", COMMENTS.values(), ids=COMMENTS)
def test_a_comment_has_its_marker_then_one_heading_then_the_commit(text: str) -> None:
    lines = text.split("\n")
    assert re.fullmatch(r"<!-- conda-concept:(diff|build|release):analysis3 -->", lines[0])
    assert lines[1].startswith("### ")
    assert sum(line.startswith("#") for line in lines) == 1
    assert "`aaaaaaaaaaaa`" in lines[-2] or "no package changes" in lines[1]


@pytest.mark.parametrize("text", COMMENTS.values(), ids=COMMENTS)
def test_a_strangers_words_are_shown_and_nothing_more(text: str) -> None:
    page = MarkdownIt("gfm-like").render(text)
    assert "<img" not in page
    assert "evil.example&quot;" not in page
    assert not re.search(r'href="[^"]*evil', page)
    assert page.count("<details>") == page.count("</details>")
    outside = re.sub(r"<(pre|code)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert "@climate" not in outside


@pytest.mark.parametrize("name", ["failed", "unfinished"])
def test_a_failure_of_ours_says_so_in_its_first_lines(name: str) -> None:
    head = COMMENTS[name][:400]
    assert "on our side" in head
    assert "**Nothing is wrong with your change.**" in head


def test_the_next_step_is_what_to_type() -> None:
    sha = "b" * 40
    assert f"`/build {sha}`" in render.next_step(sha, (), trusted=False)
    assert "/build" not in render.next_step(sha, (), trusted=True)
    assert "`channel evil`" in render.next_step(sha, ("channel evil",), trusted=True)


def test_what_holds_whatever_the_verdict_stands_in_every_first_comment() -> None:
    noted = replace(HEADING, notes=("said always",))
    said = [
        render.invalid("analysis3", ["x"], noted),
        render.failed("analysis3", ["x"], noted),
        render.refused("analysis3", "x", noted),
        render.unsolvable("analysis3", noted, Explanation("x", (), (), "x")),
        render.changes("analysis3", noted, (Diff("linux-64", (), 3, 3, 0, 0),)),
    ]
    assert all(text.count("> [!NOTE]\n> - said always\n\n") == 1 for text in said)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["environments/a/environment.yml", "environments/a/config.yml", "README.md"], []),
        (["ci/conda_concept/templates/launcher.sh"], ["conda-concept itself"]),
        ([".github/workflows/release.yml", "environments/a/tests/test_a.py"], ["workflows", "smoke tests"]),
        (["environments/a/conda-lock.yml"], ["a lock, which CI writes"]),
        (["environments/a/hooks/post.sh", "environments/a/qsub.sh"], ["hooks", "scripts that stand for commands"]),
    ],
)
def test_what_is_not_taken_from_a_pull_request_is_said(paths: list[str], words: list[str]) -> None:
    found = render.machinery(paths)
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)


def test_a_comment_of_any_length_fits() -> None:
    assert fitting("a\nb\n") == "a\nb\n"
    cut = fitting("<!-- x -->\n" + "y" * 100_000)
    assert len(cut) <= MAX_COMMENT
    assert cut.split("\n")[:2] == [
        "<!-- x -->",
        "> Shortened to fit: the end is missing here, and is in the job's summary.",
    ]
