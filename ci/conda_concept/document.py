"""YAML that people write, read defensively: a size limit, no anchors, no duplicate keys, and a line for every value.

The result is plain data plus the place of every key and item, so that a later check can say `config.yml:12`.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from conda_concept.errors import InputError
from conda_concept.model import Place

#: The largest real environment file that we know of (1,443 packages resolved, 313 asked for) has 6 kB.
MAX_BYTES = 1_000_000
#: `dependencies: - pip: - item` is three levels; config files use four.
MAX_DEPTH = 12

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file's text and the name that people know it by (relative to the repository)."""

    file: str
    text: str


@dataclass(slots=True)
class Problems:
    """Everything that is wrong with some input, gathered so that it is said in one go."""

    found: list[tuple[Place, str]] = field(default_factory=list)

    def add(self, place: Place, text: str) -> None:
        """Note one problem at its place. What strangers wrote may be quoted in it: no character moves the cursor."""
        self.found.append((place, "".join(letter if letter.isprintable() else "�" for letter in text)))

    def raise_if_any(self, what: str) -> None:
        """Raise `InputError` with all of them, if there is one."""
        if self.found:
            count = f"{len(self.found)} problem{'s' if len(self.found) > 1 else ''}"
            raise InputError(
                f"{what} has {count}:", problems=[f"{place}: {text}" for place, text in sorted(self.found)]
            )


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data with places; not `readable` where the text could not be read at all (the problems say why)."""

    file: str
    data: Any
    places: Mapping[Path, Place]
    readable: bool = True

    def place(self, path: Iterable[str | int]) -> Place:
        """Where a value stands; where it has no place of its own (it is missing), that of what should hold it."""
        parts = tuple(path)
        while parts:
            if parts in self.places:
                return self.places[parts]
            parts = parts[:-1]
        return Place(self.file)


def parse(source: SourceText, problems: Problems) -> Document:
    """Read YAML text; what is wrong with it goes to `problems`. Never expands anything: a bomb is refused unread."""
    empty = Document(source.file, None, {}, readable=False)
    size = len(source.text.encode("utf-8", errors="surrogatepass"))
    if size > MAX_BYTES:
        problems.add(Place(source.file), f"the file has {size:,} bytes; {MAX_BYTES:,} is the limit")
        return empty
    try:
        if not _harmless(source, problems):
            return empty
        loader = yaml.CSafeLoader(source.text)
        try:
            node = loader.get_single_node()
            places: dict[Path, Place] = {}
            reader = _Reader(source.file, loader, places, problems)
            data = None if node is None else reader.read(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problems.add(Place(source.file, line), f"this is not valid YAML: {error.problem or error}")
        return empty
    except (yaml.YAMLError, ValueError) as error:
        problems.add(Place(source.file), f"this is not valid YAML: {' '.join(str(error).split())}")
        return empty
    return Document(source.file, data, places)


def _harmless(source: SourceText, problems: Problems) -> bool:
    """No anchors, no aliases, no tags, no deep nesting: checked on the stream of events, before anything is built."""
    depth = 0
    for event in yaml.parse(source.text, Loader=yaml.CSafeLoader):
        place = Place(source.file, event.start_mark.line + 1 if event.start_mark else 0)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problems.add(place, "anchors and aliases (&, *) are not used in these files; write the value out")
            return False
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            problems.add(place, f"a YAML tag ({tag}) is not used in these files")
            return False
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                problems.add(place, f"nested more than {MAX_DEPTH} levels deep")
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


@dataclass(frozen=True, slots=True)
class _Reader:
    """Nodes to plain data, noting where each value stands."""

    file: str
    loader: yaml.CSafeLoader
    places: dict[Path, Place]
    problems: Problems

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = Place(self.file, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place(self.file, key_node.start_mark.line + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(place, "a key has to be a plain word")
                continue
            key = str(key_node.value)
            if key in result:
                self.problems.add(place, f"`{key}` is given twice (first in line {self.places[(*path, key)].line})")
                continue
            result[key] = self.read(value_node, (*path, key))
            self.places[(*path, key)] = place
        return result


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean …?` for a word that is nearly a known one, else the list of the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known here: {', '.join(names)}"


def validate(model: type[Model], document: Document, problems: Problems) -> Model | None:
    """A document's data as `model`; every mismatch goes to `problems` with its line. None where there was one."""
    try:
        return model.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            path = _located(item["loc"], document.data)
            problems.add(document.place(path), _in_words(model, path, dict(item)))
    return None


def _located(loc: Sequence[str | int], data: Any) -> Path:
    """A place of pydantic's as one of the file: without its marks for keys, and for the choice that a `kind` makes."""
    path: list[str | int] = []
    for part in loc:
        if part == "[key]" or (isinstance(data, Mapping) and data.get("kind") == part and part not in data):
            continue
        path.append(part)
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(path)


def _in_words(model: type[BaseModel], path: Path, item: Mapping[str, Any]) -> str:
    """One pydantic error as a sentence that says what to do."""
    name = ".".join(str(part) for part in path) or "the file"
    value = item.get("input")
    match item["type"]:
        case "extra_forbidden":
            return f"unknown key `{name}`; {nearest(str(item['loc'][-1]), _keys_at(model, item['loc'][:-1]))}"
        case "missing":
            return f"`{name}` is missing"
        case "string_type" if isinstance(value, int | float) and not isinstance(value, bool):
            return f'`{name}` is the bare number {value}; write it in quotes ("26.10"): YAML reads 26.10 as 26.1'
        case "string_pattern_mismatch":
            return f"`{name}` is {value!r}, which does not have the form {item['ctx']['pattern']}"
        case "union_tag_invalid" | "union_tag_not_found":
            return f"`{name}.kind` has to say which: {item['ctx'].get('expected_tags', 'local, pbs')}"
        case "value_error":
            return f"`{name}`: {item['ctx']['error']}"
        case "tuple_type" | "list_type":
            return f"`{name}` has to be a list: [first, second]"
        case "literal_error":
            return f"`{name}` is {value!r}; allowed: {item['ctx']['expected']}"
        case _:
            return f"`{name}`: {item['msg'][0].lower()}{item['msg'][1:]}"


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> Iterable[str]:
    """The keys that a model knows at a place inside it; among several models, a `kind` in the place chooses."""
    current = [model]
    for part in loc:
        chosen = [one for one in current if "kind" in one.model_fields and part in _kinds(one)]
        if not chosen:
            inner = next(
                (one.model_fields[str(part)].annotation for one in current if str(part) in one.model_fields), None
            )
            options = [inner, *getattr(inner, "__args__", ())]
            chosen = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
        current = chosen
    return [info.alias or name for one in current for name, info in one.model_fields.items()]


def _kinds(model: type[BaseModel]) -> Sequence[object]:
    return get_args(model.model_fields["kind"].annotation)
