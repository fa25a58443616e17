"""What is attached to a version's release, and its notes: explicit list, bill of materials, words for users."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conda_concept.changes import diff
from conda_concept.model import ImageFact, Release, ReleaseRecord, Source
from conda_concept.render.explicit import explicit
from conda_concept.render.notes import MOST, Noted, release_notes
from conda_concept.render.sbom import purl, sbom
from conda_concept.settings import Config, Expectation, TestsConfig
from tests.support.locks import PLATFORM, lock, package, pip_package, spec

LABEL = "tiny-26.10"
OLD = lock(package("numpy", "1.26"), package("gone", "1"), package("basemap", "1"), package("python", "3.11"))
NEW = lock(
    package("python", "3.12"),
    package("numpy", "2.0", "python"),
    package("zarr", "3.2", "numpy", license="MIT OR Apache-2.0"),
    package("lib", "1", license="See the file"),
    pip_package("Own_Thing", "0.1", "numpy", source="git+https://example.org/x@" + "a" * 40),
)
#: CycloneDX 1.6, cut to what is written here. The whole schema (cyclonedx-python-lib's strict validator) found nothing
#: wrong with the bill of the real analysis3, 1,443 packages, and packageurl-python would write every address so.
TEXT = {"type": "string", "minLength": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["bomFormat", "specVersion"],
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {"type": "string", "pattern": "^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {"type": "object"},
        "components": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "name", "bom-ref", "purl"],
                "properties": {
                    "type": {"enum": ["library"]},
                    "name": TEXT,
                    "version": TEXT,
                    "bom-ref": TEXT,
                    "purl": {"type": "string", "pattern": "^pkg:(conda|pypi)/[^@]+@[^?]+(\\?.+)?$"},
                    "hashes": {
                        "type": "array",
                        "items": {
                            "required": ["alg", "content"],
                            "properties": {
                                "alg": {"enum": ["MD5", "SHA-256"]},
                                "content": {"pattern": "^([a-f0-9]{32}|[a-f0-9]{64})$"},
                            },
                        },
                    },
                    "licenses": {
                        "type": "array",
                        "maxItems": 1,
                        "items": {
                            "oneOf": [
                                {"required": ["expression"], "properties": {"expression": TEXT}},
                                {"required": ["license"], "properties": {"license": {"required": ["name"]}}},
                            ]
                        },
                    },
                    "externalReferences": {"type": "array", "items": {"required": ["type", "url"]}},
                },
            },
        },
        "dependencies": {"type": "array", "items": {"required": ["ref", "dependsOn"]}},
    },
}


def test_the_explicit_list_is_condas_own_and_leaves_pip_to_pip() -> None:
    lines = explicit(NEW, PLATFORM, LABEL).splitlines()
    assert lines[2] == "@EXPLICIT"
    conda = [line for line in lines[3:] if not line.startswith("#")]
    #: conda's own expression for a line, from its `misc.py`.
    own = re.compile(r"(.+)/([^/#]+\.conda)(#(([0-9a-f]{32})|((sha256:)?([0-9a-f]{64}))))?")
    assert [own.fullmatch(line)[2] for line in conda if own.fullmatch(line)] == [  # type: ignore[index] # it fits
        one.filename for one in NEW.packages if one.manager == "conda"
    ]
    assert all("#sha256:" in line for line in conda)
    assert lines[-1] == f"# Own_Thing @ git+https://example.org/x@{'a' * 40} --hash=sha256:{'a' * 64}"


def test_the_bill_of_materials_is_cyclonedx_and_the_same_every_time() -> None:
    text = sbom(NEW, LABEL, tool="0.1.0")
    assert text == sbom(lock(*reversed(NEW.packages)), LABEL, tool="0.1.0")
    document = json.loads(text)
    assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == []
    assert document["serialNumber"] != json.loads(sbom(OLD, LABEL, tool="0.1.0"))["serialNumber"]
    by_name = {one["name"]: one for one in document["components"]}
    assert by_name["zarr"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert by_name["lib"]["licenses"] == [{"license": {"name": "See the file"}}]
    needs = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert needs[by_name["zarr"]["purl"]] == [by_name["numpy"]["purl"]]
    assert len(needs[LABEL]) == len(NEW.packages)
    assert set(needs) == {LABEL, *(one["bom-ref"] for one in document["components"])}


@pytest.mark.parametrize(
    ("found", "address"),
    [
        (package("numpy", "2.0"), "pkg:conda/numpy@2.0?build=0&channel=conda-forge&subdir=linux-64&type=conda"),
        (package("a", "1!2+x", channel="acc/label/rc"), "pkg:conda/a@1%212%2Bx?build=0&channel=acc/label/rc&"),
        (pip_package("Own_Thing", "0.1"), "pkg:pypi/own-thing@0.1"),
    ],
)
def test_package_addresses(found: Any, address: str) -> None:
    assert purl(found).startswith(address)


def notes(meant: str = "tiny-26.07", *, newest: bool = True, **config: Any) -> str:
    settings = Config(version="26.10", stable="26.07", description="For <everybody>", contact="help@here", **config)
    asked = spec("python", "numpy", "zarr", key_packages=("python",))
    image = ImageFact("c" * 64, 1, 1, 1, "")
    record = ReleaseRecord(
        Release("tiny", "26.10", "0" * 8), "/p", PLATFORM, 5, "d" * 64, "", "0.1", "2026-10-01", Source(), image, (), ()
    )
    found = (diff(OLD, NEW, asked, PLATFORM),)
    paths = "/g/data/modules", "conda_concept"
    return release_notes(Noted(record, settings, found, "tiny-26.07", meant, None, *paths, newest))


def test_notes_say_what_users_have_to_know_in_their_order() -> None:
    text = notes(
        tests=TestsConfig(expect_fail=(Expectation(test="import x", reason="slow", issue="https://x.example/1"),))
    )
    order = [
        "5 packages; 4 in tiny-26.07.",
        "module load conda_concept/tiny-unstable",
        "`conda_concept/tiny` means `tiny-26.07` now",
        "## How to stay on the old one\n\n```sh\nmodule load conda_concept/tiny-26.07\n```",
        "## What is new\n\n- zarr `3.2`\n- 2 others that nobody asks for by name",
        "## What is gone",
        "## What changed its major version\n\n- numpy `1.26` → `2.0`",
        "## Packages that many use\n\n- python `3.11` → `3.12`",
        "## Known problems\n\n- `import x`: slow (https://x.example/1)",
    ]
    assert "The plain name" not in notes(meant="")  # its version is not published here
    places = [text.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)
    assert "<everybody>" not in text
    assert "help@here" not in text  # nobody is called


def test_notes_that_come_after_the_next_version_lead_to_their_own() -> None:
    """What the name `unstable` means by then is not what they are about."""
    load = "## How to load it\n\n```sh\nmodule use /g/data/modules\nmodule load conda_concept/{}\n```"
    assert load.format("tiny-unstable") in notes()
    assert load.format("tiny-26.10") in notes(newest=False)


def test_a_long_list_ends_in_a_number() -> None:
    names = [f"p{number}" for number in range(MOST + 5)]
    found = (diff(OLD, lock(*(package(name) for name in names)), spec(*names), PLATFORM),)
    image = ImageFact("c" * 64, 1, 1, 1, "")
    record = ReleaseRecord(
        Release("tiny", "26.10", "0" * 8), "/p", PLATFORM, 5, "d" * 64, "", "0.1", "2026-10-01", Source(), image, (), ()
    )
    text = release_notes(Noted(record, Config(version="26.10"), found, "", "", None, "/m", "conda_concept"))
    assert "- and 5 more that are asked for by name" in text
    assert "How to stay" not in text
    assert "None that we know of." in text
