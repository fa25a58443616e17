"""Cut GitHub's OpenAPI description to what the fake API serves: `python cut.py api.github.com.json openapi.json`.

The whole description is in npm's package `@octokit/openapi` (`npm pack @octokit/openapi`, then
`package/generated/api.github.com.json`); the cut was made from version 23.0.2. Both that package and GitHub's own
description are under the MIT licence.
"""

import json
import sys
from pathlib import Path
from typing import Any

R = "/repos/{owner}/{repo}"
USED = {
    R: ["get"],
    f"{R}/pulls": ["get", "post"],
    f"{R}/pulls/{{pull_number}}": ["get", "patch"],
    f"{R}/pulls/{{pull_number}}/files": ["get"],
    f"{R}/commits/{{commit_sha}}/pulls": ["get"],
    f"{R}/statuses/{{sha}}": ["post"],
    f"{R}/commits/{{ref}}/status": ["get"],
    f"{R}/collaborators/{{username}}/permission": ["get"],
    f"{R}/contents/{{path}}": ["get"],
    f"{R}/actions/runs": ["get"],
    f"{R}/actions/runs/{{run_id}}": ["get"],
    f"{R}/actions/runs/{{run_id}}/artifacts": ["get"],
    f"{R}/actions/artifacts/{{artifact_id}}/{{archive_format}}": ["get"],
    f"{R}/actions/workflows/{{workflow_id}}": ["get"],
    f"{R}/actions/workflows/{{workflow_id}}/dispatches": ["post"],
    f"{R}/issues": ["get", "post"],
    f"{R}/issues/{{issue_number}}": ["get", "patch"],
    f"{R}/issues/{{issue_number}}/labels": ["get", "post"],
    f"{R}/issues/{{issue_number}}/labels/{{name}}": ["delete"],
    f"{R}/issues/{{issue_number}}/comments": ["get", "post"],
    f"{R}/issues/comments/{{comment_id}}": ["get", "patch"],
    f"{R}/issues/comments/{{comment_id}}/reactions": ["get", "post"],
    f"{R}/releases": ["get", "post"],
    f"{R}/releases/tags/{{tag}}": ["get"],
    f"{R}/releases/{{release_id}}": ["get", "patch"],
    f"{R}/releases/{{release_id}}/assets": ["get", "post"],
    f"{R}/releases/assets/{{asset_id}}": ["delete"],
    f"{R}/git/ref/{{ref}}": ["get"],
    f"{R}/git/refs": ["post"],
    f"{R}/git/refs/{{ref}}": ["patch", "delete"],
    f"{R}/git/commits/{{commit_sha}}": ["get"],
    f"{R}/git/commits": ["post"],
    f"{R}/git/blobs": ["post"],
    f"{R}/git/blobs/{{file_sha}}": ["get"],
    f"{R}/git/trees": ["post"],
    f"{R}/git/trees/{{tree_sha}}": ["get"],
}
#: What says nothing about the form of a value. `pattern` and `format` stay.
NOISE = {"description", "summary", "example", "examples", "title", "externalDocs", "deprecated", "tags", "default"}


def cleaned(value: Any, *, names: bool = False) -> Any:
    """Without noise; `names`: the keys are names of properties, all of which stay. OpenAPI's `nullable` as JSON's."""
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {
        key: cleaned(item, names=key in ("properties", "schemas"))
        for key, item in value.items()
        if names or not (key in NOISE or key.startswith("x-"))
    }
    if not names and kept.pop("nullable", False):
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


def query(raw: list[dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an operation's query: name to schema."""
    given = [components["parameters"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in raw]
    return {one["name"]: one["schema"] for one in given if one["in"] == "query"}


def refs(value: Any) -> set[str]:
    """Every local reference in a value."""
    if isinstance(value, list):
        return {ref for item in value for ref in refs(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {ref for item in value.values() for ref in refs(item)}


def operation(raw: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The query, body and answers of one operation. What goes wrong is not described fully, so it is left out."""
    kept = {key: raw[key] for key in ("operationId", "requestBody") if key in raw}
    answers = {code: answer for code, answer in raw["responses"].items() if code[0] in "23"}
    return {
        **cleaned(kept),
        "query": cleaned(query(raw.get("parameters", []), components), names=True),
        "responses": cleaned(answers),
    }


def main(source: str, target: str) -> None:
    """Read, cut, write."""
    whole = json.loads(Path(source).read_text("utf-8"))
    paths = {
        path: {how: operation(whole["paths"][path][how], whole["components"]) for how in hows}
        for path, hows in USED.items()
    }
    components: dict[str, dict[str, Any]] = {}
    wanted = refs(paths)
    while wanted:
        ref = wanted.pop()
        _, _, kind, name = ref.split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = cleaned(whole["components"][kind][name])
            wanted |= refs(components[kind][name])
    cut = {"info": whole["info"], "paths": paths, "components": components}
    Path(target).write_text(json.dumps(cleaned(cut), separators=(",", ":"), sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
