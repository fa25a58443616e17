"""Issue forms: what a form makes is read, what it cannot have made is refused, all of it in one go."""

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.forms import MAX_BODY, Form, digest, fill, read_form, written

DEFINITION = """\
name: Add a package
description: Ask for one
labels: [package request]
body:
  - type: markdown
    attributes:
      value: Hello
  - type: input
    id: package
    attributes: {label: Package, description: Its name}
    validations: {required: true}
  - type: dropdown
    id: environment
    attributes: {label: Environment, options: [analysis3, demo]}
    validations: {required: true}
  - type: dropdown
    id: days
    attributes: {label: Days, options: [Monday, Tuesday], multiple: true}
  - type: checkboxes
    id: agreed
    attributes:
      label: Before you ask
      options:
        - {label: I looked for it, required: true}
        - label: Tell me
  - type: textarea
    id: why
    attributes: {label: Why}
"""
GOOD = """\
### Package

hello

### Environment

demo

### Days

Monday, Tuesday

### Before you ask

- [X] I looked for it
- [ ] Tell me

### Why

For science.

### A heading of mine

and more
"""


@pytest.fixture(scope="module")
def form() -> Form:
    return read_form(SourceText("package.yml", DEFINITION))


def refused(form: Form, text: str) -> str:
    with pytest.raises(InputError) as caught:
        fill(form, SourceText("issue #7", text))
    return str(caught.value)


def test_what_the_form_makes_is_read(form: Form) -> None:
    assert form.labels == ("package request",)
    found = fill(form, SourceText("issue #7", GOOD))
    assert found.text("package") == "hello"
    assert found.text("environment") == "demo"
    assert found.choices("days") == ("Monday", "Tuesday")
    assert found.choices("agreed") == ("I looked for it",)
    assert found.text("why") == "For science.\n\n### A heading of mine\n\nand more"


def test_line_ends_of_a_browser_and_blanks_change_nothing(form: Form) -> None:
    same = fill(form, SourceText("issue #7", GOOD)).answers
    assert fill(form, SourceText("issue #7", GOOD.replace("\n", "\r\n"))).answers == same
    assert fill(form, SourceText("issue #7", "\n" + GOOD.replace("### Package", "### Package  "))).answers == same
    assert digest(GOOD.replace("\n", "\r\n")) == digest(GOOD.rstrip())
    assert digest(GOOD.replace("hello", "hullo")) != digest(GOOD)


def test_an_answer_that_is_not_given_is_empty(form: Form) -> None:
    text = GOOD.replace("Monday, Tuesday", "_No response_").partition("For science")[0] + "_No response_"
    found = fill(form, SourceText("issue #7", text))
    assert found.choices("days") == ()
    assert found.text("why") == ""
    assert fill(form, SourceText("issue #7", text.replace("_No response_", "None", 1))).choices("days") == ()


def test_what_we_write_is_what_we_read(form: Form) -> None:
    answers = fill(form, SourceText("issue #7", GOOD)).answers
    assert fill(form, SourceText("issue #7", written(form, answers))).answers == answers
    assert "### Days\n\n_No response_\n" in written(form, {"package": "hello"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("### Package\n", "Hi!\n\n### Package\n", "issue #7:1: there is text before the first heading: `Hi!`"),
        ("hello\n", "hello\n\n### Environment\n\nanalysis3\n", "`Environment` is not in its place, or is there twice"),
        ("hello\n", "hello\n\n### More\n\nthing\n", "issue #7:5: the form has no heading `More`"),
        ("hello\n", "hello\n### demo\n", "the form has no heading `demo`"),
        ("hello\n", " ### hello\n", "`Package` is a heading: `### hello`"),
        ("hello\n", "hello\n; rm -rf /\n", "`Package` is one line; this is a second one: `; rm -rf /`"),
        ("hello\n", "h" * 201 + "\n", "`Package` has 201 characters; 200 is the limit"),
        ("hello\n", "hel\u202elo\n", "characters that cannot be seen: `hel�lo`"),
        ("hello\n", "_No response_\n", "issue #7:3: `Package` is empty"),
        ("hello\n", "\n", "`Package` is empty"),
        ("demo\n", "prod\n", "`Environment` does not offer `prod`; there are: analysis3, demo"),
        ("demo\n", "None\n", "`Environment` does not offer `None`"),
        ("demo\n", "analysis3, demo\n", "does not offer `analysis3, demo`"),
        ("Monday, Tuesday", "Monday, Friday", "does not offer `Friday`"),
        ("Monday, Tuesday", "Monday, Monday", "has a choice twice"),
        ("- [X] I looked for it", "- [ ] I looked for it", "the box `I looked for it` has to be ticked"),
        ("- [ ] Tell me\n", "", "does not have the form's boxes"),
        ("- [ ] Tell me\n", "- [X] Tell me\n- [X] And publish\n", "does not have the form's boxes"),
        ("### Days\n\nMonday, Tuesday\n\n", "", "the heading `### Days` is missing"),
        ("### A heading of mine", "### Package", "`Package` is not in its place, or is there twice"),
        ("### Environment\n\ndemo\n\n", "", "the heading `### Environment` is missing"),
    ],
)
def test_what_the_form_cannot_have_made_is_refused(form: Form, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in refused(form, GOOD.replace(old, new, 1))


def test_fields_in_another_order_are_refused(form: Form) -> None:
    first, second = "### Package\n\nhello\n\n", "### Environment\n\ndemo\n\n"
    text = refused(form, second + first + GOOD.removeprefix(first + second))
    assert "the heading `Package` is not in its place" in text
    assert "the heading `### Package` is missing" in text


def test_everything_that_is_wrong_is_said_at_once(form: Form) -> None:
    text = refused(form, "Hi\n" + GOOD.replace("demo", "prod").replace("hello", "_No response_"))
    assert text.startswith("issue #7, which should be as the form “Add a package” makes it, has 3 problems:")


@pytest.mark.parametrize("text", ["", "hello", "###", "### ", "### \n" * 1000, "\n" * 60_000, "### Why\n### Why"])
def test_nonsense_is_refused_in_words(form: Form, text: str) -> None:
    assert "is missing" in refused(form, text)


def test_more_than_github_keeps_is_not_looked_at(form: Form) -> None:
    assert "65,536 is the limit" in refused(form, GOOD + "x" * MAX_BODY)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: days", "id: package", "the id `package` is used twice"),
        ("label: Days", "label: Package", "the label `Package` is used twice"),
        ("[analysis3, demo]", "[demo, demo]", "an option stands there twice"),
        ("[Monday, Tuesday]", "['Mon, day', Tuesday]", "no option may hold one"),
        ("[analysis3, demo]", "[]", "a dropdown and checkboxes have options"),
        ("type: checkboxes", "type: checkbox", "allowed:"),
        ("    id: package\n", "", "needs an `id` and a `label`"),
        ("labels: [", "lables: [", "unknown key `lables`; did you mean `labels`?"),
        ("type: input", "type: textarea", "free text has to be the last field"),
    ],
)
def test_a_form_that_could_be_read_in_two_ways_is_refused(old: str, new: str, said: str) -> None:
    assert old in DEFINITION
    with pytest.raises(InputError) as caught:
        read_form(SourceText("package.yml", DEFINITION.replace(old, new, 1)))
    assert said in str(caught.value)
