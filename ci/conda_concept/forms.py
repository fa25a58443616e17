"""GitHub's issue forms, read strictly: a form's definition, and what somebody filled in, to typed answers.

GitHub keeps no answers, only text: each field's label as a `### ` heading, and below it what was typed. Whoever opened
the issue can edit that text. So it is taken only where it is exactly what this form can have made: its headings in its
own order, one line for a one-line field, an option that is offered. The free text comes last and is never acted on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from conda_concept.document import Document, Problems, SourceText, parse, validate
from conda_concept.errors import InputError
from conda_concept.model import Place
from conda_concept.settings import Strict

#: What GitHub writes below the label of a field that was left empty.
EMPTY = "_No response_"
#: What it writes where the first entry of a dropdown that may stay empty was chosen.
NONE = "None"
#: GitHub's own limit of an issue's text, in characters.
MAX_BODY = 65_536
#: No name, version or option that we ask for is longer.
MAX_LINE = 200
_SHOWN = 80

Text = Annotated[str, StringConstraints(min_length=1, max_length=5000)]
Kind = Literal["input", "dropdown", "checkboxes", "textarea"]
Answer = str | tuple[str, ...]


# --- the definition, as GitHub describes it ----------------------------------------------------------------------


class _Tick(Strict):
    label: Text
    required: bool = False


class _Attributes(Strict):
    label: Text = "-"
    description: str = ""
    placeholder: str = ""
    value: str = ""
    render: str = ""
    multiple: bool = False
    default: int | None = None
    options: tuple[str | _Tick, ...] = Field(default=(), strict=False)


class _Validations(Strict):
    required: bool = False


class _Element(Strict):
    type: Literal["markdown", "input", "dropdown", "checkboxes", "textarea"]
    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")] = ""
    attributes: _Attributes = _Attributes()
    validations: _Validations = _Validations()


class _Definition(Strict):
    name: Text
    description: Text
    title: str = ""
    labels: tuple[str, ...] = Field(default=(), strict=False)
    assignees: tuple[str, ...] = Field(default=(), strict=False)
    body: tuple[_Element, ...] = Field(min_length=1, strict=False)


@dataclass(frozen=True, slots=True)
class FormField:
    """One field: `options` of a dropdown or of checkboxes, `must` those that have to be ticked."""

    id: str
    kind: Kind
    label: str
    required: bool = False
    multiple: bool = False
    options: tuple[str, ...] = ()
    must: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Form:
    """A form: its name and the labels that GitHub gives to an issue made with it, and its fields in their order."""

    name: str
    title: str
    labels: tuple[str, ...]
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """The answers of one form, by the fields' ids; an empty one is an empty text, or no choices."""

    answers: Mapping[str, Answer]

    def text(self, name: str) -> str:
        """The answer of an input, a dropdown with one choice, or the free text."""
        found = self.answers[name]
        assert isinstance(found, str), f"{name} is a list"  # noqa: S101 - a mistake of the caller, not of a person
        return found

    def choices(self, name: str) -> tuple[str, ...]:
        """The choices of a dropdown with several, or the boxes that are ticked."""
        found = self.answers[name]
        assert not isinstance(found, str), f"{name} is one text"  # noqa: S101 - as above
        return found


def read_form(source: SourceText) -> Form:
    """A form's definition (`.github/ISSUE_TEMPLATE/*.yml`), or `InputError` with everything that is wrong with it.

    More than GitHub asks for: what we parse has one free text at most, and that one last; no label twice.
    """
    problems = Problems()
    document = parse(source, problems)
    definition = validate(_Definition, document, problems) if document.readable else None
    fields: list[FormField] = []
    if definition is not None:
        for index, element in enumerate(definition.body):
            if element.type != "markdown":
                fields.append(_field(element, document, index, problems))
        _check_order(fields, document, problems)
    problems.raise_if_any(f"the form {source.file}")
    assert definition is not None, "no definition without a problem"  # noqa: S101 - a rule of this module
    return Form(definition.name, definition.title, definition.labels, tuple(fields))


def _field(element: _Element, document: Document, index: int, problems: Problems) -> FormField:
    place, attributes = document.place(("body", index)), element.attributes
    options = tuple(one if isinstance(one, str) else one.label for one in attributes.options)
    must = frozenset(one.label for one in attributes.options if not isinstance(one, str) and one.required)
    if not element.id or attributes.label == "-":
        problems.add(place, "a field needs an `id` and a `label`")
    if (element.type in ("dropdown", "checkboxes")) != bool(options):
        problems.add(place, f"`{element.id}`: a dropdown and checkboxes have options, and nothing else has")
    if len(set(options)) != len(options) or any(one != " ".join(one.split()) for one in options):
        problems.add(place, f"`{element.id}`: an option stands there twice, or has blanks at its ends")
    if attributes.multiple and any(", " in one for one in options):
        problems.add(place, f"`{element.id}`: several choices are joined by `, `, so no option may hold one")
    return FormField(
        id=element.id,
        kind=element.type if element.type != "markdown" else "input",
        label=" ".join(attributes.label.split()),
        required=element.validations.required,
        multiple=attributes.multiple,
        options=options,
        must=must,
    )


def _check_order(fields: Sequence[FormField], document: Document, problems: Problems) -> None:
    place = document.place(("body",))
    for word, names in (("id", [one.id for one in fields]), ("label", [one.label for one in fields])):
        for name in sorted({one for one in names if names.count(one) > 1}):
            problems.add(place, f"the {word} `{name}` is used twice")
    if any(one.kind == "textarea" for one in fields[:-1]):
        problems.add(place, "free text has to be the last field: whatever stands in it looks like the fields behind it")


# --- what somebody filled in --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """What stands below one heading, with the number of its first line."""

    line: int
    lines: list[str] = field(default_factory=list)


def fill(form: Form, source: SourceText) -> Filled:
    """The answers in an issue's text, or one `InputError` with everything that this form cannot have made.

    `source.file` is how the text is called in the message: `issue #12`.
    """
    problems = Problems()
    text = source.text.replace("\r\n", "\n")
    if len(text) > MAX_BODY:
        raise InputError(f"{source.file} has {len(text):,} characters; {MAX_BODY:,} is the limit.")
    parts = _parts(form, SourceText(source.file, text), problems)
    answers: dict[str, Answer] = {}
    for one in form.fields:
        if one.id in parts:
            answers[one.id] = _answer(one, parts[one.id], source.file, problems)
    problems.raise_if_any(f"{source.file}, which should be as the form “{form.name}” makes it,")
    return Filled(answers)


def _parts(form: Form, source: SourceText, problems: Problems) -> dict[str, _Part]:
    """The lines of each field, by the headings in the form's order."""
    found: dict[str, _Part] = {}
    order = {one.label: number for number, one in enumerate(form.fields)}
    current = before = _Part(1)
    after = -1  # the field that came last
    for number, line in enumerate(source.text.split("\n"), start=1):
        place, label = Place(source.file, number), line.removeprefix("### ").rstrip()
        free = after >= 0 and form.fields[after].kind == "textarea"
        heading = line.startswith("### ") and not (free and label not in order)
        if not heading:
            current.lines.append(line)
            continue
        current = _Part(number + 1)  # what stands below a heading that should not be there is read over
        position = order.get(label)
        if position is None:
            problems.add(place, f"the form has no heading {_short(label)}")
        elif position <= after:
            problems.add(place, f"the heading {_short(label)} is not in its place, or is there twice")
        else:
            found[form.fields[position].id] = current
            after = position
    first = next((line for line in before.lines if line.strip()), "")
    if first:
        place = Place(source.file, before.lines.index(first) + 1)
        problems.add(place, f"there is text before the first heading: {_short(first)}")
    for one in form.fields:
        if one.id not in found:
            problems.add(Place(source.file), f"the heading `### {one.label}` is missing")
    return found


def _answer(one: FormField, part: _Part, file: str, problems: Problems) -> Answer:
    if one.kind == "textarea":
        text = "\n".join(part.lines).strip("\n")
        text = "" if text.strip() == EMPTY else text
        if one.required and not text.strip():
            problems.add(Place(file, part.line), f"`{one.label}` is empty")
        return text
    if one.kind == "checkboxes":
        return _ticked(one, part, file, problems)
    return _line(one, part, file, problems)


def _line(one: FormField, part: _Part, file: str, problems: Problems) -> Answer:
    """The one line of an input or a dropdown."""
    lines = [(part.line + number, line.strip()) for number, line in enumerate(part.lines) if line.strip()]
    place, text = lines[0] if lines else (part.line, "")
    where = Place(file, place)
    for number, more in lines[1:2]:
        problems.add(Place(file, number), f"`{one.label}` is one line; this is a second one: {_short(more)}")
    if len(text) > MAX_LINE:
        problems.add(where, f"`{one.label}` has {len(text):,} characters; {MAX_LINE} is the limit")
        text = ""
    elif not text.isprintable():
        problems.add(where, f"`{one.label}` holds characters that cannot be seen: {_short(text)}")
    elif text.startswith("#"):
        problems.add(where, f"`{one.label}` is a heading: {_short(text)}")
    if text == EMPTY or (one.kind == "dropdown" and not one.required and text == NONE and NONE not in one.options):
        text = ""
    if one.required and not text:
        problems.add(where, f"`{one.label}` is empty")
    if one.kind == "input":
        return text
    chosen = tuple(text.split(", ")) if one.multiple and text else (text,) if text else ()
    for choice in chosen:
        if choice not in one.options:
            listed = ", ".join(one.options)
            problems.add(where, f"`{one.label}` does not offer {_short(choice)}; there are: {listed}")
    if len(set(chosen)) != len(chosen):
        problems.add(where, f"`{one.label}` has a choice twice: {_short(text)}")
    return chosen if one.multiple else text


def _ticked(one: FormField, part: _Part, file: str, problems: Problems) -> tuple[str, ...]:
    """The boxes that are ticked; each has to be there, in the form's order."""
    lines = [(part.line + number, line.strip()) for number, line in enumerate(part.lines) if line.strip()]
    if [line[6:] for _, line in lines if line[:6] in ("- [ ] ", "- [x] ", "- [X] ")] != list(one.options) or len(
        lines
    ) != len(one.options):
        wanted = "; ".join(f"- [ ] {option}" for option in one.options)
        problems.add(Place(file, part.line), f"`{one.label}` does not have the form's boxes, which are: {wanted}")
        return ()
    ticked = tuple(line[6:] for _, line in lines if line[3] in "xX")
    for missing in sorted(one.must - set(ticked)):
        problems.add(Place(file, part.line), f"`{one.label}`: the box {_short(missing)} has to be ticked")
    return ticked


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return f"`{flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + '…'}`"


def written(form: Form, answers: Mapping[str, Answer]) -> str:
    """The text that GitHub would make of these answers, for an issue that is opened by us."""
    parts = []
    for one in form.fields:
        answer = answers.get(one.id, ())
        if one.kind == "checkboxes":
            shown = "\n".join(f"- [{'X' if option in answer else ' '}] {option}" for option in one.options)
        else:
            shown = answer if isinstance(answer, str) else ", ".join(answer)
        parts.append(f"### {one.label}\n\n{shown or EMPTY}")
    return "\n\n".join(parts) + "\n"


def digest(text: str) -> str:
    """sha256 (hex) of an issue's text: whether it was edited after somebody looked at it."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode("utf-8", errors="surrogatepass")).hexdigest()
