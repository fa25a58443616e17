"""Answers to commands: what was asked stays on top, the result takes the place of what was said before."""

from markdown_it import MarkdownIt

from conda_concept.conversation import Asked, Said, ours
from conda_concept.errors import InputError, NetworkError
from conda_concept.render import answers

ASKED = Asked(7, 9001, "a_researcher", "/explain numpy")
HOME = "https://github.com/climate/environments"


def test_an_answer_says_who_asked_what_and_is_found_again_by_the_comment_that_asked() -> None:
    text = answers.answer(ASKED, HOME, "words")
    assert text.split("\n") == [
        "<!-- conda-concept:answer:9001 -->",
        f"> `/explain numpy`, asked by [a_researcher]({HOME}/pull/7#issuecomment-9001)",
        "",
        "words",
        "",
    ]
    assert ours([Said(1, "bot", text)], answers.mark(9001), "bot") is not None
    assert ours([Said(1, "bot", text)], answers.mark(900), "bot") is None


def test_a_result_takes_the_place_of_what_was_said_and_saying_it_twice_changes_nothing() -> None:
    begun = answers.answer(ASKED, HOME, answers.working("It is being solved again", "https://run"))
    assert "([run](https://run)). This answer changes when that is done." in begun
    done = answers.with_result(begun.replace("\n", "\r\n"), "two\n\nparagraphs")
    assert done == answers.answer(ASKED, HOME, "two\n\nparagraphs")
    assert answers.with_result(done, "two\n\nparagraphs") == done


def test_a_result_is_the_heading_of_the_comment_that_says_it_all() -> None:
    body = "<!-- x -->\r\n> [!NOTE]\r\n> Superseded\r\n\r\n### ✅ The tests pass\r\n\r\n### no\r\n"
    assert answers.pointed([(body, "https://there")]) == "- ✅ The tests pass · [all of it](https://there)"
    assert answers.pointed([]) == answers.OURS


def test_only_a_refusal_is_called_one() -> None:
    assert answers.refused(InputError("no such command")).startswith("**Not done:**")
    assert answers.refused(NetworkError("502")).startswith("⏸️ **Nothing is wrong with your change.**")


def test_nothing_of_a_command_becomes_markup() -> None:
    asked = Asked(7, 1, "@all</a>", "/build `<img src=x>` @team #1 ![x](y)")
    html = MarkdownIt("gfm-like").render(answers.answer(asked, HOME, answers.refused(InputError("`<b>` @team"))))
    assert "<img" not in html
    assert "<b>" not in html
    assert "@all" not in html  # outside of code, where GitHub would mention somebody
