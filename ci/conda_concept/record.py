"""What is kept beside a release and about the store, as text: release record, test verdict, history.

Each document carries a schema number and, where it is a file of its own, a digest of its content, so that a changed
byte is noticed. Reading is strict: an unknown key, a missing one or a value of another type is an error that says
where. Nothing here touches a disk.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from conda_concept.errors import InputError, IntegrityError
from conda_concept.model import Event, Release, ReleaseRecord, Verdict

SCHEMA = 1
"""The number of this format; a reader refuses a higher one instead of guessing."""

RELEASE = re.compile(
    r"(?P<environment>[a-z][a-z0-9_]{0,31})-(?P<version>\d{2}\.\d{2}(?:\.\d{1,3})?)/(?P<build_id>[0-9a-f]{8})"
)
LABEL = re.compile(r"[a-z][a-z0-9_]{0,31}-\d{2}\.\d{2}(?:\.\d{1,3})?")
BUILD_ID = re.compile(r"[0-9a-f]{8}")

_HEAD = frozenset({"schema", "digest"})

_Document = TypeVar("_Document", ReleaseRecord, Verdict, Event)

_RECORD = TypeAdapter(ReleaseRecord)
_VERDICT = TypeAdapter(Verdict)
_EVENT = TypeAdapter(Event)


def parse_release(text: str) -> Release:
    """`analysis3-23.04/1a2b3c4d` as a release, or `InputError`."""
    match = RELEASE.fullmatch(text)
    if match is None:
        raise InputError(
            f"`{text}` is not a release.", hint="Write it as NAME-VERSION/BUILDID: analysis3-23.04/1a2b3c4d."
        )
    return Release(**match.groupdict())


def release_to_text(record: ReleaseRecord) -> str:
    """The text of `release.json`."""
    return _to_text(_body(record))


def release_from_text(text: str, *, where: str) -> ReleaseRecord:
    """The record that a `release.json` holds; `where` names the file in errors (`IntegrityError`)."""
    return _from_text(_RECORD, text, where)


def verdict_to_text(verdict: Verdict) -> str:
    """The text of `tests.json`."""
    return _to_text(_body(verdict))


def verdict_from_text(text: str, *, where: str) -> Verdict:
    """The verdict that a `tests.json` holds; `where` names the file in errors (`IntegrityError`)."""
    return _from_text(_VERDICT, text, where)


def event_to_line(event: Event) -> str:
    """One line of the history, with its end of line."""
    return json.dumps({"schema": SCHEMA, **_body(event)}, ensure_ascii=False) + "\n"


def history_from_text(text: str, *, where: str) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """The events of a history, oldest first, and one problem for each line that cannot be read.

    A damaged line does not hide the others: what pointed where is needed most when something went wrong.
    """
    events: list[Event] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            place = f"{where}:{number}"
            events.append(_checked(_EVENT, line, _object(line, place), place))
        except IntegrityError as error:
            problems.append(error.message)
    return tuple(events), tuple(problems)


def readable_lines(text: str) -> tuple[str, str]:
    """A history split in two: the lines that can be read, and those that cannot, each with their ends of line."""
    good: list[str] = []
    bad: list[str] = []
    for line in text.splitlines(keepends=True):
        _, problems = history_from_text(line, where="")
        (bad if problems else good).append(line if line.endswith("\n") else line + "\n")
    return "".join(good), "".join(bad)


def jsonable(value: object) -> object:
    """Any of our frozen values as what JSON can hold; a release becomes its text, a tuple a list."""
    if isinstance(value, Release):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items: Iterable[object] = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [jsonable(item) for item in items]
    return value


def _body(document: ReleaseRecord | Verdict | Event) -> dict[str, object]:
    """A document as plain JSON values, keys in the order of the model."""
    body = json.loads(json.dumps(dataclasses.asdict(document)))
    if not isinstance(body, dict):  # pragma: no cover - a dataclass is always a mapping
        raise TypeError("a document is a mapping")
    return body


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _to_text(body: Mapping[str, object]) -> str:
    head = {"schema": SCHEMA, "digest": _digest(body)}
    return json.dumps({**head, **body}, indent=1, ensure_ascii=False) + "\n"


def _object(text: str, where: str) -> dict[str, object]:
    try:
        text.encode()  # bytes that were no UTF-8 when they were read
        document = json.loads(text)
    except ValueError as error:
        raise IntegrityError(f"{where} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{where} does not hold a JSON object.")
    return document


def _from_text(adapter: TypeAdapter[_Document], text: str, where: str) -> _Document:
    document = _object(text, where)
    checked = _checked(adapter, text, document, where)
    body = {key: value for key, value in document.items() if key not in _HEAD}
    if document.get("digest") != _digest(body):
        raise IntegrityError(f"{where} was changed after it was written: its digest does not match its content.")
    return checked


def _checked(adapter: TypeAdapter[_Document], text: str, document: Mapping[str, object], where: str) -> _Document:
    schema = document.get("schema")
    if schema != SCHEMA:
        raise IntegrityError(
            f"{where} has schema {schema!r}; this version reads schema {SCHEMA}.",
            hint="It was written by another version of conda-concept, or it is damaged.",
        )
    try:
        value = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"{where} is not valid at `{place}`: {first['msg']}.") from error
    unknown = sorted(set(document) - {field.name for field in dataclasses.fields(value)} - _HEAD)
    if unknown:
        raise IntegrityError(f"{where} has keys that nobody wrote: {', '.join(unknown)}.")
    return value
