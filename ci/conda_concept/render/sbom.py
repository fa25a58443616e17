"""A software bill of materials of a lock: CycloneDX 1.6 as JSON, the same bytes for the same lock.

CycloneDX rather than SPDX: it has a place for each package's hash, licence, address and dependencies without a
sentence of boilerplate a package, and scanners know its package URLs. https://cyclonedx.org/docs/1.6/json/
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from conda_concept.changes import Graph
from conda_concept.lockfile import digest
from conda_concept.model import Lock, Package

#: Serial numbers are made from the lock: a bill of the same packages is the same document.
_NAMESPACE = uuid.UUID("6f1f2b5e-7a53-4f0e-9a63-0b1c7d2f4e55")


def sbom(lock: Lock, label: str, *, tool: str) -> str:
    """The bill of every platform of a lock, as JSON. `tool` is this program's version."""
    environment, _, version = label.partition("-")
    proof = " ".join(digest(lock, platform) for platform in sorted(lock.platforms))
    top = {"type": "platform", "bom-ref": label, "name": environment, "version": version}
    components: dict[str, dict[str, Any]] = {}
    needs: dict[str, list[str]] = {label: []}
    for platform in sorted(lock.platforms):
        packages = lock.on(platform)
        graph = Graph(packages, None)
        refs = {key: purl(package) for key, package in graph.packages.items()}
        for key, package in graph.packages.items():
            components.setdefault(refs[key], _component(package, refs[key]))
            needs[refs[key]] = sorted({refs[target] for target in graph.needs[key]} | set(needs.get(refs[key], ())))
        needs[label] = sorted({*needs[label], *refs.values()})
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{label} {proof}')}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "conda-concept", "version": tool}]},
            "component": top,
        },
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": needs[ref]} for ref in sorted(needs)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def purl(package: Package) -> str:
    """The package URL: https://github.com/package-url/purl-spec, types `conda` and `pypi`."""
    name, version = quote(package.name.lower(), safe=".-_~"), quote(package.version, safe=".-_~")
    if package.manager == "pip":
        name = name.replace("_", "-")
        return f"pkg:pypi/{name}@{version}"
    kind = "tar.bz2" if package.filename.endswith(".tar.bz2") else "conda"
    parts = {"build": package.build or "", "channel": package.channel, "subdir": package.subdir, "type": kind}
    shown = "&".join(f"{key}={quote(value, safe='.-_~:/')}" for key, value in parts.items() if value)
    return f"pkg:conda/{name}@{version}?{shown}"


def _component(package: Package, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": package.name,
        "version": package.version,
        "purl": ref,
    }
    hashes = [("MD5", package.md5), ("SHA-256", package.sha256)]
    if package.md5 or package.sha256:
        found["hashes"] = [{"alg": name, "content": value} for name, value in hashes if value]
    if package.license:
        found["licenses"] = _licenses(package.license)
    found["externalReferences"] = [{"type": "distribution", "url": package.url.partition("#")[0]}]
    return found


def _licenses(text: str) -> Sequence[dict[str, Any]]:
    """An SPDX expression where it is one; channels also have free words, which stay a name."""
    try:
        return [{"expression": str(canonicalize_license_expression(text))}]
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}]
