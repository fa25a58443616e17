"""Edit `environment.yml` and `config.yml` for people: one value changes, comments and order stay."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from conda_concept.errors import InputError


def add_requests(text: str, conda: Sequence[str] = (), pip: Sequence[str] = ()) -> str:
    """An `environment.yml` that asks for these too, at the end of its lists; what it has already is not added."""
    yaml, document = _load(text)
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, list):
        raise InputError("environment.yml has no list `dependencies` to add to.")
    sections = [item for item in dependencies if isinstance(item, dict) and isinstance(item.get("pip"), list)]
    # The `pip:` section stays last, where people look for it.
    end = len(dependencies) - 1 if dependencies and sections and dependencies[-1] is sections[-1] else len(dependencies)
    for request in conda:
        if request not in dependencies:
            dependencies.insert(end, request)
            end += 1
    wanted = [request for request in pip if not any(request in section["pip"] for section in sections)]
    if wanted and sections:
        sections[-1]["pip"].extend(wanted)
    elif wanted:
        dependencies.append({"pip": wanted})
    return _dump(yaml, document)


def set_version(text: str, version: str) -> str:
    """A `config.yml` with another version, in quotes: YAML reads 26.10 as 26.1."""
    yaml, document = _load(text)
    if not isinstance(document, dict) or "version" not in document:
        raise InputError("config.yml has no `version` to change.")
    document["version"] = DoubleQuotedScalarString(version)
    return _dump(yaml, document)


def _load(text: str) -> tuple[YAML, Any]:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1000
    if re.search(r"(?m)^ +- ", text.partition("- pip:")[0]):
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml, yaml.load(text)


def _dump(yaml: YAML, document: Any) -> str:
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()
