"""GitHub's own description of its API: is this body, is this answer what it says, and the least that it asks for."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DATA = Path(__file__).parents[2] / "data" / "github" / "openapi.json"
_URL = "http://127.0.0.1/"


@cache
def description() -> dict[str, Any]:
    """The description, cut to what the fake serves (tests/data/github/cut.py)."""
    loaded: dict[str, Any] = json.loads(DATA.read_text("utf-8"))
    return loaded


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    found = []
    for template in description()["paths"]:
        # A path in a repository and a ref have slashes; everything else is one segment.
        pattern = re.sub(r"\\\{(path|ref)\\\}", r".+", re.escape(template))
        found.append((re.compile(re.sub(r"\\\{\w+\\\}", r"[^/]+", pattern)), template))
    return found


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What is described for a method and a path; None where nothing is."""
    for pattern, template in _templates():
        if pattern.fullmatch(path) and method.lower() in description()["paths"][template]:
            found: dict[str, Any] = description()["paths"][template][method.lower()]
            return found
    return None


def body_schema(method: str, path: str) -> dict[str, Any] | None:
    """The schema of a request's body."""
    found = operation(method, path)
    return _json(found.get("requestBody")) if found else None


def answer_schema(method: str, path: str, status: int) -> dict[str, Any] | None:
    """The schema of an answer."""
    found = operation(method, path)
    return _json(found["responses"].get(str(status))) if found else None


def answers(method: str, path: str, status: int) -> bool:
    """Whether that is a status that is described, of those of an answer that is no error."""
    found = operation(method, path)
    return found is None or str(status) in found["responses"]


def query_problems(method: str, path: str, query: dict[str, list[str]]) -> list[str]:
    """What of a request's query is not as described."""
    found = operation(method, path)
    if found is None:
        return []
    known = found["query"]
    wrong = [f"{name} is no parameter" for name in query if name not in known]
    for name, (value, *_) in query.items():
        if name in known:
            number = resolve(known[name]).get("type") == "integer" and value.isdecimal()
            wrong += [f"{name}{one}" for one in problems(known[name], int(value) if number else value)]
    return wrong


def _json(part: dict[str, Any] | None) -> dict[str, Any] | None:
    part = resolve(part) if part else None
    content = (part or {}).get("content", {})
    for kind, value in content.items():
        if "json" in kind:
            schema: dict[str, Any] = value["schema"]
            return schema
    return None


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema behind its references."""
    while "$ref" in schema:
        _, _, kind, name = schema["$ref"].split("/")
        schema = description()["components"][kind][name]
    return schema


@cache
def _validator(text: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(text), "components": description()["components"]})


def problems(schema: dict[str, Any] | None, value: Any) -> list[str]:
    """What of a value is not as the schema says."""
    if schema is None:
        return []
    found = _validator(json.dumps(schema)).iter_errors(value)
    return [f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}" for error in found]


def filled(schema: dict[str, Any] | None, value: Any) -> Any:
    """`value` with everything that the schema requires beside it, as little as that can be."""
    if schema is None:
        return value
    schema = resolve(schema)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            options = [resolve(one) for one in schema[word]]
            if word == "allOf":
                for option in options:
                    value = filled(option, value)
                return value
            if value is None and any(one.get("type") == "null" for one in options):
                return None
            chosen = [one for one in options if _fits(one, value)]
            return filled(chosen[0], value) if chosen else value
    if isinstance(value, list):
        return [filled(schema.get("items"), item) for item in value]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        result = {key: filled(known.get(key), item) for key, item in value.items()}
        for key in schema.get("required", ()):
            if key not in result:
                result[key] = least(known.get(key, {}))
        return result
    return value


def _fits(schema: dict[str, Any], value: Any) -> bool:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    wanted = kinds.get(type(value))
    if isinstance(value, dict) and isinstance(value.get("type"), str) and "properties" in schema:
        allowed = schema["properties"].get("type", {}).get("enum")
        if allowed and value["type"] not in allowed:
            return False
    return schema.get("type", "object") == wanted or "properties" in schema


def least(schema: dict[str, Any]) -> Any:
    """The least value that a schema takes."""
    schema = resolve(schema)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            options = [resolve(one) for one in schema[word]]
            return None if any(one.get("type") == "null" for one in options) else least(options[0])
    if "allOf" in schema:
        return filled(schema, {})
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            form = {"uri": _URL, "date-time": "2026-01-01T00:00:00Z"}
            return form.get(schema.get("format", ""), "")
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            return []
        case _:
            return filled(schema, {}) if "properties" in schema else {}
